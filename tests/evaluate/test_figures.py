"""Figures of known samples: real ones, spoilt ones, wrongly labelled ones, too few."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from genloom.core.errors import InputError
from genloom.core.spec import Grid
from genloom.evaluate import figures as module
from genloom.evaluate.evaluation import Evaluation
from genloom.evaluate.features import ClassifierFeatures, EncoderFeatures
from genloom.evaluate.figures import Joined, as_written, default_number, evaluate_samples, judge, reference_split
from genloom.evaluate.kinds import GRID_KINDS


@pytest.fixture(scope="session")
def real(digits: Any, classifier: EncoderFeatures) -> Evaluation:
    """Real digits judged as if they were samples: 400 of the training split."""
    return judge(digits.train.x[:400], torch.from_numpy(digits.train.labels[:400]), digits, classifier)


@pytest.fixture(scope="session")
def spoilt(digits: Any, classifier: EncoderFeatures) -> Evaluation:
    """Noisy digits of the classes 0 to 4 only, half of them asked for as something else."""
    rows = np.flatnonzero(digits.train.labels < 5)[:400]
    x = digits.train.x[rows] + 0.5 * torch.randn(400, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.from_numpy(digits.train.labels[rows]).clone()
    labels[:200] = (labels[:200] + 5) % 10
    return judge(x, labels, digits, classifier)


def test_real_data_is_judged_as_its_ceiling(real: Evaluation) -> None:
    assert [f.name for f in real.figures] == list(GRID_KINDS)
    for f in real.figures:
        assert f.value is not None and f.interval is not None and f.ceiling is not None and f.floor is not None, f.name
        assert f.interval[0] <= f.value <= f.interval[1], f.name
        assert abs(f.value - f.ceiling) < 0.25 * abs(f.floor - f.ceiling), f.name
        pairs = 400 if f.name in ("precision", "recall", "density", "coverage") else 647
        assert (f.n, f.reference_n, f.note) == (400, pairs, ""), f.name


def test_the_floor_is_worse_than_the_ceiling(real: Evaluation) -> None:
    for f in real.figures:
        assert f.floor is not None and f.ceiling is not None
        assert f.floor > f.ceiling if f.direction == "lower" else f.floor < f.ceiling, f.name


def test_spoilt_samples_are_found_out(real: Evaluation, spoilt: Evaluation) -> None:
    for name in ("frechet", "kernel"):
        assert spoilt[name].value > 3 * real[name].value + 1e-3, name  # type: ignore[operator]
    for name in ("recall", "coverage", "class_entropy", "label_agreement"):
        assert spoilt[name].interval[1] < real[name].interval[0], name  # type: ignore[index]
    assert spoilt["class_entropy"].value < math.log(10) - 0.3  # type: ignore[operator]
    assert spoilt["label_agreement"].value < 0.55  # type: ignore[operator]


def test_references_do_not_depend_on_the_samples(real: Evaluation, spoilt: Evaluation) -> None:
    for f in real.figures:
        assert (f.ceiling, f.floor) == (spoilt[f.name].ceiling, spoilt[f.name].floor), f.name


def test_the_json_comes_back(spoilt: Evaluation) -> None:
    document = json.loads(json.dumps(spoilt.to_json(), allow_nan=False))
    assert document["schema"] == "genloom.evaluation/1"
    assert [document[k] for k in ("copying", "groups", "cost")] == [None] * 3  # `judge` alone does not say
    assert Evaluation.from_json(document) == spoilt
    old = {k: v for k, v in document.items() if k not in ("copying", "groups", "cost")}
    assert Evaluation.from_json({**old, "later": {"rate": 0.0}}) == spoilt
    assert Evaluation.from_json({**document, "copying": {"rate": 0.0}}).copying == {"rate": 0.0}
    with pytest.raises(InputError, match=r"genloom\.evaluation/9"):
        Evaluation.from_json({**document, "schema": "genloom.evaluation/9"})
    with pytest.raises(InputError, match="damaged"):
        Evaluation.from_json({k: v for k, v in document.items() if k != "samples"})
    with pytest.raises(KeyError):
        spoilt["inception"]


def test_without_labels_there_are_no_class_figures(
    unlabelled: Any, encoder: EncoderFeatures, digits: Any, classifier: EncoderFeatures
) -> None:
    found = judge(unlabelled.train.x[:300], None, unlabelled, encoder)
    assert [f.name for f in found.figures] == list(GRID_KINDS)[:6]
    unasked = judge(digits.train.x[:300], None, digits, classifier)
    assert [f.name for f in unasked.figures] == list(GRID_KINDS)[:7]


def test_too_few_examples_give_a_reason_instead_of_a_figure(digits: Any, classifier: EncoderFeatures) -> None:
    few = judge(digits.train.x[:60], torch.from_numpy(digits.train.labels[:60]), digits, classifier)
    assert few["frechet"].value is None and "60 examples are too few" in few["frechet"].note
    assert few["frechet"].ceiling is None and few["frechet"].interval is None
    assert few["kernel"].value is not None and few["precision"].value is not None
    small = replace(
        digits,
        test=type(digits.test)(digits.test.x[:30], digits.test.labels[:30]),
        validation=type(digits.test)(digits.test.x[:0], digits.test.labels[:0]),
    )
    rough = judge(digits.train.x[:400], torch.from_numpy(digits.train.labels[:400]), small, classifier)
    assert rough["precision"].value is None and "30 held-out" in rough["precision"].note
    assert rough["label_agreement"].value is not None
    assert any("30 held-out examples are few" in n for n in rough.notices)


def test_a_training_split_smaller_than_the_samples_is_said(digits: Any, classifier: EncoderFeatures) -> None:
    short = replace(digits, train=type(digits.train)(digits.train.x[:150], digits.train.labels[:150]))
    found = judge(digits.test.x, torch.from_numpy(digits.test.labels), short, classifier)
    assert "150 training examples" in found["frechet"].note
    assert any("only 150 training examples for 647 samples" in n for n in found.notices)


def test_a_small_test_split_is_joined_with_validation(digits: Any) -> None:
    chosen, names = reference_split(digits)
    assert names == ("test",) and chosen is digits.test
    short = replace(digits, test=type(digits.test)(digits.test.x[:40], digits.test.labels[:40]))
    chosen, names = reference_split(short)
    assert isinstance(chosen, Joined) and names == ("validation", "test") and len(chosen) == 190
    batch = chosen.batch(np.array([160, 3, 189, 149, 150]))
    expected = torch.stack(
        [digits.test.x[10], digits.validation.x[3], digits.test.x[39], digits.validation.x[149], digits.test.x[0]]
    )
    assert torch.equal(batch.x, expected)
    labels = [
        digits.test.labels[10],
        digits.validation.labels[3],
        digits.test.labels[39],
        digits.validation.labels[149],
        digits.test.labels[0],
    ]
    assert batch.condition.label is not None and batch.condition.label.tolist() == labels
    whole = torch.cat([b.x for b in chosen.batches(64)])
    assert torch.equal(whole, torch.cat([digits.validation.x, digits.test.x[:40]]))
    empty = type(digits.test)(digits.test.x[:0], digits.test.labels[:0])
    nothing, names = reference_split(replace(digits, test=empty, validation=empty))
    assert len(nothing) == 0 and names == ()


def test_samples_are_judged_as_files_would_hold_them() -> None:
    x = torch.tensor([[-1.4, -1.0, 0.03, 0.99, 1.4]])
    written = as_written(x, Grid((1, 5), 5))
    assert written.tolist() == [[-1, -1, 0, 1, 1]]
    assert as_written(x, Grid((1, 5), None)).tolist() == x.clamp(-1, 1).tolist()


@pytest.mark.parametrize("bad", ["shape", "nan", "none"])
def test_samples_that_cannot_be_judged(bad: str, digits: Any, classifier: EncoderFeatures) -> None:
    x = {"shape": torch.zeros(50, 1, 8, 9), "nan": torch.full((50, 1, 8, 8), math.nan), "none": torch.zeros(0, 1, 8, 8)}
    with pytest.raises(InputError):
        judge(x[bad], None, digits, classifier)


@pytest.mark.parametrize(
    ("train", "reference", "n"), [(57_000, 10_000, 5000), (1600, 180, 500), (200, 20, 200), (9000, 1200, 1200)]
)
def test_the_usual_number_of_samples(train: int, reference: int, n: int) -> None:
    assert default_number(train, reference) == n


class Replay:
    """A generator that gives training examples; `honoured` says which conditions it obeys."""

    def __init__(self, data: Any, honoured: set[str]) -> None:
        self.data, self.family = data, torch.nn.Linear(1, 1)
        self.family.honours = lambda: frozenset(honoured)  # type: ignore[assignment]

    def sample_tensor(
        self, n: int, *, seed: int = 0, given: object = None, options: object = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        rows = np.random.default_rng(seed).permutation(len(self.data.train))[:n]
        return self.data.train.x[rows], torch.from_numpy(self.data.train.labels[rows])


def test_a_generator_is_sampled_and_judged(
    digits: Any, classifier: EncoderFeatures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "features_for", lambda data, notify: classifier)
    said: list[str] = []
    found = evaluate_samples(Replay(digits, {"label"}), digits, seed=3, notify=said.append)  # type: ignore[arg-type]
    assert found.samples == {"n": 647, "seed": 3} and any("647" in s for s in said)
    assert found["label_agreement"].value > 0.95  # type: ignore[operator]
    again = evaluate_samples(Replay(digits, {"label"}), digits, seed=3)  # type: ignore[arg-type]
    assert replace(again, seconds=found.seconds, cost=found.cost) == found
    assert found.copying is not None and found.groups is not None and found.cost is not None
    assert found.copying["verdict"] == "copying" and found.copying["exact"]["count"] == 647
    assert len(found.groups["groups"]) == 10 and found.cost["sampling"]["n"] == 647
    deaf = evaluate_samples(Replay(digits, set()), digits, n=200)  # type: ignore[arg-type]
    assert "label_agreement" not in [f.name for f in deaf.figures]


def test_class_figures_of_real_data_come_from_what_the_classifier_has_not_seen(
    real: Evaluation, digits: Any, classifier: EncoderFeatures
) -> None:
    assert isinstance(classifier, ClassifierFeatures)
    right = classifier.classify(classifier(digits.test.x)).numpy() == digits.test.labels
    assert real["label_agreement"].ceiling == pytest.approx(right.mean())
    few = replace(
        digits,
        validation=type(digits.test)(digits.test.x[:0], digits.test.labels[:0]),
        test=type(digits.test)(digits.test.x[:15], digits.test.labels[:15]),
    )
    agreement = judge(digits.train.x[:60], torch.from_numpy(digits.train.labels[:60]), few, classifier)[
        "label_agreement"
    ]
    assert agreement.value is not None and agreement.ceiling is None and "15 examples are too few" in agreement.note
