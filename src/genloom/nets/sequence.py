"""Models of the next token: inputs from tokens, n-grams and conditions, a body (Transformer, LSTM, GRU), a head.

A body keeps what it knows of the tokens before in a `State`: keys and values, or hidden values. The same `forward`
trains on windows, scores long documents piece by piece, and generates token by token, so that all three agree.

Shapes: `B` batch, `T` tokens, `D` width, `V` vocabulary, `N` longest n-gram.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genloom.core.optim import edge, lazy
from genloom.nets.blocks import Dropout, zero


@dataclass
class State:
    """What a body remembers. past [B, reach]: the last tokens, for n-grams. memory: tensors with the batch on axis
    `axis`. length: tokens seen since the state began."""

    past: Tensor
    memory: list[Tensor]
    length: int = 0
    axis: int = 0

    def rows(self, which: Tensor) -> State:
        """The state of some of the rows, in the order of `which` [R] int64 (rows may repeat)."""
        memory = [m.index_select(self.axis, which) for m in self.memory]
        return replace(self, past=self.past[which], memory=memory)


class Body(nn.Module, ABC):
    """What turns embeddings [B, T, D] into features [B, T, F] that depend on the tokens up to each place only."""

    features: int  # F
    limit: int | None = None  # most tokens that a state holds; None: no limit

    @abstractmethod
    def begin(self, rows: int, capacity: int, like: Tensor) -> State:
        """An empty state for `rows` sequences of up to `capacity` tokens, on the device and of the type of `like`."""

    @abstractmethod
    def forward(self, e: Tensor, documents: Tensor | None, state: State | None) -> Tensor:
        """e [B, T, D] -> [B, T, F]. documents [B, T] numbers the document of each token (None: one a row).

        With a state the tokens follow those it has seen, and it is brought up to date in place.
        """


class Inputs(nn.Module):
    """Embeddings of tokens, of the n-grams that end at them, and of the class: [B, T] -> [B, T, D].

    On small data n-gram tables are by far the largest gain a small model can get: they give it the counts of a table,
    and leave to the layers what a table cannot know. An n-gram has its own row where `rows` allows, else a hashed one;
    whole entries are dropped in training so that no rare n-gram is learned by heart. N-grams do not reach back past
    `boundary`, the token that begins a document.

    For codes of grids: neighbours, distances back at which each token has an embedding too; positions, the length of
    all sequences, which gives every place an embedding, 0 for none; parts [V, S], what each token is made of: tokens
    with parts in common share those parts' embeddings.
    """

    parts: Tensor | None

    def __init__(
        self,
        vocab: int,
        width: int,
        *,
        ngrams: int,
        rows: int,
        classes: int,
        boundary: int | None,
        neighbours: Sequence[int] = (),
        positions: int = 0,
        parts: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.vocab, self.rows, self.boundary = vocab, rows, boundary
        self.left_out, self.epochs = 0.0, 0.0  # share of n-grams left out while training; epochs done
        self.longest = ngrams  # n-gram used while training
        self.often = False  # whether the training sees the same few n-grams again and again
        self.token = _table(vocab, width)
        nn.init.normal_(self.token.weight, std=0.5)
        sizes = [min(rows, vocab**n) for n in range(2, ngrams + 1)]
        # The last row of each stays zero: it stands for an n-gram that is left out.
        self.tables = nn.ModuleList([lazy(_table(size + 1, width, padding=size)) for size in sizes])
        for n, table in enumerate(self.tables, 2):
            assert isinstance(table, nn.Embedding)
            # Longer n-grams begin at zero: those that a training does not use must not add noise.
            nn.init.normal_(table.weight[:-1], std=0.05 if n == 2 else 0.0)
        # How often each row was used in training.
        for n, size in enumerate(sizes):
            self.register_buffer(f"used{n}", torch.zeros(size + 1, dtype=torch.int32))
        self.label = _table(classes + 1, width) if classes else None
        if self.label is not None:
            nn.init.normal_(self.label.weight, std=0.1)
        self.neighbours = tuple(neighbours)
        self.beside = nn.ModuleList([_table(vocab, width) for _ in neighbours])
        self.position = _table(positions, width) if positions else None
        for table in [*self.beside, *([self.position] if self.position is not None else [])]:
            assert isinstance(table, nn.Embedding)
            nn.init.normal_(table.weight, std=0.1)
        self.register_buffer("parts", parts, persistent=False)
        self.made_of: nn.Linear | None = None
        if parts is not None:
            self.made_of = nn.Linear(parts.shape[1] * (1 + len(self.neighbours)), width, bias=False)
            edge(self.made_of)

    @property
    def reach(self) -> int:
        """Tokens before the present one that an embedding depends on."""
        return max([len(self.tables), *self.neighbours])

    def forward(self, x: Tensor, past: Tensor, label: Tensor | None, seen: int = 0) -> Tensor:
        """x [B, T], past [B, reach] the tokens before, label [B] or [B, T], seen: tokens before x -> [B, T, D]."""
        e = self.token(x)
        whole = torch.cat([past, x], 1) if self.reach else x
        length, key = x.shape[1], x
        begun = x == self.boundary if self.boundary is not None else None
        for back, table in enumerate(self.tables, 1):
            assert isinstance(table, nn.Embedding)
            before = whole[:, self.reach - back : self.reach - back + length]
            if begun is not None:
                begun, before = begun | (before == self.boundary), before.masked_fill(begun, 0)
            key = key * self.vocab + before if self.vocab ** (back + 1) <= 2**62 else key * 1_000_003 + before + 1
            row = self._row(key, back, table.num_embeddings - 1)
            if self.training and back + 1 > self.longest:
                continue
            table.sparse = not self.often
            if self.training and not self.often:
                row = self._leave_out(row, back, table.num_embeddings - 1)
            e = e + table(row)
        near = [whole[:, self.reach - back : self.reach - back + length] for back in self.neighbours]
        for table, tokens in zip(self.beside, near, strict=True):
            e = e + table(tokens)
        if self.made_of is not None and self.parts is not None:
            e = e + self.made_of(torch.cat([self.parts[tokens] for tokens in [x, *near]], 2))
        if self.position is not None:
            e = e + self.position(torch.arange(seen, seen + length, device=x.device))
        if self.label is not None:
            known = self.label(label) if label is not None else self.label.weight[-1]
            e = e + (known if known.ndim != 2 else known[:, None])
        return e

    def _leave_out(self, row: Tensor, back: int, nothing: int) -> Tensor:
        """Rows with some replaced by the one that stands for nothing: a set share, and of what was seen in an epoch
        before a rare one more often. Of c times an epoch one is the present one, and what the row knows of it is no
        knowledge but memory, so it is left out with probability 1 / c, as in leave-one-out estimation."""
        used = self.get_buffer(f"used{back - 1}")
        used.index_add_(0, row.flatten(), torch.ones(1, dtype=torch.int32, device=row.device).expand(row.numel()))
        share = torch.full(row.shape, self.left_out if back > 1 else 0.0, device=row.device)
        if self.epochs >= 1:
            share = torch.maximum(share, self.epochs / used[row])
        return row.masked_fill(torch.rand(row.shape, device=row.device) < share, nothing)

    def tables_of_tokens(self) -> list[Tensor]:
        """[V, D] embeddings of the token itself and of that at each distance of `neighbours`, each with those of its
        parts."""
        tables = [self.token.weight, *(cast(nn.Embedding, t).weight for t in self.beside)]
        if self.made_of is None or self.parts is None:
            return tables
        shared = self.made_of.weight.split(self.parts.shape[1], 1)
        return [t + self.parts @ w.T for t, w in zip(tables, shared, strict=True)]

    def _row(self, key: Tensor, back: int, rows: int) -> Tensor:
        if self.vocab ** (back + 1) <= rows:
            return key
        mixed = key * 0x9E3779B97F4A7C1  # Fibonacci hashing; wraps around
        return (mixed ^ (mixed >> 29)).remainder(rows)


def _table(rows: int, width: int, padding: int | None = None) -> nn.Embedding:
    table = nn.Embedding(rows, width, padding)
    edge(table)
    return table


class SequenceModel(nn.Module):
    """Logits of the next token."""

    def __init__(self, inputs: Inputs, body: Body, *, softcap: float, tied: bool) -> None:
        super().__init__()
        self.inputs, self.body = inputs, body
        self.softcap, self.dropout = softcap, Dropout()
        vocab, width = inputs.token.weight.shape
        self.head_of_parts: nn.Linear | None = None
        if inputs.parts is not None:
            self.head_of_parts = nn.Linear(body.features, inputs.parts.shape[1], bias=False)
            edge(zero(self.head_of_parts))
        self.head: nn.Linear | None = None  # None: the embedding of tokens, which is saved once
        if tied:
            if body.features != width:
                raise ValueError(f"tied weights need features as wide as the embedding: {body.features}, {width}")
            nn.init.normal_(inputs.token.weight, std=width**-0.5)
        else:
            self.head = nn.Linear(body.features, vocab, bias=False)
            edge(zero(self.head))

    def set_dropout(self, p: float, left_out: float, epochs: float) -> None:
        """Dropout of every layer, the share of n-grams left out, and how many epochs were trained."""
        for module in self.modules():
            if isinstance(module, Dropout):
                module.p = p
        self.inputs.left_out, self.inputs.epochs = left_out, epochs

    def begin(self, rows: int, capacity: int) -> State:
        """An empty state; before the first token stands the padding."""
        like = self.weight
        state = self.body.begin(rows, capacity, like)
        state.past = torch.zeros(rows, self.inputs.reach, dtype=torch.long, device=like.device)
        return state

    def forward(
        self, x: Tensor, label: Tensor | None = None, documents: Tensor | None = None, state: State | None = None
    ) -> Tensor:
        """x [B, T] int64 -> logits [B, T, V] of what follows each token. label, documents: as in Inputs and Body."""
        return self.logits(self.hidden(x, label, documents, state))

    def hidden(self, x: Tensor, label: Tensor | None, documents: Tensor | None, state: State | None) -> Tensor:
        """x [B, T] -> features [B, T, F]."""
        past = state.past if state is not None else x.new_zeros(len(x), self.inputs.reach)
        e = self.inputs(x, past, label, 0 if state is None else state.length)
        if state is not None and self.inputs.reach:
            state.past = torch.cat([past, x], 1)[:, -self.inputs.reach :]
        e = self.dropout(e)
        h = self.body(e, documents, state)
        if state is not None:
            state.length += x.shape[1]
        return h

    @property
    def weight(self) -> Tensor:
        """[V, F] weights of the head."""
        return self.inputs.token.weight if self.head is None else self.head.weight

    def output(self) -> Tensor:
        """[V, F] weights of the head, each token's with those of its parts."""
        if self.head_of_parts is None or self.inputs.parts is None:
            return self.weight
        return self.weight + self.inputs.parts @ self.head_of_parts.weight

    def logits(self, h: Tensor) -> Tensor:
        """h [..., F] -> float32 [..., V]."""
        out = F.linear(h, self.weight).float()
        if self.head_of_parts is not None and self.inputs.parts is not None:
            out = out + self.head_of_parts(h).float() @ self.inputs.parts.T
        return self.softcap * torch.tanh(out / self.softcap) if self.softcap else out
