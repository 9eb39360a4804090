"""Precision, recall, density and coverage: where samples lie with respect to balls around the nearest neighbours.

Sources: Kynkaanniemi et al. 2019, "Improved Precision and Recall Metric for Assessing Generative Models", eq. 1 and
2; Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics for Generative Models", eq. 5 and 6 (and k = 5 for all
four).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BLOCK = 1024  # rows of the distance matrix in memory at a time


@dataclass(frozen=True)
class Manifold:
    """What each example adds to the four figures; the figures are the means. M fakes, N reals.

    inside [M] bool: the fake lies in some real's ball. balls [M]: number of real balls it lies in, divided by k.
    reached [N] bool: the real lies in some fake's ball. covered [N] bool: some fake lies in the real's ball.
    """

    inside: NDArray[np.bool_]
    balls: NDArray[np.float64]
    reached: NDArray[np.bool_]
    covered: NDArray[np.bool_]

    @property
    def precision(self) -> float:
        """Share of fakes that look real, in [0, 1]."""
        return float(self.inside.mean())

    @property
    def density(self) -> float:
        """How densely reals lie around the fakes; 1 for equal distributions, more where fakes crowd among reals."""
        return float(self.balls.mean())

    @property
    def recall(self) -> float:
        """Share of reals that lie among the fakes, in [0, 1]."""
        return float(self.reached.mean())

    @property
    def coverage(self) -> float:
        """Share of reals with a fake nearby, in [0, 1]."""
        return float(self.covered.mean())


def manifold(real: NDArray[np.floating], fake: NDArray[np.floating], k: int = 5) -> Manifold:
    """Compare features real [N, D] and fake [M, D] by balls that reach to the k-th nearest neighbour of the same set.

    Recall and coverage rise with the number of fakes, so compare equal numbers. Memory: about 2 * 1024 * max(N, M)
    floats beside the features. Raises ValueError when a set has k rows or fewer, or widths differ.
    """
    if real.ndim != 2 or fake.ndim != 2 or real.shape[1] != fake.shape[1] or min(len(real), len(fake)) <= k:
        raise ValueError(f"needs two sets [N > {k}, D] of equal width, got {list(real.shape)} and {list(fake.shape)}")
    # A common origin at the data keeps the float32 cancellation in |a|^2 + |b|^2 - 2ab small.
    centre = real.mean(0, dtype=np.float64)
    r, f = (torch.from_numpy((v - centre).astype(np.float32)) for v in (real, fake))
    real_radii, fake_radii = radii(r, k), radii(f, k)
    inside, balls = torch.zeros(len(f), dtype=torch.bool), torch.zeros(len(f))
    reached, covered = torch.zeros(len(r), dtype=torch.bool), torch.zeros(len(r), dtype=torch.bool)
    for rows, d in squared_distances(r, f):
        in_real = d <= real_radii[rows, None]
        balls += in_real.sum(0)
        inside |= in_real.any(0)
        covered[rows] = in_real.any(1)
        reached[rows] = (d <= fake_radii).any(1)
    return Manifold(inside.numpy(), balls.double().numpy() / k, reached.numpy(), covered.numpy())


def radii(x: Tensor, k: int) -> Tensor:
    """[N] squared distance of each row of x [N, D] to its k-th nearest other row."""
    out = torch.empty(len(x))
    for rows, d in squared_distances(x, x):
        d[torch.arange(len(d)), torch.arange(rows.start, rows.start + len(d))] = torch.inf
        out[rows] = d.topk(k, dim=1, largest=False).values[:, -1]
    return out


def squared_distances(a: Tensor, b: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """(rows, squared distances [rows, N]) for blocks of rows of a [M, D] to b [N, D]; a block may be changed."""
    lengths = (b * b).sum(1)
    for i in range(0, len(a), BLOCK):
        part = a[i : i + BLOCK]
        d = torch.addmm(lengths[None], part, b.T, alpha=-2).add_((part * part).sum(1, keepdim=True)).clamp_(min=0)
        yield slice(i, i + len(part)), d
