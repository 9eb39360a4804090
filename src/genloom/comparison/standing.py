"""Figures of several contenders side by side: medians over seeds, who is best, and who cannot be told from the best."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genloom.evaluate.evaluation import Evaluation, Figure
from genloom.evaluate.kinds import KINDS, Direction

# The figure that a verdict is by, the first that most have. Units that depend on the tokens come last.
LEADS = ("frechet", "kernel", "bleu_4")
SEQUENCE_LEADS = ("nats_per_character_64", "bits_per_byte", "nats_per_character", *LEADS)
LIKELIHOODS = {n for n in KINDS if n.startswith("nats_per_")} | {"bits_per_byte", "perplexity"}

Interval = tuple[float, float]


@dataclass(frozen=True)
class Value:
    """A figure of one contender over its seeds. value: the median; interval: covers the 95% interval of every seed;
    spread: smallest and largest of several seeds. value None: `note` says why."""

    value: float | None
    interval: Interval | None = None
    spread: Interval | None = None
    ceiling: float | None = None
    floor: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Line:
    """One figure of all contenders. best: its label, or None where nobody has the figure or it has no better side;
    tied: those whose interval meets that of the best, so that the difference is not told from chance."""

    name: str
    title: str
    meaning: str
    direction: Direction
    unit: str
    values: Mapping[str, Value]
    best: str | None
    tied: tuple[str, ...]

    def mark(self, label: str) -> str:
        return "best" if label == self.best else "tied" if label in self.tied else ""


def lines(judged: Mapping[str, Sequence[Evaluation]]) -> list[Line]:
    """Every figure that any contender has, in the order of an evaluation. judged: the evaluations of each label."""
    order: dict[str, Figure] = {}
    for evaluations in judged.values():
        for evaluation in evaluations:
            for figure in evaluation.figures:
                order.setdefault(figure.name, figure)
    return [_line(about, judged) for about in order.values()]


def _line(about: Figure, judged: Mapping[str, Sequence[Evaluation]]) -> Line:
    values = {label: _value(about.name, evaluations) for label, evaluations in judged.items()}
    best, tied = standing(values, about.direction)
    return Line(about.name, about.title, about.meaning, about.direction, about.unit, values, best, tied)


def _value(name: str, evaluations: Sequence[Evaluation]) -> Value:
    figures = [f for e in evaluations for f in e.figures if f.name == name]
    known = [f for f in figures if f.value is not None]
    if not known:
        why = next((f.note for f in figures if f.note), "")
        if not why:
            why = {
                "label_agreement": "it was trained without classes",
                **dict.fromkeys(LIKELIHOODS, "the model does not tell how likely data is"),
            }.get(name, "its evaluation does not have this figure")
        return Value(None, note=why)
    values = [float(f.value) for f in known if f.value is not None]
    intervals = [f.interval for f in known if f.interval is not None]
    covering = (min(low for low, _ in intervals), max(high for _, high in intervals)) if intervals else None
    return Value(
        statistics.median(values),
        covering if len(intervals) == len(known) else None,
        (min(values), max(values)) if len(values) > 1 else None,
        _median([f.ceiling for f in known]),
        _median([f.floor for f in known]),
        next((f.note for f in known if f.note), ""),
    )


def _median(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return statistics.median(known) if known else None


def standing(values: Mapping[str, Value], direction: Direction) -> tuple[str | None, tuple[str, ...]]:
    """The best and those that cannot be told from it: whose cost interval meets that of the best.

    Intervals that meet do not prove equality, but a difference inside them is not called one. Where the direction is
    "reference", the cost is the distance from what real data has.
    """
    costs = {label: c for label, v in values.items() if (c := _cost(v, direction)) is not None}
    if not costs:
        return None, ()
    best = min(costs, key=lambda label: costs[label][0])
    reach = costs[best][2]
    return best, tuple(label for label, (_, low, _) in costs.items() if label != best and low <= reach)


def _cost(v: Value, direction: Direction) -> tuple[float, float, float] | None:
    """(cost, low, high): how far from good a value is, and the interval of that."""
    if v.value is None or (direction == "reference" and v.ceiling is None):
        return None
    low, high = v.interval or (v.value, v.value)
    if direction == "lower":
        return v.value, low, high
    if direction == "higher":
        return -v.value, -high, -low
    target = v.ceiling or 0.0
    ends = sorted((abs(low - target), abs(high - target)))
    return abs(v.value - target), 0.0 if low <= target <= high else ends[0], ends[1]


def lead_of(known: Sequence[Line]) -> Line | None:
    """The figure that a verdict is by: of those that most contenders have, the first of LEADS."""
    likely = any(line.name in LIKELIHOODS for line in known)
    order = SEQUENCE_LEADS if likely else LEADS
    found = [line for name in order for line in known if line.name == name and line.best is not None]
    most = max((_have(line) for line in found), default=0)
    return next((line for line in found if _have(line) == most), None)


def _have(line: Line) -> int:
    return sum(v.value is not None for v in line.values.values())


def to_json(line: Line) -> dict[str, Any]:
    values = {
        label: {
            "value": v.value,
            "interval": v.interval and list(v.interval),
            "spread": v.spread and list(v.spread),
            "ceiling": v.ceiling,
            "floor": v.floor,
            "note": v.note,
        }
        for label, v in line.values.items()
    }
    about = {"name": line.name, "title": line.title, "direction": line.direction, "unit": line.unit}
    return {**about, "best": line.best, "tied": list(line.tied), "values": values}
