"""Copying from scores alone, against simulations, scipy and brute force; nearest neighbours against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import cdist

from genloom.metrics import neighbours
from genloom.metrics.copying import excess, rank_test, separation
from genloom.metrics.neighbours import nearest


@pytest.mark.parametrize("k", [1, 3, 40])
def test_nearest_is_brute_force(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "CELLS", 40 * 7)  # blocks of 7 rows
    draw = np.random.default_rng(0)
    a, b = draw.normal(5, 1, (23, 6)), draw.normal(5, 1, (40, 6))
    b[17] = a[4]
    found, d = nearest(a, b, k), cdist(a, b)
    np.testing.assert_allclose(found.distance, np.sort(d, 1)[:, :k], atol=1e-6)
    np.testing.assert_array_equal(found.index, np.argsort(d, 1)[:, :k])
    assert found.distance[4, 0] == 0 and found.index[4, 0] == 17


def test_nearest_refuses_what_has_no_neighbours() -> None:
    for a, b, k in ((np.zeros((2, 3)), np.zeros((2, 4)), 1), (np.zeros((2, 3)), np.zeros((2, 3)), 3)):
        with pytest.raises(ValueError, match="needs"):
            nearest(a, b, k)


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.05, 0.2])
def test_the_rate_is_inside_its_interval(rate: float) -> None:
    """Copies score near 0 among scores of one distribution: over 60 draws the interval holds the rate, and what is
    called copying without any is at most what a level of 5% allows."""
    draw, inside, called = np.random.default_rng(1), 0, 0
    for _ in range(60):
        copies = draw.random(1000) < rate
        samples = np.where(copies, draw.uniform(0, 0.01, 1000), draw.gamma(9, 0.1, 1000))
        found = excess(samples, draw.gamma(9, 0.1, 1200))
        inside += found.interval[0] <= copies.mean() <= found.interval[1]
        called += found.interval[0] > 0 and found.p_value < 0.05
        assert found.interval[0] <= found.rate <= found.interval[1]
    assert inside >= 55
    assert called <= 6 if rate == 0 else called >= 54


def test_samples_that_hit_held_out_data_as_often_are_no_copies() -> None:
    """Smooth samples are near everything: the training data, and held-out data in proportion to its size."""
    draw = np.random.default_rng(2)
    samples, control = draw.gamma(9, 0.05, 800), draw.gamma(9, 0.05, 800)
    held_out = draw.gamma(9, 0.1, 800)
    assert excess(samples, held_out).interval[0] > 0.1
    explained = excess(samples, held_out, control, 1.0)
    assert explained.interval[0] == 0 and explained.p_value > 0.05
    assert excess(samples, held_out, control, 0.1).interval[0] > 0.1  # a tenth of those hits is chance, not more


def test_the_p_value_is_that_of_a_permutation_test() -> None:
    draw = np.random.default_rng(3)
    samples, held_out = draw.normal(size=30), np.sort(draw.normal(size=40))
    samples[:4] -= 4
    flagged = int((samples < held_out[0]).sum())
    pooled = np.concatenate([samples, held_out])
    hits = 0
    for _ in range(20_000):
        mixed = draw.permutation(pooled)
        hits += (mixed[:30] < mixed[30:].min()).sum() >= flagged
    found = excess(samples, held_out, quantiles=(0.0,))
    assert found.p_value == pytest.approx(hits / 20_000, abs=4 * np.sqrt(0.03 / 20_000))
    assert excess(samples, held_out, quantiles=(0.0,), tries=3).p_value == pytest.approx(3 * found.p_value)


def test_equal_scores_say_nothing() -> None:
    found = excess(np.ones(50), np.ones(60))
    assert (found.flagged, found.rate, found.interval[0], found.p_value) == (0, 0.0, 0.0, 1.0)
    assert rank_test(np.ones(50), np.ones(60)).z == 0
    with pytest.raises(ValueError, match="needs scores"):
        excess(np.ones(0), np.ones(3))


def test_the_rank_test_is_scipys() -> None:
    draw = np.random.default_rng(4)
    a, b = draw.integers(0, 9, 70).astype(float), draw.integers(1, 10, 90).astype(float)
    expected = stats.mannwhitneyu(a, b, alternative="less", use_continuity=False, method="asymptotic")
    found = rank_test(a, b)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.share == pytest.approx(1 - expected.statistic / (70 * 90))


def test_separation_is_the_share_of_pairs_and_covers_it() -> None:
    draw, inside = np.random.default_rng(5), 0
    a, b = draw.integers(0, 9, 60).astype(float), draw.integers(1, 10, 80).astype(float)
    pairs = (a[:, None] < b) + 0.5 * (a[:, None] == b)
    assert separation(a, b)[0] == pytest.approx(pairs.mean())
    truth = stats.norm.cdf(0.5 / np.sqrt(2))
    for _ in range(200):
        low, high = separation(draw.normal(size=80), draw.normal(0.5, 1, 120))[1]
        inside += low <= truth <= high
    assert inside >= 180
    value, interval = separation(np.zeros(40), np.ones(40))
    assert value == 1 and 0.8 < interval[0] < 1 == interval[1]
