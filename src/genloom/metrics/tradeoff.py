"""Comparing curves of quality against diversity, as temperature draws them (Caccia et al. 2020, "Language GANs falling
short").

Shapes: `P` points of a curve.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
PLACES = 33  # at which two curves are compared


@dataclass(frozen=True)
class Curve:
    """likeness [P]: how much the samples resemble one another (self-BLEU); quality [P] (BLEU) and its standard error
    [P]."""

    likeness: Floats
    quality: Floats
    error: Floats

    def at(self, likeness: Floats) -> tuple[Floats, Floats]:
        """Quality and its error at these likenesses, on straight lines between the points."""
        order = np.argsort(self.likeness, kind="stable")
        x = self.likeness[order]
        return np.interp(likeness, x, self.quality[order]), np.interp(likeness, x, self.error[order])


def advantage(a: Curve, b: Curve) -> tuple[float, float] | None:
    """How much higher the quality of `a` is than that of `b` at equal likeness, the mean over the range that both
    cover, and its standard error; None where they have no range in common.

    The points of a curve come from one model, so their errors are taken to be the same one, not averaged out.
    """
    low = max(a.likeness.min(), b.likeness.min())
    high = min(a.likeness.max(), b.likeness.max())
    if not low < high:
        return None
    places = np.linspace(low, high, PLACES)
    (qa, ea), (qb, eb) = a.at(places), b.at(places)
    return float((qa - qb).mean()), float(np.hypot(ea, eb).mean())


def above(a: Curve, likeness: float, quality: float) -> float | None:
    """How much higher `a` is than a single point at equal likeness; None where the curve does not reach there."""
    if not a.likeness.min() <= likeness <= a.likeness.max():
        return None
    return float(a.at(np.array([likeness]))[0][0] - quality)
