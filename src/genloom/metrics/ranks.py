"""Agreement of two rankings."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

LEAST = 4


def spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[float, tuple[float, float] | None]:
    """Rank correlation of values [N] and its 95% interval (Bonett and Wright 2000, eq. 5: Fisher's z with a variance of
    (1 + r^2 / 2) / (N - 3)); nan where one of them is constant, no interval for fewer than LEAST."""
    from scipy.stats import rankdata

    x, y = (rankdata(v).astype(np.float64) for v in (a, b))
    x, y = x - x.mean(), y - y.mean()
    scale = math.sqrt(float(x @ x) * float(y @ y))
    if not scale:
        return math.nan, None
    r = float(x @ y) / scale
    if len(a) < LEAST or abs(r) >= 1 - 1e-12:
        return r, None
    z, reach = math.atanh(r), 1.959964 * math.sqrt((1 + r * r / 2) / (len(a) - 3))
    return r, (math.tanh(z - reach), math.tanh(z + reach))
