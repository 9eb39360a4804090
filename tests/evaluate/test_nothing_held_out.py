"""Judging without held-out data, and samples that are all the same: what can be measured is, the rest says why not."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from evaluate.languages import Bigram, Generator, Prepared, documents, stream
from genloom.data.sequences import Sequences
from genloom.evaluate import figures as module
from genloom.evaluate.evaluation import Evaluation
from genloom.evaluate.features import EncoderFeatures
from genloom.evaluate.figures import evaluate_samples
from genloom.evaluate.kinds import GRID_KINDS, SEQUENCE_KINDS

REASON = "no held-out split"


class Given:
    """A generator of the given samples."""

    def __init__(self, x: Tensor, labels: Tensor) -> None:
        self.x, self.labels, self.family = x, labels, torch.nn.Linear(1, 1)
        self.family.honours = lambda: frozenset({"label"})  # type: ignore[assignment]

    def sample_tensor(
        self, n: int, *, seed: int = 0, given: object = None, options: object = None
    ) -> tuple[Tensor, Tensor]:
        return self.x[:n], self.labels[:n]


def evaluated(generator: Any, data: Any, space: Any, **asked: Any) -> Evaluation:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "features_for", lambda data, notify: space)
        return evaluate_samples(generator, data, **asked)


def finite(found: Evaluation) -> bool:
    """No number in the whole document is infinite or not one."""
    json.dumps(found.to_json(), allow_nan=False)
    return all(f.value is None or math.isfinite(f.value) for f in found.figures)


def without(data: Any, kind: type) -> Any:
    if kind is Sequences:
        empty = Sequences(data.modality.spec, data.train.tokens[:0], np.zeros(1, dtype=np.int64), None, list)
    else:
        empty = kind(data.train.x[:0], data.train.labels[:0])
    return replace(data, validation=empty, test=empty)


class Plain(torch.nn.Module):
    """A feature space of fixed random projections."""

    name, width = "projections", 8

    def __call__(self, x: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        table = torch.randn(4096, self.width, generator=generator)
        flat = x.flatten(1).float()
        return flat @ table[: flat.shape[1]] / flat.shape[1] ** 0.5


def test_grids(digits: Any, classifier: EncoderFeatures) -> None:
    data = without(digits, type(digits.test))
    generator = Given(digits.test.x, torch.from_numpy(digits.test.labels))
    found = evaluated(generator, data, classifier)
    assert found.samples["n"] == 500 and found.reference == {"splits": [], "n": 0} and finite(found)
    whole = evaluated(generator, digits, classifier, n=500)
    for name in GRID_KINDS:
        figure = found[name]
        if name in ("class_entropy", "label_agreement"):
            assert figure.value == whole[name].value and figure.floor == whole[name].floor
            assert figure.ceiling is None and figure.note == f"no ceiling: {REASON}"
        else:
            assert figure.value is figure.ceiling is figure.floor is None and figure.note == REASON
    assert found.copying is not None and found.copying["verdict"] == "not tested"
    assert "no held-out examples" in found.copying["reason"] and found.groups is None and found.cost is not None
    assert any("nothing is held out" in n for n in found.notices)


@pytest.mark.parametrize("images", [1, 2, 9])
def test_a_handful_of_images(images: int, digits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Features are learnt from them all the same."""
    from genloom.evaluate import networks

    monkeypatch.setenv("GENLOOM_CACHE", str(tmp_path))
    monkeypatch.setattr(networks, "LEAST_STEPS", 8)
    monkeypatch.setattr(networks, "MOST_EPOCHS", 0)
    data = without(digits, type(digits.test))
    data = replace(data, train=type(digits.test)(digits.train.x[:images], digits.train.labels[:images]))
    found = evaluate_samples(Given(digits.test.x, torch.from_numpy(digits.test.labels)), data)  # type: ignore[arg-type]
    assert found["frechet"].note == REASON and finite(found) and found.samples["n"] == max(2, images)


@pytest.mark.parametrize("kind", ["documents", "stream"])
def test_sequences(kind: str) -> None:
    data: Prepared = documents(200, 60) if kind == "documents" else stream(300, 60)
    empty = without(data, Sequences)
    model = Generator(Bigram(data))
    asked = {"n": 40} if kind == "documents" else {"n": 5}
    whole, found = (evaluated(model, d, Plain(), **asked) for d in (data, empty))
    usual = evaluated(model, empty, Plain())
    assert usual.samples["n"] == (200 if kind == "documents" else 16)
    assert [f.name for f in found.figures] == [
        n for n in (f.name for f in whole.figures) if n != "nats_per_character_64"
    ]
    assert finite(found) and finite(usual) and set(f.name for f in found.figures) <= set(SEQUENCE_KINDS)
    for f in found.figures:
        alone = f.name.startswith(("self_bleu", "distinct", "repetition", "longest", "novel"))
        assert (f.value is not None) == alone, f.name
        assert alone or f.note == REASON, f.name
    if kind == "documents":  # a stream is cut to pieces by what is held out
        for name in ("self_bleu", "distinct_2", "repetition", "longest_verbatim", "novel_words"):
            assert found[name].value == whole[name].value, name
    assert found["novel_words"].ceiling is None and found["novel_words"].note == f"no ceiling: {REASON}"
    assert found["self_bleu"].ceiling is not None
    assert found.copying is not None and found.copying["verdict"] == "not tested" and found.groups is None
    assert any("nothing is held out" in n for n in found.notices)


def test_samples_that_are_all_the_same(digits: Any, classifier: EncoderFeatures) -> None:
    x, labels = digits.train.x[:1].expand(300, -1, -1, -1), torch.from_numpy(digits.train.labels[:1]).expand(300)
    found = evaluated(Given(x, labels), digits, classifier, n=300)
    assert finite(found) and all(f.value is not None for f in found.figures)
    assert any("only 1 of 300 samples differ" in n and "collapsed" in n for n in found.notices)
    assert found["recall"].value < 0.05 and found["class_entropy"].value == 0  # type: ignore[operator]
    assert found["frechet"].value > 5 * found["frechet"].ceiling  # type: ignore[operator]
    various = evaluated(Given(digits.test.x, torch.from_numpy(digits.test.labels)), digits, classifier, n=300)
    assert not any("collapsed" in n for n in various.notices)


def test_texts_that_are_all_the_same() -> None:
    data = documents(200, 60)
    row = data.train.batch(np.array([0])).x.expand(60, -1)

    class Same(Generator):
        def sample_tensor(
            self, n: int, *, seed: int = 0, given: object = None, options: object = None
        ) -> tuple[Tensor, None]:
            return row[:n], None

    found = evaluated(Same(Bigram(data)), data, Plain(), n=60)
    assert finite(found) and found["self_bleu"].value == pytest.approx(1)
    assert any("only 1 of 60 samples differ" in n for n in found.notices)
