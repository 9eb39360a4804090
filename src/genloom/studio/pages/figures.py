"""What the evaluation of a run says, as the pages show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from genloom.core.run import RunFolder
from genloom.evaluate.evaluation import Evaluation
from genloom.evaluate.report import FigureRow, bar, read_evaluation
from genloom.evaluate.story import ShownPair, copying_facts, copying_of, cost_facts, headline, mapping, pairs_of
from genloom.studio.pages.workspace import Workspace


@dataclass(frozen=True)
class Judged:
    """evaluation: None where the run was not judged; problem: why it cannot be read."""

    evaluation: Evaluation | None
    problem: str
    headline: str
    rows: list[FigureRow]
    copying: dict[str, Any]
    facts: list[tuple[str, str]]
    pairs: list[ShownPair]
    groups: dict[str, Any]
    cost: list[tuple[str, str]]


def of(space: Workspace, name: str) -> Judged:
    folder = RunFolder(space.runs / name)
    manifest, config = space.manifest(name), space.config(name)
    evaluation, problem = read_evaluation(folder.evaluation)
    rows = [FigureRow(f, bar(f)) for f in evaluation.figures] if evaluation else []
    placed = [r.bar for r in rows if r.bar]
    copying = copying_of(evaluation, manifest)
    near = sum(b.value > (b.floor + b.ceiling) / 2 for b in placed)
    return Judged(
        evaluation, problem, headline(evaluation, manifest, near, len(placed)), rows, copying,
        copying_facts(copying) if evaluation else [], pairs_of(copying, folder.path),
        mapping(evaluation.groups) if evaluation else {}, cost_facts(evaluation, manifest, config),
    )  # fmt: skip


def notices(manifest: Mapping[str, Any]) -> list[str]:
    """What the training noticed in its data."""
    return [str(n) for n in mapping(manifest.get("data")).get("notices") or []]
