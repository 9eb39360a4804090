"""Small in-memory training sets for tests, with the interface that the loop asks of a split."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from sklearn.datasets import load_digits

from genloom.core.batch import Batch, Condition, ConditionSpec
from genloom.core.spec import Grid


class Memory:
    """Examples x [N, ...] float32 with labels [N] int64 or None."""

    def __init__(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> None:
        self.x, self.labels = x, labels

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, indices: np.ndarray) -> Batch:
        rows = torch.from_numpy(np.asarray(indices, dtype=np.int64))
        return Batch(self.x[rows], Condition(label=None if self.labels is None else self.labels[rows]), rows)

    def batches(self, size: int, limit: int | None = None) -> Iterator[Batch]:
        n = min(limit or len(self), len(self))
        for i in range(0, n, size):
            yield self.batch(np.arange(i, min(i + size, n)))


def digits(n: int = 64, labelled: bool = True) -> tuple[Memory, Grid, ConditionSpec]:
    """The first n of scikit-learn's 8x8 digits, their spec and conditions."""
    data = load_digits()
    x = torch.from_numpy(data.images[:n]).float()[:, None] / 8 - 1
    labels = torch.from_numpy(data.target[:n]).long()
    classes = (
        ConditionSpec(tuple("0123456789"), tuple(torch.bincount(labels, minlength=10).tolist()))
        if labelled
        else ConditionSpec()
    )
    return Memory(x, labels if labelled else None), Grid((1, 8, 8), 17), classes
