"""Small in-memory training sets for tests, with the interface that the loop asks of a split."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from sklearn.datasets import load_digits

from genloom.core.batch import Batch, Condition, ConditionSpec
from genloom.core.spec import Grid, Tokens


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

    def __init__(self, documents: list[torch.Tensor], labels: torch.Tensor | None = None, pad: int = 0) -> None:
        self.documents, self.labels, self.pad = documents, labels, pad
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
        x = torch.nn.utils.rnn.pad_sequence(parts, batch_first=True, padding_value=self.pad)
        return Batch(x, Condition(label=None if self.labels is None else self.labels[rows]), rows)

    def windows(self, starts: np.ndarray, length: int) -> Batch:
        begin = torch.from_numpy(np.asarray(starts, dtype=np.int64))
        places = begin[:, None] + torch.arange(length)
        inside = places < self.total
        places = places.clamp(max=self.total - 1)
        x = torch.where(inside, self.tokens[places], self.pad)
        return Batch(x, Condition(label=None if self.labels is None else self.labels[self.owner[places]]), begin)


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
