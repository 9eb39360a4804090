"""Figures of tables against counts by hand, and at their ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pd = pytest.importorskip("pandas")
pytest.importorskip("lightgbm")
from genloom.metrics.tables import (  # noqa: E402
    Space,
    alpha_beta,
    column_shapes,
    disclosed,
    pair_trends,
    rare_levels,
    told_apart,
    usefulness,
)


def people(n: int, seed: int) -> Any:
    draw = np.random.default_rng(seed)
    age = draw.normal(40, 10, n)
    city = np.where(draw.random(n) < 0.5, "north", "south").astype(object)
    rich = np.where(age + 15 * (city == "north") + draw.normal(0, 4, n) > 47, "yes", "no").astype(object)
    return pd.DataFrame({"age": age, "city": city, "rich": rich})


def mixed(frame: Any) -> Any:
    draw = np.random.default_rng(9)
    return pd.DataFrame({c: frame[c].to_numpy()[draw.permutation(len(frame))] for c in frame.columns})


def test_shapes_are_complements_of_distances_that_can_be_counted() -> None:
    real = pd.DataFrame({"x": [1.0, 2, 3, 4], "c": ["a", "a", "b", "b"]})
    made = pd.DataFrame({"x": [1.0, 2, 2, np.nan], "c": ["a", "b", "b", "z"]})
    shapes = column_shapes(real, made)
    assert shapes["x"] == pytest.approx(1 - 0.5)  # at 2: 2 of 4 against 3 of 3
    assert shapes["c"] == pytest.approx(1 - (0.25 + 0 + 0.25) / 2)


def test_trends_are_of_contingency_tables_and_correlations() -> None:
    real = pd.DataFrame({"a": ["x", "x", "y", "y"], "b": ["1", "1", "2", "2"]})
    made = pd.DataFrame({"a": ["x", "x", "y", "y"], "b": ["1", "2", "1", "2"]})
    assert pair_trends(real, made)["a", "b"] == pytest.approx(0.5) and pair_trends(real, real)["a", "b"] == 1
    draw = np.random.default_rng(0)
    x = draw.normal(size=(4000, 2))
    one, two = pd.DataFrame({"p": x[:, 0], "q": x[:, 0]}), pd.DataFrame({"p": x[:, 0], "q": -x[:, 0]})
    assert pair_trends(one, two)["p", "q"] == pytest.approx(0)
    weak = pd.DataFrame({"p": x[:, 0], "q": x[:, 1], "r": x[:, 0] + 0.1 * x[:, 1]})
    assert list(pair_trends(weak, weak)) == [("p", "r")]  # what has nothing to do with each other does not count
    bins = pd.DataFrame({"n": [0.0, 10, 0, 10], "c": ["u", "v", "u", "v"]})
    assert pair_trends(bins, bins.assign(c=["v", "u", "v", "u"]))["n", "c"] == pytest.approx(0)


def test_a_classifier_tells_what_is_different_and_not_what_is_the_same() -> None:
    same, other = told_apart(people(1500, 0), people(1500, 1)), told_apart(people(1500, 0), mixed(people(1500, 1)))
    assert same.interval[0] < 0.5 < same.interval[1] and other.area > 0.7
    assert sum(other.gains.values()) == pytest.approx(1)


def test_use_is_that_of_real_rows_or_none() -> None:
    real, test = people(1500, 0), people(1500, 1)
    good, bad = usefulness(real, test, "rich"), usefulness(mixed(real), test, "rich")
    assert good is not None and bad is not None
    assert good.trees > 0.9 and good.linear > 0.9 and good.trees_interval[0] < good.trees < good.trees_interval[1]
    assert abs(bad.trees - 0.5) < 0.1
    number = usefulness(real, test, "age")
    assert number is not None and 0.2 < number.trees < 0.9
    assert usefulness(real.assign(rich="yes"), test, "rich") is None


def test_points_keep_levels_one_apart_and_missing_ones_apart() -> None:
    frame = pd.DataFrame({"x": [0.0, 2.0, np.nan], "c": ["a", "b", "a"]})
    points = Space.fit(frame)(frame)
    deviation = np.std([0, 2], ddof=1)
    assert np.linalg.norm(points[0] - points[1]) == pytest.approx(np.hypot(2 / deviation, 1), rel=1e-5)
    assert np.linalg.norm(points[0] - points[2]) == pytest.approx(np.hypot(1 / deviation, 1), rel=1e-5)


def test_typical_and_covering_samples() -> None:
    draw = np.random.default_rng(0)
    real = draw.normal(size=(2000, 3)).astype(np.float32)
    alike = alpha_beta(real, draw.normal(size=(2000, 3)).astype(np.float32))
    narrow = alpha_beta(real, (0.05 * draw.normal(size=(2000, 3))).astype(np.float32))
    assert alike[0] > 0.95 and alike[1] > 0.4
    assert narrow[0] < 0.6 and narrow[1] < 0.1


def test_rare_levels_and_what_the_nearest_sample_betrays() -> None:
    train = pd.DataFrame({"c": ["a"] * 990 + ["b"] * 6 + ["d"] * 4})
    assert rare_levels(train, pd.DataFrame({"c": ["a"]})) == (0, 1)
    assert rare_levels(train, pd.DataFrame({"c": ["b", "d"]})) == (1, 1)
    points = np.eye(4, dtype=np.float32)
    levels = np.array(list("wxyz"), object)
    assert disclosed(points, points[[2, 0]], levels, np.array(["y", "z"], object)).tolist() == [True, False]
