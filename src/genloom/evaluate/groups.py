"""How samples divide among the groups of the data: its classes as a classifier sees them, or clusters of features."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genloom.core.rng import derive
from genloom.evaluate.contracts import Classifies, Data, FeatureSpace
from genloom.metrics.classes import class_shares
from genloom.metrics.intervals import wilson_interval
from genloom.metrics.neighbours import nearest

MOST_CLUSTERS, PER_CLUSTER = 20, 25  # clusters, and held-out examples that each has on average at least
ROUNDS = 30
LOST, AMPLIFIED = 0.5, 2.0  # ratios of a share to the data's beyond which, surely, a group is lost or amplified
LEAST = 50  # samples and examples on each side

Rows = NDArray[np.floating]


def groups_of(
    samples: Rows, reference: Rows, train: Rows, space: FeatureSpace, data: Data, *, seed: int = 0
) -> dict[str, Any] | None:
    """The groups as JSON. samples [N, D], reference [M, D] and train [K, D] are features in `space`.

    Both sides are seen through the same eyes: the classifier's view of samples stands beside its view of held-out
    examples, whatever label a sample was asked for. Clusters are learnt from the training features. None with fewer
    than 50 on a side.
    """
    if min(len(samples), len(reference)) < LEAST:
        return None
    if isinstance(space, Classifies):
        names = [str(c) for c in data.condition.classes]
        seen, real = (space.classify(torch.from_numpy(np.asarray(f, np.float32))).numpy() for f in (samples, reference))
        kind, what = "classes", f"as the classifier sees them, also in the {len(reference):,} held-out examples"
    else:
        count = max(2, min(MOST_CLUSTERS, len(reference) // PER_CLUSTER))
        centres = clusters(train, count, derive(seed, "groups"))
        seen, real = (nearest(f, centres).index[:, 0] for f in (samples, reference))
        names = [f"cluster {i + 1}" for i in range(len(centres))]
        kind, what = "clusters", f"{len(names)} clusters of the training examples in feature space ({space.name})"
    return divided(seen, real, names, kind, what)


def divided(seen: NDArray[np.int64], real: NDArray[np.int64], names: list[str], kind: str, what: str) -> dict[str, Any]:
    """The JSON of groups [N] of samples beside groups [M] of real examples, the rarest first. state: "lost" and
    "amplified" by a factor of two for sure, "fewer" and "more" where the intervals are apart, else "kept"."""
    own, theirs = class_shares(seen, len(names)), class_shares(real, len(names))
    rows = []
    for i in np.argsort(theirs, kind="stable").tolist():
        if not theirs[i] and not own[i]:
            continue
        a, b = wilson_interval(own[i], len(seen)), wilson_interval(theirs[i], len(real))
        state = _state(a, b)
        ratio = None if not theirs[i] else float(own[i] / theirs[i])
        rows.append(
            {
                "name": names[i],
                "samples": float(own[i]),
                "samples_interval": list(a),
                "data": float(theirs[i]),
                "data_interval": list(b),
                "ratio": ratio,
                "state": state,
            }
        )
    warnings = [_warning(r) for r in rows if r["state"] in ("lost", "amplified")]
    return {"kind": kind, "what": what, "groups": rows, "rarest": rows[0], "warnings": warnings}


def _state(own: tuple[float, float], data: tuple[float, float]) -> str:
    """How the 95% interval of a group's share lies to that of the data's."""
    if own[1] < LOST * data[0]:
        return "lost"
    if own[0] > AMPLIFIED * data[1]:
        return "amplified"
    return "fewer" if own[1] < data[0] else "more" if own[0] > data[1] else "kept"


def _warning(row: dict[str, Any]) -> str:
    shares = f"{row['samples']:.1%} of the samples, {row['data']:.1%} of the data"
    return f"{row['name']} is {row['state']}: {shares}"


def clusters(x: Rows, count: int, seed: int) -> NDArray[np.float64]:
    """[count, D] centres of rows x [N, D] by Lloyd's algorithm, begun by k-means++ (Arthur and Vassilvitskii 2007);
    fewer where rows repeat."""
    draw = np.random.Generator(np.random.PCG64(seed))
    centres = x[draw.integers(len(x), size=1)].astype(np.float64)
    while len(centres) < count:
        weight = nearest(x, centres).distance[:, 0] ** 2
        if not weight.sum() > 0:
            break
        centres = np.concatenate([centres, x[draw.choice(len(x), 1, p=weight / weight.sum())]])
    for _ in range(ROUNDS):
        which = nearest(x, centres).index[:, 0]
        moved = centres.copy()
        for i in np.unique(which):
            moved[i] = x[which == i].mean(0)
        if np.allclose(moved, centres):
            break
        centres = moved
    return centres
