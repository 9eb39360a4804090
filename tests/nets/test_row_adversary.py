"""The players of the game on rows: what is known stands, levels are levels, gradients reach the logits."""

from __future__ import annotations

import torch

from examples import table
from genloom.core.batch import Batch, Condition
from genloom.core.rng import Rng
from genloom.nets.row_adversary import RowCritic, RowGameConfig, RowGenerator, Shares


def test_generated_points_are_those_of_rows_with_what_is_known_in_them() -> None:
    data, spec, _ = table(64)
    torch.manual_seed(0)
    generator = RowGenerator(spec, 4, RowGameConfig(width=16, depth=1))
    batch = data.batch(range(64))
    mask = torch.zeros(64, 5, dtype=torch.bool)
    mask[:, 4] = True
    given = generator.given(Batch(batch.x, Condition(known=batch.x, mask=mask)), Rng(0))
    assert bool(given.mask[:, 4].all()) and 0 < float(given.mask[:, 0].float().mean()) < 0.6
    assert torch.equal(given.mask[:, 1], given.mask[:, 2])  # a number is known where its gate is
    x = generator(torch.randn(64, 4), given)
    spread = generator.points.spread(given.mask)
    assert torch.equal(x[spread], generator.points(batch.x)[spread])
    for i in (0, 1, 3, 4):
        place, levels = generator.points.places[i], generator.points.levels(i)
        nearest = levels[torch.cdist(x[:, place], levels).argmin(1)]
        torch.testing.assert_close(x[:, place], nearest, rtol=1e-4, atol=1e-4)
    gate = torch.cdist(x[:, generator.points.places[1]], generator.points.levels(1)).argmin(1)
    assert not bool(x[gate == 1, generator.points.places[2].start].any())
    (x[:, generator.points.places[0]] @ torch.tensor([1.0, 2.0, 4.0])).sum().backward()
    weight = generator.outputs.weight.grad
    assert weight is not None and float(weight[1:4].abs().sum()) > 0  # after the one number the first category's logits
    assert not bool(weight[0].any()) and not bool(weight[4:].any())


def test_levels_are_drawn_as_their_logits_have_it_in_training_and_after_it() -> None:
    _, spec, _ = table(4)
    n = 20_000
    generator = RowGenerator(spec, 2, RowGameConfig(width=8, depth=1))
    with torch.no_grad():
        generator.outputs.weight.zero_()
        generator.outputs.bias.copy_(torch.linspace(-1, 1, len(generator.outputs.bias)))
    wanted = generator.outputs.bias[1:4].softmax(0)
    x = torch.zeros(n, 5)
    given = generator.given(Batch(x), Rng(0))._replace(mask=torch.zeros(n, 5, dtype=torch.bool))
    points = generator(torch.randn(n, 2), given)[:, generator.points.places[0]]
    level = torch.cdist(points, generator.points.levels(0)).argmin(1)
    after = generator.rows(Rng(0).normal_rows("noise", n, 7), x, x > 0)[:, 0].long()
    for found in (level, after):
        torch.testing.assert_close(found.bincount(minlength=3) / n, wanted, atol=0.015, rtol=0)


def test_the_critic_is_told_what_is_known_and_compares_rows() -> None:
    data, spec, _ = table(32)
    generator = RowGenerator(spec, 4, RowGameConfig(width=16, depth=1))
    critic = RowCritic(spec, RowGameConfig(width=16, depth=1), 8)
    given = generator.given(data.batch(range(32)), Rng(0))
    x = generator.points(data.x)
    assert critic(x, given).shape == (32,)
    assert not torch.equal(critic(x, given), critic(x, given._replace(mask=~given.mask)))


def test_samples_are_conditioned_on_columns_as_they_are() -> None:
    data, spec, _ = table(2000)
    shares = Shares(spec)
    shares.measure(data.x)
    known, mask = shares.draw(20_000, Rng(0))
    assert torch.equal(mask.sum(1), torch.ones(20_000, dtype=torch.long)) and not bool(mask[:, 2].any())
    own = known[mask[:, 4], 4]
    assert (
        abs(float(own.mean()) - float(data.x[:, 4].mean())) < 0.02
        and abs(float(mask[:, 4].float().mean()) - 0.25) < 0.02
    )
