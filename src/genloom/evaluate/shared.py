"""What judging grids and judging sequences share: what is held out, how many samples, when a figure means nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genloom.core.batch import Batch, join
from genloom.evaluate.contracts import Data, FeatureSpace, Split
from genloom.evaluate.evaluation import Measured
from genloom.metrics.frechet import Gaussian, frechet_distance
from genloom.metrics.intervals import block_jackknife, normal_interval
from genloom.metrics.kernel import kernel_distance

LEAST_TEST = 500  # with fewer test examples the validation split is added to the reference
MOST_REFERENCE, MOST_SAMPLES = 10_000, 5_000
MOST_RESAMPLED = 512  # features up to which the Frechet distance is measured 41 times for its interval
LEAST_KERNEL, LEAST_NEIGHBOURS, LEAST_CLASSES = 50, 50, 20  # examples on each side without which a figure is noise
NOTHING_HELD = "no held-out split"
CLASS_FIGURES = {"class_entropy", "label_agreement"}  # need no reference: the classes themselves are one

# -- what is held out ------------------------------------------------------------------------------


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
    """The held-out examples to compare with and the names of their splits; both empty where nothing is held out."""
    if not len(data.test) + len(data.validation):
        return data.test, ()
    if len(data.test) >= LEAST_TEST or not len(data.validation):
        chosen: Split | Joined = data.test
        names: tuple[str, ...] = ("test",)
    else:
        chosen, names = (
            Joined(data.validation, data.test),
            ("validation", "test") if len(data.test) else ("validation",),
        )
    return chosen, names


def default_number(train: int, reference: int) -> int:
    """Samples to judge: as many as the reference has, 500 to 5,000, but no more than training examples."""
    return max(2, min(train, max(LEAST_TEST, min(reference, MOST_SAMPLES))))


# -- figures in a feature space ------------------------------------------------------------------------------


def distances(
    values: NDArray[np.float32],
    reference: NDArray[np.float32],
    able: list[str],
    resample: bool,
    fitted: Gaussian | None = None,
) -> dict[str, Measured]:
    """The distances among `able` between features [N, D] and [M, D]. resample False saves the slow interval. fitted:
    the Gaussian of the reference where it is known already."""
    out: dict[str, Measured] = {}
    if "frechet" in able:
        value = frechet_distance(Gaussian.fit(values), fitted or Gaussian.fit(reference))
        out["frechet"] = value, None
        if values.shape[1] <= MOST_RESAMPLED:
            error = block_jackknife(frechet, values, reference) if resample else 0.0
            out["frechet"] = value, normal_interval(value, error, low=0)
    if "kernel" in able:
        estimate = kernel_distance(values, reference)
        out["kernel"] = estimate.value, normal_interval(estimate.value, estimate.error)
    return out


def frechet(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    return frechet_distance(Gaussian.fit(a), Gaussian.fit(b))


def too_small(name: str, n: int, reference: int, width: int) -> str:
    """Why the figure means nothing for so few examples, or an empty text."""
    if not reference and name not in CLASS_FIGURES:
        return NOTHING_HELD
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


# -- what is said around them ------------------------------------------------------------------------------


def describe(space: FeatureSpace) -> dict[str, Any]:
    facts, digest = getattr(space, "facts", None), getattr(space, "digest", None)
    known = {} if facts is None else asdict(facts)
    return {"name": space.name, "width": space.width, **known, **({} if digest is None else {"digest": digest})}


def notices_on(data: Data, splits: tuple[str, ...], reference: int, ceiling: int, n: int) -> list[str]:
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
    if not splits:
        out.append(
            "nothing is held out, so copying, groups and all that is compared with held-out examples are not measured; "
            "train with data.test above 0, or judge against other data"
        )
    elif reference < LEAST_TEST:
        out.append(
            f"{reference} held-out examples are few: all figures are rough, read them beside their references only"
        )
    return out
