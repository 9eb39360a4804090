"""Which rows a training batch holds so that rare levels of categories come often.

Xu et al. 2019, "Modeling tabular data using conditional GAN", section 4.3, training by sampling: a column, each as
often as any; a level of it, by the logarithm of how often it is; any row that has it. A model that is told column and
level learns what rows with it are like, whatever their share.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class Balance:
    """Rows by the levels of categories: codes [N, C], whole numbers from 0."""

    def __init__(self, codes: Ints) -> None:
        self.codes = codes
        self._rows, self._begins, self._edges = [], [], []
        for column in codes.T:
            counts = np.bincount(column)
            weight = np.where(counts > 0, np.log1p(counts), 0.0)
            self._rows.append(np.argsort(column, kind="stable").astype(np.int32))
            self._begins.append(np.concatenate([[0], np.cumsum(counts)]))
            self._edges.append(np.cumsum(weight) / weight.sum())

    def draw(self, size: int, draw: np.random.Generator) -> tuple[Ints, Ints]:
        """[size] rows, and of each the column whose level it was drawn for."""
        columns = draw.integers(0, len(self._rows), size)
        u = draw.random((size, 2))
        rows = np.empty(size, np.int64)
        for c in np.unique(columns):
            at = np.flatnonzero(columns == c)
            level = np.searchsorted(self._edges[c], u[at, 0], side="right")
            level = np.minimum(level, len(self._edges[c]) - 1)
            begin, end = self._begins[c][level], self._begins[c][level + 1]
            rows[at] = self._rows[c][begin + (u[at, 1] * (end - begin)).astype(np.int64)]
        return rows, columns
