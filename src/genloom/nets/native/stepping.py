"""The compiled step behind the interface of `nets/stepping.py`.

Shapes: `B` rows, `P` tokens read at once, `V` vocabulary.
"""

from __future__ import annotations

import ctypes
import functools
import re
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from genloom.core.batch import Condition
from genloom.core.errors import GenloomError
from genloom.nets.native.library import Model
from genloom.nets.recurrent import Recurrent
from genloom.nets.sequence import Inputs, SequenceModel
from genloom.nets.transformer import SHARPNESS, Layer, Transformer

SHARE = 8  # rows that are worth a thread
NO_MEMORY = "no memory for {rows} rows of {places} tokens; draw fewer at a time"
CELLS = {"lstm": 1, "gru": 2}  # 0: a Transformer
KNOWN = re.compile(
    r"inputs\.(token|label|position|beside\.\d+|tables\.\d+|made_of)\.weight|head\.weight|head_of_parts\.weight"
    r"|inputs\.properties\.\d\.(weight|bias)"
    r"|body\.skip|body\.layers\.\d+\.((qkv|out|up|down)\.weight|(weight|bias)_(ih|hh)_l0)"
)


def supports(model: SequenceModel) -> bool:
    """Whether the compiled step computes all of this model: every one of its weights is known to it, in float32, on the
    CPU. A pure function of the model, so that the step does not depend on how much is asked for."""
    if type(model.body) not in (Transformer, Recurrent) or torch.is_autocast_enabled("cpu"):
        return False
    if isinstance(model.body, Transformer) and model.body.features // model.body.heads > 1024:
        return False
    if model.inputs.base != model.vocab:  # a vocabulary that has grown
        return False
    return all(
        KNOWN.fullmatch(name) and p.dtype == torch.float32 and p.device.type == "cpu" and p.is_contiguous()
        for name, p in model.named_parameters()
    )


class NativeStepper:
    """As Stepper, for models that `supports` takes. A row's numbers are equal, bit for bit, whatever B is and however
    its tokens are divided among calls."""

    def __init__(
        self, library: ctypes.CDLL, model: SequenceModel, tokens: Tensor, condition: Condition, capacity: int
    ) -> None:
        self.network, self.read, self.length = model, library.genloom_read, 0
        self.rows = rows = len(tokens)
        self.vocab, self.bounded = len(model.weight), model.body.limit is not None or model.inputs.position is not None
        self.described = described(model)
        self.about = self.described.about
        self.beside = self._given(model.inputs, condition, rows)
        given = None if self.beside is None else self.beside.data_ptr()
        limit = model.body.limit
        self.places = max(capacity, tokens.shape[1]) if limit is None else min(capacity, limit)
        self.state = library.genloom_begin(self.about, rows, self.places, given)
        if not self.state:
            raise GenloomError(NO_MEMORY.format(rows=rows, places=self.places))
        weakref.finalize(self, library.genloom_end, self.state)
        self.logits = self._read(tokens)

    def step(self, tokens: Tensor) -> Tensor:
        """tokens [B] int64 come next -> logits [B, V] of what follows them."""
        return self._read(tokens[:, None])

    def _read(self, tokens: Tensor) -> Tensor:
        return together([self], tokens)

    def _given(self, inputs: Inputs, condition: Condition, rows: int) -> Tensor | None:
        """The embeddings [B, D] of class and properties; None for a model without either. Those of
        properties are computed row by row, so that no sum depends on how many there are."""
        with torch.inference_mode():
            if condition.properties is None:
                given = inputs.given(condition)
            else:
                each = [inputs.given(condition[torch.tensor([i])]) for i in range(rows)]
                given = torch.cat([e for e in each if e is not None])
        return None if given is None else given.expand(rows, -1).detach().contiguous()


class Described:
    """A model as the compiled step reads it: the structure and what it points to. It holds as long as the weights stay
    where they are."""

    def __init__(self, model: SequenceModel) -> None:
        self.kept: list[object] = []
        self.places = _places(model)
        self.model = self._described(model)
        self.about = ctypes.addressof(self.model)

    def _described(self, model: SequenceModel) -> Model:
        inputs, body = model.inputs, model.body
        token, *beside = inputs.tables_of_tokens()
        tables = [cast(nn.Embedding, t).weight for t in inputs.tables]
        sizes = [len(t) - 1 for t in tables]
        ngrams = range(2, len(tables) + 2)
        out = Model(
            vocab=inputs.base, width=token.shape[1], features=body.features,
            ngrams=len(tables), neighbours=len(beside), reach=inputs.reach,
            boundary=-1 if inputs.boundary is None else inputs.boundary,
            token=self._address(token), tables=self._addresses(tables), beside=self._addresses(beside),
            position=self._weight(inputs.position),
            rows=self._numbers(sizes), back=self._numbers(inputs.neighbours),
            small=self._numbers([inputs.base**n <= 2**62 for n in ngrams]),
            own=self._numbers([inputs.base**n <= size for n, size in zip(ngrams, sizes, strict=True)]),
            softcap=model.softcap, head=self._address(model.output()),
        )  # fmt: skip
        if isinstance(body, Transformer):
            layers = cast("list[Layer]", list(body.layers))
            out.depth, out.heads, out.sharpness = len(layers), body.heads, SHARPNESS
            weights = [w.weight for one in layers for w in (one.qkv, one.out, one.up, one.down)]
            out.skip, out.turns = self._address(body.skip), self._address(torch.view_as_real(body.turns))
        else:
            assert isinstance(body, Recurrent)
            out.cell, out.depth, out.hidden = CELLS[body.cell], body.depth, body.hidden
            weights = [w for one in body.layers for w in cast("list[list[Tensor]]", one.all_weights)[0]]
        out.layers = self._addresses(weights)
        return out

    def _address(self, tensor: Tensor) -> int:
        tensor = tensor.detach().contiguous()
        self.kept.append(tensor)
        return tensor.data_ptr()

    def _weight(self, table: nn.Embedding | None) -> int | None:
        return None if table is None else self._address(table.weight)

    def _addresses(self, tensors: Sequence[Tensor]) -> int:
        return self._numbers([self._address(t) for t in tensors])

    def _numbers(self, values: Sequence[int]) -> int:
        array = np.array(values, np.int64)
        self.kept.append(array)
        return array.ctypes.data


_known: weakref.WeakKeyDictionary[SequenceModel, Described] = weakref.WeakKeyDictionary()


def described(model: SequenceModel) -> Described:
    """Made once for a model whose weights the compiled step reads where they are; each time where some are computed."""
    found = _known.get(model)
    if found is not None and found.places == _places(model):
        return found
    found = Described(model)
    if model.inputs.made_of is None:
        _known[model] = found
    return found


def _places(model: SequenceModel) -> list[int]:
    return [t.data_ptr() for t in (*model.parameters(), *model.buffers())]


def together(steppers: Sequence[NativeStepper], tokens: Tensor) -> Tensor:
    """tokens [B, P] come next, B the rows of all steppers of one model one after the other -> logits [B, V]. Each is at
    its own place; its numbers are those that it would have alone. Many rows are shared among PyTorch's threads."""
    tokens, first = tokens.contiguous(), steppers[0]
    length, out = tokens.shape[1], torch.empty(len(tokens), first.vocab)
    for one in steppers:
        if one.length + length > one.places and one.bounded:
            raise IndexError(f"{one.length + length} tokens where {one.places} have a place")
    shares = _shares(steppers, min(torch.get_num_threads(), len(tokens) // SHARE))
    ends = np.cumsum([sum(one.rows for one in share) for share in shares])
    places = [
        (share, tokens[end - n : end], out[end - n : end])
        for share, end, n in zip(shares, ends.tolist(), np.diff(ends, prepend=0).tolist(), strict=True)
    ]
    others = [_helpers().submit(_read, *place) for place in places[1:]]
    outcomes = [_read(*places[0]), *(other.result() for other in others)]
    if 1 in outcomes:
        raise IndexError(f"a token is outside the vocabulary of {first.vocab}")
    if any(outcomes):
        raise GenloomError(NO_MEMORY.format(rows=len(tokens), places=first.places))
    for one in steppers:
        one.length += length
    return out


def _read(steppers: Sequence[NativeStepper], tokens: Tensor, out: Tensor) -> int:
    states = (ctypes.c_void_p * len(steppers))(*(one.state for one in steppers))
    first = steppers[0]
    return int(first.read(first.about, states, len(steppers), tokens.data_ptr(), tokens.shape[1], out.data_ptr()))


def _shares(steppers: Sequence[NativeStepper], count: int) -> list[list[NativeStepper]]:
    """At most `count` groups of about equally many rows, in order."""
    if count < 2 or len(steppers) < 2:
        return [list(steppers)]
    total, seen = sum(one.rows for one in steppers), 0
    groups: dict[int, list[NativeStepper]] = {}
    for one in steppers:
        groups.setdefault(seen * count // total, []).append(one)
        seen += one.rows
    return list(groups.values())


@functools.cache
def _helpers() -> ThreadPoolExecutor:
    """Threads beside the one that asks. The compiled step holds no lock."""
    return ThreadPoolExecutor(max(1, torch.get_num_threads() - 1), "genloom-step")
