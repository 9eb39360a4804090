"""Columns of a Row as levels, and a network that predicts each from those that are known.

A category has its own levels. A number has bins of equal width in its normal score, and one more level where its gate
says that it does not count.

Shapes: `B` batch, `S` spans, `W` width, `E` embedding.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genloom.core.spec import Row
from genloom.nets.row_heads import inverse

REACH = 4.0  # normal scores beyond which numbers share a bin


class Block(nn.Module):
    """h + W2 silu(W1 norm(h))."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm, self.dropout = nn.LayerNorm(width), nn.Dropout(dropout)
        self.widen, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, h: Tensor) -> Tensor:
        out: Tensor = h + self.narrow(self.dropout(F.silu(self.widen(self.norm(h)))))
        return out


class Columns(nn.Module):
    """Codes [B, S] and which are known -> logits of each column, [B, levels of s]. A level that is not known is one
    more."""

    def __init__(self, spec: Row, bins: int, embedding: int, width: int, depth: int, dropout: float) -> None:
        super().__init__()
        self.spec, self.bins = spec, bins
        self.levels = [s.levels if s.head == "category" else bins + (s.gate is not None) for s in spec.spans]
        self.embed = nn.ModuleList([nn.Embedding(levels + 1, embedding) for levels in self.levels])
        self.inputs = nn.Linear(embedding * spec.width, width)
        self.blocks = nn.Sequential(*(Block(width, dropout) for _ in range(depth)), nn.LayerNorm(width))
        self.heads = nn.ModuleList([nn.Linear(width, levels) for levels in self.levels])

    def codes(self, x: Tensor) -> Tensor:
        """int64 [B, S] levels of entries [B, S]."""
        out = torch.empty(x.shape, dtype=torch.int64, device=x.device)
        for s, (span, gate) in enumerate(zip(self.spec.spans, self.spec.gates(), strict=True)):
            if span.head == "category":
                out[:, s] = x[:, s].round().long()
                continue
            place = (x[:, s].double() + REACH) / (2 * REACH) * self.bins
            code = place.floor().long().clamp(0, self.bins - 1)
            out[:, s] = code if gate < 0 else torch.where(x[:, gate] == 0, code, self.bins)
        return out

    def forward(self, codes: Tensor, known: Tensor, only: int | None = None) -> list[Tensor]:
        """only: the one column whose logits are wanted."""
        shown = [
            embed(torch.where(known[:, s], codes[:, s], self.levels[s])) for s, embed in enumerate(self.embed)
        ]  # fmt: skip
        h: Any = self.blocks(F.silu(self.inputs(torch.cat(shown, 1))))
        return [head(h) for s, head in enumerate(self.heads) if only is None or s == only]

    def draw(
        self, logits: Tensor, s: int, u: Tensor, temperature: float, counts: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """[B] levels by the inverse of the distribution function at u [B] in (0, 1), and what is left of u. counts:
        bool [B] rows in which the number counts, as its gate says."""
        logits = logits.double()
        if counts is not None:
            nothing = torch.arange(logits.shape[1], device=logits.device) == self.bins
            logits = logits.masked_fill(nothing[None] == counts[:, None], -torch.inf)
        return inverse(logits, u, temperature)

    def values(self, s: int, codes: Tensor, u: Tensor) -> Tensor:
        """[B] entries of levels [B]; of a number at u [B] in its bin, 0 where it does not count."""
        if self.spec.spans[s].head == "category":
            return codes.float()
        value = ((codes + u) / self.bins * 2 - 1) * REACH
        return torch.where(codes == self.bins, 0.0, value).float()
