"""Examples that are unlike all others in a cheap space: to look at, never an error.

Grids: distance to the fifth nearest of a part of the training examples, on coarse values (Ramaswamy, Rastogi and Shim
2000, "Efficient algorithms for mining outliers from large data sets"). Tokens: mean surprise under counts of the other
half of the examples. What is far from the median of the set, in robust deviations, is told.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from genloom.core.finding import SHOWN
from genloom.core.modality import Modality
from genloom.core.spec import Grid, Tokens
from genloom.data.prepare import Prepared, Split
from genloom.data.sequences import Sequences
from genloom.inspection.result import Found, Shown
from genloom.nets.counts import USUAL, KneserNey

DEVIATIONS = 6.0  # from the median, each 1.4826 times the median absolute deviation
MOST_GRIDS, COMPARED, NEIGHBOUR = 100_000, 2_000, 5
COARSE, KEPT = {1: 64, 2: 8, 3: 4}, 32  # values of an axis after pooling, by the number of axes; principal components
MOST_TOKENS, ORDER, WINDOW, LEAST = 600_000, 4, 512, 8
FEWEST = 50  # examples below which the median says too little

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def unusual(prepared: Prepared) -> Found | None:
    """The training examples least like the others; None where none stands out."""
    split, spec = prepared.train, prepared.modality.spec
    if isinstance(split, Split) and isinstance(spec, Grid):
        rows, scores = _distances(split, spec)
        shown, what = np.log(np.maximum(scores, 1e-9)), "far from every other in its coarse values"
    elif isinstance(split, Sequences) and isinstance(spec, Tokens):
        rows, scores = _surprises(split, spec)
        shown, what = scores, "far less predictable from the rest"
    else:
        return None
    if len(rows) < FEWEST:
        return None
    middle = float(np.median(shown))
    unit = 1.4826 * float(np.median(np.abs(shown - middle)))
    far = np.flatnonzero(shown - middle > DEVIATIONS * unit) if unit > 0 else rows[:0]
    if not len(far):
        return None
    worst = far[np.argsort(-shown[far], kind="stable")]
    usual = float(np.median(scores))
    groups = [
        Shown((example,), (origin,), f"{scores[k] / max(usual, 1e-9):.1f} times the usual")
        for k, (example, origin) in zip(worst[:SHOWN], _examples(prepared, rows[worst[:SHOWN]]), strict=True)
    ]
    n = "1 example is" if len(worst) == 1 else f"{len(worst):,} examples are"
    unit_of = "piece of the text is" if isinstance(spec, Tokens) and spec.stream else ""
    if unit_of:
        n = f"1 {unit_of}" if len(worst) == 1 else f"{len(worst):,} pieces of the text are"
    return Found("outliers", "note", f"{n} {what}", "look at them: they may be rare and right, or do not belong here",
                 len(worst), tuple(groups))  # fmt: skip


def _examples(prepared: Prepared, rows: Ints) -> Iterator[tuple[object, str]]:
    """(example, where it came from) of rows of the training split; of a stream, of its windows."""
    split, modality = prepared.train, prepared.modality
    if isinstance(split, Sequences) and isinstance(modality.spec, Tokens) and modality.spec.stream:
        for row in rows.tolist():
            at = row * WINDOW
            piece = int(np.searchsorted(split.starts, at, "right")) - 1
            yield _decoded(modality, split.windows(np.array([at]), WINDOW).x[0]), split.origins[piece]
        return
    for row in rows.tolist():
        yield _decoded(modality, split.batch(np.array([row])).x[0]), split.origins[row]


def _decoded(modality: Modality[object], x: Tensor) -> object:
    return modality.decode(x)


# -- grids -----------------------------------------------------------------------------------------------------


def coarse(x: Tensor, axes: int) -> Tensor:
    """[B, D] of x [B, C, *size]: means over parts of each axis."""
    size = [min(n, COARSE[axes]) for n in x.shape[2:]]
    if axes == 1:
        return functional.adaptive_avg_pool1d(x, size).flatten(1)
    if axes == 2:
        return functional.adaptive_avg_pool2d(x, (size[0], size[1])).flatten(1)
    return functional.adaptive_avg_pool3d(x, (size[0], size[1], size[2])).flatten(1)


def _distances(split: Split, spec: Grid) -> tuple[Ints, Floats]:
    """Rows of the split and the distance of each to its fifth nearest neighbour, of which copies of it are four at
    most."""
    from sklearn.decomposition import PCA
    from sklearn.neighbors import NearestNeighbors

    rows = np.arange(0, len(split), max(1, -(-len(split) // MOST_GRIDS)))
    if len(rows) < FEWEST:
        return rows, np.zeros(len(rows))
    parts = [coarse(split.batch(rows[a : a + 1024]).x, spec.axes).numpy() for a in range(0, len(rows), 1024)]
    values = np.concatenate(parts)
    compared = np.unique(np.linspace(0, len(rows) - 1, COMPARED).round().astype(np.int64))
    pca = PCA(min(KEPT, values.shape[1], len(compared) - 1), svd_solver="full").fit(values[compared])
    points = pca.transform(values)
    near = NearestNeighbors(n_neighbors=min(NEIGHBOUR + 1, len(compared)), algorithm="brute").fit(points[compared])
    distances = near.kneighbors(points)[0]
    own = np.zeros(len(rows), bool)
    own[compared] = True  # their nearest is themselves
    return rows, np.where(own, distances[:, -1], distances[:, -2]).astype(np.float64)


# -- tokens ----------------------------------------------------------------------------------------------------


def _surprises(split: Sequences, spec: Tokens) -> tuple[Ints, Floats]:
    """Rows (windows of a stream) and the mean nats per token of each under counts of the half it is not in."""
    n = split.total // WINDOW if spec.stream else len(split)
    per = WINDOW if spec.stream else max(1.0, float(np.minimum(split.lengths, WINDOW).mean()))
    rows = np.arange(0, n, max(1, int(-(-n * per // MOST_TOKENS))))
    if len(rows) < FEWEST:
        return rows, np.zeros(len(rows))
    out = np.zeros(len(rows))
    counted = np.zeros(len(rows), np.int64)
    for side in (0, 1):
        model = KneserNey(spec.vocab, ORDER, None if spec.stream else spec.eos, None if spec.stream else spec.pad)
        model.fit(np.concatenate([t for x in _blocks(split, spec, rows[1 - side :: 2]) for t in _flat(x, spec)]), USUAL)
        own = np.arange(side, len(rows), 2)
        at = 0
        for x in _blocks(split, spec, rows[own]):
            nats = model.surprise(x)
            places = own[at : at + len(x)]
            scored = (nats > 0).sum(1)
            out[places], counted[places] = (nats.sum(1) / scored.clamp(min=1)).numpy(), scored.numpy()
            at += len(x)
    keep = counted >= LEAST
    return rows[keep], out[keep]


def _blocks(split: Sequences, spec: Tokens, rows: Ints) -> Iterator[Tensor]:
    """[B, T] the first WINDOW tokens of examples, or windows of a stream."""
    for a in range(0, len(rows), 256):
        part = rows[a : a + 256]
        yield split.windows(part * WINDOW, WINDOW).x if spec.stream else split.batch(part).x[:, :WINDOW]


def _flat(x: Tensor, spec: Tokens) -> Iterator[NDArray[np.int64]]:
    for row in x.numpy():
        yield row if spec.stream else row[row != spec.pad]
