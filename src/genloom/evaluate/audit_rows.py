"""Copying of rows of a table: distances to training rows beside those of held-out rows, and the cost of drawing."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genloom.core.rng import derive
from genloom.core.spec import Row
from genloom.evaluate.audit import LEAST, Measure, conclude, not_tested, too_few
from genloom.evaluate.audit_grids import (
    MOST_HELD_OUT,
    Keep,
    Reference,
    attack,
    chosen,
    exactly,
    first_of_each,
    pairs_of,
    relative,
    worst,
)
from genloom.evaluate.contracts import Data, PlainRows
from genloom.evaluate.cost import Watched, cost_of
from genloom.evaluate.evaluation import Evaluation
from genloom.evaluate.shared import reference_split
from genloom.metrics.neighbours import nearest
from genloom.metrics.tables import Space

MOST_TRAINING = 50_000  # rows compared with


def audited(evaluation: Evaluation, drawn: Watched, data: Data, *, seed: int, keep: Keep) -> Evaluation:
    """The evaluation with copying and the cost of drawing. keep: given the worst pairs, to be shown."""
    assert drawn.x is not None
    copying = audit_rows(drawn.x.cpu(), data, drawn, seed=seed, keep=keep)
    apart = [o for o in (evaluation.table or {}).get("outcomes", []) if o["apart"]]
    notices = [
        f"{o['what']} of {o['column']} {o['group']}: {o['samples']:.1%} of samples, {o['real']:.1%} of held-out rows"
        for o in apart[:5]
    ]
    cost = cost_of({}, {}, drawn.drawing)
    return replace(evaluation, copying=copying, cost=cost, notices=(*evaluation.notices, *notices))


def audit_rows(x: Tensor, data: Data, drawn: Watched, *, seed: int = 0, keep: Keep = lambda _: None) -> dict[str, Any]:
    """The audit of samples x [N, S] as JSON: in deviations of numbers and levels that differ (metrics/tables.Space)."""
    modality, spec = data.modality, data.modality.spec
    assert isinstance(spec, Row) and isinstance(modality, PlainRows)
    few = too_few(len(x), len(data.train), len(data.validation) + len(data.test))
    if few:
        return not_tested(few)
    held_out, splits = reference_split(data)
    train_rows = chosen(data.train, MOST_TRAINING, derive(seed, "copying", "train"))
    held_rows = chosen(held_out, MOST_HELD_OUT, derive(seed, "copying", "held"))
    space = Space.fit(modality.plain(data.train.batch(train_rows).x))

    def view(rows: Tensor) -> NDArray[np.float32]:
        return space(modality.plain(torch.as_tensor(rows)))

    known = Reference.of(data, held_out, train_rows, held_rows, view)
    samples = view(x)
    distinct = first_of_each(samples)
    used = distinct if len(distinct) < len(x) / 2 else np.arange(len(x))
    near = nearest(samples, known.train.values, known.known.distance.shape[1])
    beside = nearest(samples, known.held.values)
    scores, usual, control = relative(near, near), relative(known.known, known.known), relative(beside, near)
    equal = exactly(x, data.train, known.train.rows[near.index[:, 0]], near.distance[:, 0])
    ratio = len(train_rows) / len(held_rows)
    measures = []
    if len(used) >= LEAST:
        measures = [
            Measure.of("rows", scores[used], usual, control[used], ratio, 1),
            Measure.equal(~equal[used], known.known.distance[:, 0] > 0, beside.distance[used, 0] > 0, ratio),
        ]
    found = worst([pairs_of("rows", near, scores, known.train, used)], equal, data.train)
    keep([(x[p.sample], data.train.batch(np.array([p.training])).x[0]) for p in found])
    compared = {
        "samples": len(x),
        "training": len(train_rows),
        "held_out": len(held_rows),
        "splits": list(splits),
        "neighbours": known.known.distance.shape[1],
        "what": "distance to the nearest training row as a share of that to one further off, of samples beside "
        "held-out rows; numbers in deviations, levels that differ 1 apart",
    }
    guess = attack(drawn.family, data.train, held_out, train_rows, held_rows)
    return conclude(measures, int(equal.sum()), len(x), len(distinct), compared, [asdict(p) for p in found], guess)
