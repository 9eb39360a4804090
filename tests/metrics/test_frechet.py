"""Frechet distance against closed forms and independent implementations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm

from genloom.metrics.frechet import Gaussian, frechet_distance


def draw(n: int, d: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.standard_normal((n, d)) @ generator.standard_normal((d, d)) + generator.standard_normal(d)


def test_a_set_is_at_no_distance_from_itself() -> None:
    a = Gaussian.fit(draw(300, 20, 0))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-10 * np.trace(a.covariance))


def test_diagonal_covariances_have_a_closed_form() -> None:
    generator = np.random.default_rng(0)
    s, t, shift = generator.random(16) + 0.1, generator.random(16) + 0.1, generator.standard_normal(16)
    a, b = Gaussian(np.zeros(16), np.diag(s**2)), Gaussian(shift, np.diag(t**2))
    assert frechet_distance(a, b) == pytest.approx(shift @ shift + ((s - t) ** 2).sum(), rel=1e-12)


def test_full_covariances_agree_with_the_matrix_root() -> None:
    a, b = Gaussian.fit(draw(400, 30, 1)), Gaussian.fit(draw(500, 30, 2))
    shift = a.mean - b.mean
    expected = shift @ shift + np.trace(a.covariance + b.covariance - 2 * sqrtm(a.covariance @ b.covariance).real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(b, a) == pytest.approx(frechet_distance(a, b), rel=1e-9)


def test_fewer_examples_than_features_keep_it_real() -> None:
    """Both covariances have rank 9 of 64; on orthogonal subspaces the roots do not meet."""
    left, right = np.zeros((10, 64)), np.zeros((10, 64))
    left[:, :32], right[:, 32:] = draw(10, 32, 3), draw(10, 32, 4)
    a, b = Gaussian.fit(left), Gaussian.fit(right)
    shift = a.mean - b.mean
    expected = shift @ shift + np.trace(a.covariance) + np.trace(b.covariance)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_a_large_offset_costs_no_digits() -> None:
    x, y = draw(200, 8, 5), draw(200, 8, 6)
    near, far = (frechet_distance(Gaussian.fit(x + c), Gaussian.fit(y + c)) for c in (0.0, 1e4))
    assert far == pytest.approx(near, rel=1e-6)


def test_it_agrees_with_torchmetrics() -> None:
    fid = pytest.importorskip("torchmetrics.image.fid")
    import torch

    a, b = Gaussian.fit(draw(400, 24, 7)), Gaussian.fit(draw(400, 24, 8))
    theirs = fid._compute_fid(*(torch.from_numpy(v) for v in (a.mean, a.covariance, b.mean, b.covariance)))
    assert frechet_distance(a, b) == pytest.approx(float(theirs), rel=1e-6)


def test_moments_are_numpys() -> None:
    x = draw(50, 5, 9).astype(np.float32)
    fitted = Gaussian.fit(x)
    np.testing.assert_allclose(fitted.covariance, np.cov(x.T.astype(np.float64)), rtol=1e-12)


def test_one_row_has_no_covariance() -> None:
    with pytest.raises(ValueError, match="N >= 2"):
        Gaussian.fit(np.zeros((1, 4)))
    with pytest.raises(ValueError, match="3 and 4"):
        frechet_distance(Gaussian(np.zeros(3), np.eye(3)), Gaussian(np.zeros(4), np.eye(4)))
