"""Models of the next token: inputs from tokens, n-grams and conditions, a body (Transformer, LSTM, GRU), a head.

A body keeps what it knows of the tokens before in a `State`: keys and values, or hidden values. The same `forward`
trains on windows, scores long documents piece by piece, and generates token by token, so that all three agree.

Shapes: `B` batch, `T` tokens, `D` width, `V` vocabulary, `N` longest n-gram.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genloom.core.batch import Condition
from genloom.core.optim import edge, lazy
from genloom.nets.blocks import Dropout, zero
from genloom.nets.cross_entropy import linear_cross_entropy
from genloom.nets.lora import effective

MOST = 10.0  # standard deviations from the mean beyond which a property is not told apart


@dataclass(frozen=True)
class Source:
    """An encoded source as a body attends to it. mask bool [B, S]: True at its tokens. tensors: keys, values and what
    else the body makes of it once, with the batch first."""

    mask: Tensor
    tensors: list[Tensor]

    def rows(self, which: Tensor) -> Source:
        return Source(self.mask[which], [t[which] for t in self.tensors])


@dataclass
class State:
    """What a body remembers. past [B, reach]: the last tokens, for n-grams. memory: tensors with the batch on axis
    `axis`. length: tokens seen since the state began. given [B, D] or [D]: the embedding of class and properties.
    source: what is attended to at every token; one with fewer rows is shared by as many rows that follow on one
    another. places: axis of the memory along which only `length` places are filled; None: there is no such axis."""

    past: Tensor
    memory: list[Tensor]
    length: int = 0
    axis: int = 0
    given: Tensor | None = None
    source: Source | None = None
    places: int | None = None

    def branch(self, which: Tensor, sources: Tensor | None) -> State:
        """The state of the rows `which` [R] int64, in that order (rows may repeat). sources: which of the sources stay,
        each for rows that follow on one another; None: all."""
        memory = [self._picked(m, which) for m in self.memory]
        given = self.given[which] if self.given is not None and self.given.ndim == 2 else self.given
        source = self.source if self.source is None or sources is None else self.source.rows(sources)
        return replace(self, past=self.past[which], memory=memory, given=given, source=source)

    def _picked(self, memory: Tensor, which: Tensor) -> Tensor:
        """The rows `which` of a tensor of the memory. What is not filled yet is not copied."""
        if self.places is None:
            return memory.index_select(self.axis, which)
        filled = memory.narrow(self.places, 0, self.length).index_select(self.axis, which)
        if len(which) != memory.shape[self.axis]:
            shape = list(memory.shape)
            shape[self.axis] = len(which)
            memory = memory.new_empty(shape)
        memory.narrow(self.places, 0, self.length).copy_(filled)
        return memory


class Steps(Protocol):
    """The logits after some tokens, then after each further one."""

    logits: Tensor  # [B, V] float32

    @property
    def length(self) -> int:
        """Tokens seen."""
        ...

    def step(self, tokens: Tensor) -> Tensor:
        """tokens [B] int64 come next -> logits [B, V] of what follows them."""
        ...


class Remembers(Protocol):
    """What a model remembers of the rows so far."""

    def branch(self, which: Tensor, sources: Tensor | None) -> Self:
        """That of some of the rows, in the order of `which` [R] int64 (rows may repeat); may take the place of this
        one. sources: which of the sources stay, each for rows that follow on one another; None: all."""
        ...


S = TypeVar("S", bound=Remembers)


class NextToken(Protocol[S]):
    """A model of the next token as decoding sees it: this module's, or a pretrained one (nets/pretrained.py)."""

    @property
    def vocab(self) -> int: ...

    @property
    def limit(self) -> int | None: ...

    def eval(self) -> Any: ...

    def begin(self, rows: int, capacity: int, condition: Condition = ...) -> S: ...

    def last(self, x: Tensor, state: S) -> Tensor:
        """[B, V] logits of what follows x [B, T]; the state is brought up to date."""
        ...

    def stepper(self, tokens: Tensor, condition: Condition, capacity: int) -> Steps: ...


class Body(nn.Module, ABC):
    """What turns embeddings [B, T, D] into features [B, T, F] that depend on the tokens up to each place only."""

    features: int  # F
    limit: int | None = None  # most tokens that a state holds; None: no limit

    @abstractmethod
    def begin(self, rows: int, capacity: int, like: Tensor, source: Source | None = None) -> State:
        """A state before the first token of `rows` sequences of up to `capacity` tokens, on the device and of the type
        of `like`."""

    @abstractmethod
    def forward(self, e: Tensor, documents: Tensor | None, state: State | None, source: Source | None = None) -> Tensor:
        """e [B, T, D] -> [B, T, F]. documents [B, T] numbers the document of each token (None: one a row).

        With a state the tokens follow those it has seen, attend to its source, and it is brought up to date in place.
        """

    @abstractmethod
    def attended(self, features: Tensor, mask: Tensor) -> Source:
        """What is attended to in a source of features [B, S, E], of which mask bool [B, S] are tokens."""


class Encoder(nn.Module, ABC):
    """Reads a source both ways: embeddings [B, S, D] and mask bool [B, S] (True at its tokens, which come first) ->
    features [B, S, E]. table: embedding of a vocabulary of its own; None: the one of the sequence."""

    features: int  # E
    table: nn.Embedding | None

    @abstractmethod
    def forward(self, e: Tensor, mask: Tensor) -> Tensor: ...


class Inputs(nn.Module):
    """Embeddings of tokens, of the n-grams that end at them, of the class and the properties: [B, T] -> [B, T, D].

    On small data n-gram tables are by far the largest gain a small model can get: they give it the counts of a table,
    and leave to the layers what a table cannot know. An n-gram has its own row where `rows` allows, else a hashed one;
    whole entries are dropped in training so that no rare n-gram is learned by heart. N-grams do not reach back past
    `boundary`, the token that begins a document.

    For codes of grids: neighbours, distances back at which each token has an embedding too; positions, the length of
    all sequences, which gives every place an embedding, 0 for none; parts [V, S], what each token is made of: tokens
    with parts in common share those parts' embeddings. base: what n-grams are numbered by, which is the size of the
    vocabulary before it grew; those of later tokens share rows with others.
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
        properties: int = 0,
        neighbours: Sequence[int] = (),
        positions: int = 0,
        parts: Tensor | None = None,
        base: int | None = None,
    ) -> None:
        super().__init__()
        self.base, self.rows, self.boundary = base or vocab, rows, boundary
        self.left_out, self.epochs = 0.0, 0.0  # share of n-grams left out while training; epochs done
        self.longest = ngrams  # n-gram used while training
        self.often = False  # whether the training sees the same few n-grams again and again
        self.token = _table(vocab, width)
        nn.init.normal_(self.token.weight, std=0.5)
        sizes = [min(rows, self.base**n) for n in range(2, ngrams + 1)]
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
        # Of each property the value and whether it is given.
        self.properties: nn.Sequential | None = None
        if properties:
            last = nn.Linear(width, width, bias=False)
            nn.init.normal_(last.weight, std=0.1 * width**-0.5)
            self.properties = nn.Sequential(edge(nn.Linear(2 * properties, width)), nn.SiLU(), edge(last))
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

    def given(self, condition: Condition) -> Tensor | None:
        """The embedding of class and properties: [B, D], [B, T, D] where each token has its own, or [D] where nothing
        is given; None for a model without either. A property that is NaN is not given."""
        total: Tensor | None = None
        if self.label is not None:
            total = self.label.weight[-1] if condition.label is None else self.label(condition.label)
        if self.properties is not None:
            count = cast(nn.Linear, self.properties[0]).in_features // 2
            values = condition.properties
            values = self.token.weight.new_full((count,), torch.nan) if values is None else values
            known = ~values.isnan()
            whole = torch.cat([values.nan_to_num().clamp(-MOST, MOST), known.to(values.dtype)], -1)
            own = self.properties(whole)
            total = own if total is None else _sum(total, own)
        return total

    def forward(self, x: Tensor, past: Tensor, given: Tensor | None, seen: int = 0) -> Tensor:
        """x [B, T], past [B, reach] the tokens before, given: as of `given`, seen: tokens before x -> [B, T, D]."""
        e = self.token(x)
        whole = torch.cat([past, x], 1) if self.reach else x
        length, key = x.shape[1], x
        begun = x == self.boundary if self.boundary is not None else None
        for back, table in enumerate(self.tables, 1):
            assert isinstance(table, nn.Embedding)
            before = whole[:, self.reach - back : self.reach - back + length]
            if begun is not None:
                begun, before = begun | (before == self.boundary), before.masked_fill(begun, 0)
            key = key * self.base + before if self.base ** (back + 1) <= 2**62 else key * 1_000_003 + before + 1
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
        if given is not None:
            e = e + (given if given.ndim != 2 else given[:, None])
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
        if self.base ** (back + 1) <= rows:
            return key.remainder(rows)  # in range but for tokens added later
        mixed = key * 0x9E3779B97F4A7C1  # Fibonacci hashing; wraps around
        return (mixed ^ (mixed >> 29)).remainder(rows)


def _table(rows: int, width: int, padding: int | None = None) -> nn.Embedding:
    table = nn.Embedding(rows, width, padding)
    edge(table)
    return table


def _sum(a: Tensor, b: Tensor) -> Tensor:
    """a + b, each [D], [B, D] or [B, T, D]."""
    if a.ndim == 2 and b.ndim == 3:
        a = a[:, None]
    return a + (b[:, None] if a.ndim == 3 and b.ndim == 2 else b)


class SequenceModel(nn.Module):
    """Logits of the next token."""

    def __init__(
        self,
        inputs: Inputs,
        body: Body,
        *,
        softcap: float,
        tied: bool,
        encoder: Encoder | None = None,
        nothing: tuple[int, int] = (0, 0),
    ) -> None:
        """nothing: (eos, pad) of a source; eos alone is no source."""
        super().__init__()
        self.inputs, self.body, self.encoder, self.nothing = inputs, body, encoder, nothing
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

    @property
    def vocab(self) -> int:
        """Tokens that there are logits of."""
        return len(self.inputs.token.weight)

    @property
    def limit(self) -> int | None:
        """Most tokens that a state holds; None: no limit."""
        return self.body.limit

    def stepper(self, tokens: Tensor, condition: Condition, capacity: int) -> Steps:
        """What follows tokens [B, P], then each further one (nets/stepping.py)."""
        from genloom.nets.stepping import begin

        return begin(self, tokens, condition, capacity)

    def begin(self, rows: int, capacity: int, condition: Condition = Condition()) -> State:  # noqa: B008 (frozen)
        """A state before the first token; before it stands the padding. condition: one for each row, or none."""
        like = self.weight
        source = self.read(condition.source, rows)
        state = self.body.begin(rows, capacity, like, source)
        state.past = torch.zeros(rows, self.inputs.reach, dtype=torch.long, device=like.device)
        state.given, state.source = self.inputs.given(condition), source
        return state

    def read(self, source: Tensor | None, rows: int) -> Source | None:
        """Sources [B, S], or none at all for `rows` rows, encoded; None for a model that takes none."""
        if self.encoder is None:
            return None
        eos, pad = self.nothing
        if source is None:
            source = torch.full((rows, 1), eos, device=self.weight.device)
        table = self.encoder.table or self.inputs.token
        mask = source != pad
        return self.body.attended(self.encoder(self.dropout(table(source)), mask), mask)

    def forward(
        self,
        x: Tensor,
        condition: Condition | None = None,
        documents: Tensor | None = None,
        state: State | None = None,
    ) -> Tensor:
        """x [B, T] int64 -> logits [B, T, V] of what follows each token. The rest as in `hidden`."""
        return self.logits(self.hidden(x, condition, documents, state))

    def hidden(self, x: Tensor, condition: Condition | None, documents: Tensor | None, state: State | None) -> Tensor:
        """x [B, T] -> features [B, T, F]. condition: class and properties of each row or each token, and the source of
        each row; None: those with which the state began. A state always keeps its source. documents: as in Body."""
        if state is None:
            condition = condition or Condition()
            past, seen, source = x.new_zeros(len(x), self.inputs.reach), 0, self.read(condition.source, len(x))
        else:
            past, seen, source = state.past, state.length, state.source
        given = state.given if state is not None and condition is None else self.inputs.given(condition or Condition())
        e = self.inputs(x, past, given, seen)
        if state is not None and self.inputs.reach:
            state.past = torch.cat([past, x], 1)[:, -self.inputs.reach :]
        h = self.body(self.dropout(e), documents, state, source)
        if state is not None:
            state.length += x.shape[1]
        return h

    def last(self, x: Tensor, state: State) -> Tensor:
        """[B, V] logits of what follows x [B, T]."""
        return self.logits(self.hidden(x, None, None, state)[:, -1])

    @property
    def weight(self) -> Tensor:
        """[V, F] weights of the head."""
        return self.inputs.token.weight if self.head is None else effective(self.head)

    def output(self) -> Tensor:
        """[V, F] weights of the head, each token's with those of its parts."""
        if self.head_of_parts is None or self.inputs.parts is None:
            return self.weight
        return self.weight + self.inputs.parts @ self.head_of_parts.weight

    def cross_entropy(self, h: Tensor, targets: Tensor, counted: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
        """As nets.cross_entropy.linear_cross_entropy of features h [B, T, F]: the summed loss and its nats."""
        if not self.softcap and self.head_of_parts is None:
            return linear_cross_entropy(h, self.weight, targets, counted, smoothing)
        logits = self.logits(h[counted])
        nats = F.cross_entropy(logits, targets[counted], reduction="sum")
        loss = F.cross_entropy(logits, targets[counted], reduction="sum", label_smoothing=smoothing)
        return loss, nats.detach()

    def logits(self, h: Tensor) -> Tensor:
        """h [..., F] -> float32 [..., V]."""
        out = F.linear(h, self.weight).float()
        if self.head_of_parts is not None and self.inputs.parts is not None:
            out = out + self.head_of_parts(h).float() @ self.inputs.parts.T
        return self.softcap * torch.tanh(out / self.softcap) if self.softcap else out
