"""Figures of tile levels: distances between the small patterns in them, how new they are, what they copy.

A level is text: rows of one character a tile, separated by newlines. Legend: `N` levels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

EPSILON = 1e-5  # smoothing of Lucas and Volz


def columns_of(level: str) -> list[str]:
    """The columns from left to right, each from top to bottom."""
    return ["".join(c) for c in zip(*level.split("\n"), strict=True)]


def patterns(levels: Sequence[str], size: int) -> Counter[tuple[str, ...]]:
    """How often each square of size x size tiles occurs."""
    found: Counter[tuple[str, ...]] = Counter()
    for level in levels:
        rows = level.split("\n")
        for y in range(len(rows) - size + 1):
            part = rows[y : y + size]
            found.update(tuple(r[x : x + size] for r in part) for x in range(len(part[0]) - size + 1))
    return found


def pattern_distance(levels: Sequence[str], others: Sequence[str], size: int) -> float:
    """Mean of the two Kullback-Leibler divergences between the distributions of patterns, in nats; nan for levels
    smaller than a pattern.

    Lucas and Volz 2019, "Tile pattern KL-divergence for analysing and evolving game levels", eq. 1 to 3 with w = 1/2.
    """
    a, b = patterns(levels, size), patterns(others, size)
    if not a or not b:
        return float("nan")
    keys = sorted(a.keys() | b.keys())

    def smoothed(counts: Counter[tuple[str, ...]]) -> NDArray[np.float64]:
        values = np.array([counts[k] for k in keys], dtype=np.float64) + EPSILON
        return values / ((counts.total() + EPSILON) * (1 + EPSILON))

    p, q = smoothed(a), smoothed(b)
    return float(0.5 * (p * np.log(p / q)).sum() + 0.5 * (q * np.log(q / p)).sum())


def longest_copied(levels: Sequence[str], others: Sequence[str]) -> NDArray[np.float64]:
    """[N] columns of the longest stretch of whole columns that also stands in one of `others`."""
    places: dict[str, list[tuple[int, int]]] = {}
    for i, level in enumerate(dict.fromkeys(others)):
        for j, column in enumerate(columns_of(level)):
            places.setdefault(column, []).append((i, j))
    out = np.zeros(len(levels))
    for n, level in enumerate(levels):
        runs: dict[tuple[int, int], int] = {}
        for column in columns_of(level):
            runs = {(i, j): runs.get((i, j - 1), 0) + 1 for i, j in places.get(column, ())}
            out[n] = max(out[n], max(runs.values(), default=0))
    return out


def novelty(levels: Sequence[str], others: Sequence[str]) -> NDArray[np.float64]:
    """[N] share of tiles that differ from the most similar of `others` of the same size; nan where there is none."""
    by_size: dict[tuple[int, int], list[str]] = {}
    for level in dict.fromkeys(others):
        by_size.setdefault(_size(level), []).append(level)
    known = {size: _codes(group) for size, group in by_size.items()}
    out = np.full(len(levels), np.nan)
    for n, level in enumerate(levels):
        stack = known.get(_size(level))
        if stack is not None:
            out[n] = (stack != _codes([level])).mean(1).min()
    return out


def copied(levels: Sequence[str], others: Sequence[str]) -> NDArray[np.float64]:
    """[N] 1 where the level is one of `others`, tile for tile."""
    known = set(others)
    return np.array([float(level in known) for level in levels])


def _size(level: str) -> tuple[int, int]:
    return level.count("\n") + 1, len(level)


def _codes(levels: Sequence[str]) -> NDArray[np.uint32]:
    """[n, tiles] code points of levels of one size."""
    return np.stack([np.frombuffer(level.replace("\n", "").encode("utf-32-le"), "<u4") for level in levels])
