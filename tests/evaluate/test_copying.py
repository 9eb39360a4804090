"""The copying audit: planted copies are found at their rate, real examples are not called copies, bad input is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from evaluate.conftest import Memory
from genloom.core.rng import Rng
from genloom.core.spec import Grid
from genloom.evaluate.audit import membership, not_tested
from genloom.evaluate.audit_grids import audit_grids, flat
from genloom.evaluate.features import EncoderFeatures
from genloom.evaluate.grids import as_written


@pytest.fixture(scope="module")
def real(digits: Any) -> tuple[Any, Tensor]:
    """Digits with 700 training and 547 held-out ones, and 550 others to take the place of samples."""
    x = torch.cat([digits.train.x, digits.validation.x, digits.test.x])
    order = torch.from_numpy(np.random.default_rng(5).permutation(len(x)))
    train, test, others = x[order[:700]], x[order[700:1247]], x[order[1247:]]
    empty = Memory(x[:0])
    return replace(digits, train=Memory(train), validation=empty, test=Memory(test)), others


def planted(data: Any, others: Tensor, share: float, noise: float = 0.0) -> Tensor:
    """`others`, a share of them replaced by training examples."""
    x, draw = others.clone(), np.random.default_rng(7)
    rows = draw.permutation(len(x))[: round(share * len(x))]
    x[rows] = data.train.x[draw.permutation(len(data.train))[: len(rows)]]
    return x + noise * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("share", [0.01, 0.05, 0.2])
def test_planted_copies_are_found_at_their_rate(
    real: tuple[Any, Tensor], classifier: EncoderFeatures, share: float
) -> None:
    data, others = real
    x = planted(data, others, share)
    found = audit_grids(x, data, classifier)
    copies = round(share * len(x))
    assert found["verdict"] == ("copying" if share == 0.2 else "some")
    assert found["interval"][0] <= copies / len(x) <= found["interval"][1]
    assert found["interval"][0] <= found["rate"] <= found["interval"][1]
    assert found["p_value"] < 0.05 and found["exact"]["count"] == copies
    assert len(found["pairs"]) == 8
    for pair in found["pairs"][: min(8, copies)]:
        assert pair["exact"] and pair["distance"] == 0
        torch.testing.assert_close(x[pair["sample"]], data.train.x[pair["training"]])
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.3])
def test_real_examples_are_no_copies(real: tuple[Any, Tensor], classifier: EncoderFeatures, noise: float) -> None:
    found = audit_grids(planted(*real, 0.0, noise), real[0], classifier)
    assert found["verdict"] == "none"
    assert found["interval"][0] == 0 and found["exact"]["count"] == 0
    assert "No copying found" in found["sentence"]


def test_smooth_examples_are_no_copies(real: tuple[Any, Tensor], classifier: EncoderFeatures) -> None:
    """Halfway to the mean everything is nearer to some training example than real examples are."""
    data, others = real
    assert audit_grids(0.5 * others + 0.5 * data.train.x.mean(0), data, classifier)["verdict"] == "none"


@pytest.mark.parametrize("noise", [0.01, 0.1])
def test_training_examples_with_noise_are_copies(real: tuple[Any, Tensor], noise: float) -> None:
    data, _ = real
    x = data.train.x[:400] + noise * torch.randn(400, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    found = audit_grids(x, data, None)
    assert found["verdict"] == "copying" and found["rate"] > 0.9
    assert [m["space"] for m in found["measures"]] == ["values", "equality"]
    assert found["measures"][0]["nearer"] > 0.95
    assert all(p["sample"] == p["training"] for p in found["pairs"])


def test_large_grids_are_compared_at_a_smaller_size() -> None:
    x = torch.rand(3, 3, 64, 48)
    values = flat(x, Grid((3, 64, 48), 256))
    assert 512 < values.shape[1] <= 1024
    np.testing.assert_allclose(values.reshape(3, 3, -1).mean(2), x.mean((2, 3)), atol=0.02)
    assert flat(torch.rand(2, 1, 5000), Grid((1, 5000), None)).shape == (2, 1024)


def test_a_collapse_is_told_and_finite(real: tuple[Any, Tensor]) -> None:
    data, others = real
    same = audit_grids(others[:1].repeat(300, 1, 1, 1), data, None)
    assert same["verdict"] == "not tested" and "only 1 of 300 samples differ" in same["sentence"]
    copy = audit_grids(data.train.x[:1].repeat(300, 1, 1, 1), data, None)
    assert copy["verdict"] == "copying" and copy["exact"]["count"] == 300 and copy["rate"] == 1.0
    many = audit_grids(others[:60].repeat(5, 1, 1, 1), data, None)
    assert many["verdict"] == "none" and "only 60 of 300" in many["reason"]
    for found in (same, copy, many):
        json.dumps(found, allow_nan=False)


def test_what_cannot_be_tested_says_why(real: tuple[Any, Tensor]) -> None:
    data, others = real
    nothing = replace(data, test=Memory(others[:0]))
    for found, reason in (
        (audit_grids(others, nothing, None), "no held-out examples"),
        (audit_grids(others[:19], data, None), "19 samples are too few"),
        (audit_grids(others, replace(data, test=Memory(others[:5])), None), "5 held-out examples are too few"),
    ):
        assert found["verdict"] == "not tested" and reason in found["sentence"] and reason in found["reason"]
        assert found["rate"] is None and found["pairs"] == []
        assert set(found) == set(not_tested("x"))


class Remembers(nn.Module):
    """A likelihood that falls with the distance to the nearest of some examples."""

    exact = False

    def __init__(self, known: Tensor, strength: float) -> None:
        super().__init__()
        self.known, self.strength = nn.Parameter(known.flatten(1)), strength
        self.spec = Grid((1, 8, 8), 17)

    def nll(self, batch: Any, rng: Rng) -> Tensor:
        noise = rng.normal("noise", len(batch.x))
        return noise + self.strength * torch.cdist(batch.x.flatten(1), self.known).amin(1)


def test_the_membership_attack_tells_a_memory_from_none(real: tuple[Any, Tensor]) -> None:
    data, _ = real
    train, held = ([d.batch(np.arange(i, i + 64)) for i in range(0, 256, 64)] for d in (data.train, data.test))
    sure = membership(Remembers(data.train.x, 5.0), train, held)  # type: ignore[arg-type]
    assert sure is not None and sure["auc"] > 0.99 and sure["training"] == sure["held_out"] == 256
    blind = membership(Remembers(data.train.x, 0.0), train, held)  # type: ignore[arg-type]
    assert blind is not None and blind["interval"][0] <= 0.5 <= blind["interval"][1]
    assert membership(nn.Linear(2, 2), train, held) is None  # type: ignore[arg-type]


def test_the_worst_pairs_are_handed_out_to_be_shown(real: tuple[Any, Tensor]) -> None:
    data, others = real
    shown: list[Any] = []
    keep: Callable[[Any], None] = shown.extend
    found = audit_grids(planted(data, others, 0.05), data, None, keep=keep)
    assert len(shown) == len(found["pairs"]) == 8
    for pair, (sample, training) in zip(found["pairs"], shown, strict=True):
        assert (sample - training).abs().max() == 0 if pair["exact"] else (sample - training).abs().max() > 0


def test_a_model_that_learnt_a_few_digits_by_heart_copies(real: tuple[Any, Tensor], tmp_path: Path) -> None:
    import genloom

    data, _ = real
    few = data.train.x[:24]
    pictures = [np.asarray((p[0] + 1) * 127.5, np.uint8) for p in few.numpy()]
    settings = {"data.validation": 0.0, "data.test": 0.0, "train.batch": 32, "train.warmup": 10, "train.grids": 0}
    run = genloom.train(
        np.stack(pictures),
        model="flow",
        steps=300,
        out=tmp_path / "run",
        settings={**settings, "train.ema": 0.95, "train.precision": "fp32"},
    )
    x, _ = run.sample_tensor(200)
    found = audit_grids(as_written(x, Grid((1, 8, 8), 256)), replace(data, train=Memory(few)), None)
    assert found["verdict"] == "copying" and found["rate"] > 0.5
