"""LSTM (Hochreiter & Schmidhuber 1997) and GRU (Cho et al. 2014) over embeddings, with the embedding beside the output.

With a source, their values ask it what they need (Luong et al. 2015, global attention with the general score), and they
begin where a network that reads it both ways has ended (Bahdanau et al. 2015).

Shapes: `B` batch, `T` tokens, `S` tokens of a source, `D` width of the embedding, `H` hidden width, `L` layers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, final

import torch
from torch import Tensor, nn

from genloom.core.optim import edge
from genloom.core.rng import Rng
from genloom.nets.blocks import Dropout
from genloom.nets.sequence import Body, Encoder, Source, State


@final
class Recurrent(Body):
    """`depth` layers of `hidden` values; features are the last layer's values and the embedding, [B, T, H + D]."""

    def __init__(
        self, cell: Literal["lstm", "gru"], width: int, hidden: int, depth: int, source: int | None = None
    ) -> None:
        """source: width of the features of a source; None for none."""
        super().__init__()
        self.cell, self.hidden, self.depth, self.dropout = cell, hidden, depth, Dropout()
        kind = nn.LSTM if cell == "lstm" else nn.GRU
        # One orthogonalised step for four gates at once makes no sense: these matrices are left to AdamW.
        self.layers = nn.ModuleList([edge(kind(width if i == 0 else hidden, hidden)) for i in range(depth)])
        self.features = hidden + width
        for layer in self.layers:
            _initialise(layer, cell, hidden)
        self.attention = Attention(hidden, source) if source is not None else None
        self.first = nn.Linear(source, self.parts * depth * hidden) if source is not None else None

    @property
    def parts(self) -> int:
        """Tensors that a layer remembers."""
        return 2 if self.cell == "lstm" else 1

    def begin(self, rows: int, capacity: int, like: Tensor, source: Source | None = None) -> State:
        count = self.parts * self.depth
        if source is None:
            shape = (1, rows, self.hidden)
            memory = [torch.zeros(shape, device=like.device, dtype=like.dtype) for _ in range(count)]
        else:
            memory = [m.to(like.dtype)[None].contiguous() for m in source.tensors[2].chunk(count, 1)]
        return State(torch.zeros(rows, 0), memory, axis=1)

    def attended(self, features: Tensor, mask: Tensor) -> Source:
        """Keys and values of attention, and what the memory begins as [B, parts * L * H]."""
        assert self.attention is not None and self.first is not None
        shares = (mask / mask.sum(1, keepdim=True)).to(features.dtype)
        mean = torch.bmm(shares[:, None], features)[:, 0]
        return Source(mask, [*self.attention.keys_and_values(features), torch.tanh(self.first(mean))])

    def forward(self, e: Tensor, documents: Tensor | None, state: State | None, source: Source | None = None) -> Tensor:
        """As Body says. Documents of one row are not told apart: the token that begins one teaches to forget."""
        h = e.transpose(0, 1)
        source = state.source if state is not None else source
        state = state or self.begin(len(e), 0, e, source)
        for i, layer in enumerate(self.layers):
            if i:
                h = self.dropout(h)
            own = slice(self.parts * i, self.parts * (i + 1))
            h, state.memory[own] = _run(layer, self.cell, h, state.memory[own])
        h = h.transpose(0, 1).to(e.dtype)
        if self.attention is not None and source is not None:
            h = self.attention(h, source)
        h = self.dropout(h)
        return torch.cat([h, e], 2)


class Attention(nn.Module):
    """h' = tanh(W [c; h]), c the mean of the source's values by softmax(q(h) . k) (Luong et al. 2015, eqs. 5, 7, 8)."""

    def __init__(self, hidden: int, source: int) -> None:
        super().__init__()
        self.keys = nn.Linear(source, hidden, bias=False)
        self.mix = nn.Linear(source + hidden, hidden, bias=False)

    def keys_and_values(self, features: Tensor) -> list[Tensor]:
        """features [B, S, E] -> keys [B, S, H] and values [B, S, E]."""
        return [self.keys(features), features]

    def forward(self, h: Tensor, source: Source) -> Tensor:
        """[B, T, H] -> [B, T, H]. k rows at a time may have one source."""
        keys, values = (t.to(h.dtype) for t in source.tensors[:2])
        asking = h.reshape(len(keys), -1, h.shape[2])  # rows that share a source side by side
        scores = torch.bmm(asking, keys.mT).masked_fill(~source.mask[:, None], -torch.inf)
        context = torch.bmm(scores.float().softmax(-1).to(h.dtype), values).view(*h.shape[:2], -1)
        out: Tensor = torch.tanh(self.mix(torch.cat([context, h], 2)))
        return out


@final
class RecurrentEncoder(Encoder):
    """`depth` layers of `hidden` values, half of them read forwards and half backwards (Schuster & Paliwal 1997)."""

    def __init__(self, cell: Literal["lstm", "gru"], vocab: int | None, width: int, hidden: int, depth: int) -> None:
        super().__init__()
        self.cell, width_each, self.dropout = cell, hidden // 2, Dropout()
        self.features, self.each = 2 * width_each, width_each
        self.table = None
        if vocab is not None:
            self.table = nn.Embedding(vocab, width)
            nn.init.normal_(self.table.weight, std=0.5)
            edge(self.table)
        kind = nn.LSTM if cell == "lstm" else nn.GRU
        sizes = [width, *[self.features] * (depth - 1)]
        self.layers = nn.ModuleList([edge(kind(size, width_each)) for size in sizes for _ in range(2)])
        for layer in self.layers:
            _initialise(layer, cell, width_each)

    def forward(self, e: Tensor, mask: Tensor) -> Tensor:
        lengths, places = mask.sum(1), torch.arange(e.shape[1], device=e.device)[:, None]
        turned = torch.where(places < lengths, lengths - 1 - places, places)  # [S, B]: padding stays at the end
        rows = torch.arange(len(e), device=e.device)
        h = e.transpose(0, 1)
        for i in range(0, len(self.layers), 2):
            if i:
                h = self.dropout(h)
            both = []
            for layer, x in zip(self.layers[i : i + 2], (h, h[turned, rows]), strict=True):
                memory = [e.new_zeros(1, len(e), self.each) for _ in range(2 if self.cell == "lstm" else 1)]
                both.append(_run(layer, self.cell, x, memory)[0])
            h = torch.cat([both[0], both[1][turned, rows]], 2).to(e.dtype)
        return h.transpose(0, 1)


class CarriedStates:
    """The states in which the rows of a training batch ended, for rows that go on in the next one.

    tensors: next [B], the place in the stream where each row would go on; past [B, N - 1] and memory0, memory1, ...
    as in State. A micro-batch takes and keeps its own rows of the batch's.
    """

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}

    def take(self, empty: State, starts: Tensor, rng: Rng, forget: float) -> State:
        """`empty` with the kept state in rows that go on, except in a share `forget` of them."""
        total = rng.total or len(starts)
        if not self.tensors or len(self.tensors["next"]) != total:
            return empty
        rows = slice(rng.offset, rng.offset + len(starts))
        goes_on = (self.tensors["next"][rows] == starts) & (rng.uniform("forget", len(starts)) >= forget)
        past = torch.where(goes_on[:, None], self.tensors["past"][rows], empty.past)
        memory = [
            self.tensors[f"memory{i}"][:, rows] * goes_on[:, None].to(m.dtype) for i, m in enumerate(empty.memory)
        ]
        return replace(empty, past=past, memory=memory)

    def keep(self, state: State, following: Tensor, rng: Rng) -> None:
        """Keep the state for rows that go on at `following` [B]."""
        total = rng.total or len(following)
        rows = slice(rng.offset, rng.offset + len(following))
        if not self.tensors or len(self.tensors["next"]) != total:
            self.tensors = {
                "next": following.new_full((total,), -1),
                "past": state.past.new_zeros(total, state.past.shape[1]),
                **{f"memory{i}": m.new_zeros(m.shape[0], total, m.shape[2]) for i, m in enumerate(state.memory)},
            }
        self.tensors["next"][rows] = following
        self.tensors["past"][rows] = state.past
        for i, m in enumerate(state.memory):
            self.tensors[f"memory{i}"][:, rows] = m.detach()


def _run(layer: nn.Module, cell: str, x: Tensor, memory: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """One layer over x [T, B, *]; memory [1, B, H] each. On a CPU autocast leaves these layers out: cast here."""
    weights = [w for group in layer.all_weights for w in group]  # type: ignore[union-attr]
    low = x.device.type == "cpu" and torch.is_autocast_enabled("cpu")
    dtype = torch.get_autocast_dtype("cpu") if low else weights[0].dtype
    with torch.autocast(x.device.type, enabled=False):
        x, weights, begin = x.to(dtype), [w.to(dtype) for w in weights], [m.to(dtype) for m in memory]
        if cell == "lstm":
            y, h, c = torch.lstm(x, begin, weights, True, 1, 0.0, torch.is_grad_enabled(), False, False)
            out = [h, c]
        else:
            y, h = torch.gru(x, begin[0], weights, True, 1, 0.0, torch.is_grad_enabled(), False, False)
            out = [h]
    return y, [o.to(m.dtype) for o, m in zip(out, memory, strict=True)]


@torch.no_grad()
def _initialise(layer: nn.Module, cell: str, hidden: int) -> None:
    """Orthogonal recurrent matrices, gate by gate; forget gates open (Jozefowicz et al. 2015)."""
    for name, p in layer.named_parameters():
        if name.startswith("bias"):
            p.zero_()
        elif name.startswith("weight_hh"):
            for gate in p.split(hidden):
                nn.init.orthogonal_(gate)
    if cell == "lstm":
        dict(layer.named_parameters())["bias_ih_l0"][hidden : 2 * hidden] = 1.0
