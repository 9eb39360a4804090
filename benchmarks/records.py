"""What every record of a benchmark says of how it was made, and where records are kept."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def command(script: str, arguments: Sequence[str]) -> str:
    """The command to repeat a benchmark: without --out, and other folders of one machine by their last part alone."""
    kept, rest = [], iter(arguments)
    for argument in rest:
        if argument == "--out":
            next(rest, None)
        elif not argument.startswith("--out="):
            kept.append(Path(argument).name if Path(argument).is_absolute() else argument)
    return " ".join(["python", f"benchmarks/{script}", *kept])


def machine(*packages: str) -> dict[str, Any]:
    """Versions of Python, genloom, torch, numpy and `packages`; threads, cores and processor."""
    import torch

    names = ("genloom", "torch", "numpy", *packages)
    return {
        "versions": {"python": platform.python_version(), **{n: version(n) for n in names}},
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "cpu": cpu_model(),
    }


def keep(name: str, record: Mapping[str, Any], folder: Path = RESULTS) -> Path:
    """Write a record as folder/name.json."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(record, indent=2) + "\n", "utf-8")
    return path


def cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return names[0].split(":", 1)[1].strip() if names else platform.processor()
