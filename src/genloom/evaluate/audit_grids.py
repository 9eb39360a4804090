"""Copying of examples on a grid: distances to training examples in values and in learnt features.

The score of an example is the distance to its nearest training example as a share of the distance to the 50th nearest
(Carlini et al. 2023, "Extracting training data from diffusion models", sec. 4.2, divides by the mean of 50): a smooth
or common example is near to many, a copy to one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genloom.core.family import Family
from genloom.core.feed import Examples
from genloom.core.rng import derive
from genloom.core.spec import Grid
from genloom.evaluate.audit import ATTACKED, LEAST, SHOWN, Measure, Pair, conclude, membership, not_tested, too_few
from genloom.evaluate.contracts import Data, FeatureSpace
from genloom.evaluate.features import CHUNK, of_real
from genloom.evaluate.shared import reference_split
from genloom.metrics.neighbours import Nearest, nearest

MOST_TRAINING, MOST_FEATURES, MOST_HELD_OUT = 100_000, 20_000, 5_000  # examples compared with
VALUES = 1024  # of an example in value space; larger ones are averaged over neighbouring values
NEIGHBOURS = 50

Rows = NDArray[np.float32]
Look = Callable[[Tensor], Rows]
Keep = Callable[[Sequence[tuple[Tensor, Tensor]]], None]


@dataclass(frozen=True)
class View:
    """Examples in one space. rows: which of their split they are."""

    values: Rows
    rows: NDArray[np.int64]


@dataclass(frozen=True)
class Reference:
    """What samples are compared with in one space. known: the nearest training examples of the held-out ones."""

    train: View
    held: View
    known: Nearest

    @classmethod
    def of(
        cls, data: Data, held_out: Examples, train: NDArray[np.int64], held: NDArray[np.int64], view: Look
    ) -> Reference:
        near, beside = viewed(data.train, train, view), viewed(held_out, held, view)
        return cls(near, beside, nearest(beside.values, near.values, min(NEIGHBOURS, max(2, len(train) // 2))))


def audit_grids(
    x: Tensor,
    data: Data,
    space: FeatureSpace | None,
    *,
    family: Family | None = None,
    seed: int = 0,
    keep: Keep = lambda _: None,
    most: int = MOST_TRAINING,
    references: dict[str, Reference] | None = None,
) -> dict[str, Any]:
    """The audit of samples x [N, ...] as files would hold them, as JSON. space None: in value space alone. keep: given
    the worst pairs (sample, training example), both as the spec says, to be shown. most: training examples
    compared with. references: what was measured of the data by an earlier audit with the same settings; filled where
    empty."""
    spec = data.modality.spec
    assert isinstance(spec, Grid)
    few = too_few(len(x), len(data.train), len(data.validation) + len(data.test))
    if few:
        return not_tested(few)
    held_out, splits = reference_split(data)
    train_rows = chosen(data.train, most, derive(seed, "copying", "train"))
    held_rows = chosen(held_out, MOST_HELD_OUT, derive(seed, "copying", "held"))
    spaces: dict[str, tuple[Look, Look]] = {"values": (lambda b: flat(b, spec),) * 2}  # of samples, of real examples
    if space is not None:
        spaces["features"] = (lambda b: space(b).numpy(), lambda b: of_real(space, b).numpy())
    distinct_rows = first_of_each(flat(x, spec))
    collapsed = len(distinct_rows) < len(x) / 2
    used = distinct_rows if collapsed else np.arange(len(x))
    measures, pairs = [], []
    measured = {} if references is None else references
    for name, (view, real) in spaces.items():
        rows = train_rows if name == "values" else train_rows[:MOST_FEATURES]
        if name not in measured:
            measured[name] = Reference.of(data, held_out, rows, held_rows, real)
        train, held, known = measured[name].train, measured[name].held, measured[name].known
        samples = np.concatenate([view(x[i : i + CHUNK]) for i in range(0, len(x), CHUNK)])
        near = nearest(samples, train.values, known.distance.shape[1])
        beside = nearest(samples, held.values)
        control = relative(beside, near)
        scores, usual = relative(near, near), relative(known, known)
        pairs.append(pairs_of(name, near, scores, train, used))
        if len(used) >= LEAST:
            ratio = len(rows) / len(held_rows)
            measures.append(Measure.of(name, scores[used], usual, control[used], ratio, len(spaces)))
        if name == "values":
            exact = exactly(x, data.train, train.rows[near.index[:, 0]], near.distance[:, 0])
            equal = [(d[:, 0] > 0) for d in (known.distance, beside.distance)]
            if len(used) >= LEAST:
                measures.append(Measure.equal(~exact[used], equal[0], equal[1][used], len(rows) / len(held_rows)))
    shown = worst(pairs, exact, data.train)
    keep([(x[p.sample], data.train.batch(np.array([p.training])).x[0]) for p in shown])
    compared = {
        "samples": len(x),
        "training": len(train_rows),
        "held_out": len(held_rows),
        "splits": list(splits),
        "neighbours": min(NEIGHBOURS, max(2, len(train_rows) // 2)),
        "what": "distance to the nearest training example as a share of that to one further off, of samples beside "
        "held-out examples" + ("" if space is None else f"; in values and in features ({space.name})"),
    }
    if space is not None:
        compared["training_in_features"] = min(len(train_rows), MOST_FEATURES)
    guess = None if family is None else attack(family, data.train, held_out, train_rows, held_rows)
    return conclude(measures, int(exact.sum()), len(x), len(distinct_rows), compared, [asdict(p) for p in shown], guess)


def flat(x: Tensor, spec: Grid) -> Rows:
    """[N, D] values of examples [N, C, *size], averaged to at most 1,024 (or one per channel)."""
    total = int(np.prod(spec.shape))
    if total > VALUES:
        shrink = (VALUES / total) ** (1 / len(spec.size))
        size = tuple(max(1, int(s * shrink)) for s in spec.size)
        x = torch.nn.functional.interpolate(x.float(), size=size, mode="area")
    return x.reshape(len(x), -1).float().numpy()


def chosen(examples: Examples, most: int, seed: int) -> NDArray[np.int64]:
    """At most `most` different rows in random order."""
    return np.random.Generator(np.random.PCG64(seed)).permutation(len(examples))[:most]


def first_of_each(values: Rows) -> NDArray[np.int64]:
    """The rows that differ from all before them."""
    seen: dict[bytes, int] = {}
    for i, row in enumerate(values):
        seen.setdefault(row.tobytes(), i)
    return np.array(list(seen.values()), dtype=np.int64)


def relative(own: Nearest, scale: Nearest) -> NDArray[np.float64]:
    """[N] distance to the nearest as a share of that to the k-th nearest training example; 0 where that is 0."""
    far = scale.distance[:, -1]
    return np.divide(own.distance[:, 0], far, out=np.zeros(len(far)), where=far > 0)


def viewed(examples: Examples, rows: NDArray[np.int64], view: Look) -> View:
    parts = [view(examples.batch(rows[i : i + CHUNK]).x) for i in range(0, len(rows), CHUNK)]
    return View(np.concatenate(parts), rows)


def exactly(x: Tensor, train: Examples, rows: NDArray[np.int64], distance: NDArray[np.float64]) -> NDArray[np.bool_]:
    """[N] whether each sample equals its nearest training example in every value."""
    out = np.zeros(len(x), dtype=bool)
    for i in np.flatnonzero(distance == 0):
        out[i] = torch.allclose(x[i], train.batch(rows[i : i + 1]).x[0], rtol=0, atol=1e-6)
    return out


def pairs_of(
    name: str, near: Nearest, scores: NDArray[np.float64], train: View, used: NDArray[np.int64]
) -> list[tuple[int, int, str, float, float]]:
    order = used[np.argsort(scores[used], kind="stable")][:SHOWN]
    return [
        (int(i), int(train.rows[near.index[i, 0]]), name, float(near.distance[i, 0]), float(scores[i])) for i in order
    ]


def worst(
    spaces: list[list[tuple[int, int, str, float, float]]], exact: NDArray[np.bool_], train: Examples
) -> list[Pair]:
    """The worst of each space in turn, no sample twice."""
    origins = getattr(train, "origins", None)
    out: list[Pair] = []
    for place in range(SHOWN):
        for pairs in spaces:
            if place >= len(pairs) or len(out) == SHOWN or any(p.sample == pairs[place][0] for p in out):
                continue
            sample, training, name, distance, score = pairs[place]
            origin = str(origins[training]) if origins is not None and len(origins) > training else ""
            out.append(Pair(sample, training, origin, name, distance, score, bool(exact[sample])))
    return out


def attack(
    family: Family, train: Examples, held_out: Examples, train_rows: NDArray[np.int64], held_rows: NDArray[np.int64]
) -> dict[str, Any] | None:
    def batches(examples: Examples, rows: NDArray[np.int64]) -> list[Any]:
        return [examples.batch(rows[i : i + 64]) for i in range(0, min(ATTACKED, len(rows)), 64)]

    return membership(family, batches(train, train_rows), batches(held_out, held_rows))
