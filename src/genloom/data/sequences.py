"""A split of encoded sequences: all tokens of all examples one after the other in one memory-mapped file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genloom.core.batch import Batch, Condition
from genloom.core.spec import Tokens
from genloom.data.conditions import Conditions

Ints = NDArray[np.int64]


def dtype_of(vocab: int) -> np.dtype[Any]:
    """The smallest kind of number that holds ids below `vocab`."""
    return np.dtype(np.uint8 if vocab <= 2**8 else np.uint16 if vocab <= 2**16 else np.int32)


def places(starts: Ints, lengths: Ints) -> Ints:
    """[sum of lengths] the whole numbers from each start on, one run after the other."""
    ends = np.cumsum(lengths)
    return np.repeat(starts - (ends - lengths), lengths) + np.arange(int(ends[-1]) if len(ends) else 0)


class Sequences:
    """The encoded examples of one split. N examples, `B` batch, `T` tokens; index i is the i-th in the source's order.

    tokens: [total] whole numbers. starts: int64 [N + 1] where each example begins, the last one is total. labels: int64
    [N] or None. conditions: what else the examples are conditioned on.
    """

    def __init__(
        self,
        spec: Tokens,
        tokens: NDArray[Any],
        starts: Ints,
        labels: Ints | None,
        origins: Callable[[], Sequence[str]],
        conditions: Conditions | None = None,
    ) -> None:
        self.spec, self.tokens, self.starts, self.labels = spec, np.asarray(tokens), starts, labels
        self._origins, self.conditions = origins, conditions

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def total(self) -> int:
        """Number of tokens."""
        return int(self.starts[-1])

    @cached_property
    def lengths(self) -> Ints:
        """int64 [N] tokens of each example."""
        return np.diff(self.starts)

    @cached_property
    def sizes(self) -> Ints:
        """int64 [N, 2] tokens of each example and of its source."""
        source = np.zeros(len(self), dtype=np.int64)
        if self.conditions is not None:
            source = self.conditions.lengths(np.arange(len(self)))
        return np.stack([self.lengths, source], 1)

    @cached_property
    def origins(self) -> Sequence[str]:
        """[N] where each example came from."""
        return self._origins()

    def batch(self, indices: Ints) -> Batch:
        """The examples at `indices`, in that order: x int64 [B, longest of them], padded with pad."""
        indices = np.asarray(indices, dtype=np.int64)
        lengths = self.lengths[indices]
        x = np.full((len(indices), int(lengths.max(initial=0))), self.spec.pad, dtype=np.int64)
        x[np.arange(x.shape[1]) < lengths[:, None]] = self.tokens[places(self.starts[indices], lengths)]
        condition = Condition() if self.conditions is None else self.conditions.condition(indices)
        if self.labels is not None:
            condition = replace(condition, label=torch.from_numpy(self.labels[indices]))
        return Batch(torch.from_numpy(x), condition, torch.from_numpy(indices.copy()))

    def batches(self, size: int, limit: int | None = None) -> Iterator[Batch]:
        """All examples (or the first `limit`) in order."""
        n = len(self) if limit is None else min(limit, len(self))
        for start in range(0, n, size):
            yield self.batch(np.arange(start, min(start + size, n)))

    def windows(self, starts: Ints, length: int) -> Batch:
        """Cut from the examples as they lie one after the other, across their ends.

        starts: int64 [B] in [0, total). x: int64 [B, length] from each start on, padded with pad past the end. label:
        int64 [B, length], properties [B, length, P]: those of the example each token belongs to (of the last one past
        the end); sources are left out. index: the starts.
        """
        starts = np.asarray(starts, dtype=np.int64)
        at = starts[:, None] + np.arange(length)
        inside = at < self.total
        at = np.minimum(at, max(0, self.total - 1))
        x = np.where(inside, self.tokens[at], self.spec.pad).astype(np.int64)
        label, properties = None, None
        if self.labels is not None or self.conditions is not None:
            owner = np.searchsorted(self.starts, at, "right") - 1
            label = None if self.labels is None else torch.from_numpy(self.labels[owner])
            properties = None if self.conditions is None else self.conditions.values(owner)
        return Batch(torch.from_numpy(x), Condition(label, properties), torch.from_numpy(starts.copy()))
