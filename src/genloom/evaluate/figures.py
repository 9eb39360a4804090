"""Quality figures of samples, each between what real data gets and what no skill gets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genloom.core.batch import Batch, join
from genloom.core.errors import InputError
from genloom.core.rng import derive
from genloom.core.spec import Grid, check_batch
from genloom.evaluate.contracts import Classifies, Data, FeatureSpace, Generator, Split
from genloom.evaluate.evaluation import KINDS, Evaluation, Figure
from genloom.evaluate.features import drawn, features_for, features_of
from genloom.metrics.classes import class_shares, entropy
from genloom.metrics.frechet import Gaussian, frechet_distance
from genloom.metrics.intervals import block_jackknife, mean_error, normal_interval, wilson_interval
from genloom.metrics.kernel import kernel_distance
from genloom.metrics.manifold import manifold

LEAST_TEST = 500  # with fewer test examples the validation split is added to the reference
MOST_REFERENCE, MOST_SAMPLES = 10_000, 5_000
NEIGHBOURS = 5
LEAST_KERNEL, LEAST_NEIGHBOURS, LEAST_CLASSES = 50, 50, 20  # examples on each side without which a figure is noise
NEIGHBOUR_FIGURES = {"precision", "recall", "density", "coverage"}  # on equal numbers of both
CLASS_FIGURES = {"class_entropy", "label_agreement"}  # need no reference: the classes themselves are one
REDRAWS = 400

# -- entry points ------------------------------------------------------------------------------


def evaluate_samples(
    generator: Generator,
    data: Data,
    *,
    n: int | None = None,
    seed: int = 0,
    notify: Callable[[str], None] = lambda _: None,
) -> Evaluation:
    """Draw n samples from a generator and judge them. n None: as many as the data can be compared with, at most 5,000.

    Raises InputError when the data has nothing held out or is no grid.
    """
    space = features_for(data, notify=notify)
    reference, _ = reference_split(data)
    count = n if n is not None else default_number(len(data.train), len(reference))
    notify(f"drawing {count} samples")
    x, labels = generator.sample_tensor(count, seed=seed)
    honoured = "label" in generator.family.honours()
    notify("measuring")
    return judge(x, labels if honoured else None, data, space, seed=seed)


def judge(x: Tensor, labels: Tensor | None, data: Data, space: FeatureSpace, *, seed: int = 0) -> Evaluation:
    """The figures of samples x [N, ...] as the spec says, asked for with labels [N] (None: without a class).

    The reference is the test split, with the validation split where that alone is too small. Raises InputError when x
    does not have the spec's form, is not finite, or there is no held-out data.
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
    wanted = [name for name in KINDS if _applies(name, space, labels)]
    measured = {name: _measure(side, reference, space, wanted, name == "samples") for name, side in sides.items()}
    # A classifier knows its training examples too well: what it sees in held-out ones is the ceiling.
    classes = [name for name in wanted if name in CLASS_FIGURES]
    measured["ceiling"] = {k: v for k, v in measured["ceiling"].items() if k not in classes}
    measured["ceiling"] |= _measure(real, reference, space, classes, resample=False)
    figures = [_assemble(name, measured, sides, len(reference), space) for name in wanted]
    notices = _notices(data, splits, len(reference), len(sides["ceiling"]), len(x))
    return Evaluation(
        tuple(figures),
        data={"name": data.name, "digest": data.digest},
        features=_describe(space),
        samples={"n": len(x), "seed": seed},
        reference={"splits": list(splits), "n": len(reference)},
        baseline="every value drawn from its own Gaussian, fitted to the training split",
        notices=tuple(notices),
        seconds=round(time.perf_counter() - begin, 2),
    )


def default_number(train: int, reference: int) -> int:
    """Samples to judge: as many as the reference has, 500 to 5,000, but no more than training examples."""
    return max(2, min(train, max(LEAST_TEST, min(reference, MOST_SAMPLES))))


class Joined:
    """Several splits as one."""

    def __init__(self, *parts: Split) -> None:
        self.parts = parts
        self.starts = np.cumsum([0, *map(len, parts)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        which = np.searchsorted(self.starts, indices, side="right") - 1
        present = [w for w in range(len(self.parts)) if (which == w).any()]
        places = np.concatenate([np.flatnonzero(which == w) for w in present])
        whole = join(self.parts[w].batch(indices[which == w] - self.starts[w]) for w in present)
        return whole[torch.from_numpy(np.argsort(places))]

    def batches(self, size: int, limit: int | None = None) -> Iterator[Batch]:
        n = min(limit or len(self), len(self))
        return (self.batch(np.arange(i, min(i + size, n))) for i in range(0, n, size))


def reference_split(data: Data) -> tuple[Split | Joined, tuple[str, ...]]:
    """The held-out examples to compare with and the names of their splits. Raises InputError without any."""
    if len(data.test) >= LEAST_TEST or not len(data.validation):
        chosen: Split | Joined = data.test
        names: tuple[str, ...] = ("test",)
    else:
        chosen, names = (
            Joined(data.validation, data.test),
            ("validation", "test") if len(data.test) else ("validation",),
        )
    if not len(chosen):
        raise InputError(f"{data.name} has no held-out examples to compare with; prepare it with data.test above 0")
    return chosen, names


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


def _baseline(space: FeatureSpace, data: Data, spec: Grid, n: int, seed: int) -> tuple[Tensor, Tensor | None]:
    """Features of n examples of independent Gaussian values fitted to the training split; labels as in training."""
    total = squares = torch.zeros(spec.shape, dtype=torch.float64)
    count = 0
    for batch in drawn(data.train, MOST_REFERENCE, derive(seed, "baseline")):
        x = batch.x.double()
        total, squares, count = total + x.sum(0), squares + (x * x).sum(0), count + len(x)
    mean = total / count
    deviation = (squares / count - mean * mean).clamp(min=0).sqrt()
    generator = torch.Generator().manual_seed(derive(seed, "floor"))
    out = []
    for i in range(0, n, 250):
        noise = torch.randn(min(250, n - i), *spec.shape, generator=generator)
        out.append(space(as_written(mean.float() + deviation.float() * noise, spec)))
    known = data.train.labels
    if known is None:
        return torch.cat(out), None
    rows = np.random.Generator(np.random.PCG64(derive(seed, "floor"))).integers(len(known), size=n)
    return torch.cat(out), torch.from_numpy(known[rows])


def _applies(name: str, space: FeatureSpace, labels: Tensor | None) -> bool:
    if name == "class_entropy":
        return isinstance(space, Classifies)
    return name != "label_agreement" or (isinstance(space, Classifies) and labels is not None)


Measured = tuple[float, tuple[float, float]]  # value and 95% interval


def _assemble(
    name: str, measured: dict[str, dict[str, Measured]], sides: dict[str, Side], reference: int, space: FeatureSpace
) -> Figure:
    """The figure of the samples between those of the references."""
    kind, n, most = KINDS[name], len(sides["samples"]), len(sides["ceiling"])
    note = _too_small(name, n, reference, space.width)
    own, ceiling, floor = (measured[side].get(name) for side in ("samples", "ceiling", "floor"))
    if own and ceiling is None:
        few = _too_small(name, reference if name in CLASS_FIGURES else most, reference, space.width)
        note = f"no ceiling: {few}"
    elif own and most < n and name not in CLASS_FIGURES:
        note = f"the ceiling is from {most} training examples"
    return Figure(
        name=name,
        value=own[0] if own else None,
        interval=own[1] if own else None,
        ceiling=ceiling[0] if own and ceiling else None,
        floor=floor[0] if own and floor else None,
        n=min(n, reference) if name in NEIGHBOUR_FIGURES else n,
        reference_n=min(n, reference) if name in NEIGHBOUR_FIGURES else reference,
        features=space.name,
        direction=kind.direction,
        unit=kind.unit,
        title=kind.title,
        meaning=kind.meaning,
        note=note,
    )


def _too_small(name: str, n: int, reference: int, width: int) -> str:
    """Why the figure means nothing for so few examples, or an empty text."""
    least, why = {
        "frechet": (width + 2, f"a covariance of {width} features"),
        "kernel": (LEAST_KERNEL, "this figure"),
        "class_entropy": (LEAST_CLASSES, "this figure"),
        "label_agreement": (LEAST_CLASSES, "this figure"),
    }.get(name, (LEAST_NEIGHBOURS, "neighbourhoods"))
    if n < least:
        return f"{n} examples are too few for {why}: at least {least}"
    if reference < least and name not in CLASS_FIGURES:
        return f"{reference} held-out examples are too few for {why}: at least {least}"
    return ""


def _measure(
    side: Side, reference: NDArray[np.float32], space: FeatureSpace, wanted: list[str], resample: bool
) -> dict[str, Measured]:
    """The wanted figures that the numbers of examples allow. resample False saves the slow intervals (references)."""
    able = [name for name in wanted if not _too_small(name, len(side), len(reference), space.width)]
    out: dict[str, Measured] = {}
    if "frechet" in able:
        error = block_jackknife(_frechet, side.features, reference) if resample else 0.0
        value = _frechet(side.features, reference)
        out["frechet"] = value, normal_interval(value, error, low=0)
    if "kernel" in able:
        estimate = kernel_distance(side.features, reference)
        out["kernel"] = estimate.value, normal_interval(estimate.value, estimate.error)
    if "precision" in able:
        out |= _manifold_figures(side.features, reference)
    if isinstance(space, Classifies) and set(able) & CLASS_FIGURES:
        seen = space.classify(torch.from_numpy(side.features)).numpy()
        out["class_entropy"] = _class_entropy(seen)
        if "label_agreement" in able and side.labels is not None:
            share = float((seen == side.labels).mean())
            out["label_agreement"] = share, wilson_interval(share, len(seen))
    return out


def _frechet(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    return frechet_distance(Gaussian.fit(a), Gaussian.fit(b))


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


# -- what is said around them ------------------------------------------------------------------------------


def _describe(space: FeatureSpace) -> dict[str, Any]:
    facts = getattr(space, "facts", None)
    return {"name": space.name, "width": space.width, **({} if facts is None else asdict(facts))}


def _notices(data: Data, splits: tuple[str, ...], reference: int, ceiling: int, n: int) -> list[str]:
    out = []
    if "validation" in splits:
        out.append(
            f"the test split has only {len(data.test)} examples, so the reference is {' and '.join(splits)}: "
            f"{reference} examples"
        )
    if ceiling < n:
        out.append(
            f"there are only {ceiling} training examples for {n} samples: references and samples differ in number"
        )
    if reference < LEAST_TEST:
        out.append(
            f"{reference} held-out examples are few: all figures are rough, read them beside their references only"
        )
    return out
