"""Rows of a training batch of sequences: what of long ones is read, and which conditions are left out.

Shapes: `B` rows, `T` tokens, `P` properties.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import torch
from torch import Tensor

from genloom.core.batch import Batch, Condition, ConditionSpec
from genloom.core.config import Settings, setting
from genloom.core.rng import Rng


class TeacherConfig(Settings):
    """Learning what another model expects (Hinton et al. 2015)."""

    run: str | None = setting(None, "Run whose predictions are learned beside the data (--teacher); none: of no one.")
    share: float = setting(0.5, "Share of the loss that is the divergence from the teacher.", unit="share", ge=0, le=1)
    temperature: float = setting(1.0, "Above 1 the teacher's unlikely tokens count more.", gt=0)


def divergence(logits: Tensor, wanted: Tensor, counted: Tensor, temperature: float) -> Tensor:
    """Sum over the counted tokens of KL(teacher || model) in nats, both at a temperature, times its square so that its
    gradients keep their size. logits [B, T, V]; wanted [B, T, W] log-probabilities of the first W tokens; counted bool
    [B, T]."""
    own = (logits[counted] / temperature).log_softmax(-1)[:, : wanted.shape[2]]
    teacher = (wanted[counted] / temperature).log_softmax(-1)
    kl = torch.where(teacher > -torch.inf, teacher.exp() * (teacher - own), 0.0)
    return kl.sum() * temperature**2


class Shares(Protocol):
    """Shares of the rows trained without a condition, so that samples can be drawn without it too."""

    @property
    def drop_label(self) -> float: ...

    @property
    def drop_properties(self) -> float: ...

    @property
    def drop_source(self) -> float: ...


def stretches(x: Tensor, context: int, pad: int, rng: Rng) -> Tensor:
    """Whole documents x [B, T], those longer than context + 1 tokens cut to one of the stretches that make them up."""
    if x.shape[1] <= context + 1:
        return x
    lengths = (x != pad).sum(1)
    last = (lengths - 1 - context).clamp(min=0)
    which = (rng.uniform("stretch", len(x)) * (-(-(lengths - 1) // context)).clamp(min=1)).long()
    starts = torch.minimum(which * context, last)
    return x.gather(1, starts[:, None] + torch.arange(context + 1, device=x.device))


def dropped(
    condition: Condition, length: int, classes: int, shares: Shares, spec: ConditionSpec, rng: Rng
) -> Condition:
    """The condition of inputs [B, length], in a share of the rows without class, properties or source. The class of no
    class is `classes`. Where each token has its own class or properties, that of the last one is left out: it is no
    input."""
    label, properties, source = condition.label, condition.properties, condition.source
    if label is None or not classes:
        label = None
    else:
        keep = rng.uniform("drop label", len(label)) >= shares.drop_label
        label = label[:, :length] if label.ndim == 2 else label[:, None].expand(-1, length)
        label = torch.where(keep[:, None], label, classes)
    if properties is None or not spec.properties:
        properties = None
    else:
        every = rng.uniform("drop properties", len(properties), 1) < shares.drop_properties
        some = rng.uniform("drop each property", len(properties), properties.shape[-1]) < shares.drop_properties
        out = every | some if properties.shape[-1] > 1 else every
        if properties.ndim == 3:
            properties, out = properties[:, :length], out[:, None]
        properties = properties.masked_fill(out, torch.nan)
    if source is None or spec.source is None:
        source = None
    else:
        out = rng.uniform("drop source", len(source)) < shares.drop_source
        nothing = torch.full_like(source, spec.source.pad)
        nothing[:, 0] = spec.source.eos
        source = torch.where(out[:, None], nothing, source)
    return Condition(label, properties, source)


def read_along(data: Iterable[Batch], pad: int, most: int) -> Tensor:
    """[N] tokens of examples laid end to end, hardly more than `most`."""
    texts, total = [], 0
    for batch in data:
        texts.append(batch.x[batch.x != pad].cpu())
        total += len(texts[-1])
        if total >= most:
            break
    return torch.cat(texts)
