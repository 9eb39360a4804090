"""What judging needs of data, of a generator and of a feature space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from genloom.core.batch import Condition, ConditionSpec
from genloom.core.family import Family
from genloom.core.feed import Examples
from genloom.core.modality import Modality


class Split(Examples, Protocol):
    """One of train, validation and test."""

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """[N] class of each example, or None without labels."""
        ...


class Data(Protocol):
    """Prepared data: `genloom.data.prepare.Prepared` is one. source: the modality of sources."""

    @property
    def name(self) -> str: ...

    @property
    def digest(self) -> str: ...

    @property
    def modality(self) -> Modality[Any]: ...

    @property
    def condition(self) -> ConditionSpec: ...

    @property
    def source(self) -> Modality[Any] | None: ...

    @property
    def train(self) -> Split: ...

    @property
    def validation(self) -> Split: ...

    @property
    def test(self) -> Split: ...


class Generator(Protocol):
    """What can be judged: `genloom.run.Run` is one."""

    @property
    def family(self) -> Family: ...

    def sample_tensor(
        self, n: int, *, seed: int = 0, given: Condition | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """n samples as the spec says and the class indices [n] they were asked for, or None. given: a condition for
        each sample; None: classes in the data's shares. options: settings of the family's sampler."""
        ...


@runtime_checkable
class PlainRows(Protocol):
    """A modality of tables, as judging sees it. target: the column that people predict."""

    @property
    def target(self) -> str | None: ...

    @property
    def constraints(self) -> Sequence[Any]: ...

    def plain(self, x: Tensor) -> Any:
        """A frame of rows [N, S] without what is made anew: numbers and dates as float64, NaN where one is missing,
        all others as text."""
        ...

    def decode_all(self, x: Tensor, first: int = 0) -> Any: ...

    def kept(self, frame: Any) -> NDArray[np.bool_]:
        """[N] rows that keep all constraints."""
        ...


class FeatureSpace(Protocol):
    """Where distances mean something: examples as the spec says to features.

    name says in a few words what the features are, for everyone who reads a figure.
    """

    @property
    def name(self) -> str: ...

    @property
    def width(self) -> int: ...

    def __call__(self, x: Tensor) -> Tensor:
        """x [B, ...] as the spec says -> [B, width] float32 on the CPU."""
        ...


@runtime_checkable
class Remembers(Protocol):
    """A feature space that keeps the features of real examples for later."""

    def of_real(self, x: Tensor) -> Tensor:
        """As calling it."""
        ...

    def save(self) -> None: ...


@runtime_checkable
class Classifies(Protocol):
    """A feature space that also tells classes apart."""

    def classify(self, features: Tensor) -> Tensor:
        """[B, width] features -> [B] int64 class indices."""
        ...
