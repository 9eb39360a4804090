"""Token sequences as judging looks at them: joined splits, pieces of a stream, contents, units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genloom.core.batch import Condition
from genloom.core.errors import InputError
from genloom.core.modality import Modality, Sequential
from genloom.core.rng import derive
from genloom.core.spec import Tokens
from genloom.data import conditions
from genloom.data.sequences import Sequences, places
from genloom.evaluate.contracts import Data
from genloom.evaluate.shared import Joined, reference_split

Ints = NDArray[np.int64]

LEAST_HELD_OUT = 500_000  # tokens of a stream's test split below which the validation split is joined to it
LONG = 65_536  # tokens of a stream that are turned into units at a time


def held_out(data: Data, spec: Tokens) -> tuple[Sequences, tuple[str, ...]]:
    """The held-out examples and the names of their splits, validation before test. Raises InputError without any."""
    if spec.stream:
        whole = tokens_of(data.test, spec)
        names: tuple[str, ...] = ("test",)
        if whole.total < LEAST_HELD_OUT and len(data.validation):
            validation = tokens_of(data.validation, spec)
            whole, names = (joined([validation, whole]), ("validation", "test")) if whole.total else (validation, ())
            names = names or ("validation",)
        if whole.total < 2:
            raise InputError(f"{data.name} has no held-out text to compare with; prepare it with data.test above 0")
        return whole, names
    chosen, names = reference_split(data)
    parts = chosen.parts if isinstance(chosen, Joined) else (chosen,)
    return joined([tokens_of(p, spec) for p in parts]), names


def tokens_of(split: object, spec: Tokens) -> Sequences:
    """A split of prepared data as Sequences."""
    if isinstance(split, Sequences):
        return split
    raise TypeError(f"a split of {spec} must be Sequences, got {type(split).__name__}")


def joined(parts: Sequence[Sequences]) -> Sequences:
    """Several splits as one, in order."""
    starts, tokens = [np.zeros(1, dtype=np.int64)], [p.tokens for p in parts]
    for p in parts:
        starts.append(starts[-1][-1] + p.starts[1:])
    known = [p.labels for p in parts]
    labels = None if any(k is None for k in known) else np.concatenate([k for k in known if k is not None])
    more = conditions.join([p.conditions for p in parts])
    return Sequences(parts[0].spec, np.concatenate(tokens), np.concatenate(starts), labels, list, more)


def as_one(s: Sequences) -> Sequences:
    """A stream as one example: its examples follow on one another. Documents as they are."""
    if not s.spec.stream:
        return s
    return Sequences(s.spec, s.tokens, np.array([0, s.total], dtype=np.int64), None, list)


def from_rows(x: Tensor, spec: Tokens) -> Sequences:
    """Samples x int64 [N, T]: each up to its first eos, without padding at its end."""
    rows = x.numpy()
    used = np.where(rows != spec.pad, np.arange(1, rows.shape[1] + 1), 0).max(1, initial=0)
    if not spec.stream:
        ended = rows == spec.eos
        used = np.where(ended.any(1), np.minimum(used, ended.argmax(1) + 1), used)
    starts = np.cumsum([0, *used], dtype=np.int64)
    return Sequences(spec, rows[np.arange(rows.shape[1]) < used[:, None]], starts, None, list)


def pieces(s: Sequences, size: int) -> Sequences:
    """Every document, or the stream, cut into pieces of `size` tokens; the shorter rest of a stream is left out."""
    s = as_one(s)
    counts = s.lengths // size if s.spec.stream else -(-s.lengths // size)
    begins = places(np.zeros(len(s), dtype=np.int64), counts) * size + np.repeat(s.starts[:-1], counts)
    lengths = np.minimum(size, np.repeat(s.starts[1:], counts) - begins)
    return taken(s, begins, lengths, np.repeat(np.arange(len(s)), counts))


def taken(s: Sequences, begins: Ints, lengths: Ints, owner: Ints) -> Sequences:
    """The stretches of tokens that begin at `begins` as examples, conditioned as the examples `owner` are."""
    starts = np.cumsum([0, *lengths], dtype=np.int64)
    labels = None if s.labels is None else s.labels[owner]
    more = None if s.conditions is None else s.conditions[owner]
    return Sequences(s.spec, s.tokens[places(begins, lengths)], starts, labels, list, more)


def conditions_like(s: Sequences, n: int, seed: int) -> Condition | None:
    """The conditions of n examples drawn at random, each as often as the others; None where they have no more than a
    class, which is asked for in the data's shares anyway."""
    if s.conditions is None or not len(s):
        return None
    order = np.random.Generator(np.random.PCG64(derive(seed, "conditions"))).permutation(len(s))
    rows = np.resize(order, n)
    condition = s.conditions.condition(rows)
    return condition if s.labels is None else replace(condition, label=torch.from_numpy(s.labels[rows]))


def drawn(s: Sequences, n: int, seed: int) -> Sequences:
    """At most n different examples in random order."""
    rows = np.random.Generator(np.random.PCG64(derive(seed, "drawn"))).permutation(len(s))[:n]
    return taken(s, s.starts[:-1][rows], s.lengths[rows], rows)


def contents(s: Sequences) -> Sequences:
    """Without pad, bos and eos. Pieces of a stream, which have none of them inside, as they are."""
    if s.spec.stream:
        return s
    tokens = np.asarray(s.tokens)
    keep = (tokens != s.spec.pad) & (tokens != s.spec.bos) & (tokens != s.spec.eos)
    starts = np.concatenate([[0], np.cumsum(keep)])[s.starts]
    return Sequences(s.spec, tokens[keep], starts.astype(np.int64), s.labels, list, s.conditions)


def decoded(s: Sequences, modality: Modality[object], i: int, first: int = 0, last: int | None = None) -> object:
    """Tokens first to last of example i, decoded."""
    row = s.tokens[s.starts[i] + first : s.starts[i + 1] if last is None else s.starts[i] + last]
    return modality.decode(torch.from_numpy(row.astype(np.int64)))


def units_of(s: Sequences, modality: Modality[object]) -> list[list[str]]:
    """The units of every example. A piece of a stream begins and ends inside a word, which is left out."""
    assert isinstance(modality, Sequential)
    every = [modality.units(decoded(s, modality, i)) for i in range(len(s))]
    return [u[1:-1] for u in every] if s.spec.stream else every


def known_units(s: Sequences, modality: Modality[object]) -> set[str]:
    """All different units of the training examples."""
    assert isinstance(modality, Sequential)
    out: set[str] = set()
    s = as_one(s)
    for i in range(len(s)):
        length = int(s.lengths[i])
        for first in range(0, length, LONG):
            out.update(modality.units(decoded(s, modality, i, first, min(length, first + LONG))))
    return out
