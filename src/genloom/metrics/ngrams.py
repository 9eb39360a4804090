"""Figures of sequences of units (words, characters, notes) from their n-grams: BLEU, self-BLEU, distinct, repetition.

Everything is exact and vectorised. `S` sequences, `U` units of all sequences one after the other, `G` different
n-grams, `K` pairs of a sequence and an n-gram in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
EPSILON = 0.1  # what a sentence without a match of an order gets instead: method 1 of Chen and Cherry 2014
BLOCKS = 20


@dataclass(frozen=True)
class Units:
    """Sequences as numbers: ids int64 [U] and starts int64 [S + 1]."""

    ids: Ints
    starts: Ints

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> Ints:
        return np.diff(self.starts)

    @property
    def sequence(self) -> Ints:
        """[U] which sequence each unit belongs to."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def __getitem__(self, rows: slice) -> Units:
        first, last, _ = rows.indices(len(self))
        starts = self.starts[first : last + 1]
        return Units(self.ids[starts[0] : starts[-1]], starts - starts[0])


def numbered(*groups: Sequence[Sequence[str]]) -> list[Units]:
    """Groups of sequences of units with numbers from one common vocabulary."""
    numbers: dict[str, int] = {}
    out = []
    for group in groups:
        ids = [numbers.setdefault(unit, len(numbers)) for sequence in group for unit in sequence]
        lengths = [len(sequence) for sequence in group]
        out.append(Units(np.array(ids, dtype=np.int64), np.cumsum([0, *lengths], dtype=np.int64)))
    return out


@dataclass(frozen=True)
class Table:
    """How often each n-gram of one order occurs in each sequence. sequence, gram, count: int64 [K], sorted by sequence,
    then n-gram; gram is in [0, grams). occurrences [S]: n-grams of each sequence, repeated ones as often."""

    order: int
    sequence: Ints
    gram: Ints
    count: Ints
    grams: int
    occurrences: Ints


def tables(units: Units, orders: int) -> Iterator[Table]:
    """The tables of orders 1 to `orders`."""
    sequence, width = units.sequence, int(units.ids.max(initial=0)) + 1
    places, grams = np.arange(len(units.ids)), units.ids
    for order in range(1, orders + 1):
        if order > 1:
            ends = places + order - 1
            inside = ends < len(sequence)
            inside[inside] = sequence[places[inside]] == sequence[ends[inside]]
            places, ends, grams = places[inside], ends[inside], grams[inside]
            grams = grams * width + units.ids[ends]
        known, grams = np.unique(grams, return_inverse=True)
        number = max(1, len(known))
        pairs, count = np.unique(sequence[places] * number + grams, return_counts=True)
        occurrences = np.bincount(sequence[places], minlength=len(units))
        yield Table(order, pairs // number, pairs % number, count, number, occurrences)


# -- BLEU ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bleu:
    """What BLEU is made of. matches, totals int64 [S, orders]: n-grams of each sample that the references allow, and
    all; lengths, closest int64 [S]: its length and the nearest length of a reference (the shorter of two)."""

    matches: Ints
    totals: Ints
    lengths: Ints
    closest: Ints

    def sentences(self, order: int) -> Floats:
        """[S] BLEU of each sample alone; the mean is what Texygen gives (Zhu et al. 2018).

        Papineni et al. 2002, eq. 1 to 3, smoothed where an order has no match by method 1 of Chen and Cherry 2014 (0.1
        matches instead of none); 0 where no unit matches. As nltk's sentence_bleu with smoothing method 1.
        """
        matches, totals = self.matches[:, :order], np.maximum(self.totals[:, :order], 1)
        logs = np.log(np.where(matches > 0, matches, EPSILON) / totals).mean(1)
        scores = np.exp(logs + self._brevity(self.lengths, self.closest))
        return np.where(matches[:, 0] > 0, scores, 0.0)

    def corpus(self, order: int) -> float:
        """BLEU of all samples together, not smoothed: 0 where an order has no match at all. Papineni et al. 2002; as
        sacrebleu with smooth_method="none"; nltk's corpus_bleu counts one n-gram too many in samples shorter than the
        order and agrees where there are none."""
        matches, totals = self.matches[:, :order].sum(0), self.totals[:, :order].sum(0)
        if not matches.all():
            return 0.0
        brevity = self._brevity(self.lengths.sum(keepdims=True), self.closest.sum(keepdims=True))
        return float(np.exp(np.log(matches / totals).mean() + brevity[0]))

    @staticmethod
    def _brevity(lengths: Ints, closest: Ints) -> Floats:
        """Logarithm of the brevity penalty."""
        return np.minimum(0.0, 1 - closest / np.maximum(lengths, 1))


def bleu(samples: Units, references: Units, orders: int = 5) -> Bleu:
    """Each sample against all references as one set. Both must be numbered together. Raises ValueError without
    references."""
    if not len(references):
        raise ValueError("BLEU needs at least one reference")
    both = Units(
        np.concatenate([samples.ids, references.ids]),
        np.concatenate([samples.starts, samples.starts[-1] + references.starts[1:]]),
    )
    matches, totals = [], []
    for table in tables(both, orders):
        own = table.sequence < len(samples)
        most = np.zeros(table.grams, dtype=np.int64)
        np.maximum.at(most, table.gram[~own], table.count[~own])
        matches.append(_clipped(table, own, most[table.gram], len(samples)))
        totals.append(table.occurrences[: len(samples)])
    return Bleu(np.stack(matches, 1), np.stack(totals, 1), samples.lengths, _closest(samples, references.lengths))


def self_bleu(samples: Units, orders: int = 5) -> Bleu:
    """Each sample against all others (Zhu et al. 2018): high where samples resemble one another.

    The clipped count of an n-gram is the largest of all other samples: the second largest of all where the sample
    itself has the largest. So it takes one pass instead of a comparison of all pairs. Raises ValueError for fewer than
    two samples.
    """
    if len(samples) < 2:
        raise ValueError("self-BLEU needs at least two samples")
    matches, totals = [], []
    for table in tables(samples, orders):
        by_gram = np.lexsort((table.count, table.gram))
        gram, count = table.gram[by_gram], table.count[by_gram]
        last = np.append(gram[1:] != gram[:-1], True) if len(gram) else np.zeros(0, dtype=bool)
        most, second, holder = (np.zeros(table.grams, dtype=np.int64) for _ in range(3))
        place = np.flatnonzero(last)
        most[gram[place]], holder[gram[place]] = count[place], table.sequence[by_gram[place]]
        before = place[(place > 0) & (gram[place - 1] == gram[place])]
        second[gram[before]] = count[before - 1]
        others = np.where(holder[table.gram] == table.sequence, second[table.gram], most[table.gram])
        matches.append(_clipped(table, np.ones(len(others), dtype=bool), others, len(samples)))
        totals.append(table.occurrences)
    lengths = samples.lengths
    closest = lengths.copy()
    known, index, number = np.unique(lengths, return_inverse=True, return_counts=True)
    if len(known) > 1:
        far = np.iinfo(np.int64).max // 2
        down = known - np.append(-far, known[:-1])
        up = np.append(known[1:], far) - known
        nearest = np.where(down <= up, known - down, known + up)
        closest = np.where(number[index] > 1, lengths, nearest[index])
    return Bleu(np.stack(matches, 1), np.stack(totals, 1), lengths, closest)


def _clipped(table: Table, own: NDArray[np.bool_], most: Ints, samples: int) -> Ints:
    """[S] matches of each sample when an n-gram counts at most as often as `most` [K] says."""
    allowed = np.minimum(table.count, most)[own]
    return np.bincount(table.sequence[own], allowed, minlength=samples).astype(np.int64)


def _closest(samples: Units, references: Ints) -> Ints:
    """[S] the length of a reference nearest to each sample's, the shorter of two."""
    known = np.unique(references)
    lengths = samples.lengths
    above = np.searchsorted(known, lengths).clip(max=len(known) - 1)
    below = (above - 1).clip(min=0)
    return np.where(np.abs(known[below] - lengths) <= np.abs(known[above] - lengths), known[below], known[above])


# -- variety ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Share:
    value: float
    error: float  # standard error


def distinct(samples: Units, orders: int = 4) -> list[Share]:
    """For each order the share of different n-grams among all n-grams of the samples (Li et al. 2016, "A
    Diversity-Promoting Objective Function for Neural Conversation Models"). It falls as the number of samples grows.

    The standard error is the jackknife over 20 blocks of samples. nan for an order longer than every sample.
    """
    return [_distinct(table, len(samples)) for table in tables(samples, orders)]


def _distinct(table: Table, samples: int) -> Share:
    total = int(table.occurrences.sum())
    if not total:
        return Share(math.nan, math.nan)
    blocks = min(BLOCKS, samples)
    block = table.sequence * blocks // samples
    pairs = np.unique(table.gram * blocks + block)
    alone = np.bincount(pairs // blocks, minlength=table.grams) == 1
    lost = np.bincount(pairs[alone[pairs // blocks]] % blocks, minlength=blocks)
    left = total - np.bincount(np.arange(samples) * blocks // samples, table.occurrences, minlength=blocks)
    without = (table.grams - lost) / np.maximum(left, 1)
    return Share(table.grams / total, math.sqrt((blocks - 1) * without.var()))


def repetition(samples: Units, order: int = 4) -> Floats:
    """[S] share of the n-grams of a sample that occurred in it before: 1 - different / all (Welleck et al. 2020,
    "Neural Text Generation with Unlikelihood Training", seq-rep-n); 0 for a sample shorter than the order."""
    *_, table = tables(samples, order)
    different = np.bincount(table.sequence, minlength=len(samples))
    return np.where(table.occurrences > 0, 1 - different / np.maximum(table.occurrences, 1), 0.0)


def longest_loop(samples: Units, period: int = 50) -> Ints:
    """[S] units of the longest stretch that says the same at least twice in immediate succession, with a period of up
    to `period` units: 6 in "and so and so and so"; 0 without any."""
    sequence, out = samples.sequence, np.zeros(len(samples), dtype=np.int64)
    for p in range(1, min(period, int(samples.lengths.max(initial=0)) // 2) + 1):
        same = (samples.ids[p:] == samples.ids[:-p]) & (sequence[p:] == sequence[:-p])
        edges = np.diff(np.concatenate([[False], same, [False]]).astype(np.int8))
        starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
        loops = ends - starts >= p
        np.maximum.at(out, sequence[starts[loops]], ends[loops] - starts[loops] + p)
    return out


def unseen(samples: Units, known: Ints) -> tuple[Ints, Ints]:
    """For each sample [S] how many of its units are not among `known` (numbered together), and how many it has."""
    new = ~np.isin(samples.ids, known)
    return np.bincount(samples.sequence, new, minlength=len(samples)).astype(np.int64), samples.lengths


def length_distance(a: Ints | NDArray[np.floating], b: Ints | NDArray[np.floating]) -> float:
    """Wasserstein-1 distance between two sets of lengths: the mean number of units by which lengths must change to turn
    one distribution into the other. Raises ValueError when one is empty."""
    if not len(a) or not len(b):
        raise ValueError("a distance between lengths needs at least one of each")
    places = np.unique(np.concatenate([a, b]))
    shares = [np.searchsorted(np.sort(x), places, side="right") / len(x) for x in (a, b)]
    return float((np.abs(shares[0] - shares[1])[:-1] * np.diff(places)).sum())
