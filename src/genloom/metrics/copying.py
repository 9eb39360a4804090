"""Are samples nearer to the training examples than held-out examples are? Tests and rates on scores alone.

A score [N] says how near an example is to its nearest training example, lower being nearer. Under no copying the scores
of samples are exchangeable with those of held-out examples. Sources: Meehan, Chaudhuri and Dasgupta 2020, "A
non-parametric test to detect data-copying in generative models" (three samples, rank statistic); Clopper and Pearson
1934 and Newcombe 1998, "Interval estimation for the difference between independent proportions" (intervals); DeLong et
al. 1988 (area under the curve).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

QUANTILES = (0.0, 0.01, 0.1)  # of the held-out scores; 0: their smallest
LEVEL = 0.05

Scores = NDArray[np.floating]


@dataclass(frozen=True)
class Excess:
    """Samples below a threshold, beyond those that held-out data explains.

    quantile: of the held-out scores, where the threshold is. flagged: samples below it. expected: share that held-out
    data has below it. chance: share that samples have of such hits on held-out data, scaled to the size of the training
    data. rate: share of copies, `interval` its interval at 95% over all thresholds that were tried. p_value: of at
    least as many flagged without copying, times the number of thresholds.
    """

    quantile: float
    threshold: float
    flagged: int
    expected: float
    chance: float
    rate: float
    interval: tuple[float, float]
    p_value: float


def excess(
    samples: Scores,
    held_out: Scores,
    control: Scores | None = None,
    ratio: float = 1.0,
    *,
    tries: int = 1,
    quantiles: Sequence[float] = QUANTILES,
) -> Excess:
    """The threshold at which most samples are surely copies.

    samples [N], held_out [M]: scores against the training data. control [N]: scores of the samples against held-out
    data that is 1 / ratio times as much: what the samples hit there is chance, be it because they are smooth, because
    examples are short, or because a split keeps repetitions on one side. tries: other comparisons that the interval and
    the p-value are to allow for. Raises ValueError without samples or held-out scores.
    """
    if not len(samples) or not len(held_out):
        raise ValueError("needs scores of samples and of held-out examples")
    ordered = np.sort(held_out)
    places = sorted({max(1, int(q * (len(ordered) + 1))) for q in quantiles})
    allowed = tries * len(places)
    found = [_at(samples, ordered, k, control, ratio, LEVEL / allowed, allowed) for k in places]
    return max(found, key=lambda e: (e.interval[0], -e.p_value))


def _at(
    samples: Scores, ordered: Scores, k: int, control: Scores | None, ratio: float, level: float, allowed: int
) -> Excess:
    """The excess below the k-th smallest held-out score."""
    n, m, threshold = len(samples), len(ordered), float(ordered[k - 1])
    flagged, below = int((samples < threshold).sum()), int((ordered < threshold).sum())
    share, low, high = _share(flagged, n, level)
    # the next example falls below the (j+1)-th of m with chance (j+1) / (m+1)
    usual = (below + 1) / (m + 1)
    usual_low, usual_high = (float(stats.beta.ppf(q, below + 1, m - below)) for q in (level / 2, 1 - level / 2))
    p_value = float(stats.hypergeom.cdf(k - 1, n + m, m, flagged + k - 1)) if flagged else 1.0
    hits = 0 if control is None else int((control < threshold).sum())
    chance = min(1.0, hits * ratio / n)
    # a hit or two where one is expected anyway say nothing, and their wide interval would hide real copies
    if chance > usual and float(stats.poisson.sf(hits - 1, usual * n / ratio)) < LEVEL:
        usual = chance
        usual_low = min(1.0, float(stats.gamma.ppf(level / 2, hits)) * ratio / n)
        usual_high = min(1.0, float(stats.gamma.ppf(1 - level / 2, hits + 1)) * ratio / n)
        p_value = max(p_value, float(stats.binom.sf(flagged - 1, flagged + hits, ratio / (1 + ratio))))
    difference, rest = share - usual, max(1 - usual, 1 / (m + 1))
    down = difference - math.hypot(share - low, usual_high - usual)
    up = difference + math.hypot(high - share, usual - usual_low)
    rate, interval = _unit(difference / rest), (_unit(down / rest), _unit(up / rest))
    expected = below / m
    return Excess((k - 1) / m, threshold, flagged, expected, chance, rate, interval, min(1.0, p_value * allowed))


def _unit(value: float) -> float:
    return min(1.0, max(0.0, value))


def _share(count: int, n: int, level: float) -> tuple[float, float, float]:
    """A share and its Clopper-Pearson interval."""
    low = float(stats.beta.ppf(level / 2, count, n - count + 1)) if count else 0.0
    high = float(stats.beta.ppf(1 - level / 2, count + 1, n - count)) if count < n else 1.0
    return count / n, low, high


@dataclass(frozen=True)
class Rank:
    """Share of pairs (sample, held-out example) in which the sample is nearer to the training data, ties half: 0.5
    without copying. z: standardised. p_value: of more, one-sided."""

    share: float
    z: float
    p_value: float


def rank_test(samples: Scores, held_out: Scores) -> Rank:
    """Meehan et al.'s statistic on all examples: the Mann-Whitney test. Where all scores tie, z is 0."""
    n, m = len(samples), len(held_out)
    ranks = stats.rankdata(np.concatenate([samples, held_out]))
    u = n * m - (ranks[:n].sum() - n * (n + 1) / 2)  # pairs in which the sample is lower
    _, ties = np.unique(ranks, return_counts=True)
    correction = float((ties.astype(np.float64) ** 3 - ties).sum()) / ((n + m) * max(1, n + m - 1))
    deviation = math.sqrt(max(0.0, n * m / 12 * (n + m + 1 - correction)))
    z = float((u - n * m / 2) / deviation) if deviation > 0 else 0.0
    return Rank(float(u / (n * m)), z, float(stats.norm.sf(z)))


def separation(low: Scores, high: Scores) -> tuple[float, tuple[float, float]]:
    """P(a value of `low` [N] is below one of `high` [M]), ties half, with its 95% interval: 0.5 when nobody can tell
    them apart. The area under the curve with DeLong's variance; at 0 and 1 the interval of as many pure hits."""
    order = np.sort(high)
    below = len(high) - (np.searchsorted(order, low, "left") + np.searchsorted(order, low, "right")) / 2
    mine = below / len(high)  # of each low value: share of high ones above it
    order = np.sort(low)
    theirs = (np.searchsorted(order, high, "left") + np.searchsorted(order, high, "right")) / 2 / len(low)
    value = float(mine.mean())
    if min(len(low), len(high)) < 2:
        return value, (0.0, 1.0)
    error = math.sqrt(mine.var(ddof=1) / len(low) + theirs.var(ddof=1) / len(high))
    if error == 0:
        _, least, most = _share(round(value * min(len(low), len(high))), min(len(low), len(high)), LEVEL)
        return value, (least, most)
    reach = float(stats.norm.ppf(1 - LEVEL / 2)) * error
    return value, (max(0.0, value - reach), min(1.0, value + reach))
