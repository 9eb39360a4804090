"""Copying of token sequences: the longest run shared with the training data, word for word or nearly.

A near-verbatim stretch is the longest run with what follows and goes before it on both sides, as far as the agreeing
tokens outweigh the others at one to three (an alignment without gaps: Altschul et al. 1990, "Basic local alignment
search tool").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from genloom.core.batch import Batch
from genloom.core.family import Family
from genloom.core.modality import Modality, Sequential
from genloom.core.rng import derive
from genloom.core.spec import Tokens
from genloom.data.sequences import Sequences
from genloom.evaluate.audit import ATTACKED, LEAST, Measure, conclude, membership, not_tested, too_few
from genloom.evaluate.contracts import Data
from genloom.evaluate.copying import Training
from genloom.evaluate.evaluation import Passage
from genloom.evaluate.passages import as_one, contents, drawn, from_rows, held_out, pieces, tokens_of
from genloom.evaluate.shared import MOST_SAMPLES
from genloom.metrics.verbatim import Runs, Text

Ints = NDArray[np.int64]

PENALTY = 3  # agreeing tokens that one that differs costs
LEAST_PIECES = 20  # pieces that a held-out stream is cut into at least
WINDOW = 128  # tokens of a stream whose likelihood is taken together


@dataclass(frozen=True)
class Searched:
    """Training and held-out data ready to be searched for what samples share with them. beside: the held-out data."""

    training: Training
    beside: Sequences
    control: Text

    @classmethod
    def of(cls, train: Sequences, held: Sequences, modality: Modality[Any]) -> Searched:
        beside = as_one(contents(held))
        return cls(Training.of(train, modality), beside, Text(beside.tokens, held.spec.vocab, beside.starts))

    @cached_property
    def documents(self) -> tuple[set[bytes], set[bytes]]:
        """Those of the training and of the held-out data."""
        return documents(self.training.inside), documents(self.beside)


def audit_sequences(
    x: Tensor,
    data: Data,
    *,
    family: Family | None = None,
    seed: int = 0,
    passages: Sequence[Passage] = (),
    searched: Searched | None = None,
) -> dict[str, Any]:
    """The audit of samples x [N, T] as JSON. passages: the longest shared ones, which become its pairs. searched: the
    data, where it is ready from an earlier audit."""
    spec, modality = data.modality.spec, data.modality
    assert isinstance(spec, Tokens) and isinstance(modality, Sequential)
    whole, splits = held_out(data, spec)
    if not splits or not len(data.train):
        return not_tested(too_few(len(x), len(data.train), 0))
    train, samples = tokens_of(data.train, spec), from_rows(x, spec)
    held = whole
    if spec.stream:
        size = max(1, min(int(samples.lengths.max(initial=1)), whole.total // LEAST_PIECES))
        held, samples = pieces(whole, size), pieces(samples, size)
    held = drawn(held, MOST_SAMPLES, derive(seed, "copying", "held"))
    known = len(pieces(train, size)) if spec.stream else len(train)
    few = too_few(len(samples), known, len(held))
    if few:
        return not_tested(few)
    searched = searched or Searched.of(train, whole, modality)
    training, beside, control = searched.training, searched.beside, searched.control
    ratio = training.inside.total / max(1, beside.total)
    inside, held = contents(samples), contents(held)
    found, usual = _lengths(inside, training.text, training.inside), _lengths(held, training.text, training.inside)
    chance = _lengths(inside, control, beside)
    rows = first_of_each(inside)
    collapsed = len(rows) < len(inside) / 2
    used = rows if collapsed else np.arange(len(inside))
    exact = np.zeros(len(inside), dtype=bool)
    measures = []
    if not spec.stream:
        mine, others = searched.documents
        exact, there = equal_to(inside, mine), equal_to(held, mine)
        if len(used) >= LEAST:
            by_chance = equal_to(inside, others)[used]
            ratio_documents = len(training.inside) / max(1, len(beside))
            measures.append(Measure.equal(~exact[used], ~there, ~by_chance, ratio_documents))
    for name, own, real, hit in zip(("verbatim", "near-verbatim"), found, usual, chance, strict=True):
        if len(used) >= LEAST:
            measures.append(Measure.of(name, -own[used], -real, -hit[used], ratio, 2))
    compared = {
        "samples": len(inside),
        "training": known,
        "held_out": len(held),
        "splits": list(splits),
        "what": "the longest passage shared with the training data, in tokens, word for word and nearly so, of "
        f"samples beside held-out examples{f', in pieces of {size:,} tokens' if spec.stream else ''}",
    }
    pairs = [{"run": p.run, "length": p.length, "unit": p.unit} for p in passages]
    attack = None if family is None else _attack(family, train, whole, seed)
    return conclude(measures, int(exact.sum()), len(inside), len(rows), compared, pairs, attack)


def _lengths(inside: Sequences, text: Text, source: Sequences) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """[N] tokens of the longest shared run of each example and of the near-verbatim stretch around it."""
    runs = text.runs(inside.tokens, inside.starts)
    return runs.length.astype(np.float64), stretches(inside, runs, source).astype(np.float64)


def stretches(inside: Sequences, runs: Runs, source: Sequences) -> Ints:
    """[N] agreeing tokens of the near-verbatim stretch around the longest run of each example; never beyond the example
    or the document of the source."""
    out = runs.length.copy()
    tokens, text = np.asarray(inside.tokens, dtype=np.int64), np.asarray(source.tokens, dtype=np.int64)
    for i in np.flatnonzero(runs.length):
        first, place, length = int(inside.starts[i] + runs.start[i]), int(runs.place[i]), int(runs.length[i])
        document = int(np.searchsorted(source.starts, place, side="right")) - 1
        before = min(int(runs.start[i]), place - int(source.starts[document]))
        after = min(int(inside.starts[i + 1]) - first - length, int(source.starts[document + 1]) - place - length)
        left = tokens[first - before : first] == text[place - before : place]
        right = tokens[first + length : first + length + after] == text[place + length : place + length + after]
        out[i] += _gained(left[::-1]) + _gained(right)
    return out


def _gained(agrees: NDArray[np.bool_]) -> int:
    """Agreeing tokens up to where they most outweigh the others."""
    if not len(agrees):
        return 0
    worth = np.cumsum(np.where(agrees, 1, -PENALTY))
    best = int(worth.argmax())
    return int(agrees[: best + 1].sum()) if worth[best] > 0 else 0


def documents(s: Sequences) -> set[bytes]:
    return {_document(s, i) for i in range(len(s))}


def equal_to(s: Sequences, known: set[bytes]) -> NDArray[np.bool_]:
    """[N] whether each example is among the known."""
    return np.array([_document(s, i) in known for i in range(len(s))], dtype=bool)


def first_of_each(s: Sequences) -> Ints:
    """The examples that differ from all before them."""
    seen: dict[bytes, int] = {}
    for i in range(len(s)):
        seen.setdefault(_document(s, i), i)
    return np.array(list(seen.values()), dtype=np.int64)


def _document(s: Sequences, i: int) -> bytes:
    return np.asarray(s.tokens[s.starts[i] : s.starts[i + 1]], dtype=np.int32).tobytes()


def _attack(family: Family, train: Sequences, held: Sequences, seed: int) -> dict[str, Any] | None:
    def batches(s: Sequences) -> list[Batch]:
        if s.spec.stream:
            s = pieces(s, min(WINDOW, max(2, s.total // ATTACKED)))
        s = drawn(s, ATTACKED, derive(seed, "membership"))
        order = np.argsort(s.lengths, kind="stable")  # of like lengths, for little padding
        return [s.batch(order[i : i + 32]) for i in range(0, len(order), 32)]

    known = train.labels is None or held.labels is not None
    return membership(family, batches(train), batches(held)) if known and train.total > 1 else None
