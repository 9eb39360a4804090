"""The endless, shuffled, prefetched stream of training batches. What it gives depends only on (seed, position)."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from genloom.core.balance import Balance
from genloom.core.batch import Batch
from genloom.core.rng import Rng, derive


@dataclass(frozen=True)
class Window:
    """Rows cut from examples of Tokens laid end to end: length tokens and the one after them.

    contiguous: row r of a batch begins where row r of the last one ended, so that a state can be carried on.
    """

    length: int
    contiguous: bool = False


class Examples(Protocol):
    """Encoded examples of one split."""

    def __len__(self) -> int: ...

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        """The examples at `indices`, in that order."""
        ...

    def batches(self, size: int, limit: int | None = None) -> Iterator[Batch]:
        """All examples (or the first `limit`) in order."""
        ...


@runtime_checkable
class Stream(Protocol):
    """Examples of Tokens that can be read as one long sequence."""

    @property
    def total(self) -> int:
        """Tokens of all examples."""
        ...

    def windows(self, starts: NDArray[np.int64], length: int) -> Batch:
        """[B, length] tokens from each start on, padded past the end; labels [B, length]; index: the starts."""
        ...


@runtime_checkable
class Sized(Protocol):
    """Examples of different lengths."""

    @property
    def sizes(self) -> NDArray[np.int64]:
        """[N, 2] tokens of each and of what it follows from."""
        ...


READ = 8192  # rows read at a time
POOL = 32  # batches among whose examples those of like length are put together


Ints = NDArray[np.int64]


def _alike(order: Ints, sizes: Ints, pool: int) -> Ints:
    """The order, with those of like length beside one another among every `pool` of them: by their own length, then by
    that of what they follow from, in turns shortest and longest first, so that neighbours are alike."""
    parts = []
    for part in np.split(order, range(pool, len(order), pool)):
        own, source = sizes[part].T
        parts.append(part[np.lexsort((np.where(own % 2, -source, source), own))])
    return np.concatenate(parts) if parts else order


def bucketed(order: Ints, sizes: Ints, size: int, first: int, draw: np.random.Generator) -> Ints:
    """[N] a shuffled order with examples of like length (sizes [N, 2]) in the same batch, and the batches shuffled.
    first: examples that complete the batch which the epoch before began."""
    begin, rest = order[:first], order[first:]
    whole = len(rest) // size * size
    rest = _alike(rest, sizes, POOL * size)
    batches = rest[:whole].reshape(-1, size)
    return np.concatenate([begin, batches[draw.permutation(len(batches))].ravel(), rest[whole:]])


def filled(order: Ints, sizes: Ints, tokens: int, draw: np.random.Generator) -> tuple[Ints, Ints]:
    """[N] a shuffled order and [batches + 1] where its batches begin: each of examples of like length (sizes [N, 2])
    that with their padding have at most `tokens` tokens, or of a single one."""
    mean = max(1, int(sizes.sum(1).mean()))
    rest = _alike(order, sizes, POOL * max(1, tokens // mean))
    cuts, widest, begin = [0], (0, 0), 0
    for i, (own, source) in enumerate(sizes[rest].tolist()):
        wide = max(widest[0], own), max(widest[1], source)
        if i > begin and (i + 1 - begin) * sum(wide) > tokens:
            cuts.append(i)
            begin, wide = i, (own, source)
        widest = wide
    parts = [rest[a:b] for a, b in itertools.pairwise([*cuts, len(rest)])]
    shuffled = [parts[i] for i in draw.permutation(len(parts))]
    return np.concatenate(shuffled), np.cumsum([0, *map(len, shuffled)])


class Feed:
    """Batches from the concatenation of one permutation of the examples (or of the windows of a stream) an epoch; the
    next one is made meanwhile. Whole examples of different lengths are batched with others of like length.

    `position` counts rows given. Batches do not end at an epoch's end, so a set smaller than a batch works; those of a
    number of `tokens` do.
    """

    def __init__(
        self,
        examples: Examples,
        seed: int,
        augment: Callable[[Batch, Rng], Batch] | None = None,
        window: Window | None = None,
        tokens: int | None = None,
        balanced: Sequence[int] = (),
    ) -> None:
        """tokens: that batches of whole examples have at most, in place of a number of examples. balanced: entries of
        rows of a table by whose levels rows are drawn, in place of each once an epoch; a batch then says as `known`
        what each row was drawn for."""
        self.examples, self.seed, self.augment, self.window = examples, seed, augment, window
        self.rows = len(examples)  # of an epoch
        if window is not None:
            if not isinstance(examples, Stream):
                raise TypeError(f"windows need a stream of tokens, not {type(examples).__name__}")
            self.rows = max(1, (examples.total - 1) // window.length)
        self.wait = 0.0  # seconds that the training stood still for data
        self._pool = ThreadPoolExecutor(1, "feed")
        self._next: tuple[int, int, Future[Batch]] | None = None
        self._orders: dict[tuple[int, int], NDArray[np.int64]] = {}
        self._sizes = examples.sizes if window is None and isinstance(examples, Sized) else None
        self.tokens = tokens if self._sizes is not None else None
        self._filled: dict[int, tuple[Ints, Ints]] = {}
        self.balanced = tuple(balanced)
        self._balance: Balance | None = None

    def order(self, epoch: int, size: int = 1) -> NDArray[np.int64]:
        """[rows] of an epoch; size: of a batch."""
        if (epoch, size) not in self._orders:
            self._orders = {k: o for k, o in self._orders.items() if k == (epoch - 1, size)}
            generator = np.random.Generator(np.random.PCG64(derive(self.seed, "order", epoch)))
            order = generator.permutation(self.rows)
            if self._sizes is not None and size > 1:
                order = bucketed(order, self._sizes, size, -epoch * self.rows % size, generator)
            self._orders[epoch, size] = order
        return self._orders[epoch, size]

    def indices(self, position: int, size: int) -> NDArray[np.int64]:
        n, parts, batch = self.rows, [], size
        while size:
            epoch, start = divmod(position, n)
            part = self.order(epoch, batch)[start : start + size]
            parts.append(part)
            position, size = position + len(part), size - len(part)
        return np.concatenate(parts)

    def _filling(self, position: int) -> Ints:
        """The batch of `tokens` tokens that begins at `position`."""
        epoch, start = divmod(position, self.rows)
        if epoch not in self._filled:
            assert self._sizes is not None and self.tokens is not None
            self._filled = {k: v for k, v in self._filled.items() if k == epoch - 1}
            generator = np.random.Generator(np.random.PCG64(derive(self.seed, "order", epoch)))
            self._filled[epoch] = filled(generator.permutation(self.rows), self._sizes, self.tokens, generator)
        order, begins = self._filled[epoch]
        return order[start : int(begins[np.searchsorted(begins, start, "right")])]

    def _offset(self, epoch: int, most: int) -> int:
        """Where an epoch's first window begins: windows are cut elsewhere every time."""
        return derive(self.seed, "offset", epoch) % max(1, most)

    def starts(self, position: int, size: int, window: Window) -> NDArray[np.int64]:
        """[size] where the windows of the batch at `position` begin."""
        assert isinstance(self.examples, Stream)
        last = max(1, self.examples.total - 1)
        if not window.contiguous:
            places = np.arange(position, position + size)
            offsets = np.array([self._offset(e, window.length) for e in (places // self.rows).tolist()])
            return (self.indices(position, size) * window.length + offsets) % last
        steps = max(1, self.rows // size)
        epoch, step = divmod(position // size, steps)
        offset = self._offset(epoch, last)
        return (offset + (np.arange(size) * steps + step) * window.length) % last

    def _by_level(self, position: int, size: int) -> Batch:
        """Rows drawn by their levels, each with the entry that it was drawn for as what is known of it."""
        if self._balance is None:
            parts = [b.x[:, list(self.balanced)] for b in self.examples.batches(READ)]
            self._balance = Balance(torch.cat(parts).round().long().cpu().numpy())
        generator = np.random.Generator(np.random.PCG64(derive(self.seed, "balance", position)))
        rows, columns = self._balance.draw(size, generator)
        batch = self.examples.batch(rows)
        mask = torch.zeros(batch.x.shape, dtype=torch.bool)
        mask[torch.arange(size), torch.tensor(self.balanced)[torch.from_numpy(columns)]] = True
        return replace(batch, condition=replace(batch.condition, known=batch.x, mask=mask.to(batch.x.device)))

    def _make(self, position: int, size: int) -> Batch:
        if self.balanced:
            return self._by_level(position, size)
        if self.window is not None and isinstance(self.examples, Stream):
            starts = self.starts(position, size, self.window)
            batch = self.examples.windows(starts, self.window.length + 1)
        else:
            chosen = self.indices(position, size) if self.tokens is None else self._filling(position)
            batch = self.examples.batch(chosen)
        if self.augment is None:
            return batch
        return self.augment(batch, Rng(derive(self.seed, "augment"), step=position))

    def take(self, position: int, size: int) -> Batch:
        """The batch of `size` examples (or of `tokens` tokens) at `position`; begins to make the one after it."""
        begin = time.perf_counter()
        ready = self._next is not None and self._next[:2] == (position, size)
        batch = (
            self._next[2].result() if self._next and ready else self._pool.submit(self._make, position, size).result()
        )
        self.wait += time.perf_counter() - begin
        after = position + len(batch)
        self._next = (after, size, self._pool.submit(self._make, after, size))
        return batch

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
