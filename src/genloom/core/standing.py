"""Where a training stands, and the sums between two records of its history."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass
class Progress:
    """Where a training stands; saved in every checkpoint.

    step: rounds done. position: examples consumed. seconds: training time so far. stage, stage_step: current stage and
    the step at which it began. attempt: number of roll-backs, part of every random stream so that a bad step is not
    repeated. grids: sample grids drawn.
    """

    step: int = 0
    position: int = 0
    seconds: float = 0.0
    stage: int = -1
    stage_step: int = 0
    skipped: int = 0
    attempt: int = 0
    grids: int = 0


@dataclass
class Meter:
    """Sums since the last record."""

    losses: dict[str, list[Tensor]] = field(default_factory=dict)
    logs: dict[str, list[Tensor]] = field(default_factory=dict)
    examples: int = 0
    begin: float = field(default_factory=time.perf_counter)
    wait: float = 0.0

    def record(self, wait: float) -> dict[str, Any]:
        span = max(time.perf_counter() - self.begin, 1e-9)
        means = lambda sums: {n: float(torch.stack(v).mean()) for n, v in sums.items()}  # noqa: E731
        return {
            "losses": means(self.losses),
            "logs": means(self.logs),
            "examples_per_second": round(self.examples / span, 1),
            "data_wait": round((wait - self.wait) / span, 5),
        }
