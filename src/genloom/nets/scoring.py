"""How likely a sequence model finds each token of given rows.

Shapes: `B` rows, `T` tokens, `V` vocabulary, `W` windows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from genloom.core.batch import Condition
from genloom.nets.sequence import SequenceModel

PIECE = 16_384  # tokens that are scored at a time

Predict = Callable[[Tensor, Condition], Tensor]  # (tokens [B, T], what holds for them) -> logits [B, T, V]
# (logits [B, T, V], inputs [B, T], targets [B, T]) -> nats [B, T], or more about each place: [B, T, ...]
Cost = Callable[[Tensor, Tensor, Tensor], Tensor]


def carried(model: SequenceModel, x: Tensor, condition: Condition, cost: Cost) -> Tensor:
    """[B, T - 1] nats of x[:, 1:], the state carried from one piece of a row to the next. Class and properties of
    `condition` may be those of each token."""
    inputs, targets = x[:, :-1], x[:, 1:]
    size, out = max(1, PIECE // max(1, len(x))), []
    state = model.begin(len(x), 0, replace(condition, label=None, properties=None))
    rows = torch.arange(len(x), device=x.device)
    for places in torch.arange(inputs.shape[1], device=x.device).split(size):
        a, b = inputs[:, places], targets[:, places]
        out.append(cost(model(a, at(condition, rows, places.expand(len(x), -1)), None, state), a, b))
    return torch.cat(out, 1)


def windowed(model: Predict, x: Tensor, condition: Condition, cost: Cost, context: int, stride: int) -> Tensor:
    """[B, T - 1] nats of x[:, 1:]. Rows longer than the context are read through windows of it that move by `stride`:
    each adds the predictions that the window before does not have, which see at least context - stride tokens. Class
    and properties of `condition` may be those of each token."""
    inputs, targets = x[:, :-1], x[:, 1:]
    length = inputs.shape[1]
    if length > context:
        starts = torch.arange(0, length - context + stride, stride).clamp(max=length - context).unique()
    else:
        starts, context = torch.zeros(1, dtype=torch.long), length
    starts = starts.to(x.device)
    news = starts.diff(prepend=starts[:1] - context)  # predictions that the windows before do not have
    row = torch.arange(len(x), device=x.device).repeat_interleave(len(starts))
    out: Tensor | None = None
    size = max(1, PIECE // max(1, context, 0 if condition.source is None else condition.source.shape[1]))
    windows = zip(row.split(size), starts.repeat(len(x)).split(size), news.repeat(len(x)).split(size), strict=True)
    for rows, begin, new in windows:
        places = begin[:, None] + torch.arange(context, device=x.device)
        a, b = inputs[rows[:, None], places], targets[rows[:, None], places]
        nats = cost(model(a, at(condition, rows, places)), a, b)
        keep = torch.arange(context, device=x.device) >= context - new[:, None]
        out = nats.new_zeros(*inputs.shape, *nats.shape[2:]) if out is None else out
        out[rows[:, None].expand_as(places)[keep], places[keep]] = nats[keep]
    return inputs.new_zeros(inputs.shape, dtype=torch.float32) if out is None else out


def at(condition: Condition, rows: Tensor, places: Tensor) -> Condition:
    """What holds for the tokens at places [R, W] of rows [R]: what every token has of its own is taken there."""
    label, properties = condition.label, condition.properties
    if label is not None:
        label = label[rows] if label.ndim == 1 else label[rows[:, None], places]
    if properties is not None:
        properties = properties[rows] if properties.ndim == 2 else properties[rows[:, None], places]
    source = None if condition.source is None else condition.source[rows]
    return Condition(label, properties, source)
