"""How sure a figure is: standard errors and 95% intervals."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Z = 1.959964  # 97.5% quantile of the standard normal

Rows = NDArray[np.floating]


def normal_interval(value: float, error: float, low: float = -math.inf, high: float = math.inf) -> tuple[float, float]:
    """95% interval of an estimate with a standard error, cut to the range the figure can take."""
    return max(low, value - Z * error), min(high, value + Z * error)


def wilson_interval(share: float, n: int) -> tuple[float, float]:
    """95% interval of a share of n independent cases; sound at 0 and 1 too.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    centre = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z / (1 + Z * Z / n) * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def mean_error(values: Rows) -> float:
    """Standard error of the mean of independent values [N]."""
    return float(np.std(values, ddof=1) / math.sqrt(len(values)))


def block_jackknife(statistic: Callable[[Rows, Rows], float], a: Rows, b: Rows, blocks: int = 20) -> float:
    """Standard error of statistic(a, b) on two independent samples [M, D] and [N, D], by leaving out a block at a time.

    Unlike a bootstrap it repeats no row, which would bias statistics of covariances and nearest neighbours. Rows must
    be in random order. Source: Efron and Stein 1981; Kuensch 1989 for blocks.
    """
    variance = 0.0
    for first in (True, False):
        rows = a if first else b
        count = min(blocks, len(rows))
        left = [np.delete(rows, part, axis=0) for part in np.array_split(np.arange(len(rows)), count)]
        values = np.array([statistic(part, b) if first else statistic(a, part) for part in left])
        variance += float((count - 1) * values.var())
    return math.sqrt(variance)
