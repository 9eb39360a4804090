"""The runs of a comparison, as their folders tell them, and what each contender cost."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genloom.core.errors import InputError
from genloom.core.run import CONFIG, MANIFEST, WEIGHTS, RunFolder
from genloom.evaluate.evaluation import Evaluation
from genloom.evaluate.report import optional
from genloom.evaluate.story import mapping

SAME = 1.2  # times and speeds within this factor are not told apart: other work on a machine changes them so
EXACT = {"parameters", "file_bytes"}


@dataclass(frozen=True)
class Member:
    """A run of the comparison. label: the row it belongs to, together with the runs of other seeds. evaluation None:
    `error` says why."""

    label: str
    name: str
    folder: Path
    evaluation: Evaluation | None
    error: str = ""

    @property
    def config(self) -> dict[str, Any]:
        return optional(self.folder / CONFIG)

    @property
    def manifest(self) -> dict[str, Any]:
        return optional(self.folder / MANIFEST)

    def cost(self) -> dict[str, float | None]:
        """Each of MEASURES, None where it is not known."""
        known = mapping(self.evaluation.cost) if self.evaluation else {}
        training, energy, drawing = (mapping(known.get(k)) for k in ("training", "energy", "sampling"))
        weights = self.folder / WEIGHTS
        found = {
            "samples_per_second": drawing.get("per_second"),
            "samples_per_second_per_core": drawing.get("per_second_per_core"),
            "examples_per_second": training.get("examples_per_second"),
            "parameters": training.get("parameters"),
            "file_bytes": weights.stat().st_size if weights.is_file() else None,
            "peak_memory_bytes": training.get("peak_memory_bytes"),
            "watt_hours": energy.get("watt_hours"),
            "seconds": training.get("seconds"),
            "steps": training.get("steps"),
        }
        return {k: v if isinstance(v, int | float) else None for k, v in found.items()}


# What a contender costs: title, what it means, which way is better ("" where neither is)
MEASURES: dict[str, tuple[str, str, str]] = {
    "samples_per_second": ("Samples per second", "Drawing the samples that were judged.", "higher"),
    "samples_per_second_per_core": ("Samples per second and core", "The same for each CPU core.", "higher"),
    "examples_per_second": ("Training examples per second", "Over the whole training.", "higher"),
    "parameters": ("Parameters", "Of all players; a GAN's critic is trained but not sampled from.", "lower"),
    "file_bytes": ("Size of the weights", "Of the file model.safetensors.", "lower"),
    "peak_memory_bytes": ("Most memory held", "By the training's process.", "lower"),
    "watt_hours": ("Energy of training", "An estimate by an assumed power, not measured.", "lower"),
    "seconds": ("Training time", "From the first step to the weights.", ""),
    "steps": ("Steps", "Of the optimiser.", ""),
}


def costs(members: Sequence[Member]) -> dict[str, dict[str, float | None]]:
    """Of each label the median over its runs of every measure."""
    out = {}
    for label in dict.fromkeys(m.label for m in members):
        each = [m.cost() for m in members if m.label == label and m.evaluation is not None]
        if each:
            out[label] = {name: _median([c[name] for c in each]) for name in MEASURES}
    return out


def _median(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return statistics.median(known) if known else None


def leaders(known: Mapping[str, Mapping[str, float | None]], measure: str) -> list[str]:
    """The labels that are best in a measure, or so near that they cannot be told from it."""
    values = {label: v for label, c in known.items() if (v := c.get(measure))}
    if not values:
        return []
    near = 1.0 if measure in EXACT else SAME
    if MEASURES[measure][2] == "higher":
        return [label for label, v in values.items() if v * near >= max(values.values())]
    return [label for label, v in values.items() if v <= near * min(values.values())]


def check_runs(folders: Sequence[Path]) -> list[str]:
    """The names of runs to compare, after making sure that they are different, finished runs of the same data.

    Raises InputError that says which are not.
    """
    seen: dict[Path, Path] = {}
    data: dict[str, tuple[str, Path]] = {}
    for folder in folders:
        run = RunFolder.open(folder)
        manifest = run.manifest()
        if not (folder / WEIGHTS).is_file():
            raise InputError(f"the run {folder} has no weights; its training has not ended: go on with --resume")
        twin = seen.setdefault(folder.resolve(), folder)
        if twin is not folder:
            same = "is named twice" if str(twin) == str(folder) else f"and {twin} are the same run"
            raise InputError(f"{folder} {same}; name each run once")
        of = mapping(manifest.get("data"))
        data.setdefault(str(of.get("digest")), (str(of.get("name")), folder))
    if len(data) > 1:
        (name, first), (other, second) = list(data.values())[:2]
        how = f"{name} and {other}" if name != other else f"{name}, which was prepared or split in different ways"
        raise InputError(
            f"{first} and {second} were trained on different data ({how}), so their figures cannot stand side by side; "
            "compare runs of the same data"
        )
    short = [f.resolve().name for f in folders]
    return [n if short.count(n) == 1 else str(f) for n, f in zip(short, folders, strict=True)]
