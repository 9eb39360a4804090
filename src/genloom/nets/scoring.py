"""How likely a sequence model finds each token of given rows.

Shapes: `B` rows, `T` tokens, `V` vocabulary, `W` windows.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from genloom.nets.sequence import SequenceModel

PIECE = 16_384  # tokens that are scored at a time

Predict = Callable[[Tensor, Tensor | None], Tensor]  # (tokens [B, T], label [B] or None) -> logits [B, T, V]
Cost = Callable[[Tensor, Tensor, Tensor], Tensor]  # (logits [B, T, V], inputs [B, T], targets [B, T]) -> nats [B, T]


def carried(model: SequenceModel, x: Tensor, label: Tensor | None, cost: Cost) -> Tensor:
    """[B, T - 1] nats of x[:, 1:], the state carried from one piece of a row to the next."""
    inputs, targets = x[:, :-1], x[:, 1:]
    state, size = model.begin(len(x), 0), max(1, PIECE // max(1, len(x)))
    pieces = zip(inputs.split(size, 1), targets.split(size, 1), strict=True)
    return torch.cat([cost(model(a, label, None, state), a, b) for a, b in pieces], 1)


def windowed(model: Predict, x: Tensor, label: Tensor | None, cost: Cost, context: int, stride: int) -> Tensor:
    """[B, T - 1] nats of x[:, 1:]. Rows longer than the context are read through windows of it that move by `stride`:
    each adds the predictions that the window before does not have, which see at least context - stride tokens."""
    inputs, targets = x[:, :-1], x[:, 1:]
    length = inputs.shape[1]
    if length > context:
        starts = torch.arange(0, length - context + stride, stride).clamp(max=length - context).unique()
    else:
        starts, context = torch.zeros(1, dtype=torch.long), length
    starts = starts.to(x.device)
    news = starts.diff(prepend=starts[:1] - context)  # predictions that the windows before do not have
    row = torch.arange(len(x), device=x.device).repeat_interleave(len(starts))
    out = torch.zeros(inputs.shape, device=x.device)
    size = max(1, PIECE // max(1, context))
    windows = zip(row.split(size), starts.repeat(len(x)).split(size), news.repeat(len(x)).split(size), strict=True)
    for rows, begin, new in windows:
        places = begin[:, None] + torch.arange(context, device=x.device)
        a, b = inputs[rows[:, None], places], targets[rows[:, None], places]
        nats = cost(model(a, None if label is None else label[rows]), a, b)
        keep = torch.arange(context, device=x.device) >= context - new[:, None]
        out[rows[:, None].expand_as(places)[keep], places[keep]] = nats[keep]
    return out
