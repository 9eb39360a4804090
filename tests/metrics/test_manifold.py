"""Precision, recall, density and coverage against scikit-learn's neighbours and known situations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from genloom.metrics import manifold as module
from genloom.metrics.manifold import manifold


def by_definition(real: np.ndarray, fake: np.ndarray, k: int) -> tuple[float, float, float, float]:
    def reach(x: np.ndarray) -> np.ndarray:
        return NearestNeighbors(n_neighbors=k).fit(x).kneighbors()[0][:, -1]  # without the point itself

    d = cdist(real, fake)
    in_real, in_fake = d <= reach(real)[:, None], d <= reach(fake)[None]
    return in_real.any(0).mean(), in_fake.any(1).mean(), in_real.sum(0).mean() / k, in_real.any(1).mean()


@pytest.mark.parametrize(("block", "k"), [(1024, 5), (37, 3)])
def test_it_is_the_definition(block: int, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", block)
    generator = np.random.default_rng(0)
    real, fake = generator.standard_normal((150, 6)) + 40, 0.8 * generator.standard_normal((110, 6)) + 40.3
    found = manifold(real, fake, k)
    expected = by_definition(real, fake, k)
    assert (found.precision, found.recall, found.density, found.coverage) == pytest.approx(expected, abs=1e-6)


def test_a_single_mode_is_precise_without_recall() -> None:
    generator = np.random.default_rng(1)
    centres = 20 * np.eye(10)
    real = np.repeat(centres, 60, 0) + generator.standard_normal((600, 10))
    fake = centres[0] + generator.standard_normal((600, 10))
    found = manifold(real, fake)
    assert found.precision > 0.8 and found.recall < 0.15 and found.coverage < 0.15


def test_strangers_share_nothing() -> None:
    generator = np.random.default_rng(2)
    found = manifold(generator.standard_normal((100, 8)), generator.standard_normal((100, 8)) + 50)
    assert (found.precision, found.recall, found.density, found.coverage) == (0, 0, 0, 0)


def test_equal_distributions_reach_the_expected_coverage() -> None:
    """Naeem et al. 2020, eq. 9: the expected coverage of equal sets of n is about 1 - 2^-k."""
    generator = np.random.default_rng(3)
    found = manifold(generator.standard_normal((2000, 4)), generator.standard_normal((2000, 4)), k=5)
    assert found.coverage == pytest.approx(1 - 2**-5, abs=0.015)
    assert found.density == pytest.approx(1, abs=0.05)


def test_exact_copies_lie_in_their_own_ball() -> None:
    x = np.random.default_rng(4).standard_normal((200, 16)).astype(np.float32)
    found = manifold(x, x)
    assert found.precision == found.recall == found.coverage == 1


def test_k_rows_are_too_few() -> None:
    with pytest.raises(ValueError, match="N > 5"):
        manifold(np.zeros((5, 3)), np.zeros((50, 3)))
