"""Evaluations with given figures, in place of measured ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from genloom.comparison.members import Member
from genloom.evaluate.evaluation import Evaluation, Figure, figure_of


def figure(name: str, value: float | None, low: float = 0, high: float = 0, note: str = "") -> Figure:
    own = None if value is None else (value, (low, high))
    return figure_of(name, own, (4.9, None), (89.0, None), (500, 173), "features", note)


def evaluation(*figures: Figure, verdict: str = "none", **sampling: Any) -> Evaluation:
    cost = {"training": {"parameters": sampling.pop("parameters", 1000)}, "energy": None, "sampling": sampling or None}
    return Evaluation(
        figures,
        data={"name": "digits", "digest": "d"},
        features={"name": "f", "digest": "x"},
        samples={"n": 500, "seed": 0},
        reference={"n": 173, "splits": ["test"]},
        baseline="",
        notices=(),
        seconds=1.0,
        copying={"verdict": verdict, "reason": "", "sentence": ""},
        cost=cost,
    )


def member(label: str, found: Evaluation | None, seed: int = 0, error: str = "") -> Member:
    return Member(label, f"{label}-seed{seed}", Path("nowhere") / label, found, error)
