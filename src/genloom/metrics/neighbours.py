"""Exact nearest neighbours by blocks of the distance matrix, so that memory does not grow with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

CELLS = 1 << 23  # distances in memory at a time
ROWS = 1024


@dataclass(frozen=True)
class Nearest:
    """The k nearest rows of another set, nearest first. distance [M, k] float64: Euclidean. index [M, k]: which."""

    distance: NDArray[np.float64]
    index: NDArray[np.int64]


def nearest(a: NDArray[np.floating], b: NDArray[np.floating], k: int = 1) -> Nearest:
    """The k nearest rows of b [N, D] to each row of a [M, D].

    They are found by |a|^2 + |b|^2 - 2ab in float32 and their distances then taken from the differences, so that equal
    rows are exactly 0 apart. Memory: 32 MB, and 4 k D kB for the differences, beside float32 copies of the sets. Raises
    ValueError when widths differ or b has fewer than k rows.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or not 0 < k <= len(b):
        raise ValueError(f"needs [M, D] and [N >= {k}, D] of equal width, got {list(a.shape)} and {list(b.shape)}")
    centre = b.mean(0, dtype=np.float64)
    x, y = (torch.from_numpy((v - centre).astype(np.float32)) for v in (a, b))
    lengths = (y * y).sum(1)
    rows = max(1, min(ROWS, CELLS // len(y)))
    distance, index = torch.empty(len(x), k, dtype=torch.float64), torch.empty(len(x), k, dtype=torch.int64)
    for i in range(0, len(x), rows):
        part = x[i : i + rows]
        # |a|^2 is the same for all of b: the order needs it not
        d = torch.addmm(lengths[None], part, y.T, alpha=-2)
        found = d.argmin(1, keepdim=True) if k == 1 else d.topk(k, dim=1, largest=False).indices
        exact = torch.empty(found.shape, dtype=torch.float64)
        for j in range(k):
            exact[:, j] = (part - y[found[:, j]]).square().sum(1, dtype=torch.float64).sqrt()
        order = exact.argsort(dim=1, stable=True)
        distance[i : i + rows], index[i : i + rows] = exact.gather(1, order), found.gather(1, order)
    return Nearest(distance.numpy(), index.numpy())
