"""The training examples that given examples are nearest to, with what held-out examples show to be usual.

Grids: Euclidean distance between values, or between learnt features. Sequences: cosine distance of counts of short runs
of tokens, weighted by how rare each is (Salton and Buckley 1988, "Term-weighting approaches in automatic text
retrieval"; hashed as in Weinberger et al. 2009).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from genloom.core.errors import InputError
from genloom.core.rng import derive
from genloom.core.spec import Grid
from genloom.data.sequences import Sequences
from genloom.evaluate.audit_grids import chosen, flat, viewed
from genloom.evaluate.contracts import Data, FeatureSpace
from genloom.evaluate.passages import contents, drawn, pieces
from genloom.evaluate.shared import reference_split
from genloom.metrics.neighbours import Nearest, nearest

MOST_TRAINING, MOST_HELD_OUT = 50_000, 500  # examples searched, and examples that show what is usual
MOST_TOKENS = 3_000_000  # of training sequences searched
PIECE = 128  # tokens of a stream that are one example
BINS = 1 << 20
MANY = 500  # tokens of a vocabulary from which one of them says much by itself
QUANTILES = (0.01, 0.1, 0.5, 0.9)

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Nearby:
    """The k nearest training examples of N examples.

    distance, index [N, k]: nearest first; index is the place in the training split. usual [H]: distances of held-out
    examples to their nearest one, in rising order. space: what distance means. searched: training examples.
    """

    distance: NDArray[np.float64]
    index: Ints
    usual: NDArray[np.float64]
    space: str
    searched: int

    def nearer(self, i: int) -> float | None:
        """Share of the held-out examples that are at least as near to a training example as example i is; None where
        nothing is held out."""
        if not len(self.usual):
            return None
        return float(np.searchsorted(self.usual, self.distance[i, 0], side="right") / len(self.usual))

    def scale(self) -> dict[str, float]:
        """Quantiles of what is usual."""
        if not len(self.usual):
            return {}
        return {f"{q:g}": float(v) for q, v in zip(QUANTILES, np.quantile(self.usual, QUANTILES), strict=True)}


def nearest_on_grids(x: Tensor, data: Data, k: int, space: FeatureSpace | None = None, seed: int = 0) -> Nearby:
    """Of x [N, C, *size] as files would hold them. space None: in values. Raises InputError when k is too large."""
    spec = data.modality.spec
    assert isinstance(spec, Grid)
    _check(k, len(data.train))

    def view(b: Tensor) -> NDArray[np.float32]:
        return flat(b, spec) if space is None else space(b).numpy()

    rows = np.sort(chosen(data.train, MOST_TRAINING, derive(seed, "nearest", "train")))
    train = viewed(data.train, rows, view).values
    found = nearest(view(x), train, k)
    usual = np.zeros(0)
    if len(data.validation) + len(data.test):
        held, _ = reference_split(data)
        some = chosen(held, MOST_HELD_OUT, derive(seed, "nearest", "held"))
        usual = np.sort(nearest(viewed(held, some, view).values, train).distance[:, 0])
    name = "values" if space is None else f"features ({space.name})"
    return Nearby(found.distance, rows[found.index], usual, name, len(rows))


def nearest_sequences(s: Sequences, train: Sequences, held: Sequences | None, k: int, seed: int = 0) -> Nearby:
    """Of examples s, among the first 3 million tokens of the training data. A stream is compared in the pieces of
    `as_pieces`: index is then that of the piece. Raises InputError when k is too large."""
    s, train = contents(s), as_pieces(beginning(train))
    _check(k, len(train))
    runs = Runs.of(train)
    found = runs.nearest(s, k)
    usual = np.zeros(0)
    if held is not None and held.total:
        some = drawn(as_pieces(held), MOST_HELD_OUT, derive(seed, "nearest", "held"))
        usual = np.sort(runs.nearest(some, 1).distance[:, 0]) if len(some) else usual
    return Nearby(found.distance, found.index, usual, "short runs of tokens (cosine)", len(train))


def beginning(s: Sequences) -> Sequences:
    """The first 3 million tokens of whole examples, at least one."""
    last = max(1, int(np.searchsorted(s.starts, MOST_TOKENS, side="right")) - 1)
    if s.spec.stream:
        end = min(s.total, MOST_TOKENS)
        return Sequences(s.spec, s.tokens[:end], np.array([0, end], dtype=np.int64), None, list)
    if last >= len(s):
        return s
    labels = None if s.labels is None else s.labels[:last]
    return Sequences(s.spec, s.tokens[: s.starts[last]], s.starts[: last + 1], labels, list)


def as_pieces(s: Sequences) -> Sequences:
    """What is compared: documents without their marks, a stream in pieces of 128 tokens."""
    return pieces(s, max(1, min(PIECE, s.total))) if s.spec.stream else contents(s)


def _check(k: int, n: int) -> None:
    if not 1 <= k <= n:
        raise InputError(f"{k} nearest examples cannot be shown: there are {n:,} training examples")


@dataclass(frozen=True)
class Runs:
    """Counts of runs of tokens in training examples. lengths: of the runs. rarity [BINS]: logarithm of how few examples
    have one."""

    lengths: tuple[int, ...]
    rarity: NDArray[np.float64]
    rows: sparse.csr_matrix

    @classmethod
    def of(cls, train: Sequences) -> Runs:
        lengths = (1, 2, 3) if train.spec.vocab >= MANY else (3, 4, 5)
        counts = _counts(train, lengths)
        having = np.bincount(counts.indices, minlength=BINS)
        rarity = np.log((1 + len(train)) / (1 + having))
        return cls(lengths, rarity, _weighted(counts, rarity))

    def nearest(self, s: Sequences, k: int) -> Nearest:
        own = _weighted(_counts(s, self.lengths), self.rarity)
        distance, index = [], []
        for i in range(0, len(s), 64):
            d = 1 - np.asarray((own[i : i + 64] @ self.rows.T).todense())
            order = np.argsort(d, axis=1, kind="stable")[:, :k]
            index.append(order)
            distance.append(np.clip(np.take_along_axis(d, order, 1), 0, 1))
        return Nearest(np.concatenate(distance), np.concatenate(index))


def _counts(s: Sequences, lengths: tuple[int, ...]) -> sparse.csr_matrix:
    """[N, BINS] how often each run, by its hash, is in each example."""
    row = np.repeat(np.arange(len(s)), s.lengths)
    tokens = np.asarray(s.tokens[: s.total], dtype=np.uint64)
    rows, bins = [], []
    key = np.zeros(len(tokens), dtype=np.uint64)
    for n in range(1, max(lengths) + 1):
        # the run of n tokens that begins here, where it does not reach into the next example
        key = key[: len(tokens) - n + 1] * np.uint64(0x9E3779B97F4A7C15) + tokens[n - 1 :] + np.uint64(1)
        if n in lengths:
            inside = row[: len(key)] == row[n - 1 :]
            mixed = (key ^ (key >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
            rows.append(row[: len(key)][inside])
            bins.append((mixed >> np.uint64(44)).astype(np.int64)[inside])
    ones = np.ones(sum(map(len, rows)))
    return sparse.coo_matrix((ones, (np.concatenate(rows), np.concatenate(bins))), (len(s), BINS)).tocsr()


def _weighted(counts: sparse.csr_matrix, rarity: NDArray[np.float64]) -> sparse.csr_matrix:
    """Rows of length 1, each count damped and times the rarity of the run."""
    out = counts.copy()
    out.data = (1 + np.log(out.data)) * rarity[out.indices]
    lengths = np.sqrt(np.asarray(out.multiply(out).sum(1)).ravel())
    scale = np.divide(1, lengths, out=np.zeros(len(lengths)), where=lengths > 0)
    return sparse.csr_matrix(sparse.diags(scale) @ out)


def origin_of(train: Any, index: int) -> str:
    """Where a training example came from, as far as that is known."""
    origins = getattr(train, "origins", None)
    return str(origins[index]) if origins is not None and index < len(origins) else ""


def label_of(data: Data, index: int) -> str:
    """The class of a training example, or an empty text."""
    labels, classes = data.train.labels, data.condition.classes
    return classes[int(labels[index])] if labels is not None and classes and index < len(labels) else ""
