"""Frechet distance between Gaussians fitted to two sets of features.

Source: Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", eq. 6;
the closed form is Dowson and Landau 1982.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Gaussian:
    """mean [D] and unbiased covariance [D, D], float64."""

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]

    @classmethod
    def fit(cls, features: NDArray[np.floating]) -> Gaussian:
        """Moments of features [N, D]. Raises ValueError for fewer than 2 rows."""
        if features.ndim != 2 or len(features) < 2:
            raise ValueError(f"a covariance needs features [N >= 2, D], got {list(features.shape)}")
        x = features.astype(np.float64)
        mean = x.mean(0)
        x -= mean
        return cls(mean, x.T @ x / (len(x) - 1))

    @cached_property
    def root(self) -> NDArray[np.float64]:
        """The symmetric root of the covariance; eigenvalues that rounding made negative count as 0."""
        values, vectors = np.linalg.eigh(self.covariance)
        root: NDArray[np.float64] = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
        return root


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """|mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2)), at least 0, in squared units of the features.

    tr (A B)^(1/2) is the sum of the singular values of A^(1/2) B^(1/2), with both roots from symmetric
    eigen-decompositions. A general matrix root is complex or fails for covariances without full rank, and roots of the
    eigenvalues of A B lose half of the digits.
    """
    if a.mean.shape != b.mean.shape:
        raise ValueError(f"the Gaussians have {a.mean.size} and {b.mean.size} dimensions")
    cross = np.linalg.svd(a.root @ b.root, compute_uv=False).sum()
    shift = a.mean - b.mean
    return float(max(0.0, shift @ shift + np.trace(a.covariance) + np.trace(b.covariance) - 2 * cross))
