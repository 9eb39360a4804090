"""Small in-memory training sets for tests, with the interface that the loop asks of a split."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from sklearn.datasets import load_digits

from genloom.core.batch import Batch, Condition, ConditionSpec, Property, SourceSpec
from genloom.core.spec import Grid, Row, Span, Tokens


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


class Documents(Memory):
    """Token sequences laid end to end, with the interface that the loop asks of a split of Tokens."""

    def __init__(
        self,
        documents: list[torch.Tensor],
        labels: torch.Tensor | None = None,
        pad: int = 0,
        properties: torch.Tensor | None = None,
        sources: list[torch.Tensor] | None = None,
    ) -> None:
        self.documents, self.labels, self.pad = documents, labels, pad
        self.properties, self.sources = properties, sources
        self.tokens = torch.cat(documents)
        self.owner = torch.repeat_interleave(torch.arange(len(documents)), torch.tensor([len(d) for d in documents]))

    def __len__(self) -> int:
        return len(self.documents)

    @property
    def total(self) -> int:
        return len(self.tokens)

    def batch(self, indices: np.ndarray) -> Batch:
        rows = torch.from_numpy(np.asarray(indices, dtype=np.int64))
        parts = [self.documents[i] for i in rows.tolist()]
        x = padded(parts, self.pad)
        label = None if self.labels is None else self.labels[rows]
        properties = None if self.properties is None else self.properties[rows]
        source = None if self.sources is None else padded([self.sources[i] for i in rows.tolist()], self.pad)
        return Batch(x, Condition(label, properties, source), rows)

    def windows(self, starts: np.ndarray, length: int) -> Batch:
        begin = torch.from_numpy(np.asarray(starts, dtype=np.int64))
        places = begin[:, None] + torch.arange(length)
        inside = places < self.total
        places = places.clamp(max=self.total - 1)
        x = torch.where(inside, self.tokens[places], self.pad)
        owner = self.owner[places]
        label = None if self.labels is None else self.labels[owner]
        properties = None if self.properties is None else self.properties[owner]
        return Batch(x, Condition(label, properties), begin)


def padded(rows: list[torch.Tensor], pad: int = 0) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad)


WORDS = tuple("ape bat cat cow dog eel elk emu fox gnu hen jay kid koi owl pig ram rat sow yak".split())  # noqa: SIM905


def words(stream: bool = False) -> tuple[Documents, Tokens, ConditionSpec]:
    """Animals of three letters by the letter's half of the alphabet they begin with, as documents or one stream."""
    ids = {c: i for i, c in enumerate(" abcdefghijklmnopqrstuvwxyz", 3)}
    if stream:
        text = torch.tensor([ids[c] for c in " ".join(WORDS * 10)])
        return Documents([text]), Tokens(64, 30, 0, 3, 1, stream=True), ConditionSpec()
    documents = [torch.tensor([2, *(ids[c] for c in w), 1]) for w in WORDS]
    labels = torch.tensor([int(w[0] > "f") for w in WORDS])
    classes = ConditionSpec(("early", "late"), tuple(torch.bincount(labels).tolist()))
    return Documents(documents, labels), Tokens(5, 30, 0, 2, 1), classes


def conditioned() -> tuple[Documents, Tokens, ConditionSpec]:
    """The animals of `words`, each with its class, two properties (how late its first and last letters are), and the
    word backwards as its source."""
    data, spec, classes = words()
    values = torch.tensor([[float(d[1]), float(d[3])] for d in data.documents])
    mean, std = values.mean(0), values.std(0, unbiased=False)
    properties = tuple(
        Property(n, float(m), float(s), float(v.min()), float(v.max()))
        for n, m, s, v in zip(("first", "last"), mean, std, values.T, strict=True)
    )
    sources = [torch.cat([d[1:-1].flip(0), torch.tensor([1])]) for d in data.documents]
    documents = Documents(data.documents, data.labels, 0, (values - mean) / std, sources)
    return documents, spec, ConditionSpec(classes.classes, classes.counts, properties, SourceSpec(4, 30, 0, 1))


def reversals(n: int = 2000, held: int = 100) -> tuple[Documents, Tokens, ConditionSpec, Documents]:
    """Words of 3 to 6 of five letters whose source is the word backwards, to train on, and others held out."""
    draw = np.random.Generator(np.random.PCG64(0))
    found: dict[tuple[int, ...], None] = {}
    while len(found) < n + held:
        found[tuple(draw.integers(3, 8, size=int(draw.integers(3, 7))).tolist())] = None
    documents = [torch.tensor([2, *w, 1]) for w in found]
    sources = [torch.tensor([*reversed(w), 1]) for w in found]
    sets = [Documents(documents[a:b], sources=sources[a:b]) for a, b in ((0, n), (n, n + held))]
    return sets[0], Tokens(8, 8, 0, 2, 1), ConditionSpec(source=SourceSpec(7, 8, 0, 1)), sets[1]


def table(n: int = 600) -> tuple[Memory, Row, ConditionSpec]:
    """Rows in which a number stands in about 2 of 3, is near 1.5 for `kind` 0 and near -1.5 for 1, and `sign`, the
    target, says whether it stands and is above 0. `wide` has 300 levels, most of them rare."""
    draw = np.random.Generator(np.random.PCG64(0))
    kind = draw.integers(0, 3, size=n)
    gate = (draw.random(n) < 1 / 3).astype(np.int64)
    number = np.where(gate == 0, np.array([1.5, -1.5, 0.0])[kind] + 0.3 * draw.normal(size=n), 0.0)
    wide = np.minimum(draw.geometric(0.05, size=n), 300) - 1
    sign = (gate == 0) & (number > 0)
    x = np.stack([kind, gate, number, wide, sign], 1).astype(np.float32)
    spans = (
        Span("kind", "category", 3), Span("number is", "category", 2), Span("number", "numeric", 0, "number is"),
        Span("wide", "category", 300), Span("sign", "category", 2),
    )  # fmt: skip
    return Memory(torch.from_numpy(x)), Row(spans, "sign"), ConditionSpec()
