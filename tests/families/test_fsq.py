"""The quantiser against brute force, and the family fsq."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from examples import Memory, digits
from genloom.core.batch import Condition, ConditionSpec
from genloom.core.config import TrainConfig, validate
from genloom.core.errors import InputError
from genloom.core.family import Clock, Family
from genloom.core.loop import Loop
from genloom.core.rng import Rng
from genloom.core.spec import Grid
from genloom.families.fsq import FSQ
from genloom.nets.coder import Folding, GridDecoder, GridEncoder
from genloom.nets.quantiser import DEAD, ScalarQuantiser, Tokenizer, TokenizerConfig, codebook_use

SMALL = {"levels": (3, 2), "encoder_width": 8, "decoder_width": 8}


def train(family: Family, data: Memory, steps: int) -> Family:
    values = {**type(family).train_defaults, "batch": 32, "steps": steps, "warmup": 5, "grids": 0, "log_every": 1e9}
    Loop(family, data, TrainConfig(**values, precision="fp32"), 0).run()
    return family.eval()


@pytest.mark.parametrize("levels", [(8, 5, 5, 5), (2,), (3, 4), (7, 2, 6)])
def test_every_code_has_its_own_values_and_comes_back(levels: tuple[int, ...]) -> None:
    quantiser = ScalarQuantiser(levels)
    index = torch.arange(math.prod(levels)).view(1, -1)
    values = quantiser.values(index)
    assert torch.equal(quantiser.index(values), index)
    found = {tuple(v) for v in values[0].T.tolist()}
    ladders = [torch.linspace(-1, 1, n).tolist() for n in levels]
    wanted = set(itertools.product(*ladders))
    assert len(found) == len(wanted) == quantiser.codes
    assert max(min(math.dist(f, w) for w in wanted) for f in list(found)[:50]) < 1e-6
    torch.testing.assert_close(quantiser.snap(values), values)


def test_values_go_to_the_nearest_level() -> None:
    levels = (5, 4)
    z = torch.randn(3, 2, 7, 6, generator=torch.Generator().manual_seed(0)) * 2
    out = ScalarQuantiser(levels)(z)
    for channel, n in enumerate(levels):
        ladder = torch.linspace(-1, 1, n)
        bounded = torch.tanh(z[:, channel])
        nearest = ladder[(bounded[..., None] - ladder).abs().argmin(-1)]
        torch.testing.assert_close(out[:, channel], nearest)


def test_gradients_pass_straight_through_the_rounding() -> None:
    z = torch.randn(4, 3, 5, requires_grad=True)
    weight = torch.randn(4, 3, 5)
    (ScalarQuantiser((8, 5, 2))(z) * weight).sum().backward()
    assert z.grad is not None
    torch.testing.assert_close(z.grad, weight * (1 - torch.tanh(z.detach()) ** 2))


def test_codebook_use_by_hand() -> None:
    share, perplexity = codebook_use(torch.tensor([6.0, 3.0, 3.0, 0.0]))
    assert float(share) == 0.75
    assert float(perplexity) == pytest.approx(2**1.5)  # entropy 1.5 bits
    assert float(codebook_use(torch.ones(1000))[1]) == pytest.approx(1000)


@pytest.mark.parametrize("shape", [(2, 300), (3, 9, 6), (1, 4, 6, 5), (3, 70, 40)])
def test_coarse_grids_of_one_to_three_axes(shape: tuple[int, ...]) -> None:
    spec = Grid(shape)
    folding = Folding(spec, 8)
    assert max(folding.coarse) <= 8
    x = torch.rand(2, *shape)
    z = GridEncoder(spec, folding, 5, 8, 1)(x)
    assert z.shape == (2, 5, *folding.coarse)
    assert GridDecoder(spec, folding, 5, 8, 1)(z).shape == x.shape


def test_frequencies_are_those_of_the_codes_of_each_class() -> None:
    data, spec, _ = digits(60)
    assert data.labels is not None
    data.labels[data.labels == 9] = 8
    condition = ConditionSpec(tuple("0123456789"), tuple(torch.bincount(data.labels, minlength=10).tolist()))
    torch.manual_seed(0)
    family = FSQ(spec, FSQ.Config(**SMALL), condition).eval()
    family.settle(data.batches(25), Rng(0))
    with torch.no_grad():
        codes = family.tokenizer.codes(data.x)
    for group, place, code in [(0, 0, 3), (3, 5, 1), (8, 15, 2), (1, 7, 4)]:
        wanted = ((codes[:, place] == code) & (data.labels == group)).sum()
        assert family.frequency[group, place, code] == wanted
    assert torch.equal(family.frequency[9], family.frequency[:9].sum(0))  # a class without examples
    assert torch.equal(family.tokenizer.counts, torch.bincount(codes.flatten(), minlength=6).float())
    with torch.no_grad():
        error = (family.tokenizer.grids(codes, None) - data.x).square().mean()
    assert float(family.tokenizer.error) == pytest.approx(float(error), rel=1e-5)


def test_samples_draw_codes_as_often_as_the_table_says() -> None:
    data, spec, condition = digits(60)
    family = FSQ(spec, FSQ.Config(**SMALL), condition).eval()
    family.frequency.zero_()
    family.frequency[:, :, 1], family.frequency[:, :, 4] = 3.0, 1.0
    drawn: list[torch.Tensor] = []
    family.tokenizer.grids = lambda codes, label: drawn.append(codes) or data.x[: len(codes)]  # type: ignore[assignment,func-returns-value]
    for temperature, share in [(1.0, 0.75), (0.5, 0.9)]:
        family.sample(50, Condition(), Rng(0), FSQ.Options(temperature=temperature))
        assert set(drawn[-1].unique().tolist()) == {1, 4}
        assert float((drawn[-1] == 1).double().mean()) == pytest.approx(share, abs=0.04)


def test_reconstructions_improve_and_survive_the_way_through_codes() -> None:
    data, spec, condition = digits(64)
    torch.manual_seed(0)
    family = train(FSQ(spec, FSQ.Config(), condition), data, 100)
    assert isinstance(family, FSQ)
    z = family.encode(data.x)
    y = family.decode(z)
    torch.testing.assert_close(family.decode(z + 0.05), y)  # not between levels
    with torch.no_grad():
        torch.testing.assert_close(family.tokenizer.grids(family.tokenizer.codes(data.x), None), y)
    assert (y - data.x).square().mean() < 0.5 * (data.x - data.x.mean(0)).square().mean()


def test_a_dead_codebook_is_reported() -> None:
    _, spec, condition = digits()
    family = FSQ(spec, FSQ.Config(**SMALL), condition)
    family.tokenizer.counts[0] = 100
    assert family.warnings() == []  # too early to tell
    next(family.updates(Memory(torch.zeros(4, 1, 8, 8)).batch(range(4)), Clock(0, 0.9), Rng(0)))
    family.tokenizer.counts.zero_()[0] = 100
    assert DEAD > 1 / 6 and "17% of the 6 codes" in family.warnings()[0]
    family.tokenizer.counts[:3] = 100
    assert family.warnings() == []


def test_settings_that_cannot_be() -> None:
    _, spec, _ = digits()
    with pytest.raises(InputError, match="at most 65536"):
        Tokenizer(spec, TokenizerConfig(levels=(64, 64, 64)), 0)
    with pytest.raises(InputError, match="levels"):
        validate(FSQ.Config, {"levels": [8, 1]}, "family")
    with pytest.raises(InputError, match="levels"):
        validate(FSQ.Config, {"levels": []}, "family")
    many = ConditionSpec(tuple(map(str, range(10_000))), (1,) * 10_000)
    with pytest.raises(InputError, match="too large a table"):
        FSQ(spec, FSQ.Config(), many)
