"""The front against its definition, tried on every pair."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from genloom.comparison.pareto import Goal, front

GOALS: list[tuple[Goal, Goal]] = list(itertools.product(("lower", "higher"), repeat=2))  # type: ignore[arg-type]


def dominates(a: tuple[float, float], b: tuple[float, float], goals: tuple[Goal, Goal]) -> bool:
    pairs = [(x, y) if goal == "lower" else (-x, -y) for x, y, goal in zip(a, b, goals, strict=True)]
    return all(x <= y for x, y in pairs) and any(x < y for x, y in pairs)


@pytest.mark.parametrize("goals", GOALS)
def test_the_front_is_what_nothing_dominates_from_the_best_x_on(goals: tuple[Goal, Goal]) -> None:
    draw = np.random.default_rng(0)
    for _ in range(300):
        values = draw.integers(-4, 5, size=(draw.integers(0, 13), 2))  # few values: many ties
        points = [(float(x), float(y)) for x, y in values]
        found = front(points, goals)
        assert set(found) == {i for i, p in enumerate(points) if not any(dominates(q, p, goals) for q in points)}
        assert len(set(found)) == len(found)
        along = [points[i] for i in found]
        assert [x for x, _ in along] == sorted((x for x, _ in along), reverse=goals[0] == "higher")
        assert [y for _, y in along] == sorted((y for _, y in along), reverse=goals[1] == "lower")
