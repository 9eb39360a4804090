"""What every record of a benchmark says of how it was made."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path


def command(script: str, arguments: Sequence[str]) -> str:
    """The command to repeat a benchmark: without --out, which names a folder of one machine."""
    kept, rest = [], iter(arguments)
    for argument in rest:
        if argument == "--out":
            next(rest, None)
        elif not argument.startswith("--out="):
            kept.append(argument)
    return " ".join(["python", f"benchmarks/{script}", *kept])


def cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return names[0].split(":", 1)[1].strip() if names else platform.processor()
