"""What a family is given: a batch of encoded examples with their conditions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from genloom.core.errors import InputError


@dataclass(frozen=True)
class Condition:
    """What a sample is asked for, or what a training example is. B is the batch; a field that is None is not given."""

    label: Tensor | None = None  # [B] int64, an index into ConditionSpec.classes
    properties: Tensor | None = None  # [B, P] float32, standardised; NaN where not given
    source: Tensor | None = None  # [B, S] int64: a sentence, a document, a prompt; contents, eos, then pad
    known: Tensor | None = None  # like x: values that must appear in the sample
    mask: Tensor | None = None  # bool like x; True where `known` is given

    def given(self) -> frozenset[str]:
        """Names of the conditions present; `known` and `mask` together count as "known"."""
        names = {f.name for f in fields(self) if getattr(self, f.name) is not None}
        return frozenset(names - {"mask"})

    def map(self, change) -> Condition:  # type: ignore[no-untyped-def]
        """The same condition with `change` applied to every tensor present."""
        present = {f.name: getattr(self, f.name) for f in fields(self)}
        return Condition(**{name: None if t is None else change(t) for name, t in present.items()})

    def __getitem__(self, rows: slice | Tensor) -> Condition:
        return self.map(lambda t: t[rows])

    def only(self, names: frozenset[str]) -> Condition:
        """The conditions among `names`; "known" stands for `known` and `mask`."""
        kept = names | ({"mask"} if "known" in names else set())
        return Condition(**{f.name: getattr(self, f.name) if f.name in kept else None for f in fields(self)})

    def check(self, allowed: frozenset[str], family: str) -> None:
        """Raise InputError when something is asked for that the family cannot honour."""
        for name in sorted(self.given() - allowed):
            has = ", ".join(sorted(allowed)) or "none"
            raise InputError(f"{family} cannot be conditioned on {name} here; the conditions it honours: {has}")


@dataclass(frozen=True)
class Property:
    """A number that every example has, asked for as (value - mean) / std. low, high: observed in training."""

    name: str
    mean: float
    std: float
    low: float
    high: float

    def standardised(self, value: float) -> float:
        return (value - self.mean) / self.std


@dataclass(frozen=True)
class SourceSpec:
    """Sequences that samples follow from: contents, eos, then pad; `length` with eos at most. shared: the ids are those
    of the examples' own vocabulary. task: what samples are to their sources (data.task), or nothing in particular."""

    length: int
    vocab: int
    pad: int
    eos: int
    shared: bool = True
    task: str = ""

    @property
    def keeps_end(self) -> bool:
        """Whether of sources that are too long the end is read, and not the beginning."""
        return self.task == "chat"


@dataclass(frozen=True)
class ConditionSpec:
    """What the data offers to condition on.

    classes: label names in index order, empty without labels. counts: training examples of each class. properties: in
    the order of their columns. source: None without sources. typical: of some training examples the class (-1 without
    classes) and the standardised properties, None where not known.
    """

    classes: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    properties: tuple[Property, ...] = ()
    source: SourceSpec | None = None
    typical: tuple[tuple[int, tuple[float | None, ...]], ...] = ()

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ConditionSpec:
        """Equal to the one of which `data` is the dataclasses.asdict."""
        source = data.get("source")
        return cls(
            tuple(data["classes"]),
            tuple(data["counts"]),
            tuple(Property(**p) for p in data["properties"]),
            None if source is None else SourceSpec(**source),
            tuple((label, tuple(values)) for label, values in data.get("typical", ())),
        )


@dataclass(frozen=True)
class Batch:
    """Encoded examples. x as the spec says; index [B] int64 is each example's position in its split, or None."""

    x: Tensor
    condition: Condition = Condition()
    index: Tensor | None = None

    def __len__(self) -> int:
        return self.x.shape[0]

    def __getitem__(self, rows: slice | Tensor) -> Batch:
        index = None if self.index is None else self.index[rows]
        return Batch(self.x[rows], self.condition[rows], index)

    def to(self, device: torch.device) -> Batch:
        if self.x.device == device:
            return self
        index = None if self.index is None else self.index.to(device, non_blocking=True)
        return Batch(
            self.x.to(device, non_blocking=True),
            self.condition.map(lambda t: t.to(device, non_blocking=True)),
            index,
        )

    def with_x(self, x: Tensor) -> Batch:
        return replace(self, x=x)


def join(batches: Iterable[Batch]) -> Batch:
    """One batch of all, in order. Every batch must have the same conditions present."""
    parts = list(batches)
    names = parts[0].condition.given() | ({"mask"} if parts[0].condition.mask is not None else set())
    condition = Condition(**{n: torch.cat([getattr(p.condition, n) for p in parts]) for n in names})
    indices = [p.index for p in parts if p.index is not None]
    return Batch(torch.cat([p.x for p in parts]), condition, torch.cat(indices) if len(indices) == len(parts) else None)
