"""Learnt feature spaces: they order samples by how spoilt they are, repeat exactly, and survive a damaged cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genloom.core.errors import InputError
from genloom.core.spec import Grid, Row, Span
from genloom.evaluate import features as module
from genloom.evaluate import networks
from genloom.evaluate.features import ClassifierFeatures, EncoderFeatures, choose_kind, drawn, features_for, learn
from genloom.metrics.frechet import Gaussian, frechet_distance


def distance(space: EncoderFeatures, x: torch.Tensor, y: torch.Tensor) -> float:
    return frechet_distance(Gaussian.fit(space(x).numpy()), Gaussian.fit(space(y).numpy()))


@pytest.mark.parametrize("kind", ["classifier", "encoder"])
def test_distance_grows_with_what_is_wrong(kind: str, digits: Any, request: pytest.FixtureRequest) -> None:
    space = request.getfixturevalue(kind)
    real, other = digits.test.x, digits.train.x[: len(digits.test)]
    noise = torch.randn(other.shape, generator=torch.Generator().manual_seed(0))
    noisy = [distance(space, real, (other + s * noise).clamp(-1, 1)) for s in (0.0, 0.3, 1.0)]
    assert 2 * noisy[0] < noisy[1] < noisy[2] / 2
    blurred = [distance(space, real, networks.smoothed(other, times)) for times in (0, 1, 3)]
    assert 2 * blurred[0] < blurred[1] < blurred[2]
    labels = torch.from_numpy(digits.train.labels[: len(other)])
    assert distance(space, real, other[labels < 5]) > 2 * noisy[0]


def test_the_classifier_knows_the_digits(classifier: EncoderFeatures, digits: Any) -> None:
    assert isinstance(classifier, ClassifierFeatures)
    assert classifier.facts.accuracy is not None and classifier.facts.accuracy > 0.93
    seen = classifier.classify(classifier(digits.test.x)).numpy()
    assert (seen == digits.test.labels).mean() > 0.93
    assert f"{classifier.facts.accuracy:.1%}" in classifier.name


def test_features_are_centred_and_their_variance_is_the_width(classifier: EncoderFeatures, digits: Any) -> None:
    values = classifier(digits.train.x)
    assert values.shape == (1000, classifier.width) and values.dtype == torch.float32
    assert float(values.var(0).sum()) == pytest.approx(classifier.width, rel=1e-3)
    assert float(values.mean(0).abs().max()) < 1e-3


def test_learning_repeats_and_leaves_the_random_state_alone(digits: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "LEAST_STEPS", 6)
    monkeypatch.setattr(networks, "MOST_EPOCHS", 0)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = learn(digits, digits.modality.spec, "classifier", 3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(10)
    again, other = (learn(digits, digits.modality.spec, "classifier", seed) for seed in (3, 4))
    x = digits.test.x[:20]
    assert torch.equal(first(x), again(x)) and not torch.equal(first(x), other(x))


def test_features_come_from_the_cache_and_are_learnt_again_when_it_is_damaged(
    digits: Any, unlabelled: Any, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(networks, "LEAST_STEPS", 6)
    monkeypatch.setattr(networks, "MOST_EPOCHS", 0)
    said: list[str] = []
    first = features_for(digits, cache=cache, notify=said.append)
    (file,) = cache.iterdir()
    assert len(said) == 1 and "数字" in said[0]
    monkeypatch.setattr(module, "learn", lambda *_: pytest.fail("learnt again although it was kept"))
    x = digits.test.x[:20]
    kept = features_for(digits, cache=cache)
    assert torch.equal(kept(x), first(x)) and kept.name == first.name
    monkeypatch.undo()
    monkeypatch.setattr(networks, "LEAST_STEPS", 6)
    monkeypatch.setattr(networks, "MOST_EPOCHS", 0)
    file.write_bytes(file.read_bytes()[:1000])
    assert torch.equal(features_for(digits, cache=cache)(x), first(x))
    assert isinstance(features_for(digits, cache=cache), ClassifierFeatures)
    assert not isinstance(features_for(unlabelled, cache=cache), ClassifierFeatures)
    assert len(list(cache.iterdir())) == 2


def test_a_cache_that_cannot_be_written_is_only_a_notice(
    digits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(networks, "LEAST_STEPS", 6)
    monkeypatch.setattr(networks, "MOST_EPOCHS", 0)
    (tmp_path / "file").write_text("in the way")
    said: list[str] = []
    space = features_for(digits, cache=tmp_path / "file" / "features", notify=said.append)
    assert space(digits.test.x[:3]).shape == (3, 128) and "could not be kept" in said[-1]


@pytest.mark.parametrize("shape", [(2, 40), (3, 30, 17), (1, 64, 64), (4, 7, 8, 9), (1, 1, 33)])
def test_grids_of_every_number_of_axes(held: Any, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "LEAST_STEPS", 4)
    monkeypatch.setattr(networks, "BUDGET", 0)
    x = torch.rand(60, *shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    labels = np.arange(60) % 2
    for known, kind in ((labels, "classifier"), (None, "encoder")):
        data = held(x, known, (40, 10), Grid(shape))
        values = learn(data, data.modality.spec, kind, 0)(x)
        assert values.shape == (60, 128) and bool(torch.isfinite(values).all())


def test_the_kind_follows_the_labels() -> None:
    assert choose_kind(None) == "encoder"
    assert choose_kind(np.zeros(100, dtype=np.int64)) == "encoder"
    assert choose_kind(np.arange(100) % 2) == "classifier"
    assert choose_kind(np.arange(100) // 2) == "encoder"  # two examples a class teach nothing


def test_imbalanced_classes_are_drawn_equally_and_balanced_ones_in_epochs() -> None:
    labels = np.repeat([0, 1, 2], [900, 90, 10])
    order = networks.batches(len(labels), labels, 0)
    seen = np.bincount(labels[np.concatenate([next(order) for _ in range(60)])]) / (60 * networks.BATCH)
    assert seen == pytest.approx([1 / 3] * 3, abs=0.03)
    even = np.arange(3 * networks.BATCH) % 3
    order = networks.batches(len(even), even, 0)
    assert sorted(np.concatenate([next(order) for _ in range(3)])) == list(range(len(even)))


def test_rows_of_a_table_have_no_features_yet(held: Any) -> None:
    data = held(torch.zeros(20, 4), None, (10, 5), Row((Span("年", "numeric", 4),)), "表")
    with pytest.raises(InputError, match=r"表 is Row"):
        features_for(data)


def test_drawn_examples_are_different_and_in_random_order(held: Any) -> None:
    data = held(torch.arange(600.0)[:, None, None, None], None, (600, 0), Grid((1, 1, 1)))
    rows = torch.cat([b.x.flatten() for b in drawn(data.train, 400, 0)])
    assert len(rows) == 400 == len(set(rows.tolist())) and not torch.equal(rows, rows.sort().values)


def test_shifts_fill_from_the_edge_and_keep_what_stays() -> None:
    x = torch.arange(12.0).view(1, 1, 12).expand(200, 1, 12)
    moved = networks.shifted(x, 1 / 4, torch.Generator().manual_seed(0))
    offsets = {int(row[0, 6]) - 6 for row in moved}
    assert offsets == set(range(-3, 4))
    for row in moved:
        expected = (torch.arange(12) + int(row[0, 6]) - 6).clamp(0, 11).float()
        assert torch.equal(row[0], expected)


def test_smoothing_keeps_the_mean_of_what_does_not_touch_the_edge() -> None:
    x = torch.zeros(1, 1, 9, 9)
    x[0, 0, 4, 4] = 16
    y = networks.smoothed(x, 1)
    assert y[0, 0, 3:6, 3:6].tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]] and float(y.sum()) == 16
