"""Figures of levels against formulas and brute force."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import entropy

from genloom.metrics import tiles

RNG = np.random.default_rng(0)


def some(n: int, kinds: str = "-#o", rows: int = 4, columns: int = 6) -> list[str]:
    return ["\n".join("".join(r) for r in RNG.choice(list(kinds), (rows, columns))) for _ in range(n)]


def squares(levels: list[str]) -> list[str]:
    """Every 2x2 square of tiles, as its four characters."""
    return [r[x : x + 2] + s[x : x + 2] for e in levels for r, s in pairwise(e.split("\n")) for x in range(len(r) - 1)]


def test_pattern_distance_is_the_mean_of_both_divergences() -> None:
    a, b = some(40, "-#", 5, 9), some(40, "--#", 5, 9)
    p, q = squares(a), squares(b)
    keys = sorted({*p, *q})
    pk, qk = np.array([p.count(k) for k in keys]), np.array([q.count(k) for k in keys])
    assert pk.min() > 0 and qk.min() > 0 and len(keys) == 16
    expected = 0.5 * entropy(pk, qk) + 0.5 * entropy(qk, pk)
    assert tiles.pattern_distance(a, b, 2) == pytest.approx(expected, rel=1e-4)
    assert tiles.pattern_distance(a, a, 2) == 0 and np.isnan(tiles.pattern_distance(a, b, 7))


def test_longest_copied_stretch_equals_brute_force() -> None:
    levels, others = some(20, "-#", 2, 7), some(10, "-#", 2, 7)
    for level, found in zip(levels, tiles.longest_copied(levels, others), strict=True):
        mine = tiles.columns_of(level)
        best = 0
        for other in others:
            theirs = tiles.columns_of(other)
            for i in range(7):
                for j in range(7):
                    k = 0
                    while i + k < 7 and j + k < 7 and mine[i + k] == theirs[j + k]:
                        k += 1
                    best = max(best, k)
        assert found == best


def test_novelty_is_the_share_of_tiles_of_the_nearest() -> None:
    levels, others = some(5), some(8)
    expected = [min(sum(a != b for a, b in zip(e, o, strict=True)) for o in others) / 24 for e in levels]
    assert tiles.novelty(levels, others).tolist() == pytest.approx(expected)
    assert np.isnan(tiles.novelty(["-#-\n###\n---"], others)[0])
    assert tiles.copied([others[0], "x"], others).tolist() == [1.0, 0.0]
