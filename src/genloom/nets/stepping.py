"""One more token of every row, with as little work around the arithmetic as eager PyTorch allows.

The same functions of the same weights as `SequenceModel.forward` (tests compare them), rearranged: factors of
normalisation moved past the matrix product that follows, scores as products of a row and a matrix, results written
into buffers made once. A step of a small model is then bound by its two dozen kernels a layer, not by Python.

Shapes: `B` rows, `D` width, `H` heads, `K` = D / H, `S` tokens that fit, `L` layers, `N` longest n-gram.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from genloom.core.batch import Condition
from genloom.nets.lora import effective
from genloom.nets.native.library import build_aside, library
from genloom.nets.native.stepping import NativeStepper, supports
from genloom.nets.native.stepping import together as read_together
from genloom.nets.sequence import Inputs, SequenceModel, State, Steps
from genloom.nets.transformer import SHARPNESS, Layer, Transformer

WORTH = 256  # tokens to draw from which the step is compiled for the next process
BLOCK = 32  # places for keys and values that are added at a time
EPSILON = torch.finfo(torch.float32).eps  # of F.rms_norm


def begin(model: SequenceModel, tokens: Tensor, condition: Condition, capacity: int) -> Steps:
    """Read tokens [B, P], P >= 1, with room for `capacity` in all; condition: one for each row, or none.

    By the compiled step where there is one and it knows the model, else by PyTorch's. Which one depends on the process
    and the model alone.
    """
    if supports(model):
        compiled = library()
        if compiled is not None:
            return NativeStepper(compiled, model, tokens, condition, capacity)
        if len(tokens) * capacity >= WORTH:
            build_aside()
    return Stepper(model, tokens, condition, capacity)


def together(steppers: Sequence[Steps], tokens: Sequence[Tensor]) -> list[Tensor]:
    """tokens [B] come next in each -> logits [B, V] of each. Compiled steps of one model are one step; what PyTorch
    computes is computed one after the other."""
    out: dict[int, Tensor] = {}
    groups: dict[int, list[int]] = {}
    for k, one in enumerate(steppers):
        if isinstance(one, NativeStepper):
            groups.setdefault(id(one.network), []).append(k)
        else:
            out[k] = one.step(tokens[k])
    for group in groups.values():
        natives = [cast(NativeStepper, steppers[k]) for k in group]
        given = tokens[group[0]] if len(group) == 1 else torch.cat([tokens[k] for k in group])
        logits = read_together(natives, given[:, None]).split([len(tokens[k]) for k in group])
        out.update(zip(group, logits, strict=True))
    return [out[k] for k in range(len(steppers))]


class Stepper:
    """The logits after some tokens, then after each further one.

    tokens [B, P] int64 are read at once; logits [B, V] float32 is what follows them. condition: one for each row, or
    none. What `step` gives is for inference only (torch.inference_mode).
    """

    def __init__(self, model: SequenceModel, tokens: Tensor, condition: Condition, capacity: int) -> None:
        self.model = model
        self.state = model.begin(len(tokens), capacity, condition)
        self.logits = model.logits(model.hidden(tokens, None, None, self.state)[:, -1])
        self.inputs = Embedder(model.inputs, self.state)
        plain = model.weight.dtype == torch.float32 and not torch.is_autocast_enabled(tokens.device.type)
        self.body: TransformerStep | None = None
        if isinstance(model.body, Transformer) and plain and self.state.source is None:
            self.body = TransformerStep(model.body, self.state)
            self.head = model.output().detach().t()

    @property
    def length(self) -> int:
        """Tokens seen."""
        return self.state.length

    def step(self, tokens: Tensor) -> Tensor:
        """tokens [B] int64 come next -> logits [B, V] of what follows them."""
        with torch.inference_mode():
            e = self.inputs(tokens, self.state.length)
            if self.body is None:
                h = self.model.body(e[:, None], None, self.state)[:, 0]
                logits = self.model.logits(h)
            else:
                logits, cap = torch.mm(self.body(e, self.state.length), self.head), self.model.softcap
                logits = logits.div_(cap).tanh_().mul_(cap) if cap else logits
        self.state.length += 1
        return logits


class Embedder:
    """What `Inputs` says of one token of each row, [B] -> [B, D].

    The key of an n-gram is a weighted sum of its tokens (all in 64 bits, wrapping around), so those of all N are one
    small matrix product.
    """

    def __init__(self, inputs: Inputs, state: State) -> None:
        self.inputs = inputs
        self.device = inputs.token.weight.device
        tables = [cast(nn.Embedding, t).weight.detach() for t in inputs.tables]
        own, *beside = [t.detach() for t in inputs.tables_of_tokens()]
        self.tables, self.beside = [own, *tables], beside
        self.position = inputs.position.weight.detach() if inputs.position is not None else None
        self.window = state.past.flip(1).cpu().numpy()  # [B, reach], the newest first
        self.weights, self.offsets, self.rows, self.own = _keys(inputs)
        self.given = state.given.detach() if state.given is not None else None

    def __call__(self, tokens: Tensor, seen: int) -> Tensor:
        newest = tokens.cpu().numpy()[:, None]
        window = np.concatenate([newest, self.window], 1)
        self.window = window[:, :-1]
        e = torch.embedding(self.tables[0], tokens)
        for table, row in zip(self.tables[1:], self._rows(window), strict=True):
            e.add_(torch.embedding(table, torch.from_numpy(row).to(self.device)))
        for back, table in zip(self.inputs.neighbours, self.beside, strict=True):
            e.add_(torch.embedding(table, torch.from_numpy(window[:, back].copy()).to(self.device)))
        if self.position is not None:
            e.add_(self.position[seen])
        if self.given is not None:
            e.add_(self.given)
        return e

    def _rows(self, window: NDArray[np.int64]) -> NDArray[np.int64]:
        """[N - 1, B] rows of the tables of 2-grams, 3-grams and so on that end in these windows [B, reach + 1]."""
        if not len(self.rows):
            return self.weights[:0]
        window = window[:, : len(self.rows) + 1]
        if self.inputs.boundary is not None:
            begun = window == self.inputs.boundary
            if begun.any():
                window = window.copy()
                window[:, 1:][np.logical_or.accumulate(begun, 1)[:, :-1]] = 0
        keys = self.weights @ window.T + self.offsets
        if self.own.all():
            return keys % self.rows
        mixed = keys * np.int64(0x9E3779B97F4A7C1)
        return np.where(self.own, keys, mixed ^ (mixed >> 29)) % self.rows


def _keys(inputs: Inputs) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """How `Inputs` numbers n-grams: weights [N - 1, N] of the tokens, the newest first, offsets [N - 1, 1], rows
    [N - 1, 1] of the tables, and [N - 1, 1] whether every n-gram has a row of its own."""
    count, vocab = len(inputs.tables), inputs.base
    weights, offsets = [[1] + [0] * count], [0]
    for back in range(1, count + 1):
        small = vocab ** (back + 1) <= 2**62
        factor = vocab if small else 1_000_003
        weights.append([w * factor for w in weights[-1]])
        weights[-1][back] = 1
        offsets.append(offsets[-1] * factor + (0 if small else 1))
    wrap = lambda values: np.array([v & (2**64 - 1) for v in values], np.uint64).view(np.int64)  # noqa: E731
    rows = np.array([cast(nn.Embedding, t).num_embeddings - 1 for t in inputs.tables], np.int64).reshape(-1, 1)
    own = np.array([vocab ** (n + 2) <= r for n, r in enumerate(rows[:, 0].tolist())], bool).reshape(-1, 1)
    keys = np.array([wrap(w) for w in weights[1:]], np.int64).reshape(count, count + 1)
    return keys, wrap(offsets[1:])[:, None], rows, own


class TransformerStep:
    """Features [B, D] of one token of each row after those that a state holds. Float32.

    Queries and keys are kept with unit length, not unit root mean square, and values without the factor sqrt(D) of
    their normalisation; both factors are made up for where nothing is spent on it.
    """

    def __init__(self, body: Transformer, state: State) -> None:
        rows, heads, _, part = state.memory[0].shape
        width, layers = heads * part, cast("list[Layer]", list(body.layers))
        device = state.memory[0].device
        self.part, self.width, self.rows, self.heads = part, width, rows, heads
        # [L, B * H, S, K], contiguous: bmm would copy a slice of something longer first, which costs thrice its time.
        self.keys, self.values = (
            torch.stack([m[:, :, : state.length] for m in memory]).mul_(factor**-0.5).flatten(1, 2)
            for memory, factor in ((state.memory[::2], part), (state.memory[1::2], width))
        )
        state.memory = []
        self._grow(state.length)
        self.qkv = [_matrix(w.qkv) for w in layers]
        self.out = [_matrix(w.out) for w in layers]
        self.up = [_matrix(w.up) for w in layers]
        self.down = [_matrix(w.down) for w in layers]
        self.skip: list[float] = body.skip.detach().tolist()
        # Turned queries get the scale of the scores with it; q and k of unit length have sqrt(K) to make up for twice.
        scale = torch.ones(2, 1, 1, 1, device=device)
        scale[0] = SHARPNESS * part**0.5
        self.turns = body.turns[:, None, None, None] * scale  # [S, 2, 1, 1, K / 2] complex
        self.small = torch.tensor(math.sqrt(width * EPSILON), device=device)
        self.tiny = torch.tensor(math.sqrt(part * EPSILON / width), device=device)
        self.x, self.mid = torch.empty(rows, width, device=device), torch.empty(rows, 4 * width, device=device)
        self.all = torch.empty(rows, 3 * width, device=device)
        three = self.all.view(rows, 3, heads, part).transpose(0, 1)  # [3, B, H, K]
        self.pairs = torch.view_as_complex(three[:2].unflatten(-1, (-1, 2)))
        self.both, self.v = three[:2], three[2]  # values [B, H, K]
        self.turned = torch.empty(2, rows, heads, part // 2, dtype=torch.complex64, device=device)
        self.qk = torch.view_as_real(self.turned).flatten(-2)  # [2, B, H, K]
        self.q, self.k = self.qk[0].view(rows * heads, 1, part), self.qk[1].view(rows * heads, part)
        self.mixed = torch.empty(rows * heads, 1, part, device=device)
        self.o = self.mixed.view(rows, width)

    def __call__(self, e: Tensor, seen: int) -> Tensor:
        """e [B, D], the token at place `seen`."""
        qk, turns, root = self.qk, self.turns[seen], math.sqrt(self.width)
        h = self._unit(e).mul(root)
        first = h.clone() if any(self.skip) else h
        if seen >= self.room:
            self._grow(seen)
        self.mask[seen] = 0.0
        new_keys, new_values = self.keys[:, :, seen].unbind(), self.values[:, :, seen].unbind()
        for i, skip in enumerate(self.skip):
            if skip:
                h.add_(first, alpha=skip)
            torch.mm(self._unit(h), self.qkv[i], out=self.all)
            length = torch.linalg.vector_norm(self.both, dim=-1, keepdim=True).hypot_(self.tiny)
            torch.mul(self.pairs, turns, out=self.turned)
            qk.div_(length)
            new_keys[i].copy_(self.k)
            new_values[i].view_as(self.v).copy_(self.v)
            scores = torch.baddbmm(self.mask, self.q, self.key_columns[i]).softmax(-1)
            torch.bmm(scores, self.value_rows[i], out=self.mixed)
            h.addmm_(self.o, self.out[i], alpha=root)
            torch.mm(self._unit(h), self.up[i], out=self.mid)
            mid = self.mid.relu_()
            h.addmm_(mid.mul_(mid), self.down[i], alpha=self.width)
        return self._unit(h).mul_(root)

    def _grow(self, seen: int) -> None:
        """Room for more keys and values than `seen`, a block at a time; those to come are masked."""
        self.room = (seen // BLOCK + 1) * BLOCK
        pad = (0, 0, 0, self.room - self.keys.shape[2])
        self.keys, self.values = F.pad(self.keys, pad), F.pad(self.values, pad)
        self.key_columns, self.value_rows = self.keys.mT.unbind(), self.values.unbind()
        self.mask = torch.full((self.room,), -torch.inf, device=self.keys.device)
        self.mask[:seen] = 0.0

    def _unit(self, h: Tensor) -> Tensor:
        """h with unit length along its last axis, in a buffer."""
        length = torch.linalg.vector_norm(h, dim=-1, keepdim=True).hypot_(self.small)
        return torch.div(h, length, out=self.x)


def _matrix(linear: nn.Module) -> Tensor:
    """[inputs, outputs] weights of a linear layer, to multiply rows with."""
    assert isinstance(linear, nn.Linear)
    return effective(linear).detach().t()
