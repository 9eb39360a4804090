"""Held-out losses against hand-made ones: when to stop, and which weights to keep."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import final

import pytest
import torch
from torch import Tensor, nn

from examples import Documents, Memory
from genloom.core.batch import Batch, Condition, ConditionSpec
from genloom.core.config import Settings, TrainConfig
from genloom.core.family import Clock, Family, Update
from genloom.core.feed import Window
from genloom.core.holdout import Holdout
from genloom.core.loop import Loop
from genloom.core.optim import OptimiserConfig
from genloom.core.rng import Rng
from genloom.core.spec import Grid

DATA = Memory(torch.zeros(8, 1, 2))
CPU = torch.device("cpu")


@final
class Walk(Family):
    """Its weight goes up by a little every step; its loss on held-out data is the distance to `best`."""

    Config = Settings
    Options = Settings
    accepts = (Grid,)
    exact = True

    def __init__(self, best: float, window: Window | None = None) -> None:
        super().__init__()
        self.spec, self.condition = Grid((1, 2)), ConditionSpec()
        self.net = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.net.weight)
        self.best, self.cut = best, window

    def players(self) -> dict[str, nn.Module]:
        return {"net": self.net}

    def optimisers(self) -> dict[str, OptimiserConfig]:
        return {"net": OptimiserConfig(lr=0.1)}

    def window(self) -> Window | None:
        return self.cut

    def updates(self, batch: Batch, clock: Clock, rng: Rng) -> Iterator[Update]:
        yield Update("net", -self.net.weight.sum())

    def nll(self, batch: Batch, rng: Rng) -> Tensor:
        return (self.net.weight[0] - self.best).abs().expand(len(batch))

    def sample(self, n: int, condition: Condition, rng: Rng, options: Settings) -> Tensor:
        return torch.zeros(n, 1, 2)


def weight(family: Walk) -> float:
    return float(family.net.weight.detach())


def test_patience_counts_measurements_since_the_best() -> None:
    family, holdout = Walk(1.0), Holdout(DATA, 10, 2)
    losses = []
    for w in (0.0, 0.5, 0.9, 1.3, 1.0, 1.2, 1.4):
        nn.init.constant_(family.net.weight, w)
        losses.append(holdout.measure(family, CPU))
        assert holdout.enough is (w == 1.4)
    assert losses == pytest.approx([1.0, 0.5, 0.1, 0.3, 0.0, 0.2, 0.4], abs=1e-6)
    assert float(holdout.weights["net.weight"]) == 1.0
    assert holdout.verdicts.done == 7 and holdout.verdicts.worse == 2


def test_without_patience_it_never_stops_nor_keeps() -> None:
    family, holdout = Walk(0.0), Holdout(DATA, 10, 0)
    for w in range(9):
        nn.init.constant_(family.net.weight, float(w))
        holdout.measure(family, CPU)
    assert not holdout.enough and not holdout.weights


def test_measurements_are_due_at_even_points() -> None:
    family, holdout = Walk(0.0), Holdout(DATA, 4, 0)
    due = []
    for step in range(101):
        if holdout.due(step / 100):
            holdout.measure(family, CPU)
            due.append(step)
    assert due == [25, 50, 75, 100]


@pytest.mark.parametrize("patience", [0, 2])
def test_the_loop_stops_and_keeps_the_best_weights(patience: int) -> None:
    best = 1.0
    family = Walk(best)
    config = TrainConfig(
        steps=100, batch=4, warmup=0, decay=0.0, ema=0.0, grids=0, precision="fp32", validate_times=50,
        patience=patience,
    )  # fmt: skip
    summary = Loop(family, DATA, config, 0, held_out=DATA).run()
    if patience:
        assert summary["steps"] < 50 and weight(family) == pytest.approx(best, abs=0.25)
    else:
        assert summary["steps"] == 100 and weight(family) > 5


def test_losses_of_windows_are_told_per_token() -> None:
    family = Walk(3.0, Window(10))
    family.nll = lambda batch, rng: torch.full((len(batch),), 10 * math.log(7))  # type: ignore[method-assign]
    holdout = Holdout(Documents([torch.arange(500)]), 4, 1)
    assert holdout.measure(family, CPU) == pytest.approx(math.log(7), rel=1e-6)
