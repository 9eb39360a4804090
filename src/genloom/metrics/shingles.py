"""Near duplicates among texts: how many of their short passages two have in common, without comparing every pair.

Broder 1997, "On the resemblance and containment of documents": the share of equal minima under random orders of the
passages estimates the Jaccard similarity of their sets. Texts are compared when a band of minima is equal (Leskovec,
Rajaraman and Ullman, "Mining of Massive Datasets", section 3.4).
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

BANDS, ROWS = 12, 5  # two texts of similarity .8 are compared with a chance of .99, of .5 with one of .32
LIKENESS = 0.8
MOST_TEXTS = 200_000  # of more texts the first are compared: 240 bytes each
MOST_CHARACTERS = 20_000  # of a longer text the beginning is compared
LEAST = 20  # characters below which a text has too few passages (half of it in Chinese or Japanese)
LENGTH, DENSE_LENGTH = 5, 2  # characters of a passage, and where a character says as much as part of a word
TOGETHER = 256  # texts whose minima are taken at once
WINDOW = 64  # neighbours looked at within a band's bucket, so that many look-alikes do not cost their square

Ints = NDArray[np.int64]
_BASE = np.uint64(0x9E3779B97F4A7C15)
_BETWEEN = re.compile(r"[\W_]+")


class Sketches:
    """Minima of texts as they come. Passages are 5 characters, in Chinese and Japanese 2; case, spaces and signs do not
    count."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._factor = rng.integers(1, 2**63, BANDS * ROWS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
        self._added = rng.integers(0, 2**63, BANDS * ROWS, dtype=np.uint64)
        self._minima: list[NDArray[np.uint32]] = []  # each [n, BANDS * ROWS]
        self._index: list[int] = []
        self._waiting: dict[int, list[tuple[int, NDArray[np.uint32]]]] = {LENGTH: [], DENSE_LENGTH: []}
        self.texts = 0  # that were long enough

    @property
    def full(self) -> bool:
        return self.texts >= MOST_TEXTS

    def add(self, i: int, text: str) -> None:
        """Text number i; passed over when it is short or there are MOST_TEXTS already."""
        if self.full:
            return
        points, length = plain_points(text)
        if len(points) < (LEAST if length == LENGTH else LEAST // 2):
            return
        self.texts += 1
        waiting = self._waiting[length]
        waiting.append((i, points))
        if len(waiting) >= TOGETHER or len(points) > TOGETHER**2 // 4:
            self._flush(length)

    def _flush(self, length: int) -> None:
        """Minima of the texts that wait, all at once: one by one, NumPy's calls would take most of the time."""
        waiting, self._waiting[length] = self._waiting[length], []
        if not waiting:
            return
        sizes = np.array([len(points) for _, points in waiting])
        starts = np.cumsum(sizes) - sizes
        # of each text its passages, and the few that reach into the next text
        edges = np.stack([starts, starts + sizes - length + 1], 1).ravel()
        hashes = passages(np.concatenate([points for _, points in waiting]), length)
        edges = edges[edges < len(hashes)]
        minima = np.empty((len(waiting), BANDS * ROWS), np.uint32)
        for k, (factor, added) in enumerate(zip(self._factor, self._added, strict=True)):
            # Dietzfelbinger et al. 1997: multiply and shift
            mixed = (hashes * factor + added) >> np.uint64(32)
            minima[:, k] = np.minimum.reduceat(mixed, edges)[::2]
        self._minima.append(minima)
        self._index += [i for i, _ in waiting]

    def pairs(self, least: float = LIKENESS) -> tuple[Ints, NDArray[np.float64]]:
        """[P, 2] numbers of the texts that have an estimated similarity of `least` or more, and [P] the estimate."""
        for length in self._waiting:
            self._flush(length)
        if len(self._index) < 2:
            return np.empty((0, 2), np.int64), np.empty(0)
        minima = np.concatenate(self._minima)
        found = [np.empty((0, 2), np.int64)]
        for band in range(BANDS):
            part = np.ascontiguousarray(minima[:, band * ROWS : (band + 1) * ROWS])
            keys = part.view(np.dtype((np.void, part.itemsize * ROWS))).ravel()
            _, key = np.unique(keys, return_inverse=True)
            order = np.argsort(key, kind="stable")
            ranked = key[order]
            for step in range(1, min(WINDOW, len(order))):
                same = np.flatnonzero(ranked[:-step] == ranked[step:])
                if not len(same):
                    break
                found.append(np.stack([order[same], order[same + step]], 1))
        pairs = np.unique(np.sort(np.concatenate(found), axis=1), axis=0)
        likeness = np.concatenate(
            [np.empty(0), *((minima[a] == minima[b]).mean(1) for a, b in _parts(pairs) if len(a))]
        )
        keep = likeness >= least
        return np.array(self._index, dtype=np.int64)[pairs[keep]], likeness[keep]


def _parts(pairs: Ints) -> list[tuple[Ints, Ints]]:
    return [(part[:, 0], part[:, 1]) for part in np.array_split(pairs, -(-len(pairs) // 65536) or 1)]


def plain_points(text: str) -> tuple[NDArray[np.uint32], int]:
    """Code points of a text without case and signs, and the length of its passages."""
    plain = _BETWEEN.sub(" ", text[:MOST_CHARACTERS].casefold()).strip()
    points = np.frombuffer(plain.encode("utf-32-le", "surrogatepass"), np.uint32)
    if plain.isascii():
        return points, LENGTH
    dense = int(((points >= 0x3040) & (points <= 0x9FFF) | (points >= 0x20000)).sum())
    return (points[points != 0x20], DENSE_LENGTH) if 2 * dense > len(points) else (points, LENGTH)


def passages(points: NDArray[np.uint32], length: int) -> NDArray[np.uint64]:
    """[N - length + 1] hashes of the passages of code points [N]."""
    n = len(points) - length + 1
    hashes = np.zeros(n, np.uint64)
    for k in range(length):
        hashes = hashes * _BASE + points[k : n + k]
    hashes ^= hashes >> np.uint64(29)
    return hashes * np.uint64(0xBF58476D1CE4E5B9)
