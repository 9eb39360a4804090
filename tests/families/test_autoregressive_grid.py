"""Autoregressive models of the codes of grids."""

from __future__ import annotations

import pytest
import torch

from examples import Memory, digits, words
from genloom.core.batch import Condition, ConditionSpec
from genloom.core.config import TrainConfig
from genloom.core.errors import InputError
from genloom.core.family import Clock, HasLikelihood, HasSurprise
from genloom.core.loop import Loop
from genloom.core.rng import Rng
from genloom.core.spec import Grid, check_batch
from genloom.families.autoregressive import Autoregressive
from genloom.nets.quantiser import BOS, FIRST

CELLS = ("transformer", "lstm", "gru")
SMALL = {
    "width": 16,
    "hidden": 16,
    "heads": 2,
    "depth": 1,
    "dropout": 0.0,
    "tokenizer": {"levels": (3, 2, 2), "encoder_width": 8, "decoder_width": 8},
}


def make(cell: str = "transformer", spec: Grid | None = None, **settings: object) -> tuple[Autoregressive, Memory]:
    data, small, condition = digits()
    torch.manual_seed(0)
    family = Autoregressive(spec or small, Autoregressive.Config(**{**SMALL, "cell": cell, **settings}), condition)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in family.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=generator))
    return family, data


def prior(family: Autoregressive, data: Memory) -> None:
    family.enter(family.stages()[1], data.batches(25))


@pytest.mark.parametrize("cell", CELLS)
def test_codes_are_generated_as_the_model_scores_them(cell: str) -> None:
    """Token by token with a carried state against the whole sequence anew for every token."""
    family, _ = make(cell, Grid((1, 10, 8)))
    family.eval()
    assert family.tokenizer is not None and family.tokenizer.shape == (5, 4)
    label = torch.tensor([3, 7, 10])
    x = torch.full((3, 1), BOS)
    for _ in range(20):
        with torch.no_grad():
            logits = family.model(x, Condition(label=label))[:, -1]
        logits[:, :FIRST] = -torch.inf
        x = torch.cat([x, logits.argmax(1, keepdim=True)], 1)
    steps = family.steps(3, Condition(label=label), Rng(0), Autoregressive.Options(temperature=0))
    assert torch.equal(torch.stack([s.tokens for s in steps], 1), x[:, 1:])
    drawn = family.sample(3, Condition(label=label), Rng(0), Autoregressive.Options(temperature=0))
    with torch.no_grad():
        assert torch.equal(drawn, family.tokenizer.grids(x[:, 1:] - FIRST, label))
    assert len(x.unique()) > 4


@pytest.mark.parametrize("cell", CELLS)
def test_predictions_depend_on_earlier_codes_and_places_only(cell: str) -> None:
    family, data = make(cell)
    prior(family, data)
    assert family.tokenizer is not None
    x = family.tokenizer.sequences(data.batch(range(4))).x[:, :-1]
    changed = x.clone()
    changed[:, 9] = FIRST + (changed[:, 9] - FIRST + 1) % 12
    with torch.no_grad():
        a, b = family.model.eval()(x), family.model(changed)
        same = family.model(torch.full((1, 16), FIRST))[0]
    assert torch.equal(a[:, :9], b[:, :9])
    assert all(not torch.allclose(a[:, t], b[:, t]) for t in range(9, 16))
    assert not torch.allclose(same[14], same[15], atol=1e-3)  # equal codes, another place


@pytest.mark.parametrize("shape", [(1, 10, 14), (1, 6, 8, 10), (2, 20)])
def test_neighbours_are_the_codes_beside_the_next_one(shape: tuple[int, ...]) -> None:
    family, _ = make(spec=Grid(shape))
    tokenizer = family.tokenizer
    assert tokenizer is not None
    places = torch.arange(tokenizer.length).view(tokenizer.shape)
    middle = tuple(n // 2 for n in tokenizer.shape)
    wanted = set()
    for axis in range(len(middle) - 1):
        for side in (-1, 0, 1):
            beside = [*middle[:-1], middle[-1] + side]
            beside[axis] -= 1
            # token t + 1 of a sequence is code t: the code before the middle one is the present token
            wanted.add(int(places[middle] - places[tuple(beside)]) - 1)
    assert set(tokenizer.neighbours()) == {d for d in wanted if d > 0}


def test_the_model_of_codes_sees_the_codes_of_the_frozen_tokenizer() -> None:
    family, data = make()
    prior(family, data)
    batch = family.tokenizer.sequences(data.batch([5, 0, 63]))  # type: ignore[union-attr]
    with torch.no_grad():
        codes = family.tokenizer.codes(data.x[[5, 0, 63]])  # type: ignore[union-attr]
    assert bool((batch.x[:, 0] == BOS).all()) and torch.equal(batch.x[:, 1:], codes + FIRST)
    assert torch.equal(batch.condition.label, data.labels[[5, 0, 63]])  # type: ignore[arg-type,index]
    assert not any(p.requires_grad for p in family.tokenizer.parameters())  # type: ignore[union-attr]


@pytest.mark.parametrize("cell", CELLS)
def test_micro_batches_of_codes_add_up(cell: str) -> None:
    family, data = make(cell)
    prior(family, data)
    clock, batch = Clock(7, 0.9), data.batch(range(8))
    whole = next(family.updates(batch, clock, Rng(0, 7).rows(0, 8))).loss
    parts = [next(family.updates(batch[slice(i, i + 4)], clock, Rng(0, 7).rows(i, 8))).loss for i in (0, 4)]
    torch.testing.assert_close(sum(parts) / 2, whole)


def test_grids_have_no_likelihood_and_cannot_be_filled_in() -> None:
    family, _ = make()
    _, spec, condition = words()
    sequences = Autoregressive(spec, Autoregressive.Config(), condition)
    assert isinstance(sequences, HasLikelihood) and isinstance(sequences, HasSurprise)
    assert not isinstance(family, HasLikelihood) and not isinstance(family, HasSurprise)
    assert family.window() is None and sequences.window() is not None
    assert family.honours() == {"label"} and sequences.honours() == {"label", "known"}
    with pytest.raises(InputError, match="infill"):
        make(infill=0.5)
    with pytest.raises(InputError, match="max_tokens"):
        family.sample(2, Condition(), Rng(0), Autoregressive.Options(max_tokens=3))


@pytest.mark.parametrize("options", [{"beams": 3}, {"temperature": 0.7, "top_k": 2, "top_p": 0.9}])
def test_ways_of_choosing_codes(options: dict[str, object]) -> None:
    family, _ = make()
    x = family.eval().sample(3, Condition(label=torch.tensor([1, 2, 3])), Rng(0), Autoregressive.Options(**options))
    check_batch(family.spec, x)


@pytest.mark.parametrize("cell", CELLS)
def test_both_parts_train_and_the_first_then_stands_still(cell: str) -> None:
    data, spec, condition = digits()
    torch.manual_seed(0)
    tokenizer = {"levels": (3, 2, 2), "encoder_width": 8, "decoder_width": 8, "adversarial": 0.02}
    settings = {**SMALL, "cell": cell, "code_batch": 32, "tokenizer": tokenizer}
    family = Autoregressive(spec, Autoregressive.Config(**settings), condition)
    values = {
        **Autoregressive.train_defaults,
        "steps": 40,
        "warmup": 5,
        "grids": 0,
        "log_every": 1e9,
        "precision": "fp32",
    }
    loop = Loop(family, data, TrainConfig(**values), 0)
    seen: dict[str, list[float]] = {}
    loop.observers = []
    record = loop._record

    def note(*args: float) -> None:
        seen.update({n: [float(v) for v in values] for n, values in loop.meter.losses.items()})
        record(*args)

    loop._record = note  # type: ignore[method-assign]
    loop.run()
    assert set(seen) == {"tokenizer", "critic", "model"}
    assert len(seen["tokenizer"]) == 12 and len(seen["model"]) == 28  # a share of 0.3
    assert sum(seen["model"][-5:]) < 0.9 * sum(seen["model"][:5])
    assert family.tokenizer is not None and float(family.tokenizer.counts.sum()) == 64 * family.tokenizer.length


def test_a_transformer_whose_width_does_not_suit_its_heads() -> None:
    _, spec, _ = digits()
    with pytest.raises(InputError, match="multiple of twice"):
        Autoregressive(spec, Autoregressive.Config(width=18, heads=4), ConditionSpec())
