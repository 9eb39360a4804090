"""Laws of properties and sources, for every family of sequences and every form of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from examples import Documents, conditioned, digits, reversals, table
from genloom.core.batch import Condition, ConditionSpec, Property
from genloom.core.config import TrainConfig
from genloom.core.errors import InputError
from genloom.core.family import Family, HasPredictions, HasSurprise
from genloom.core.loop import Loop
from genloom.core.spec import Row, Tokens
from genloom.families import family_names, find_family
from genloom.families.autoregressive import Autoregressive
from genloom.run import generate
from laws.test_families import SEQUENTIAL, VARIANTS, Stop, StopAt, Variant, make, perturbed, settings_for

# Forms of the families that honour both.
CONDITIONED = [p for p in SEQUENTIAL if find_family(str(p.values[0])).conditions >= {"properties", "source"}]


def made(name: str, variant: Variant, seed: int = 0) -> tuple[Family, Documents]:
    data, spec, condition = conditioned()
    return make(name, spec, condition, seed, **variant), data  # type: ignore[arg-type]


def asked(n: int, **fields: list[int]) -> Condition:
    """The conditions of the first words, but some fields of others."""
    data, _, _ = conditioned()
    whole = data.batch(range(n)).condition
    other = {k: getattr(data.batch(v).condition, k) for k, v in fields.items()}
    return Condition(**{"properties": whole.properties, "source": whole.source, **other})


@pytest.mark.parametrize("name", family_names())
def test_what_a_family_cannot_honour_is_refused(name: str) -> None:
    _, spec, condition = digits(16)
    form: Variant = VARIANTS.get(name, [{}])[0]
    if Row in find_family(name).accepts:
        _, spec, condition = table()  # type: ignore[assignment]
    if Tokens in find_family(name).accepts:
        _, spec, condition = conditioned()  # type: ignore[assignment]
        able = find_family(name).conditions
        if name == "pretrained":  # which of its models read a source is tested in tests/families/test_pretrained_pairs
            condition, able = replace(condition, source=None), able - {"source"}
        honoured = make(name, spec, condition, **form).honours()  # type: ignore[arg-type]
        for field in ("properties", "source"):
            assert (field in honoured) == (field in able)
    plain = make(name, spec, ConditionSpec(), **form)  # type: ignore[arg-type]
    for field, value in {"properties": torch.zeros(2, 2), "source": torch.ones(2, 1, dtype=torch.long)}.items():
        with pytest.raises(InputError, match=field):
            generate(plain, 2, None, 0, plain.Options(), Condition(**{field: value}))


@pytest.mark.parametrize(("name", "variant"), CONDITIONED)
def test_properties_and_sources_are_honoured_and_rows_do_not_depend_on_each_other(name: str, variant: Variant) -> None:
    family = perturbed(made(name, variant)[0])
    options = family.Options()
    x = generate(family, 8, torch.arange(8) % 2, 5, options, asked(8))
    for field in ("properties", "source"):
        other = generate(family, 8, torch.arange(8) % 2, 5, options, asked(8, **{field: [*range(12, 20)]}))
        assert x.shape != other.shape or not torch.equal(x, other), field
    few = generate(family, 2, torch.arange(2), 5, options, asked(8)[torch.arange(2)])
    assert torch.equal(few, x[:2, : few.shape[1]]) and not bool(x[:2, few.shape[1] :].any())
    generate(family, 2, None, 0, options)  # nothing need be given


@pytest.mark.parametrize(("name", "variant"), CONDITIONED)
def test_token_by_token_equals_the_whole_row_with_conditions(name: str, variant: Variant) -> None:
    """What a sample's tokens were drawn with is what `surprise` says of them."""
    from genloom.core.rng import Rng

    family = perturbed(made(name, variant)[0])
    assert isinstance(family, HasSurprise)
    condition = Condition(label=torch.arange(8) % 2, properties=asked(8).properties, source=asked(8).source)
    steps = list(family.steps(8, condition, Rng(0), family.Options()))  # type: ignore[attr-defined]
    x = F.pad(torch.stack([s.tokens for s in steps], 1), (1, 0), value=2)
    told = torch.stack([s.logp for s in steps], 1)
    allowed = -family.surprise(x, condition)
    torch.testing.assert_close(told, allowed, rtol=1e-3, atol=1e-4)
    assert isinstance(family, HasPredictions)
    logp = family.predictions(x, condition).gather(2, x[:, 1:, None])[..., 0]
    torch.testing.assert_close(logp[allowed < 0], allowed[allowed < 0])


@pytest.mark.parametrize(("name", "variant"), CONDITIONED)
def test_padding_of_sources_changes_nothing(name: str, variant: Variant) -> None:
    family = perturbed(made(name, variant)[0])
    assert isinstance(family, HasSurprise)
    data = conditioned()[0]
    short = torch.tensor([[5, 6, 1]])
    x = data.batch([0]).x
    alone = family.surprise(x, Condition(source=short))
    beside = Condition(source=torch.tensor([[5, 6, 1, 0], [7, 8, 9, 1]]))
    torch.testing.assert_close(family.surprise(x.expand(2, -1), beside)[:1], alone)


@pytest.mark.parametrize(("name", "variant"), CONDITIONED)
def test_resuming_with_conditions_equals_never_having_stopped(name: str, variant: Variant, tmp_path: Path) -> None:
    whole, data = made(name, variant)
    Loop(whole, data, settings_for(name, steps=4), 0).run()
    with pytest.raises(Stop):
        StopAt(made(name, variant)[0], data, settings_for(name, steps=4), 0, checkpoints=tmp_path).run()
    resumed = made(name, variant, seed=99)[0]
    loop = Loop(resumed, data, settings_for(name, steps=4), 0, checkpoints=tmp_path)
    assert loop.load() == 2
    loop.run()
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key


@pytest.mark.parametrize(("name", "variant"), CONDITIONED)
def test_accumulated_gradients_with_conditions_equal_the_full_batch(name: str, variant: Variant) -> None:
    variant = {**variant, "dropout": 0.0, "ngram_dropout": 0.0}
    start, full, parts = (perturbed(made(name, variant)[0]) for _ in range(3))
    for family, accumulate in ((full, 1), (parts, 2)):
        settings = settings_for(name, steps=2, warmup=0, accumulate=accumulate)
        Loop(family, conditioned()[0], settings, 0).run()
    for key, value in full.named_parameters():
        moved = (value - start.state_dict()[key]).abs().max()
        error = (value - parts.state_dict()[key]).abs().mean()
        assert error <= 0.02 * moved + 1e-7, key


def learnt(data: Documents, spec: Tokens, condition: ConditionSpec, steps: int, **settings: object) -> Autoregressive:
    torch.manual_seed(0)
    optimiser = {"lr": 5e-3, "table_lr": 5e-3, "beta2": 0.95}
    config = {"width": 64, "hidden": 64, "heads": 2, "context": 16, "ngrams": 1, "dropout": 0.0, "optimiser": optimiser}
    family = Autoregressive(spec, Autoregressive.Config(**{**config, **settings}), condition)
    train = {**Autoregressive.train_defaults, "steps": steps, "batch": 64, "precision": "fp32", "grids": 0}
    Loop(family, data, TrainConfig(**{**train, "log_every": 1e9, "ema": 0.98, "validate_times": 0}), 0).run()
    return family.eval()


def exact(a: Tensor, b: Tensor) -> float:
    width = max(a.shape[1], b.shape[1])
    pad = lambda x: F.pad(x, (0, width - x.shape[1]))  # noqa: E731
    return float((pad(a) == pad(b)).all(1).float().mean())


@pytest.mark.parametrize(("cell", "steps"), [("transformer", 200), ("lstm", 250), ("gru", 250)])
def test_it_learns_to_reverse_words_it_has_never_seen(cell: str, steps: int) -> None:
    data, spec, condition, held = reversals()
    depth = 2 if cell == "transformer" else 1
    family = learnt(data, spec, condition, steps, cell=cell, depth=depth)
    batch = held.batch(range(len(held)))
    x = generate(family, len(held), None, 0, family.Options(temperature=0), batch.condition)
    assert exact(x, batch.x) > 0.9
    beams = generate(family, 20, None, 0, family.Options(beams=3), batch.condition[slice(0, 20)])
    assert exact(beams, batch.x[:20]) > 0.85


@pytest.mark.parametrize(("cell", "steps"), [("transformer", 200), ("gru", 200)])
def test_samples_are_as_long_as_asked_for(cell: str, steps: int) -> None:
    draw = np.random.Generator(np.random.PCG64(1))
    lengths = torch.from_numpy(draw.integers(1, 9, size=1000)).float()
    documents = [torch.tensor([2, *draw.integers(3, 8, size=int(k)).tolist(), 1]) for k in lengths]
    mean, std = float(lengths.mean()), float(lengths.std(unbiased=False))
    condition = ConditionSpec(properties=(Property("characters", mean, std, 1.0, 8.0),))
    data = Documents(documents, properties=(lengths[:, None] - mean) / std)
    family = learnt(data, Tokens(10, 8, 0, 2, 1), condition, steps, cell=cell, depth=2 if cell == "transformer" else 1)
    asked = torch.arange(1.0, 9).repeat_interleave(20)
    x = generate(family, len(asked), None, 0, family.Options(), Condition(properties=(asked[:, None] - mean) / std))
    assert float(((x > 2).sum(1) - asked).abs().mean()) < 0.5
    free = (generate(family, len(asked), None, 0, family.Options()) > 2).sum(1).float()
    assert abs(float(free.mean()) - mean) < 1 and float(free.std()) > 0.7 * std
