"""What an evaluation says beside its figures: copying, groups, cost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from genloom.core.rng import derive
from genloom.core.spec import Grid, Tokens
from genloom.data.sequences import Sequences
from genloom.evaluate.audit_grids import Keep, audit_grids
from genloom.evaluate.audit_sequences import audit_sequences
from genloom.evaluate.contracts import Data, FeatureSpace
from genloom.evaluate.cost import Watched, cost_of
from genloom.evaluate.evaluation import Evaluation
from genloom.evaluate.features import features_of
from genloom.evaluate.grids import as_written
from genloom.evaluate.groups import groups_of
from genloom.evaluate.passages import from_rows, held_out, pieces, tokens_of
from genloom.evaluate.shared import reference_split

MOST = 5_000  # examples of a side that groups are counted in
PIECE = 128  # tokens of a stream that belong to a group together


def completed(
    evaluation: Evaluation, drawn: Watched, data: Data, space: FeatureSpace, *, seed: int = 0, keep: Keep
) -> Evaluation:
    """The evaluation with copying, groups and the cost of drawing. drawn: the generator after it drew the samples.
    keep: given the worst pairs of a grid, to be shown."""
    x, spec = drawn.x, data.modality.spec
    assert x is not None
    if isinstance(spec, Grid):
        x = as_written(x.cpu(), spec)
        copying = audit_grids(x, data, space, family=drawn.family, seed=seed, keep=keep)
    else:
        copying = audit_sequences(x.cpu(), data, family=drawn.family, seed=seed, passages=evaluation.passages)
    groups = _groups(x.cpu(), data, space, seed)
    notices = (*evaluation.notices, *_alike(x), *(groups["warnings"] if groups else ()))
    return replace(evaluation, copying=copying, groups=groups, cost=cost_of({}, {}, drawn.drawing), notices=notices)


def _alike(x: Tensor) -> list[str]:
    """What must be said of samples x [N, ...] of which most are the same."""
    different = len({row.tobytes() for row in x.cpu().contiguous().numpy()})
    if different * 2 >= len(x):
        return []
    return [f"only {different:,} of {len(x):,} samples differ from each other: the model has collapsed"]


def _groups(x: Tensor, data: Data, space: FeatureSpace, seed: int) -> dict[str, Any] | None:
    spec = data.modality.spec

    def features(side: Any, name: str) -> NDArray[np.float32]:
        if isinstance(side, Sequences) and side.spec.stream:
            side = pieces(side, min(PIECE, int(side.lengths.max())))
        return features_of(space, side, limit=MOST, seed=derive(seed, "groups", name))[0].numpy()

    if isinstance(spec, Tokens):
        samples = from_rows(x, spec)
        if not samples.total:
            return None
        whole, splits = held_out(data, spec)
        if not splits:
            return None
        own = features(samples, "samples")
        return groups_of(own, features(whole, "held"), features(tokens_of(data.train, spec), "train"), space, data)
    held, splits = reference_split(data)
    if not splits:
        return None
    return groups_of(space(x).numpy(), features(held, "held"), features(data.train, "train"), space, data, seed=seed)
