"""Quality, usefulness and privacy of rows of tables, each between what real rows get and what no skill gets."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genloom.core.errors import InputError
from genloom.core.rng import derive
from genloom.core.spec import Row, check_batch
from genloom.evaluate.contracts import Data, PlainRows, Split
from genloom.evaluate.evaluation import Evaluation, Figure, Measured, figure_of
from genloom.evaluate.kinds import ROW_KINDS
from genloom.evaluate.shared import NOTHING_HELD, Joined, notices_on, reference_split
from genloom.evaluate.table_view import view_of
from genloom.metrics.copying import separation
from genloom.metrics.intervals import mean_error, normal_interval, wilson_interval
from genloom.metrics.neighbours import nearest
from genloom.metrics.tables import (
    Space,
    Useful,
    alpha_beta,
    column_shapes,
    disclosed,
    pair_trends,
    rare_levels,
    told_apart,
    usefulness,
)

if TYPE_CHECKING:
    import pandas as pd

WHAT = "the columns themselves"
BASELINE = "every column drawn on its own from the training rows"
LEAST, CHUNK = 50, 8192  # rows on each side; rows read at a time


@dataclass(frozen=True)
class Sides:
    """Rows as plain frames: samples; training rows and independent columns in the same number; held-out rows; all
    training rows that are compared with, as many as held-out ones."""

    samples: pd.DataFrame
    ceiling: pd.DataFrame
    floor: pd.DataFrame
    reference: pd.DataFrame
    train: pd.DataFrame


def judge_rows(x: Tensor, data: Data, *, seed: int = 0) -> Evaluation:
    """The figures of samples x [N, S]. Raises InputError when they do not have the spec's form."""
    begin = time.perf_counter()
    spec, modality = data.modality.spec, data.modality
    check_batch(spec, x)
    if not isinstance(spec, Row) or not isinstance(modality, PlainRows) or not len(x):
        raise InputError("samples to judge must be at least one row of a table")
    held, splits = reference_split(data)
    sides = _sides(x, data, modality, held, seed)
    counts = (len(sides.samples), len(sides.reference))
    few = NOTHING_HELD if not splits else f"fewer than {LEAST} rows" if min(counts) < LEAST else ""
    measured = {} if few else _measured(sides, modality.target, seed) | {"copies": _copies(x, data, held)}
    of_target = () if modality.target else ("trees", "linear", "disclosure")
    names = [n for n in ROW_KINDS if n != "constraints" and n not in of_target]
    figures = [figure_of(n, *measured.get(n, (None, None, None)), counts, WHAT, few) for n in names]
    figures += _kept(modality, x, data, sides)
    return Evaluation(
        tuple(figures),
        data={"name": data.name, "digest": data.digest},
        features={"name": WHAT, "width": spec.width},
        samples={"n": len(x), "seed": seed},
        reference={"splits": list(splits), "n": len(sides.reference), "what": "held-out rows",
                   "real": "training rows in place of samples, in the same number; of privacy held-out rows"},
        baseline=BASELINE,
        notices=tuple(notices_on(data, splits, len(sides.reference), len(sides.ceiling), len(x))),
        seconds=round(time.perf_counter() - begin, 2),
        table=None if few else view_of(sides.samples, sides.reference, modality.target, seed),
    )  # fmt: skip


def _sides(x: Tensor, data: Data, modality: PlainRows, held: Split | Joined, seed: int) -> Sides:
    draw = np.random.Generator(np.random.PCG64(derive(seed, "rows")))

    def some(split: Split | Joined, n: int) -> pd.DataFrame:
        rows = draw.permutation(len(split))[:n]
        return modality.plain(split.batch(rows).x) if len(rows) else modality.plain(x[:0])

    n = len(x)
    reference = some(held, max(n, LEAST))
    train = some(data.train, max(len(reference), LEAST))
    ceiling = some(data.train, n)
    floor = ceiling.copy()
    for name in floor.columns:
        floor[name] = floor[name].to_numpy()[draw.permutation(len(floor))]
    return Sides(modality.plain(x), ceiling, floor, reference, train)


Three = tuple[Measured | None, Measured | None, Measured | None]


def _measured(sides: Sides, target: str | None, seed: int) -> dict[str, Three]:
    """Each figure of the samples, of its ceiling and of its floor."""
    three = (sides.samples, sides.ceiling, sides.floor)
    out: dict[str, Three] = {}

    def put(name: str, values: Sequence[Measured | None]) -> None:
        out[name] = (values[0], values[1], values[2])

    put("shapes", [_mean(column_shapes(sides.reference, s).values()) for s in three])
    put("trends", [_mean(pair_trends(sides.reference, s, seed).values()) for s in three])
    told = [told_apart(sides.reference, s, derive(seed, "told")) for s in three]
    put("told_apart", [(t.area, t.interval) for t in told])
    if target is not None:
        useful = [usefulness(s, sides.reference, target) for s in three]
        put("trees", [None if u is None else (u.trees, u.trees_interval) for u in useful])
        put("linear", [_linear(u) for u in useful])
    space = Space.fit(sides.train)
    points = {name: space(getattr(sides, name)) for name in ("samples", "ceiling", "floor", "reference", "train")}
    alike = [alpha_beta(points["reference"], points[s]) for s in ("samples", "ceiling", "floor")]
    put("alpha_precision", [(a, None) for a, _ in alike])
    put("beta_recall", [(b, None) for _, b in alike])
    put("rare_levels", [_rare(sides.train, s) for s in three])
    out |= _privacy(points, sides, target)
    return out


def _mean(values: Any) -> Measured | None:
    known = np.array([v for v in values if v == v])
    if not len(known):
        return None
    value = float(known.mean())
    return value, normal_interval(value, mean_error(known), 0, 1) if len(known) > 1 else None


def _linear(useful: Useful | None) -> Measured | None:
    return None if useful is None else (useful.linear, None)


def _rare(train: pd.DataFrame, made: pd.DataFrame) -> Measured | None:
    found, every = rare_levels(train, made)
    return (found / every, wilson_interval(found / every, every)) if every else None


# -- privacy -----------------------------------------------------------------------------------------------------------


def _privacy(points: dict[str, NDArray[np.float32]], sides: Sides, target: str | None) -> dict[str, Three]:
    """Distances to training rows beside those to as many held-out rows, of which half stand for samples as the ceiling.
    Having no skill keeps all secrets, so there is no floor."""
    out: dict[str, Three] = {}
    n = min(len(points["train"]), len(points["reference"]))
    train, held = points["train"][:n], points["reference"][:n]
    half = n // 2
    real = _nearer(held[half:], train[:half], held[:half])
    out["nearer"] = (_nearer(points["samples"], train, held), real, None)
    made = points["samples"]
    near = [nearest(side, made).distance[:, 0] for side in (train, held)]
    out["membership"] = (separation(near[0], near[1]), (0.5, None), None)
    if target is not None and not _is_number(sides.train[target]):
        out["disclosure"] = (_disclosure(sides, target, n), (0.0, None), None)
    return out


def _is_number(series: pd.Series) -> bool:
    return bool(series.dtype == np.float64)


def _nearer(rows: NDArray[np.float32], train: NDArray[np.float32], held: NDArray[np.float32]) -> Measured | None:
    """Share of rows that are nearer to a training row than to a held-out one, ties half."""
    if min(len(rows), len(train), len(held)) < 2:
        return None
    a, b = (nearest(rows, side).distance[:, 0] for side in (train, held))
    each = (a < b) + 0.5 * (a == b)
    return float(each.mean()), normal_interval(float(each.mean()), mean_error(each), 0, 1)


def _copies(x: Tensor, data: Data, held: Split | Joined) -> Three:
    """Share of rows that equal one of all training rows: of the samples, and of held-out rows."""
    known = {row.tobytes() for batch in data.train.batches(CHUNK) for row in batch.x.numpy()}

    def share(rows: Tensor) -> Measured:
        equal = float(np.mean([row.tobytes() in known for row in rows.cpu().numpy()]))
        return equal, wilson_interval(equal, len(rows))

    return share(x), share(held.batch(np.arange(min(len(held), len(x)))).x), None


def _disclosure(sides: Sides, target: str, n: int) -> Measured:
    """How much more often the nearest sample betrays the target of training rows than of held-out rows."""
    space = Space.fit(sides.train.drop(columns=target))
    made, levels = space(sides.samples), sides.samples[target].to_numpy(dtype=object)
    right = [
        disclosed(made, space(side), levels, side[target].to_numpy(dtype=object))
        for side in (sides.train.head(n), sides.reference.head(n))
    ]
    value = float(right[0].mean() - right[1].mean())
    errors = [mean_error(r.astype(np.float64)) for r in right]
    return value, normal_interval(value, float(np.hypot(errors[0], errors[1])), -1, 1)


def _kept(modality: PlainRows, x: Tensor, data: Data, sides: Sides) -> list[Figure]:
    """Share of the samples that keep the constraints, where there are some."""
    if not modality.constraints:
        return []
    counts = (len(x), len(sides.reference))
    own = modality.kept(modality.decode_all(x))
    rows = np.arange(min(len(data.train), len(x)))
    real = modality.kept(modality.decode_all(torch.as_tensor(data.train.batch(rows).x)))
    shares: list[Measured] = [(float(k.mean()), wilson_interval(float(k.mean()), len(k))) for k in (own, real)]
    return [figure_of("constraints", shares[0], shares[1], None, counts, WHAT)]
