"""A causal Transformer in today's small recipe.

Vaswani et al. 2017; rotary positions (Su et al. 2021), RMS normalisation without gains (Zhang & Sennrich 2019),
normalised queries and keys (Henry et al. 2020), squared ReLU (So et al. 2021), residual branches that start at zero
and a skip from the embedding into every layer. With a source, each layer also attends to what an encoder without a
causal mask makes of it (Vaswani et al. 2017, section 3).

Shapes: `B` batch, `T` tokens, `S` tokens attended to, `D` width, `H` heads, `K` = D / H.
"""

from __future__ import annotations

from typing import cast, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genloom.core.optim import edge
from genloom.nets.blocks import Dropout, zero
from genloom.nets.sequence import Body, Encoder, Source, State

SHARPNESS = 1.5  # scale of q.k for queries and keys of unit root mean square, times K ** -0.5


def rms(x: Tensor) -> Tensor:
    """x with unit root mean square over its last axis."""
    return F.rms_norm(x, (x.shape[-1],))


def rotate(x: Tensor, turns: Tensor) -> Tensor:
    """x [B, T, H, K] with each pair of values turned by the angle of its position; turns [T, K / 2] complex."""
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * turns[:, None]).flatten(-2)


class CrossAttention(nn.Module):
    """What each token asks of a source, whose keys and values are made once."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width, bias=False)
        self.kv = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        # Unlike the other branches this one does not begin at zero: where to look in a source is only learnt through
        # what comes out, and a model that hears nothing of it first learns to do without.
        for layer, std in ((self.q, 0.7), (self.kv, 0.7), (self.out, 0.5)):
            nn.init.normal_(layer.weight, std=std * width**-0.5)

    def keys_and_values(self, features: Tensor) -> list[Tensor]:
        """features [B, S, D] -> keys and values [B, H, S, K]."""
        size, length, _ = features.shape
        k, v = self.kv(features).view(size, length, 2 * self.heads, -1).transpose(1, 2).chunk(2, 1)
        dtype = torch.float32 if features.device.type == "cpu" else v.dtype
        return [rms(k.float()).to(dtype), v.to(dtype)]

    def forward(self, h: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """h [B, T, D] normalised; mask bool [B / k, 1, 1, S], the same for k rows at a time -> [B, T, D]."""
        size, length, width = h.shape
        q = self.q(h).view(len(keys), -1, self.heads, width // self.heads)  # rows that share a source side by side
        q = rms(q.transpose(1, 2).float()).to(keys.dtype)
        with torch.autocast(h.device.type, enabled=False):
            o = F.scaled_dot_product_attention(q, keys, values, mask, scale=SHARPNESS * q.shape[-1] ** -0.5)
        out: Tensor = self.out(o.transpose(1, 2).reshape(size, length, width))
        return out


class Layer(nn.Module):
    """h + attention(norm(h)), then h + attention to the source, then h + mlp(norm(h))."""

    def __init__(self, width: int, heads: int, cross: bool = False) -> None:
        super().__init__()
        self.heads, self.dropout = heads, Dropout()
        self.cross = CrossAttention(width, heads) if cross else None
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)
        zero(self.out)
        zero(self.down)
        for layer in (self.qkv, self.up):
            nn.init.normal_(layer.weight, std=0.7 * width**-0.5)

    def forward(
        self,
        h: Tensor,
        turns: Tensor,
        mask: Tensor | None,
        cache: tuple[Tensor, Tensor] | None,
        seen: int,
        source: tuple[Tensor, Tensor, Tensor] | None = None,
    ) -> Tensor:
        """h [B, T, D]; turns [T, K / 2] of its positions; mask bool [B, 1, T or 1, T] or None (causal); cache: keys and
        values [B, H, capacity, K], of which `seen` are filled and to which these tokens are added; source: keys, values
        and mask of CrossAttention."""
        size, length, width = h.shape
        qk, v = self.qkv(rms(h)).view(size, length, 3 * self.heads, -1).split([2 * self.heads, self.heads], 2)
        # Attention stays in float32: on CPUs its backward pass in bfloat16 is several times slower.
        dtype = torch.float32 if h.device.type == "cpu" else v.dtype
        qk = rotate(rms(qk.float()), turns).to(dtype)
        q, k = qk.transpose(1, 2).chunk(2, 1)
        v = v.to(dtype).transpose(1, 2)
        if cache is not None:
            keys, values = cache
            keys[:, :, seen : seen + length] = k
            values[:, :, seen : seen + length] = v
            k, v = keys[:, :, : seen + length], values[:, :, : seen + length]
            if length > 1 and seen:
                mask = _causal(length, seen, h.device)
        with torch.autocast(h.device.type, enabled=False):
            o = F.scaled_dot_product_attention(
                q, k, v, mask, is_causal=mask is None and length > 1, scale=SHARPNESS * q.shape[-1] ** -0.5
            )
        h = h + self.dropout(self.out(o.transpose(1, 2).reshape(size, length, width)))
        if self.cross is not None and source is not None:
            h = h + self.dropout(self.cross(rms(h), *source))
        return h + self.dropout(self.down(F.relu(self.up(rms(h))).square()))


@final
class Transformer(Body):
    """`depth` layers over embeddings of `width`; positions up to `context` are learned, a state holds no more."""

    turns: Tensor

    def __init__(self, width: int, depth: int, heads: int, context: int, cross: bool = False) -> None:
        super().__init__()
        if width % (2 * heads):
            raise ValueError(f"the width {width} must be a multiple of twice the number of heads {heads}")
        self.features, self.limit, self.heads = width, context, heads
        self.layers = nn.ModuleList([Layer(width, heads, cross) for _ in range(depth)])
        self.skip = nn.Parameter(torch.zeros(depth))  # of the embedding into each layer
        self.register_buffer("turns", _turns(width // heads // 2, context), persistent=False)

    def begin(self, rows: int, capacity: int, like: Tensor, source: Source | None = None) -> State:
        assert self.limit is not None
        size = min(capacity, self.limit)
        shape = (rows, self.heads, size, self.features // self.heads)
        dtype = torch.float32 if like.device.type == "cpu" else like.dtype
        memory = [torch.zeros(shape, device=like.device, dtype=dtype) for _ in range(2 * len(self.layers))]
        return State(torch.zeros(rows, 0), memory, places=2)

    def attended(self, features: Tensor, mask: Tensor) -> Source:
        """Keys and values of each layer, one after the other."""
        layers = cast("list[Layer]", list(self.layers))
        return Source(mask, [t for w in layers if w.cross is not None for t in w.cross.keys_and_values(features)])

    def forward(self, e: Tensor, documents: Tensor | None, state: State | None, source: Source | None = None) -> Tensor:
        source = state.source if state is not None else source
        length, seen = e.shape[1], state.length if state is not None else 0
        turns, mask = self.turns[seen : seen + length], None
        if documents is not None:
            same = documents[:, :, None] == documents[:, None, :]
            mask = (same & torch.ones(length, length, dtype=torch.bool, device=e.device).tril())[:, None]
        first = h = rms(e)
        for i, layer in enumerate(self.layers):
            cache = (state.memory[2 * i], state.memory[2 * i + 1]) if state is not None else None
            given = None
            if source is not None:
                given = (source.tensors[2 * i], source.tensors[2 * i + 1], source.mask[:, None, None])
            h = layer(h + self.skip[i] * first, turns, mask, cache, seen, given)
        return rms(h)


@final
class TransformerEncoder(Encoder):
    """`depth` layers over a source of at most `length` tokens, each of which sees all. Every place has an embedding of
    its own too: what is asked of a source is often a place in it."""

    turns: Tensor

    def __init__(self, vocab: int | None, width: int, depth: int, heads: int, length: int) -> None:
        super().__init__()
        self.features = width
        self.table = _embedding(vocab, width) if vocab is not None else None
        self.place = _embedding(length, width)
        self.layers = nn.ModuleList([Layer(width, heads) for _ in range(depth)])
        self.register_buffer("turns", _turns(width // heads // 2, length), persistent=False)

    def forward(self, e: Tensor, mask: Tensor) -> Tensor:
        length = e.shape[1]
        h = rms(e + self.place.weight[:length])
        for layer in self.layers:
            h = layer(h, self.turns[:length], mask[:, None, None], None, 0)
        return rms(h)


def _embedding(rows: int, width: int) -> nn.Embedding:
    table = nn.Embedding(rows, width)
    nn.init.normal_(table.weight, std=0.5)
    edge(table)
    return table


def _turns(half: int, length: int) -> Tensor:
    """complex [length, half]: how each pair of values turns at each place."""
    speeds = 1000.0 ** -(torch.arange(half) / half)
    angles = torch.arange(length)[:, None] * speeds
    return torch.polar(torch.ones_like(angles), angles)


def _causal(length: int, seen: int, device: torch.device) -> Tensor:
    """bool [T, S]: token t sees the `seen` before the piece and those of the piece up to itself."""
    return torch.ones(length, seen + length, dtype=torch.bool, device=device).tril(seen)
