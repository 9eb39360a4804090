"""Named streams of random numbers that depend only on (seed, name, step, row), never on what was drawn before.

Resuming therefore needs no saved generator state; adding a draw somewhere does not change any other; and a micro-batch
draws exactly its rows of what the full batch would draw, so accumulated gradients equal full-batch ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import NoReturn, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

CPU = torch.device("cpu")


def derive(seed: int, *parts: object) -> int:
    """A 63-bit seed from `seed` and any printable parts; equal on every machine."""
    text = "\x1f".join([str(seed), *map(str, parts)]).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


@dataclass(frozen=True)
class Rng:
    """Draws for `rows` of a batch of `total` examples at `step`.

    total None means: draw exactly what is asked for. With total set, the leading dimension of every draw must be the
    micro-batch's and the result is rows [offset, offset + B) of the full batch's draw.
    """

    seed: int
    step: int = 0
    offset: int = 0
    total: int | None = None
    device: torch.device = CPU

    def at(self, step: int) -> Rng:
        return replace(self, step=step)

    def rows(self, offset: int, total: int) -> Rng:
        return replace(self, offset=offset, total=total)

    def fork(self, *name: object) -> Rng:
        """An independent family of streams."""
        return replace(self, seed=derive(self.seed, *name))

    def generator(self, name: str) -> Generator:
        return Generator(self.device).manual_seed(derive(self.seed, name, self.step))

    def _draw(self, kind, name: str, shape: tuple[int, ...]) -> Tensor:  # type: ignore[no-untyped-def]
        if self.total is None or self.total == shape[0]:
            return kind(shape, generator=self.generator(name), device=self.device)
        full = kind((self.total, *shape[1:]), generator=self.generator(name), device=self.device)
        return full[self.offset : self.offset + shape[0]]

    def normal(self, name: str, *shape: int) -> Tensor:
        """Standard normal float32 of `shape`."""
        return self._draw(torch.randn, name, shape)

    def uniform(self, name: str, *shape: int) -> Tensor:
        """Uniform float32 in [0, 1)."""
        return self._draw(torch.rand, name, shape)

    def integers(self, name: str, high: int, *shape: int) -> Tensor:
        """Uniform int64 in [0, high)."""
        return self._draw(lambda s, **k: torch.randint(high, s, **k), name, shape)

    def stratified(self, name: str, n: int) -> Tensor:
        """[n] float32 in (0, 1), one in each n-th of the interval (of the full batch): uniform with less variance."""
        total, offset = self.total or n, self.offset if self.total else 0
        places = torch.arange(offset, offset + n, device=self.device)
        return (places + self.uniform(name, n)) / total

    def normal_each(self, name: str, n: int, *shape: int) -> Tensor:
        """Standard normal [n, *shape] where row i depends only on (seed, name, offset + i): samples keep their identity
        whatever the number or the grouping asked for."""
        generator = Generator("cpu")
        drawn = [
            torch.randn(shape, generator=generator.manual_seed(derive(self.seed, name, self.offset + i)))
            for i in range(n)
        ]
        return torch.stack(drawn).to(self.device)

    def uniform_each(self, name: str, n: int, *shape: int) -> Tensor:
        """Uniform [n, *shape] in [0, 1) where row i depends only on (seed, name, offset + i). A longer leading axis of
        `shape` begins with the same numbers."""
        generator = Generator("cpu")
        drawn = [
            torch.rand(shape, generator=generator.manual_seed(derive(self.seed, name, self.offset + i)))
            for i in range(n)
        ]
        return torch.stack(drawn).to(self.device)

    def uniform_rows(self, name: str, n: int) -> NDArray[np.float64]:
        """Uniform float64 [n] in (0, 1) where row i depends only on (seed, name, offset + i), as `uniform_each`, for
        millions of rows: the mixing function of SplitMix64 (Steele, Lea and Flood 2014) on a counter."""
        key = np.uint64(derive(self.seed, name, self.step))
        with np.errstate(over="ignore"):
            z = (np.arange(self.offset, self.offset + n, dtype=np.uint64) + key) * np.uint64(0x9E3779B97F4A7C15)
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            z ^= z >> np.uint64(31)
        return ((z >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52

    def uniforms(self, name: str, n: int, width: int) -> Tensor:
        """float64 [n, width] in (0, 1), as `uniform_rows` in each column."""
        columns = [torch.from_numpy(self.uniform_rows(f"{name} {k}", n)) for k in range(width)]
        return torch.stack(columns, 1).to(self.device)

    def normal_rows(self, name: str, n: int, width: int) -> Tensor:
        """Standard normal float32 [n, width], as `normal_each`, for millions of rows."""
        return torch.special.ndtri(self.uniforms(name, n, width)).float()


@dataclass(frozen=True)
class Joined(Rng):
    """Draws for the rows of several requests, one after the other: each row has the numbers that it has alone. Only
    draws `..._each` and `uniform_rows` are known. parts: an Rng and its number of rows."""

    parts: tuple[tuple[Rng, int], ...] = ()

    @classmethod
    def of(cls, parts: Sequence[tuple[Rng, int]]) -> Self:
        return cls(0, device=parts[0][0].device, parts=tuple(parts))

    def between(self, offset: int, count: int) -> Joined:
        """The same for `count` rows from `offset` on."""
        ends = accumulate(n for _, n in self.parts)
        kept = []
        for (rng, n), end in zip(self.parts, ends, strict=True):
            begin, stop = max(offset, end - n), min(offset + count, end)
            if begin < stop:
                kept.append((replace(rng, offset=rng.offset + begin - (end - n)), stop - begin))
        return replace(self, parts=tuple(kept))

    def at(self, step: int) -> Joined:
        return replace(self, parts=tuple((rng.at(step), n) for rng, n in self.parts))

    def fork(self, *name: object) -> Joined:
        return replace(self, parts=tuple((rng.fork(*name), n) for rng, n in self.parts))

    def generator(self, name: str) -> NoReturn:
        raise ValueError(f"{name} would depend on what is drawn together")

    def normal_each(self, name: str, n: int, *shape: int) -> Tensor:
        return torch.cat([rng.normal_each(name, rows, *shape) for rng, rows in self._rows(n)])

    def uniform_each(self, name: str, n: int, *shape: int) -> Tensor:
        return torch.cat([rng.uniform_each(name, rows, *shape) for rng, rows in self._rows(n)])

    def uniform_rows(self, name: str, n: int) -> NDArray[np.float64]:
        return np.concatenate([rng.uniform_rows(name, rows) for rng, rows in self._rows(n)])

    def _rows(self, n: int) -> tuple[tuple[Rng, int], ...]:
        if n != sum(rows for _, rows in self.parts):
            raise ValueError(f"{n} rows are drawn of {self.parts}")
        return self.parts
