"""The levels of one entry of a Row: of a category in an order in which neighbours are alike, of numbers their values or
bins.

Shapes: `N` rows, `S` spans, `L` levels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genloom.core.spec import Row

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
DISTINCT = 256  # different values up to which each is a level of its own
KNOTS = 17  # values kept of a bin, between which lie those that are drawn
LEVELS_SHOWN = 12  # of another category, that tell whether levels are alike
SHRINK = 10.0  # rows of the usual kind that are added to each level's own


@dataclass(frozen=True)
class Levels:
    """ranks: int64 [L], of each level of a category its place in the order; empty for numbers. values: float64 [L] of
    numbers that are levels, or [L, KNOTS] ends and quantiles of bins."""

    values: Floats
    ranks: Codes

    @classmethod
    def of_category(cls, order: Codes, levels: int) -> Levels:
        """order: int64 [L], the levels in order."""
        ranks = np.zeros(levels, np.int64)
        ranks[order] = np.arange(levels)
        return cls(np.zeros(0), ranks)

    @classmethod
    def of_numbers(cls, x: Floats, bins: int) -> Levels:
        """Of numbers [N]; without any, one level that is 0."""
        distinct = np.unique(x)
        if len(distinct) <= DISTINCT:
            return cls(distinct if len(distinct) else np.zeros(1), np.zeros(0, np.int64))
        edges = np.unique(np.quantile(x, np.linspace(0, 1, bins + 1)))
        ordered = np.sort(x)
        places = np.searchsorted(ordered, edges[:-1]), np.searchsorted(ordered, edges[1:])
        places[1][-1] = len(x)
        shares = np.linspace(0, 1, KNOTS)
        # A bin goes from its first value to the first of the next, so that no value between is lost.
        knots = [
            np.quantile(np.append(ordered[a:b], edges[k + 1]), shares)
            for k, (a, b) in enumerate(zip(*places, strict=True))
        ]
        return cls(np.stack(knots), np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.ranks) or len(self.values)

    def codes(self, x: Floats) -> Codes:
        """[N] levels of entries [N], in order; of a number between two values, the nearer one's."""
        if len(self.ranks):
            return self.ranks[x.astype(np.int64)]
        if self.values.ndim == 2:
            return np.clip(np.searchsorted(self.values[:, 0], x, side="right") - 1, 0, len(self.values) - 1)
        return np.searchsorted((self.values[1:] + self.values[:-1]) / 2, x)

    def values_of_ranks(self) -> Codes:
        out = np.zeros(len(self.ranks), np.int64)
        out[self.ranks] = np.arange(len(self.ranks))
        return out

    def values_at(self, codes: Codes, u: Floats) -> Floats:
        """[N] entries of levels [N]; u [N] in [0, 1]: where in its bin."""
        if len(self.ranks):
            return self.values_of_ranks()[codes].astype(np.float64)
        if self.values.ndim == 1:
            return self.values[codes]
        place = u * (KNOTS - 1)
        low = np.minimum(place.astype(np.int64), KNOTS - 2)
        a, b = self.values[codes, low], self.values[codes, low + 1]
        return a + (place - low) * (b - a)

    def arrays(self) -> tuple[Floats, Codes]:
        """What `from_arrays` takes, each with one axis."""
        return self.values.reshape(-1), np.append(self.ranks, self.values.ndim)

    @classmethod
    def from_arrays(cls, values: Floats, ranks: Codes) -> Levels:
        return cls(values.reshape(-1, KNOTS) if ranks[-1] == 2 else values, ranks[:-1])


def alike_order(x: Floats, at: int, spec: Row) -> Codes:
    """int64 [L] the levels of a category in an order in which neighbours are alike: along the first axis of what rows
    of each have in the other entries x [N, S], as correspondence analysis would put them."""
    levels, codes = spec.spans[at].levels, x[:, at].astype(np.int64)
    times = np.bincount(codes, minlength=levels)
    if levels <= 2 or spec.width == 1:
        return np.arange(levels)
    means = []
    for i, span in enumerate(spec.spans):
        if i == at:
            continue
        shown = range(min(span.levels, LEVELS_SHOWN)) if span.head == "category" else (None,)
        for level in shown:
            column = x[:, i] if level is None else (x[:, i] == level).astype(np.float64)
            deviation = column.std()
            if deviation > 0:
                own = np.bincount(codes, (column - column.mean()) / deviation, minlength=levels)
                means.append(own / (times + SHRINK))
    if not means:
        return np.arange(levels)
    table = np.stack(means, 1) * np.sqrt(times / times.sum())[:, None]
    axis = np.linalg.eigh(table.T @ table)[1][:, -1]
    axis = axis * (1 if axis[np.argmax(np.abs(axis))] > 0 else -1)
    return np.argsort(np.stack(means, 1) @ axis, kind="stable")
