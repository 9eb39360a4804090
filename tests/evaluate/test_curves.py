"""Charts: right places, sensible axes, nothing drawn from what is not there."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from genloom.evaluate.curves import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Axis, Series, chart, label, smooth


def series(y: list[float] | np.ndarray, name: str = "loss") -> Series:
    y = np.asarray(y, dtype=np.float64)
    return Series(name, np.arange(1.0, len(y) + 1), y)


def lines(markup: object, style: str) -> list[np.ndarray]:
    root = ET.fromstring(re.search(r"<svg.*</svg>", str(markup), re.S)[0])  # type: ignore[index]
    found = [p for p in root.iter("polyline") if style in str(p.get("class")).split()]
    return [np.array([[float(v) for v in point.split(",")] for point in str(p.get("points")).split()]) for p in found]


def test_a_line_runs_from_corner_to_corner_inside_the_axes() -> None:
    (points,) = lines(chart("rate", [series([0, 1, 2, 3])], plain=True), "line")
    assert points[0, 0] == LEFT and points[-1, 0] == WIDTH - RIGHT
    assert np.all(np.diff(points[:, 1]) < 0)  # upwards on the page
    assert points[:, 1].min() >= TOP and points[:, 1].max() <= HEIGHT - BOTTOM


def test_wide_ranges_get_a_logarithmic_axis_only_where_all_is_positive() -> None:
    falling = np.exp(-np.linspace(0, 9, 200))
    assert "log axis" in str(chart("loss", [series(falling)]))
    assert "log axis" not in str(chart("loss", [series(falling - 0.5)]))
    assert "log axis" not in str(chart("loss", [series(falling)], plain=True))
    assert "log axis" not in str(chart("loss", [series(1 + falling)]))


def test_a_straight_line_on_a_logarithmic_axis() -> None:
    y = Axis(1e-3, 1.0, 200, 0, log=True)
    assert y.place(np.array([1e-3, 1e-2, 1e-1, 1.0])) == pytest.approx([200, 400 / 3, 200 / 3, 0])


@pytest.mark.parametrize(
    ("low", "high", "log"), [(0, 1, False), (-3.2, 911, False), (2e-5, 0.4, True), (0.4, 1.9, True)]
)
def test_ticks_are_round_and_in_range(low: float, high: float, log: bool) -> None:
    marks = Axis(low, high, 0, 1, log).ticks()
    assert 2 <= len(marks) <= 12 and all(low <= m <= high for m in marks)
    for m in marks:
        digits = f"{abs(m):e}".split("e")[0].rstrip("0").rstrip(".")
        assert len(digits) <= 3 or not log, marks


def test_smoothing_keeps_a_constant_and_averages_noise() -> None:
    assert smooth(np.full(50, 3.5), 9) == pytest.approx(3.5)
    noise = np.random.default_rng(0).standard_normal(2000)
    assert smooth(noise, 41)[100:-100].std() == pytest.approx(1 / math.sqrt(41), rel=0.3)
    assert len(smooth(np.arange(3.0), 9)) == 3
    steep = np.exp(-np.arange(100.0))
    assert smooth(steep, 20)[0] > 0.4


def test_values_that_are_not_finite_are_left_out() -> None:
    assert chart("loss", [series([1, math.nan, math.inf])]) is None
    (points,) = lines(chart("loss", [series([1, math.nan, 2, math.inf, 3])], plain=True), "line")
    assert len(points) == 3


def test_nothing_or_one_point_is_no_chart() -> None:
    assert chart("loss", []) is None
    assert chart("loss", [series([1.0])]) is None
    assert chart("loss", [Series("loss", np.array([5.0, 5.0]), np.array([1.0, 2.0]))]) is None


def test_a_constant_and_a_long_history_can_be_drawn() -> None:
    (flat,) = lines(chart("loss", [series([2.0] * 10)], plain=True), "line")
    assert TOP < flat[0, 1] < HEIGHT - BOTTOM
    (long,) = lines(chart("loss", [series(np.arange(1.0, 50_000))], plain=True), "line")
    assert len(long) == 400


def test_names_are_escaped_and_several_lines_get_a_legend() -> None:
    made = str(chart("<b>", [series([1, 2], '"><script>'), series([2, 3], "判别器")]))
    assert "<script>" not in made and "<b>" not in made and "判别器" in made and made.count('class="key') == 2


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "0"), (12_345, "12.35k"), (2.5e6, "2.5M"), (0.05, "0.05"), (3.2e-5, "3.2e-5"), (-1500, "-1500")],
)
def test_short_numbers(value: float, expected: str) -> None:
    assert label(value) == expected
