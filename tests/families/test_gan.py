"""The GAN family: objectives against formulas, penalties by hand, conditioning, augmentation, collapse."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from genloom.core.batch import Batch, Condition, ConditionSpec
from genloom.core.config import TrainConfig
from genloom.core.family import Clock, Stage
from genloom.core.loop import Loop
from genloom.core.optim import OptimiserConfig
from genloom.core.rng import Rng
from genloom.core.spec import Grid
from genloom.families.gan import GAN, critic_loss, generator_loss, spread, squared_slope, truncated
from genloom.nets.adversary import (
    ConvCritic,
    ConvGenerator,
    Head,
    MLPCritic,
    MLPGenerator,
    Pyramid,
    minibatch_deviation,
)
from genloom.nets.diffaugment import KINDS, augment

TEN = ConditionSpec(tuple("0123456789"), (180,) * 10)


@cache
def digits() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return torch.from_numpy(x).float().reshape(-1, 1, 8, 8) / 8 - 1, torch.from_numpy(y)


class Digits:
    def __len__(self) -> int:
        return len(digits()[0])

    def batch(self, indices: np.ndarray) -> Batch:
        i = torch.from_numpy(np.asarray(indices))
        return Batch(digits()[0][i], Condition(label=digits()[1][i]), i)

    def batches(self, size: int, limit: int | None = None) -> Iterator[Batch]:
        n = min(limit or len(self), len(self))
        return (self.batch(np.arange(i, min(i + size, n))) for i in range(0, n, size))


class Notices:
    def __init__(self) -> None:
        self.texts: list[str] = []
        self.diversity: list[float] = []

    def started(self, info: dict) -> None: ...

    def step(self, record: dict) -> None:
        self.diversity.append(record["logs"]["diversity"])

    def samples(self, step: int, picture: object, path: object) -> None: ...

    def notice(self, text: str) -> None:
        self.texts.append(text)

    def finished(self, summary: dict) -> None: ...


def gan(condition: ConditionSpec = TEN, **settings: object) -> GAN:
    torch.manual_seed(0)
    return GAN(Grid((1, 8, 8)), GAN.Config(**{"width": 16, "latent": 8, "group": 4, **settings}), condition)


def train(family: GAN, steps: int, batch: int = 32, **settings: object) -> Notices:
    seen = Notices()
    config = TrainConfig(
        steps=steps, batch=batch, **{"log_every": 0.2, "device": "cpu", "precision": "fp32", "decay": 0.4, **settings}
    )
    Loop(family, Digits(), config, seed=0, observers=[seen]).run()
    return seen


def some(n: int, family: GAN) -> Batch:
    g = torch.Generator().manual_seed(1)
    x = torch.rand(n, *family.spec.shape, generator=g) * 2 - 1
    return Batch(x, Condition(label=torch.arange(n) % 10 if family.classes else None))


# -- objectives -------------------------------------------------------------------------------------------------------


def sigmoid(s: float) -> float:
    return 1 / (1 + math.exp(-s))


FORMULAS = {  # (critic, generator), each on one pair of scores, as in the papers
    "minimax": (lambda r, f: -math.log(sigmoid(r)) - math.log(1 - sigmoid(f)), lambda r, f: math.log(1 - sigmoid(f))),
    "nonsaturating": (
        lambda r, f: -math.log(sigmoid(r)) - math.log(1 - sigmoid(f)),
        lambda r, f: -math.log(sigmoid(f)),
    ),
    "hinge": (lambda r, f: max(0, 1 - r) + max(0, 1 + f), lambda r, f: -f),
    "wgan-gp": (lambda r, f: f - r, lambda r, f: -f),
    "relativistic": (lambda r, f: -math.log(sigmoid(r - f)), lambda r, f: -math.log(sigmoid(f - r))),
}


@pytest.mark.parametrize("objective", FORMULAS)
def test_losses_follow_their_formulas(objective):
    real, fake = [0.3, -1.2, 2.5], [-0.7, 1.6, -2.0]
    critic, generator = FORMULAS[objective]
    pairs = list(zip(real, fake, strict=True))
    r, f = torch.tensor(real), torch.tensor(fake)
    assert critic_loss(objective, r, f).item() == pytest.approx(sum(critic(*p) for p in pairs) / 3, rel=1e-5)
    assert generator_loss(objective, f, r).item() == pytest.approx(sum(generator(*p) for p in pairs) / 3, rel=1e-5)


def test_squared_slope_of_a_known_function():
    x = torch.tensor([[[1.0, 2.0]], [[3.0, -1.0]]], requires_grad=True)
    a = torch.tensor(2.0, requires_grad=True)
    slope = squared_slope(a * x.square().flatten(1).sum(1), x)  # gradient 2 a x, squared norm 4 a^2 |x|^2
    assert torch.allclose(slope, torch.tensor([4 * 4 * 5.0, 4 * 4 * 10.0]))
    slope.mean().backward()
    assert a.grad is not None and a.grad.item() == pytest.approx(8 * 2 * 7.5)  # d/da of 4 a^2 mean |x|^2


class Slope(nn.Module):
    """score = w * (sum of x + sum of x squared): gradient w (1 + 2x)."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Tensor, label: Tensor | None) -> Tensor:
        return self.w * (x + x.square()).flatten(1).sum(1)


@pytest.mark.parametrize(("step", "fraction", "due"), [(0, 0.0, 1), (3, 0.0, 0), (4, 0.25, 0.6), (8, 0.7, 0.2)])
def test_penalties_by_hand_only_when_due_and_weaker_later(step, fraction, due):
    family = gan(r1=0.6, r2=0.2, penalty_every=4, penalty_left=0.2)
    family.critic = Slope()
    real, fake = some(4, family).x, -some(4, family).x / 2
    loss, _ = family._critic_step(real.clone(), fake.clone(), None, Clock(step, fraction), Rng(0))

    def squared(x: Tensor) -> float:
        return float((0.5 * (1 + 2 * x)).square().flatten(1).sum(1).mean())

    plain = critic_loss("relativistic", family.critic(real, None), family.critic(fake, None)).item()
    assert loss.item() == pytest.approx(plain + due * 4 * (0.6 / 2 * squared(real) + 0.2 / 2 * squared(fake)), rel=1e-5)


def test_gradient_penalty_lies_between_real_and_generated():
    family = gan(objective="wgan-gp")
    family.critic = Slope()
    real, fake = torch.full((5, 1, 8, 8), 0.5), torch.full((5, 1, 8, 8), 0.5)
    loss, _ = family._critic_step(real, fake, None, Clock(1, 0), Rng(0))
    slope = 8 * 0.5 * (1 + 2 * 0.5)  # norm over 64 positions
    assert loss.item() == pytest.approx(10 * (slope - 1) ** 2, rel=1e-5)
    assert family.critic_steps == 5 and family.r1 == 0


# -- training ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", FORMULAS)
@pytest.mark.parametrize("net", ["conv", "mlp"])
def test_each_player_moves_alone_and_in_turn(objective, net):
    family = gan(objective=objective, net=net, augment="on", widths=(16,), critic_widths=(16,))
    batch, players = some(8, family), family.players()
    order = []
    for step in range(family.critic_steps):
        for update in family.updates(batch, Clock(step, 0), Rng(0, step)):
            order.append(update.player)
            mine = list(players[update.player].parameters())
            update.loss.backward(inputs=mine)
            assert all(p.grad is not None and p.grad.isfinite().all() for p in mine)
            other = next(m for n, m in players.items() if n != update.player)
            assert all(p.grad is None for p in other.parameters())
            family.zero_grad()
    assert order == ["critic"] * family.critic_steps + ["generator"]


def gradients(family: GAN, batch: Batch, parts: int) -> dict[str, list[Tensor]]:
    size, out = len(batch) // parts, {}
    rounds = [
        family.updates(batch[slice(i, i + size)], Clock(0, 0), Rng(3).rows(i, len(batch)))
        for i in range(0, len(batch), size)
    ]
    while updates := [u for r in rounds if (u := next(r, None))]:
        player = updates[0].player
        params = list(family.players()[player].parameters())
        for u in updates:
            (u.loss / parts).backward(inputs=params)
        out[player] = [p.grad.clone() for p in params]
        family.zero_grad()
    return out


def test_micro_batches_add_up_to_the_full_batch_with_group_norm():
    family = gan(norm="group", augment="on")
    batch = some(16, family)
    whole, halves = gradients(family, batch, 1), gradients(family, batch, 2)
    for player in ("critic", "generator"):
        for a, b in zip(whole[player], halves[player], strict=True):
            assert torch.allclose(a, b, rtol=1e-3, atol=1e-4 * float(a.abs().max()) + 1e-7)


def right(family: GAN) -> float:
    """Share of 300 samples that a nearest-neighbour classifier takes for the class asked for."""
    from sklearn.neighbors import KNeighborsClassifier

    x, y = digits()
    wanted = torch.arange(300) % 10
    samples = family.eval().sample(300, Condition(label=wanted), Rng(1), GAN.Options())
    return float(KNeighborsClassifier(3).fit(x.flatten(1), y).score(samples.flatten(1), wanted))


def test_learns_digits_and_does_not_warn():
    step = OptimiserConfig(lr=3e-3, beta1=0.0, beta2=0.99)
    family = gan(width=16, generator=step, critic=step, augment="off")
    before = right(family)
    seen = train(family, 320)
    assert before < 0.25 and right(family) > 0.7, (before, right(family))
    assert not seen.texts and seen.diversity[-1] > 0.5


def test_mlp_nears_the_data():
    step = OptimiserConfig(lr=1e-3, beta1=0.0, beta2=0.99)
    settings = {"net": "mlp", "widths": (128, 128), "critic_widths": (128,), "dropout": 0.0}
    family = gan(generator=step, critic=step, augment="off", **settings)

    def distance() -> float:
        x = digits()[0].flatten(1)
        samples = family.eval().sample(300, Condition(), Rng(1), GAN.Options()).flatten(1)
        return float(torch.cdist(samples, x).amin(1).mean())  # of a sample to its nearest example

    before = distance()
    seen = train(family, 400)
    assert distance() < 0.6 * before and seen.diversity[-1] > 0.5 and not seen.texts, (before, distance())


def test_warns_of_a_collapse_once():
    frozen = OptimiserConfig(lr=1e-9)  # a critic that never moves: the generator runs to its one favourite
    family = gan(net="mlp", dropout=0.0, critic=frozen, generator=OptimiserConfig(lr=3e-3, beta1=0.0), augment="off")
    seen = train(family, 400, log_every=0.02)
    assert len(seen.texts) == 1 and "collapsing" in seen.texts[0]


def test_spread_is_within_classes():
    x = torch.tensor([[0.0], [2.0], [10.0], [14.0]])
    assert spread(x, torch.tensor([0, 0, 1, 1])).item() == pytest.approx((1 + 1 + 4 + 4) / 4)
    assert spread(x, None).item() == pytest.approx(float(x.var(correction=0)))


@pytest.mark.parametrize(("count", "augmented"), [(9_999, True), (10_000, False)])
def test_little_data_is_augmented(count, augmented):
    family = gan()
    family.enter(Stage("train"), iter([Batch(torch.zeros(count, 1))]))
    assert family.augmented is augmented


# -- sampling ---------------------------------------------------------------------------------------------------------


def test_seeds_fix_samples_row_by_row():
    family = gan().eval()
    options = GAN.Options()
    eight = family.sample(8, Condition(), Rng(5), options)
    later = family.sample(3, Condition(), Rng(5, offset=4), options)
    assert torch.allclose(eight[4:7], later, atol=1e-5)
    assert not torch.allclose(eight, family.sample(8, Condition(), Rng(6), options), atol=1e-2)
    assert eight.shape == (8, 1, 8, 8) and eight.dtype == torch.float32 and eight.abs().max() <= 1


def test_classes_without_a_label_are_as_frequent_as_in_the_data():
    family = gan(ConditionSpec(("a", "b"), (90, 10))).eval()
    asked = []
    family.generator.register_forward_hook(lambda m, inputs, out: asked.append(inputs[1]))
    family.sample(2000, Condition(), Rng(0), GAN.Options())
    assert float(torch.cat(asked).float().mean()) == pytest.approx(0.1, abs=0.03)


def test_labels_reach_both_players():
    family = gan().eval()
    z, one, two = torch.randn(4, 8), torch.full((4,), 1), torch.full((4,), 2)
    nn.init.normal_(family.generator.norm.modulate.weight)
    assert not torch.allclose(family.generator(z, one), family.generator(z, two), atol=1e-3)
    x = some(4, family).x
    assert not torch.allclose(family.critic(x, one), family.critic(x, two), atol=1e-3)
    head, h = family.critic.head, torch.randn(4, 256)
    projected = head.out(h)[:, 0] + (h * head.label.weight[2]).sum(1) / 16
    assert torch.allclose(head(h, two), projected, atol=1e-5)


@pytest.mark.parametrize(
    ("condition", "settings"), [(ConditionSpec(), {}), (TEN, {"conditional": False}), (TEN, {"net": "mlp"})]
)
def test_without_classes(condition, settings):
    family = gan(condition, **settings)
    assert family.honours() == frozenset() and gan().honours() == {"label"}
    assert [u.player for u in family.updates(some(8, family), Clock(0, 0), Rng(0))] == ["critic", "generator"]
    assert family.eval().sample(3, Condition(), Rng(0), GAN.Options()).shape == (3, 1, 8, 8)


def test_settle_measures_batch_norm_of_the_averaged_weights():
    family = gan()
    with torch.no_grad():  # as if the averaged weights had moved away from the statistics
        family.generator.inputs.bias.add_(3.0)
    data = list(Digits().batches(250))
    family.settle(iter(data), Rng(2))
    norm = family.generator.layers[0].norms[0].norm
    z = torch.cat([Rng(2, i).normal("noise", len(b), 8) for i, b in enumerate(data)])
    first = family.generator.inputs(z).unflatten(1, (16, -1))
    assert torch.allclose(norm.running_mean, first.mean((0, 2)), atol=0.02)
    assert not family.generator.training and norm.momentum is not None


def test_truncation_bounds_the_noise_and_keeps_its_order():
    z = torch.randn(2000, generator=torch.Generator().manual_seed(0))
    t = truncated(z, 0.5)
    assert t.abs().max() <= 0.5 and torch.equal(t.argsort(), z.argsort())
    family = gan().eval()
    zero = Condition(label=torch.zeros(64, dtype=torch.int64))
    loose, tight = (family.sample(64, zero, Rng(0), GAN.Options(truncation=b)) for b in (None, 0.2))
    assert spread(tight, None) < 0.5 * spread(loose, None)


# -- nets -------------------------------------------------------------------------------------------------------------

SHAPES = [(1, 28, 28), (1, 8, 8), (3, 64, 64), (2, 13, 9), (1, 1, 5), (1, 100), (2, 3), (1, 6, 10, 7)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("classes", [0, 3])
def test_nets_take_any_grid(shape, classes):
    spec, label = Grid(shape), torch.tensor([0, 2]) if classes else None
    pairs = [
        (ConvGenerator(spec, 5, classes, width=8), ConvCritic(spec, classes, width=8)),
        (
            ConvGenerator(spec, 5, classes, width=8, norm="group", depth=2),
            ConvCritic(spec, classes, width=8, depth=2, group=2),
        ),
        (MLPGenerator(spec, 5, widths=(7,)), MLPCritic(spec, widths=(7,), pieces=2)),
    ]
    for generator, critic in pairs:
        label = label if isinstance(generator, ConvGenerator) else None
        x = generator(torch.randn(2, 5), label)
        assert x.shape == (2, *shape) and critic(x, label).shape == (2,)


def test_resolutions():
    assert Pyramid((28, 28), 128).sizes == [[14, 14], [7, 7]]
    assert Pyramid((64, 64), 128).sizes == [[32, 32], [16, 16], [8, 8]]
    assert Pyramid((8, 8), 128).sizes == [[8, 8], [4, 4]]
    odd = Pyramid((13, 9), 128)
    assert all(p >= n and p - n < 2 * odd.patch * len(odd.sizes) for p, n in zip(odd.padded, (13, 9), strict=True))


def test_minibatch_deviation():
    h = torch.tensor([[0.0, 0.0], [2.0, 4.0], [5.0, 5.0], [5.0, 5.0]])
    expected = torch.tensor([[1.0, 2.0], [1.0, 2.0], [0.001, 0.001], [0.001, 0.001]])  # sqrt(1e-6) where all is alike
    assert torch.allclose(minibatch_deviation(h, 2), expected, atol=1e-5)
    assert torch.equal(minibatch_deviation(h, 3), minibatch_deviation(h, 4))  # not a multiple: one group


# -- augmentation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 16), (3, 12, 10), (1, 6, 8, 5)], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_augmentations_keep_shape_and_pass_second_gradients(shape, kind):
    x = torch.randn(6, *shape, requires_grad=True)
    y = augment(x, [kind], Rng(0))
    assert y.shape == x.shape and not torch.equal(y, x)
    slope = squared_slope(y.square().flatten(1).sum(1), x)
    slope.sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0
    assert torch.equal(augment(x, [kind], Rng(0).rows(0, 6))[2:4], augment(x[2:4], [kind], Rng(0).rows(2, 6)))


def test_translation_moves_and_cutout_removes_a_box():
    x = torch.arange(1.0, 17).expand(64, 1, 16).contiguous()
    shifts = set()
    for row in augment(x, ["translation"], Rng(0))[:, 0]:
        kept = row[row > 0]
        assert torch.equal(kept.diff(), torch.ones(len(kept) - 1))
        shifts.add(int(row.nonzero()[0]) - int(kept[0]) + 1)
    assert shifts == {-2, -1, 0, 1, 2}
    cut = augment(torch.ones(200, 1, 8, 8), ["cutout"], Rng(0))
    removed = (cut == 0).sum((1, 2, 3))
    assert removed.max() == 16 and removed.min() >= 4
    box = (cut[int(removed.argmax())][0] == 0).nonzero()
    assert ((box.max(0).values - box.min(0).values) == 3).all()


def test_colour_keeps_one_channel_s_pattern():
    x = torch.randn(8, 1, 6, 6)
    y = augment(x, ["colour"], Rng(0))
    for a, b in zip(x, y, strict=True):  # an affine map with positive slope
        assert np.corrcoef(a.flatten(), b.flatten())[0, 1] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("classes", [0, 3])
def test_scores_are_not_rounded_in_bf16(classes: int) -> None:
    torch.manual_seed(0)
    head, h = Head(16, classes), torch.randn(8, 16)
    label = torch.arange(8) % classes if classes else None
    exact = head(h, label)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(head(h, label), exact)
