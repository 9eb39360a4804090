"""Curves of quality against diversity compared at equal likeness."""

from __future__ import annotations

import numpy as np
import pytest

from genloom.metrics.tradeoff import Curve, above, advantage


def line(offset: float, low: float = 0.0, high: float = 1.0, error: float = 0.01) -> Curve:
    x = np.linspace(high, low, 5)
    return Curve(x, 0.5 * x + offset, np.full(5, error))


def test_a_parallel_line_lies_as_much_higher_as_it_was_raised() -> None:
    found = advantage(line(0.2), line(0.1, 0.4, 1.4))
    assert found is not None
    assert found[0] == pytest.approx(0.1) and found[1] == pytest.approx(0.01 * 2**0.5)


def test_curves_without_a_common_range_are_not_compared() -> None:
    assert advantage(line(0, 0.0, 0.3), line(0, 0.4, 1.0)) is None
    assert above(line(0.0, 0.0, 0.3), 0.5, 0.1) is None


def test_above_a_point_interpolates() -> None:
    assert above(line(0.1), 0.6, 0.3) == pytest.approx(0.1)
