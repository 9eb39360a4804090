"""What examples are conditioned on besides their class: properties as they were measured, and encoded sources.

Shapes: `N` examples, `P` properties, `B` batch, `S` tokens of a source.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genloom.core.batch import Condition, ConditionSpec, Property

Ints = NDArray[np.int64]
TYPICAL = 1000  # training examples whose properties samples take that are not asked for any


@dataclass(frozen=True)
class Conditions:
    """Of N examples. spec: what a family is told of them. properties: float64 [M, P], or None. tokens: [total] of M
    sources one after the other, each contents and eos; starts: int64 [M + 1]; None without sources. rows: int64 [N],
    which of the M each example has; None: each its own."""

    spec: ConditionSpec
    properties: NDArray[np.float64] | None = None
    tokens: NDArray[Any] | None = None
    starts: Ints | None = None
    rows: Ints | None = None

    def __len__(self) -> int:
        if self.rows is not None:
            return len(self.rows)
        if self.properties is not None:
            return len(self.properties)
        return 0 if self.starts is None else len(self.starts) - 1

    def __getitem__(self, which: Ints | slice) -> Conditions:
        """Those of some of the examples, in that order."""
        return replace(self, rows=(np.arange(len(self)) if self.rows is None else self.rows)[which])

    def _places(self, which: Ints) -> Ints:
        return which if self.rows is None else self.rows[which]

    def lengths(self, which: Ints) -> Ints:
        """Tokens of the sources of some examples, as they are read; 0 without sources."""
        if self.starts is None or self.spec.source is None:
            return np.zeros(len(which), dtype=np.int64)
        at = self._places(which)
        return np.minimum(self.starts[at + 1] - self.starts[at], self.spec.source.length)

    def values(self, which: Ints) -> Tensor | None:
        """float32 [*which, P], standardised; which: any shape."""
        if self.properties is None or not self.spec.properties:
            return None
        mean, std = (np.array([getattr(p, name) for p in self.spec.properties]) for name in ("mean", "std"))
        return torch.from_numpy(((self.properties[self._places(which)] - mean) / std).astype(np.float32))

    def sources(self, which: Ints) -> Tensor | None:
        """int64 [B, S], the longest with `spec.source.length` tokens: of a longer one the beginning, or the end."""
        spec = self.spec.source
        if self.tokens is None or self.starts is None or spec is None:
            return None
        lengths, at = self.lengths(which), self._places(which)
        begins = self.starts[at + 1] - lengths if spec.keeps_end else self.starts[at]
        x = np.full((len(which), int(lengths.max(initial=1))), spec.pad, dtype=np.int64)
        inside = np.arange(x.shape[1]) < lengths[:, None]
        x[inside] = self.tokens[(begins[:, None] + np.arange(x.shape[1]))[inside]]
        x[np.arange(len(x)), lengths - 1] = spec.eos
        return torch.from_numpy(x)

    def condition(self, which: Ints) -> Condition:
        """Properties and sources of the examples `which` [B]."""
        return Condition(properties=self.values(which), source=self.sources(which))


def join(parts: Sequence[Conditions | None]) -> Conditions | None:
    """Those of several splits as one, in order; None where a part has none."""
    known = [p for p in parts if p is not None]
    if not known or len(known) < len(parts):
        return None
    properties, tokens, starts = [], [], [np.zeros(1, dtype=np.int64)]
    for p in known:
        rows = np.arange(len(p)) if p.rows is None else p.rows
        if p.properties is not None:
            properties.append(p.properties[rows])
        if p.tokens is not None and p.starts is not None:
            sizes = p.starts[rows + 1] - p.starts[rows]
            tokens += [p.tokens[a : a + n] for a, n in zip(p.starts[rows], sizes, strict=True)]
            starts.append(starts[-1][-1] + np.cumsum(sizes))
    return Conditions(
        known[0].spec,
        np.concatenate(properties) if properties else None,
        np.concatenate(tokens) if tokens else None,
        np.concatenate(starts) if tokens else None,
    )


def measured(names: Sequence[str], values: NDArray[np.float64]) -> tuple[Property, ...]:
    """The properties of training examples [N, P]: mean, standard deviation (1 where all are equal) and range."""
    out = []
    for name, column in zip(names, values.T, strict=True):
        known = column[np.isfinite(column)]
        if not len(known):
            out.append(Property(name, 0.0, 1.0, 0.0, 0.0))
            continue
        out.append(
            Property(name, float(known.mean()), float(known.std()) or 1.0, float(known.min()), float(known.max()))
        )
    return tuple(out)


def typical(
    conditions: Conditions | None, labels: NDArray[Any] | None, train: int
) -> tuple[tuple[int, tuple[float | None, ...]], ...]:
    """What ConditionSpec calls so, of at most TYPICAL of the first `train` examples, evenly chosen; empty without
    properties. labels [N] of all examples, or None."""
    which = (
        np.unique(np.linspace(0, train - 1, min(train, TYPICAL)).astype(np.int64)) if train else np.zeros(0, np.int64)
    )
    values = None if conditions is None else conditions.values(which)
    if values is None:
        return ()
    own = [-1] * len(which) if labels is None else labels[which].tolist()
    rows = [tuple(round(v, 4) if math.isfinite(v) else None for v in row) for row in values.tolist()]
    return tuple(zip(own, rows, strict=True))
