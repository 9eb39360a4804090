"""Figures that a modality has of its own, on grids: what each is measured against and its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from genloom.core.modality import OwnFigure
from genloom.core.spec import Grid
from genloom.evaluate.figures import judge
from genloom.metrics.intervals import wilson_interval

SPEC = Grid((1, 2, 2), None)


def bright(examples: Sequence[float], others: Sequence[float]) -> np.ndarray:
    """Whether each example is brighter than all others."""
    return np.array([float(e > max(others)) for e in examples])


class Means(SimpleNamespace):
    """Examples that are known by their mean."""

    spec = SPEC

    def decode(self, x: Tensor) -> float:
        return float(x.mean())

    def traits(self) -> Mapping[str, str]:
        return {"positive": "Share above 0."}

    def shows_trait(self, name: str, example: float) -> bool:
        return example > 0

    def figures(self) -> Mapping[str, OwnFigure]:
        share = OwnFigure("Bright", "Share brighter than all.", "lower", "share", bright, "training")
        one = OwnFigure("Gap", "Distance of the means.", "lower", "", lambda a, b: abs(np.mean(a) - np.mean(b)))
        none = OwnFigure("None", "Never known.", "lower", "", lambda a, b: float("nan"))
        return {"bright": share, "gap": one, "none": none}


class Pixels:
    name, width = "pixels", 4

    def __call__(self, x: Tensor) -> Tensor:
        return x.flatten(1)


@pytest.fixture
def data(held: Any) -> Any:
    x = torch.linspace(-1, 0.5, 100)[:, None, None, None].expand(100, 1, 2, 2).clone()
    return replace(held(x, None, (60, 0), SPEC), modality=Means())


def judged(data: Any) -> Any:
    samples = torch.linspace(-1, 1, 40)[:, None, None, None].expand(40, 1, 2, 2).clone()
    return judge(samples, None, data, Pixels())


def test_each_stands_between_its_references(data: Any) -> None:
    found = judged(data)
    values, train, test = np.linspace(-1, 1, 40), data.train.x[:, 0, 0, 0].numpy(), data.test.x[:, 0, 0, 0].numpy()
    share = float((values > 0).mean())
    assert found["positive"].value == share and found["positive"].interval == wilson_interval(share, 40)
    brighter = float((values > train.max()).mean())
    assert found["bright"].value == pytest.approx(brighter) and found["bright"].reference_n == 60
    assert found["bright"].interval == pytest.approx(wilson_interval(brighter, 40))
    assert found["bright"].ceiling == float((test > train.max()).mean())
    assert found["gap"].value == pytest.approx(abs(values.mean() - test.mean()), abs=1e-6)
    assert found["gap"].reference_n == 40 and found["gap"].interval is None and found["gap"].floor is not None
    assert found["none"].value is None and "cannot be told" in found["none"].note


def test_without_held_out_examples_it_says_so(data: Any) -> None:
    none = replace(data, test=type(data.test)(data.test.x[:0]))
    found = judged(none)
    assert found["gap"].value is None and "held-out" in found["gap"].note
    assert found["bright"].value is not None and found["bright"].ceiling is None and "held-out" in found["bright"].note
