"""What a run cost and what its samples cost: time, examples, parameters, memory, an estimate of the energy."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from genloom.core.batch import Condition
from genloom.core.device import device_of
from genloom.core.family import Family
from genloom.evaluate.contracts import Generator

WATTS_DEVICE = 300.0  # of an accelerator at work, where nobody said


@dataclass
class Watched:
    """A generator whose samples are kept and timed as they are drawn."""

    generator: Generator
    x: Tensor | None = None
    labels: Tensor | None = None
    drawing: dict[str, Any] = field(default_factory=dict)

    @property
    def family(self) -> Family:
        return self.generator.family

    def sample_tensor(
        self, n: int, *, seed: int = 0, given: Condition | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Tensor, Tensor | None]:
        begin = time.perf_counter()
        self.x, self.labels = self.generator.sample_tensor(n, seed=seed, given=given, options=options)
        seconds = max(time.perf_counter() - begin, 1e-9)
        device = device_of(self.family).type
        threads = torch.get_num_threads()
        self.drawing = {
            "n": n,
            "seconds": round(seconds, 3),
            "per_second": round(n / seconds, 2),
            "per_second_per_core": round(n / seconds / threads, 2) if device == "cpu" else None,
            "threads": threads,
            "device": device,
        }
        return self.x, self.labels


def cost_of(manifest: Mapping[str, Any], train: Mapping[str, Any], drawing: Mapping[str, Any] | None) -> dict[str, Any]:
    """The cost as JSON, from a run's manifest and its settings of training; what is not known is None. drawing: how the
    samples of an evaluation were drawn.

    The energy is an assumption, not a measurement: time x cores at work x `train.watts` (300 W for an accelerator).
    """
    seconds, rate, threads = (_number(manifest.get(k)) for k in ("seconds", "examples_per_second", "threads"))
    parameters = manifest.get("parameters")
    counts = [v for v in parameters.values() if isinstance(v, int)] if isinstance(parameters, Mapping) else []
    device = str(manifest.get("device") or "")
    on_cpu = device in ("", "cpu")
    watts = _number(train.get("watts"))
    if on_cpu:
        each = watts if watts is not None else 10.0
        power = None if threads is None else each * threads
        assumption = f"{each:g} W for each of {threads or 0:.0f} cores, all the time"
    else:
        power = WATTS_DEVICE
        assumption = f"{WATTS_DEVICE:g} W for the accelerator, all the time"
    energy = None
    if seconds is not None and power is not None:
        energy = {
            "watt_hours": round(seconds / 3600 * power, 3),
            "watts": power,
            "assumption": f"{assumption}; estimated, not measured",
        }
    return {
        "training": {
            "seconds": seconds,
            "steps": _number(manifest.get("steps")),
            "examples": None if seconds is None or rate is None else round(rate * seconds),
            "examples_per_second": rate,
            "parameters": sum(counts) if counts else None,
            "peak_memory_bytes": _number(manifest.get("peak_memory_bytes")),
            "threads": threads,
            "device": device or None,
        },
        "energy": energy,
        "sampling": dict(drawing) if drawing else None,
    }


def _number(value: Any) -> float | int | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
