"""The longest passage that a sequence shares word for word with a text: exact, by a suffix array of the text.

Suffix array: prefix doubling on groups that are still equal (Larsson and Sadakane 2007, "Faster suffix sorting"), begun
with as many tokens as fit into 64 bits. Look-up: binary search for all positions at once (Manber and Myers 1993).
`N` tokens of the text, `M` tokens of all sequences, `S` sequences.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Words = NDArray[np.uint64]


@dataclass(frozen=True)
class Runs:
    """The longest shared passage of each sequence. length [S] tokens (0 without any), start [S] where it begins in the
    sequence, place [S] where in the text (one of several when it occurs there more than once)."""

    length: Ints
    start: Ints
    place: Ints


class Text:
    """A text of tokens [N] in documents that begin at starts [D + 1] (one document if None), ready to be searched.

    A passage never reaches from one document into the next. vocab: tokens are in [0, vocab).
    """

    def __init__(self, tokens: NDArray[np.integer], vocab: int, starts: Ints | None = None) -> None:
        bounds = np.array([0, len(tokens)]) if starts is None else starts
        self.bits = max(2, int(vocab + 2).bit_length())
        self.together = 63 // self.bits  # tokens in one word
        # one border after each document; 0 is "past the end", 1 a border of the text, 2 one of a sequence
        self._origin = np.delete(np.arange(len(tokens) + len(bounds) - 1), bounds[1:] + np.arange(len(bounds) - 1))
        joined = np.ones(len(tokens) + len(bounds) - 1, dtype=np.int64)
        joined[self._origin] = np.asarray(tokens, dtype=np.int64) + 3
        self._words = self._packed(joined)
        self._order = suffix_array(self._words, self.together)
        self._first = self._words[self._order]
        self._back = np.full(len(joined), -1, dtype=np.int64)
        self._back[self._origin] = np.arange(len(tokens))

    def _packed(self, tokens: Ints) -> Words:
        """[N] at each place the next tokens as one number that compares as they do."""
        out = np.zeros(len(tokens), dtype=np.uint64)
        for k in range(min(self.together, len(tokens))):
            shift = np.uint64(self.bits * (self.together - 1 - k))
            out[: len(tokens) - k] |= tokens[k:].astype(np.uint64) << shift
        return out

    def runs(self, tokens: NDArray[np.integer], starts: Ints) -> Runs:
        """The longest passage of each sequence that is in the text. tokens [M], starts [S + 1]."""
        borders = starts[1:] + np.arange(len(starts) - 1)
        inside = np.delete(np.arange(len(tokens) + len(borders)), borders)
        joined = np.full(len(tokens) + len(borders), 2, dtype=np.int64)
        joined[inside] = np.asarray(tokens, dtype=np.int64) + 3
        length, place = self._longest(self._packed(joined))
        length, place = length[inside], place[inside]
        count = len(starts) - 1
        sequence = np.repeat(np.arange(count), np.diff(starts))
        # the first of the longest: stable order by sequence, then by length downwards
        order = np.lexsort((np.arange(len(length)), -length, sequence))
        first = np.flatnonzero(np.diff(sequence[order], prepend=-1))
        best = order[first]
        found = Runs(*(np.zeros(count, dtype=np.int64) for _ in range(3)))
        rows = sequence[best]
        found.length[rows], found.start[rows] = length[best], best - starts[rows]
        found.place[rows] = np.where(length[best] > 0, self._back[place[best]], 0)
        return found

    def _longest(self, words: Words) -> tuple[Ints, Ints]:
        """[M] how many tokens from each place on are in the text, and where there."""
        low, high = np.zeros(len(words), dtype=np.int64), np.full(len(words), len(self._order))
        length, place = np.zeros(len(words), dtype=np.int64), np.zeros(len(words), dtype=np.int64)
        active = np.arange(len(words))
        if not len(self._order):
            return length, place
        depth = 0
        while len(active):
            ahead = active + depth
            wanted = np.where(ahead < len(words), words[np.minimum(ahead, len(words) - 1)], np.uint64(0))
            a, b = low[active], high[active]
            left, right = self._within(a, b, wanted, depth, False), self._within(a, b, wanted, depth, True)
            # the neighbours on both sides share most with what is looked for
            for side, there in ((left - 1, left - 1 >= a), (left, left < b)):
                rows = self._order[np.minimum(np.maximum(side, 0), len(self._order) - 1)]
                shared = depth + np.where(there, self._equal(self._word(rows, depth), wanted), 0)
                better = there & (shared > length[active])
                length[active[better]], place[active[better]] = shared[better], rows[better]
            on = right > left
            low[active], high[active] = left, right
            active = active[on & (length[active] == depth + self.together)]
            depth += self.together
        return length, place

    def _word(self, rows: Ints, depth: int) -> Words:
        ahead = rows + depth
        return np.where(ahead < len(self._words), self._words[np.minimum(ahead, len(self._words) - 1)], np.uint64(0))

    def _within(self, low: Ints, high: Ints, wanted: Words, depth: int, after: bool) -> Ints:
        """Between low and high, which suffixes agree in `depth` tokens, the place where `wanted` belongs next."""
        if depth == 0:
            return np.searchsorted(self._first, wanted, side="right" if after else "left")
        low, high = low.copy(), high.copy()
        while bool((low < high).any()):
            middle = (low + high) // 2
            word = self._word(self._order[np.minimum(middle, len(self._order) - 1)], depth)
            less = (word <= wanted) if after else (word < wanted)
            less &= low < high
            low, high = np.where(less, middle + 1, low), np.where(less | (low >= high), high, middle)
        return low

    def _equal(self, a: Words, b: Words) -> Ints:
        """How many leading tokens two words share."""
        differ = a ^ b
        out = np.full(len(a), self.together, dtype=np.int64)
        for k in range(self.together - 1, -1, -1):
            out[differ >> np.uint64(self.bits * (self.together - 1 - k)) != 0] = k
        return out


def suffix_array(words: Words, together: int) -> Ints:
    """[N] places of a text in the order of the suffixes that begin there. words [N]: at each place the next `together`
    tokens as one number, 0 past the end."""
    n = len(words)
    order = np.argsort(words)
    rank = np.empty(n, dtype=np.int64)
    sorted_words = words[order]
    start = np.flatnonzero(np.concatenate([[True], sorted_words[1:] != sorted_words[:-1]])) if n else np.zeros(0, int)
    sizes = np.diff(np.append(start, n))
    rank[order] = np.repeat(start, sizes)
    open_places = np.flatnonzero(np.repeat(sizes > 1, sizes))  # in the order, where equal ones stand
    step = together
    while len(open_places):
        suffixes = order[open_places]
        ahead = suffixes + step
        second = np.where(ahead < n, rank[np.minimum(ahead, n - 1)] + 1, 0)
        key = rank[suffixes] * (n + 1) + second
        again = np.argsort(key)
        key, suffixes = key[again], suffixes[again]
        order[open_places] = suffixes
        new = np.concatenate([[True], key[1:] != key[:-1]])
        start = np.flatnonzero(new)
        sizes = np.diff(np.append(start, len(key)))
        rank[suffixes] = np.repeat(open_places[start], sizes)
        open_places = open_places[np.repeat(sizes > 1, sizes)]
        step *= 2
    return order
