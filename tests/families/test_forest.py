"""The forest: its distributions against counts, and its particles against conditional shares."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("lightgbm")
from examples import table
from genloom.core.batch import Condition
from genloom.core.rng import Rng
from genloom.core.spec import Row, Span
from genloom.families.forest import Forest
from genloom.nets.dichotomies import BoostConfig, Dichotomies
from genloom.nets.levels import KNOTS, Levels, alike_order


def fitted(given: np.ndarray, codes: np.ndarray, levels: int, **settings: int) -> Dichotomies:
    return Dichotomies.fit(given, codes, levels, [], BoostConfig(**settings), 1, 0)


def test_without_columns_before_it_a_column_has_its_own_shares() -> None:
    codes = np.repeat([0, 2, 5], [50, 30, 20])
    model = fitted(np.zeros((100, 0)), codes, 6)
    nats = model.log_probability(np.zeros((6, 0)), np.arange(6))
    np.testing.assert_allclose(np.exp(nats)[[0, 2, 5]], [0.5, 0.3, 0.2])
    assert np.exp(nats)[[1, 3, 4]].max() < 1e-10
    u = (np.arange(1000) + 0.5) / 1000
    drawn, left = model.draw(np.zeros((1000, 0)), u)
    assert np.bincount(drawn, minlength=6).tolist() == [500, 0, 300, 0, 0, 200]
    # What is left of the uniform number is uniform in each level.
    for level, size in ((0, 500), (2, 300), (5, 200)):
        np.testing.assert_allclose(np.sort(left[drawn == level]), (np.arange(size) + 0.5) / size, atol=1e-9)


def test_probabilities_of_all_levels_are_one_and_are_what_is_drawn() -> None:
    draw = np.random.default_rng(0)
    given = draw.normal(size=(4000, 1))
    codes = np.clip(np.round(3 + 1.5 * given[:, 0] + draw.normal(size=4000)), 0, 7).astype(np.int64)
    model = fitted(given, codes, 8)
    at = np.full((8, 1), 0.7)
    shares = np.exp(model.log_probability(at, np.arange(8)))
    assert shares.sum() == pytest.approx(1)
    near = codes[np.abs(given[:, 0] - 0.7) < 0.15]
    assert np.abs(np.bincount(near, minlength=8) / len(near) - shares).max() < 0.1
    u = Rng(0).uniform_rows("u", 20_000)
    drawn = np.bincount(model.draw(np.full((20_000, 1), 0.7), u)[0], minlength=8) / 20_000
    assert np.abs(drawn - shares).max() < 0.015


def test_many_rows_are_binned_for_each_question_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """LightGBM ends on categories whose bins it found from a part of the rows: every question sees all of its own."""
    monkeypatch.setattr("genloom.nets.dichotomies.BINNED", 1000)
    draw = np.random.default_rng(2)
    given = draw.integers(0, 6, size=(4000, 1)).astype(float)
    codes = (given[:, 0].astype(np.int64) + draw.integers(0, 2, size=4000)) % 6
    model = Dichotomies.fit(given, codes, 6, [0], BoostConfig(), 1, 0)
    for level in range(6):
        shares = np.exp(model.log_probability(np.full((6, 1), float(level)), np.arange(6)))
        np.testing.assert_allclose(shares[[level, (level + 1) % 6]], 0.5, atol=0.1)


def test_a_model_packed_and_unpacked_is_the_same() -> None:
    draw = np.random.default_rng(1)
    given, codes = draw.normal(size=(1000, 2)), draw.integers(0, 5, size=1000)
    model = fitted(given, codes, 5)
    twin = Dichotomies.unpacked(model.questions, model.shares, model.packed())
    assert len(model.models) > 0
    np.testing.assert_array_equal(model.log_probability(given, codes), twin.log_probability(given, codes))


def test_numbers_of_few_values_are_levels_and_others_lie_in_bins_of_equal_size() -> None:
    few = Levels.of_numbers(np.repeat([1.0, 2.0, 7.0], 5), 64)
    assert few.values.tolist() == [1, 2, 7] and few.codes(np.array([0.0, 1.4, 1.6, 99])).tolist() == [0, 0, 1, 2]
    x = np.random.default_rng(0).exponential(size=5000)
    bins = Levels.of_numbers(x, 10)
    assert bins.values.shape == (10, KNOTS) and set(np.bincount(bins.codes(x))) <= {499, 500, 501}
    u = (np.arange(1000) + 0.5) / 1000
    drawn = np.concatenate([bins.values_at(np.full(1000, k), u) for k in range(10)])
    np.testing.assert_allclose(np.quantile(drawn, [0.1, 0.5, 0.9]), np.quantile(x, [0.1, 0.5, 0.9]), rtol=0.02)
    assert drawn.min() >= x.min() and drawn.max() <= x.max()
    again = Levels.from_arrays(*bins.arrays())
    np.testing.assert_array_equal(again.values, bins.values)


def test_levels_that_go_with_the_same_values_are_neighbours() -> None:
    """Levels 0, 2, 4 have large numbers and 1, 3, 5 small ones."""
    codes = np.tile(np.arange(6), 100)
    number = np.where(codes % 2 == 0, 1.0, -1.0) + 0.1 * np.random.default_rng(0).normal(size=600)
    order = alike_order(np.stack([codes, number], 1), 0, Row((Span("a", "category", 6), Span("b", "numeric"))))
    assert {tuple(sorted(order[:3].tolist())), tuple(sorted(order[3:].tolist()))} == {(0, 2, 4), (1, 3, 5)}


def test_uniform_rows_are_uniform_and_depend_on_the_row_alone() -> None:
    u = Rng(3).uniform_rows("a", 100_000)
    assert u.min() > 0 and u.max() < 1
    assert abs(u.mean() - 0.5) < 0.005 and np.abs(np.histogram(u, 10, (0, 1))[0] - 10_000).max() < 500
    assert abs(np.corrcoef(u[1:], u[:-1])[0, 1]) < 0.01
    np.testing.assert_array_equal(Rng(3, offset=500).uniform_rows("a", 10), u[500:510])
    assert (Rng(3).uniform_rows("b", 10) != u[:10]).all()


def test_the_price_of_what_is_known_is_one_where_it_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    family = Forest(*table()[1:2], Forest.Config(), table()[2])
    family.settle([table(600)[0].batch(range(600))], Rng(0))
    first, last = (torch.zeros(1, 5, dtype=torch.bool) for _ in range(2))
    first[0, family.parts()[0][0]], last[0, family.parts()[-1][0]] = True, True
    options = Forest.Options(particles=8)
    assert family.price(first, options) == 1 and family.price(last, options) == 8
    assert 1 < family.price(torch.tensor([[False, True, False, False, False]]), options) < 8
    # Beginnings are weighed after the last that is known: what comes later is drawn once.
    drawn: list[range] = []
    draw = Forest._draw

    def noted(self: Forest, x: np.ndarray, steps: range, *rest: object) -> np.ndarray:
        drawn.append(steps)
        return draw(self, x, steps, *rest)

    monkeypatch.setattr(Forest, "_draw", noted)
    middle = torch.zeros(40, 5, dtype=torch.bool)
    middle[:, family.parts()[1][0]] = True
    x = family.sample(40, Condition(known=torch.ones(40, 5), mask=middle), Rng(0), options)
    assert drawn == [range(2)] * 8 + [range(2, 5)] and torch.equal(x[middle], torch.ones(40))
