"""What a look at data before a training says: facts, and findings with what to do about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")  # the gravest first
SHOWN = 12  # groups of examples that a finding points at, at most

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Fact:
    """One thing that is so, such as the sizes of the images.

    value: a number or text; counts, as in {"JPEG": 10}; or the `spread` of many numbers.
    """

    name: str
    value: int | float | str | Mapping[str, int] | Mapping[str, float]
    unit: str = ""


def spread(values: Sequence[float] | NDArray[Any]) -> dict[str, float]:
    """Least, 5%, median, 95% and most of numbers (at least one), each one of them."""
    names = ("least", "5%", "median", "95%", "most")
    found = np.quantile(np.asarray(values), (0, 0.05, 0.5, 0.95, 1), method="nearest")
    return {n: float(v) for n, v in zip(names, found, strict=True)}


@dataclass(frozen=True)
class Finding:
    """Something a person should know or mend before training.

    code: its stable name. what: a sentence without a full stop. advice: what to do about it. count: how many examples.
    groups: indices of examples that show it, those that belong together in one group, the most telling first. quotes:
    what to say beside each group, or nothing.
    """

    code: str
    severity: Severity
    what: str
    advice: str
    count: int
    groups: tuple[tuple[int, ...], ...] = ()
    quotes: tuple[str, ...] = ()


class Inspector(Protocol):
    """Looks at every readable example once, in the order of the source, and keeps little of it."""

    def add(self, i: int, raw: Any, example: Any) -> None:
        """Example i, and what it was read from: a file's bytes, an array or an object."""
        ...

    def alike(self) -> Ints:
        """[P, 2] pairs of near duplicates besides those that fingerprints tell."""
        ...

    def facts(self) -> list[Fact]: ...

    def findings(self) -> list[Finding]: ...
