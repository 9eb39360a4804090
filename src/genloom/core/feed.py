"""The endless, shuffled, prefetched stream of training batches. What it gives depends only on (seed, position)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from genloom.core.batch import Batch
from genloom.core.rng import Rng, derive


class Examples(Protocol):
    """Encoded examples of one split."""

    def __len__(self) -> int: ...

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        """The examples at `indices`, in that order."""
        ...

    def batches(self, size: int, limit: int | None = None) -> Iterator[Batch]:
        """All examples (or the first `limit`) in order."""
        ...


class Feed:
    """Batches from the concatenation of one permutation of the examples an epoch; the next one is made meanwhile.

    `position` counts examples given. Batches do not end at an epoch's end, so a set smaller than a batch works.
    """

    def __init__(self, examples: Examples, seed: int, augment: Callable[[Tensor, Rng], Tensor] | None = None) -> None:
        self.examples, self.seed, self.augment = examples, seed, augment
        self.wait = 0.0  # seconds that the training stood still for data
        self._pool = ThreadPoolExecutor(1, "feed")
        self._next: tuple[int, int, Future[Batch]] | None = None
        self._orders: dict[int, NDArray[np.int64]] = {}

    def order(self, epoch: int) -> NDArray[np.int64]:
        if epoch not in self._orders:
            self._orders = {e: o for e, o in self._orders.items() if e == epoch - 1}
            generator = np.random.Generator(np.random.PCG64(derive(self.seed, "order", epoch)))
            self._orders[epoch] = generator.permutation(len(self.examples))
        return self._orders[epoch]

    def indices(self, position: int, size: int) -> NDArray[np.int64]:
        n, parts = len(self.examples), []
        while size:
            epoch, start = divmod(position, n)
            part = self.order(epoch)[start : start + size]
            parts.append(part)
            position, size = position + len(part), size - len(part)
        return np.concatenate(parts)

    def _make(self, position: int, size: int) -> Batch:
        batch = self.examples.batch(self.indices(position, size))
        if self.augment is None:
            return batch
        return batch.with_x(self.augment(batch.x, Rng(derive(self.seed, "augment"), step=position)))

    def take(self, position: int, size: int) -> Batch:
        """The batch of `size` examples at `position`; begins to make the one after it."""
        begin = time.perf_counter()
        ready = self._next is not None and self._next[:2] == (position, size)
        batch = (
            self._next[2].result() if self._next and ready else self._pool.submit(self._make, position, size).result()
        )
        self.wait += time.perf_counter() - begin
        self._next = (position + size, size, self._pool.submit(self._make, position + size, size))
        return batch

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
