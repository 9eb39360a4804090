"""What a training would be, and how long it would take."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from genloom.core.config import RunConfig, TrainConfig
from genloom.core.family import Family
from genloom.core.loop import Loop
from genloom.core.rng import Rng, derive
from genloom.data.prepare import Prepared

TRIED = 2_000  # examples that a family without steps is fitted to, to tell how long all take


@dataclass(frozen=True)
class Plan:
    """What a training would be: settings, data, sizes, expected speed. steps: 0 of a family that is fitted in one go.
    seconds: of all of it."""

    config: RunConfig
    description: dict[str, Any]
    seconds_per_step: float
    steps: int
    seconds: float
    notices: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "config": self.config.model_dump(mode="json"),
            **self.description,
            "notices": list(self.notices),
            "seconds_per_step": round(self.seconds_per_step, 5),
            "steps": self.steps,
            "seconds": round(self.seconds, 1),
        }


def timed(config: RunConfig, family: Family, prepared: Prepared, description: Mapping[str, Any]) -> Plan:
    """The plan of a training, after a few steps of it. family: the caller's own, whose weights change; a copy would
    lose what is marked on its parameters (core/optim.py)."""
    if not family.players():
        return Plan(config, dict(description), 0.0, 0, _fitted(config, family, prepared), tuple(prepared.notices))
    trial = TrainConfig(**{**config.train.model_dump(), "steps": 4, "budget": None, "grids": 0, "compile": False})
    times = Loop(family, prepared.train, trial, config.seed).time_steps(4)
    each = statistics.median(times[1:])  # the first also measures the data
    wanted = config.train.steps or max(1, int((config.train.budget or 0) / each))
    return Plan(config, dict(description), each, wanted, wanted * each, tuple(prepared.notices))


def _fitted(config: RunConfig, family: Family, prepared: Prepared) -> float:
    """Seconds that fitting all examples in one go takes, from those of fitting some."""
    begin, tried = time.perf_counter(), min(TRIED, len(prepared.train))
    family.settle(prepared.train.batches(TRIED, tried), Rng(derive(config.seed, "settle")))
    return (time.perf_counter() - begin) * len(prepared.train) / tried
