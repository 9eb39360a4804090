"""Figures that a modality has of its own: traits that its examples keep, and what its people measure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from torch import Tensor

from genloom.core.modality import HasFigures, HasTraits, Modality, OwnFigure
from genloom.data.sequences import Sequences
from genloom.evaluate.contracts import Split
from genloom.evaluate.evaluation import Figure, Measured, figure_of
from genloom.evaluate.kinds import Kind
from genloom.evaluate.passages import decoded
from genloom.evaluate.shared import NOTHING_HELD, Joined
from genloom.metrics.intervals import mean_error, normal_interval, wilson_interval

WHAT = "the examples themselves"


class Decoded(Sequence[Any]):
    """N examples, each decoded when it is first asked for."""

    def __init__(self, n: int, decode: Callable[[int], Any]) -> None:
        self.n, self._decode = n, decode
        self._kept: dict[int, Any] = {}

    def __len__(self) -> int:
        return self.n

    @overload
    def __getitem__(self, i: int) -> Any: ...

    @overload
    def __getitem__(self, i: slice) -> list[Any]: ...

    def __getitem__(self, i: int | slice) -> Any:
        if isinstance(i, slice):
            return [self[j] for j in range(*i.indices(self.n))]
        if not -self.n <= i < self.n:
            raise IndexError(i)
        i %= self.n
        if i not in self._kept:
            self._kept[i] = self._decode(i)
        return self._kept[i]


def of_sequences(s: Sequences, modality: Modality[Any]) -> Decoded:
    return Decoded(len(s), lambda i: decoded(s, modality, i))


def of_tensor(make: Callable[[], Tensor], n: int, modality: Modality[Any]) -> Decoded:
    """n examples of a Grid, which are made when the first is asked for."""
    made: list[Tensor] = []

    def decode(i: int) -> Any:
        if not made:
            made.append(make())
        return modality.decode(made[0][i])

    return Decoded(n, decode)


def of_split(split: Split | Joined, most: int, seed: int, modality: Modality[Any]) -> Decoded:
    """At most `most` different examples of a Grid in random order."""
    rows = np.random.Generator(np.random.PCG64(seed)).permutation(len(split))[:most]
    return Decoded(len(rows), lambda i: modality.decode(split.batch(rows[i : i + 1]).x[0]))


@dataclass(frozen=True)
class OwnSides:
    """Whose examples are measured: the samples; training examples, the baseline and held-out ones in the same number;
    all of the reference and of the training split."""

    samples: Decoded
    ceiling: Decoded
    floor: Decoded
    held: Decoded
    reference: Decoded
    training: Decoded


def own_figures(modality: Modality[Any], sides: OwnSides) -> list[Figure]:
    """The traits of the modality, then its figures, each between its references."""
    traits = modality.traits() if isinstance(modality, HasTraits) else {}
    figures = modality.figures() if isinstance(modality, HasFigures) else {}
    out = [_trait(name, meaning, modality, sides) for name, meaning in traits.items()]
    return out + [_figure(name, figure, sides) for name, figure in figures.items()]


def _trait(name: str, meaning: str, modality: Modality[Any], sides: OwnSides) -> Figure:
    """Share of the samples that keep a form of their kind of data."""
    assert isinstance(modality, HasTraits)
    shows = modality.shows_trait

    def share(side: Decoded) -> Measured | None:
        if not len(side):
            return None
        kept = sum(shows(name, example) for example in side) / len(side)
        return kept, wilson_interval(kept, len(side))

    kind = Kind(name.replace("_", " ").capitalize(), meaning, "reference", "share")
    own, real, floor = share(sides.samples), share(sides.ceiling), share(sides.floor)
    return figure_of(name, own, real, floor, (len(sides.samples), len(sides.reference)), WHAT, kind=kind)


def _figure(name: str, figure: OwnFigure, sides: OwnSides) -> Figure:
    kind = Kind(figure.title, figure.meaning, figure.direction, figure.unit)
    training = figure.against == "training"
    others, real = (sides.training, sides.held) if training else (sides.reference, sides.ceiling)
    counts = (len(sides.samples), len(others))
    if not len(others):
        return figure_of(name, None, None, None, counts, WHAT, NOTHING_HELD, kind=kind)
    own, best, floor = (_measured(figure, side, others) for side in (sides.samples, real, sides.floor))
    note = "it cannot be told of these samples" if own is None else "" if len(real) else f"no ceiling: {NOTHING_HELD}"
    return figure_of(name, own, best, floor, counts, WHAT, note, kind=kind)


def _measured(figure: OwnFigure, examples: Decoded, others: Decoded) -> Measured | None:
    """The value and, where there is one for each example, its 95% interval."""
    if not len(examples):
        return None
    values = figure.measure(examples, others)
    if not isinstance(values, np.ndarray):
        return None if math.isnan(values) else (float(values), None)
    values = values[~np.isnan(values)]
    if not len(values):
        return None
    mean = float(values.mean())
    if figure.unit == "share" and set(np.unique(values)) <= {0.0, 1.0}:
        return mean, wilson_interval(mean, len(values))
    return mean, normal_interval(mean, mean_error(values)) if len(values) > 1 else None
