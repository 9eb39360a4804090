"""Class shares and intervals against closed forms and repeated draws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import entropy as scipy_entropy

from genloom.metrics.classes import class_shares, entropy
from genloom.metrics.intervals import block_jackknife, mean_error, normal_interval, wilson_interval


def test_entropy_lies_between_one_class_and_all() -> None:
    assert entropy(class_shares(np.array([2, 2, 2]), 4)) == 0
    assert entropy(class_shares(np.arange(40) % 4, 4)) == pytest.approx(math.log(4))
    shares = class_shares(np.array([0, 1, 1, 3, 3, 3]), 4)
    assert shares.tolist() == pytest.approx([1 / 6, 2 / 6, 0, 3 / 6])
    assert entropy(shares) == pytest.approx(scipy_entropy(shares))


@pytest.mark.parametrize("labels", [[], [4], [-1, 2]])
def test_labels_out_of_range_are_refused(labels: list[int]) -> None:
    with pytest.raises(ValueError, match="0 to 3"):
        class_shares(np.array(labels, dtype=np.int64), 4)


def test_wilson_is_the_published_interval_and_keeps_width_at_the_ends() -> None:
    assert wilson_interval(0.5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    low, high = wilson_interval(1.0, 100)
    assert high == pytest.approx(1) and low == pytest.approx(0.963, abs=1e-3)


def test_wilson_covers_the_truth_as_often_as_it_says() -> None:
    drawn = np.random.default_rng(0).binomial(200, 0.93, 2000) / 200
    held = [low <= 0.93 <= high for low, high in (wilson_interval(s, 200) for s in drawn)]
    assert 0.93 <= np.mean(held) <= 0.98


def test_intervals_stay_in_range() -> None:
    assert normal_interval(0.1, 1.0, low=0) == pytest.approx((0, 2.06), abs=1e-3)


def test_jackknife_of_a_difference_of_means_is_the_textbook_error() -> None:
    generator = np.random.default_rng(1)
    a, b = generator.standard_normal((4000, 1)), 2 * generator.standard_normal((3000, 1))
    found = block_jackknife(lambda x, y: float(x.mean() - y.mean()), a, b, blocks=200)
    assert found == pytest.approx(math.hypot(mean_error(a[:, 0]), mean_error(b[:, 0])), rel=0.15)
    assert mean_error(a[:, 0]) == pytest.approx(1 / math.sqrt(4000), rel=0.05)


def test_jackknife_of_the_frechet_distance_matches_repeated_draws() -> None:
    from genloom.metrics.frechet import Gaussian, frechet_distance

    def distance(x: np.ndarray, y: np.ndarray) -> float:
        return frechet_distance(Gaussian.fit(x), Gaussian.fit(y))

    generator = np.random.default_rng(2)
    sets = [(generator.standard_normal((400, 4)), generator.standard_normal((400, 4)) + 0.5) for _ in range(60)]
    spread = np.std([distance(a, b) for a, b in sets])
    errors = [block_jackknife(distance, a, b) for a, b in sets[:15]]
    assert np.mean(errors) == pytest.approx(spread, rel=0.35)
