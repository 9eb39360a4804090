"""The Pareto front of contenders by two figures: those that no other beats in one without losing in the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

Goal = Literal["lower", "higher"]


def front(points: Sequence[tuple[float, float]], goals: tuple[Goal, Goal]) -> list[int]:
    """Indices of the points (x, y) that no other dominates, the best x first. goals: which way x and y are better.

    A point dominates another if it is as good in both and better in one, so equal points stand or fall together.
    """
    signs = [1.0 if g == "lower" else -1.0 for g in goals]
    costs = [(signs[0] * x, signs[1] * y) for x, y in points]
    out: list[int] = []
    for i in sorted(range(len(costs)), key=lambda i: costs[i]):
        if not out or costs[i][1] < costs[out[-1]][1] or costs[i] == costs[out[-1]]:
            out.append(i)
    return out
