"""Quality figures of samples on a grid, such as images, in a learnt feature space."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genloom.core.errors import InputError
from genloom.core.rng import derive
from genloom.core.spec import Grid, check_batch
from genloom.evaluate.contracts import Classifies, Data, FeatureSpace, Split
from genloom.evaluate.evaluation import Evaluation, Figure, Measured, figure_of
from genloom.evaluate.features import drawn, features_of
from genloom.evaluate.kinds import GRID_KINDS
from genloom.evaluate.own import OwnSides, of_split, of_tensor, own_figures
from genloom.evaluate.shared import (
    CLASS_FIGURES,
    MOST_REFERENCE,
    MOST_RESAMPLED,
    NOTHING_HELD,
    Joined,
    describe,
    distances,
    notices_on,
    reference_split,
    too_small,
)
from genloom.metrics.classes import class_shares, entropy
from genloom.metrics.frechet import Gaussian
from genloom.metrics.intervals import mean_error, normal_interval, wilson_interval
from genloom.metrics.manifold import manifold

NEIGHBOURS = 5
NEIGHBOUR_FIGURES = {"precision", "recall", "density", "coverage"}  # on equal numbers of both
REDRAWS = 400


def judge_grids(x: Tensor, labels: Tensor | None, data: Data, space: FeatureSpace, *, seed: int = 0) -> Evaluation:
    """The figures of samples x [N, ...] as the spec says, asked for with labels [N] (None: without a class).

    The reference is the test split, with the validation split where that alone is too small; where nothing is held out,
    figures that need a reference say so. Raises InputError when x does not have the spec's form or is not finite.
    """
    begin = time.perf_counter()
    spec = data.modality.spec
    check_batch(spec, x)
    if not isinstance(spec, Grid) or not len(x) or not bool(torch.isfinite(x).all()):
        raise InputError("samples to judge must be at least one example on a grid, with finite values only")
    x = as_written(x, spec)
    held_out, splits = reference_split(data)
    real = _side(*features_of(space, held_out, limit=MOST_REFERENCE, seed=derive(seed, "reference")))
    reference = real.features
    sides = {
        "samples": _side(space(x), labels),
        "ceiling": _side(*features_of(space, data.train, limit=len(x), seed=derive(seed, "ceiling"))),
        "floor": _side(*_baseline(space, data, spec, len(x), seed)),
    }
    wanted = [name for name in GRID_KINDS if _applies(name, space, labels)]
    fitted = Gaussian.fit(reference) if len(reference) > space.width else None
    measured = {
        name: _measure(side, reference, space, wanted, name == "samples", fitted) for name, side in sides.items()
    }
    # A classifier knows its training examples too well: what it sees in held-out ones is the ceiling.
    classes = [name for name in wanted if name in CLASS_FIGURES]
    measured["ceiling"] = {k: v for k, v in measured["ceiling"].items() if k not in classes}
    measured["ceiling"] |= _measure(real, reference, space, classes, resample=False)
    figures = [_assemble(name, measured, sides, len(reference), space) for name in wanted]
    figures += own_figures(data.modality, _own_sides(x, data, spec, held_out, seed))
    notices = notices_on(data, splits, len(reference), len(sides["ceiling"]), len(x))
    return Evaluation(
        tuple(figures),
        data={"name": data.name, "digest": data.digest},
        features=describe(space),
        samples={"n": len(x), "seed": seed},
        reference={"splits": list(splits), "n": len(reference)},
        baseline="every value drawn from its own Gaussian, fitted to the training split",
        notices=tuple(notices),
        seconds=round(time.perf_counter() - begin, 2),
    )


def as_written(x: Tensor, spec: Grid) -> Tensor:
    """Samples as a file would hold them: within [-1, 1], at the spec's levels. Real examples are so already."""
    x = x.clamp(-1, 1)
    if spec.levels is None:
        return x
    return ((x + 1) / 2 * (spec.levels - 1)).round() / (spec.levels - 1) * 2 - 1


# -- the figures ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Side:
    """Features [N, D] of samples or of a reference and the labels [N] they were asked for or have."""

    features: NDArray[np.float32]
    labels: NDArray[np.int64] | None

    def __len__(self) -> int:
        return len(self.features)


def _side(features: Tensor, labels: Tensor | None) -> Side:
    return Side(features.numpy(), None if labels is None else labels.numpy())


def _own_sides(x: Tensor, data: Data, spec: Grid, held_out: Split | Joined, seed: int) -> OwnSides:
    n, modality = len(x), data.modality
    return OwnSides(
        samples=of_tensor(lambda: x, n, modality),
        ceiling=of_split(data.train, n, derive(seed, "ceiling"), modality),
        floor=of_tensor(lambda: torch.cat(list(_noise(data, spec, n, seed))), n, modality),
        held=of_split(held_out, n, derive(seed, "held"), modality),
        reference=of_split(held_out, MOST_REFERENCE, derive(seed, "reference"), modality),
        training=of_split(data.train, len(data.train), 0, modality),
    )


def _baseline(space: FeatureSpace, data: Data, spec: Grid, n: int, seed: int) -> tuple[Tensor, Tensor | None]:
    """Features of n examples of independent Gaussian values fitted to the training split; labels as in training."""
    features = torch.cat([space(x) for x in _noise(data, spec, n, seed)])
    known = data.train.labels
    if known is None:
        return features, None
    rows = np.random.Generator(np.random.PCG64(derive(seed, "floor"))).integers(len(known), size=n)
    return features, torch.from_numpy(known[rows])


def _noise(data: Data, spec: Grid, n: int, seed: int) -> Iterator[Tensor]:
    """Those n examples, in pieces."""
    total = squares = torch.zeros(spec.shape, dtype=torch.float64)
    count = 0
    for batch in drawn(data.train, MOST_REFERENCE, derive(seed, "baseline")):
        x = batch.x.double()
        total, squares, count = total + x.sum(0), squares + (x * x).sum(0), count + len(x)
    mean = total / count
    deviation = (squares / count - mean * mean).clamp(min=0).sqrt()
    generator = torch.Generator().manual_seed(derive(seed, "floor"))
    for i in range(0, n, 250):
        noise = torch.randn(min(250, n - i), *spec.shape, generator=generator)
        yield as_written(mean.float() + deviation.float() * noise, spec)


def _applies(name: str, space: FeatureSpace, labels: Tensor | None) -> bool:
    if name == "class_entropy":
        return isinstance(space, Classifies)
    return name != "label_agreement" or (isinstance(space, Classifies) and labels is not None)


def _assemble(
    name: str, measured: dict[str, dict[str, Measured]], sides: dict[str, Side], reference: int, space: FeatureSpace
) -> Figure:
    """The figure of the samples between those of the references."""
    n, most = len(sides["samples"]), len(sides["ceiling"])
    note = too_small(name, n, reference, space.width)
    own, ceiling, floor = (measured[side].get(name) for side in ("samples", "ceiling", "floor"))
    if own and ceiling is None:
        few = too_small(name, reference if name in CLASS_FIGURES else most, reference, space.width)
        few = few if reference else NOTHING_HELD
        note = f"no ceiling: {few}"
    elif own and most < n and name not in CLASS_FIGURES:
        note = f"the ceiling is from {most} training examples"
    elif own and name == "frechet" and space.width > MOST_RESAMPLED:
        note = f"no interval: with {space.width:,} features it would take too long"
    counts = (min(n, reference),) * 2 if name in NEIGHBOUR_FIGURES else (n, reference)
    return figure_of(name, own, ceiling, floor, counts, space.name, note)


def _measure(
    side: Side,
    reference: NDArray[np.float32],
    space: FeatureSpace,
    wanted: list[str],
    resample: bool,
    fitted: Gaussian | None = None,
) -> dict[str, Measured]:
    """The wanted figures that the numbers of examples allow. resample False saves the slow intervals (references)."""
    able = [name for name in wanted if not too_small(name, len(side), len(reference), space.width)]
    out = distances(side.features, reference, able, resample, fitted)
    if "precision" in able:
        out |= _manifold_figures(side.features, reference)
    if isinstance(space, Classifies) and set(able) & CLASS_FIGURES:
        seen = space.classify(torch.from_numpy(side.features)).numpy()
        out["class_entropy"] = _class_entropy(seen)
        if "label_agreement" in able and side.labels is not None:
            share = float((seen == side.labels).mean())
            out["label_agreement"] = share, wilson_interval(share, len(seen))
    return out


def _manifold_figures(fake: NDArray[np.float32], real: NDArray[np.float32]) -> dict[str, Measured]:
    """On equal numbers of both: recall and coverage grow with the number of samples. Intervals hold the balls fixed."""
    n = min(len(fake), len(real))
    m = manifold(real[:n], fake[:n], NEIGHBOURS)
    shares = {"precision": m.precision, "recall": m.recall, "coverage": m.coverage}
    out: dict[str, Measured] = {name: (value, wilson_interval(value, n)) for name, value in shares.items()}
    return out | {"density": (m.density, normal_interval(m.density, mean_error(m.balls), low=0))}


def _class_entropy(seen: NDArray[np.int64]) -> Measured:
    """Entropy of the classes seen [N], with the spread of repeated draws of N."""
    shares = class_shares(seen, int(seen.max()) + 1)
    draws = np.random.Generator(np.random.PCG64(0)).multinomial(len(seen), shares, size=REDRAWS) / len(seen)
    value = entropy(shares)
    return value, normal_interval(value, float(np.std([entropy(row) for row in draws])), low=0)
