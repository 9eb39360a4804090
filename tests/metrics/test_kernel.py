"""Kernel distance against the definition written out, and its standard error against repetition."""

from __future__ import annotations

import numpy as np
import pytest

from genloom.metrics import kernel
from genloom.metrics.kernel import kernel_distance


def written_out(a: np.ndarray, b: np.ndarray) -> float:
    """Gretton et al. 2012, eq. 3, term by term."""

    def k(x: np.ndarray, y: np.ndarray) -> float:
        return float((x @ y / len(x) + 1) ** 3)

    m, n = len(a), len(b)
    own_a = sum(k(a[i], a[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    own_b = sum(k(b[i], b[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    return own_a + own_b - 2 * sum(k(x, y) for x in a for y in b) / (m * n)


def test_it_is_the_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    a, b = generator.standard_normal((17, 6)), generator.standard_normal((23, 6)) + 0.4
    assert kernel_distance(a, b).value == pytest.approx(written_out(a, b), rel=1e-10)
    monkeypatch.setattr(kernel, "BLOCK", 5)
    assert kernel_distance(a, b).value == pytest.approx(written_out(a, b), rel=1e-10)


def test_the_error_is_that_of_leaving_one_out() -> None:
    generator = np.random.default_rng(1)
    a, b = generator.standard_normal((12, 4)), generator.standard_normal((9, 4)) + 0.5
    left_a = np.array([written_out(np.delete(a, i, 0), b) for i in range(12)])
    left_b = np.array([written_out(a, np.delete(b, i, 0)) for i in range(9)])
    expected = np.sqrt(11 * left_a.var() + 8 * left_b.var())
    assert kernel_distance(a, b).error == pytest.approx(expected, rel=1e-8)


def test_equal_distributions_give_zero_on_average_within_the_error() -> None:
    generator = np.random.default_rng(2)
    found = [
        kernel_distance(generator.standard_normal((80, 8)), generator.standard_normal((60, 8))) for _ in range(200)
    ]
    values, errors = np.array([f.value for f in found]), np.array([f.error for f in found])
    assert values.min() < 0 < values.max()
    assert abs(values.mean()) < 4 * values.std() / np.sqrt(len(values))
    assert 0.6 < errors.mean() / values.std() < 1.8


def test_different_distributions_are_told_apart() -> None:
    generator = np.random.default_rng(3)
    a, b = generator.standard_normal((300, 8)), generator.standard_normal((300, 8)) * 1.3
    estimate = kernel_distance(a, b)
    assert estimate.value > 4 * estimate.error > 0


def test_it_agrees_with_torchmetrics() -> None:
    kid = pytest.importorskip("torchmetrics.image.kid")
    import torch

    generator = np.random.default_rng(4)
    a, b = generator.standard_normal((40, 6)), generator.standard_normal((40, 6)) + 0.2
    theirs = kid.poly_mmd(torch.from_numpy(a), torch.from_numpy(b))
    assert kernel_distance(a, b).value == pytest.approx(float(theirs), rel=1e-8)


@pytest.mark.parametrize("shapes", [((2, 4), (9, 4)), ((9, 4), (9, 5))])
def test_sets_that_cannot_be_compared(shapes: tuple[tuple[int, int], tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="equal width"):
        kernel_distance(np.zeros(shapes[0]), np.zeros(shapes[1]))
