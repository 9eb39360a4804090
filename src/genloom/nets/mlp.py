"""A residual multilayer perceptron conditioned on time and an optional class."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from genloom.core.optim import edge
from genloom.nets.blocks import TimeEmbedding, zero


class ResidualMLP(nn.Module):
    """Vectors [B, D], log-odds of time [B], class [B] -> [B, D], or [B, outputs]. Class index `classes` means "no
    class"."""

    def __init__(
        self,
        dimensions: int,
        classes: int,
        *,
        width: int = 512,
        depth: int = 4,
        embedding: int = 128,
        outputs: int | None = None,
    ) -> None:
        super().__init__()
        self.time = TimeEmbedding(embedding)
        self.label = edge(nn.Embedding(classes + 1, embedding))
        self.inputs = edge(nn.Linear(dimensions, width))
        self.norms = nn.ModuleList([nn.LayerNorm(width, elementwise_affine=False) for _ in range(depth)])
        self.modulate = nn.ModuleList([edge(zero(nn.Linear(embedding, 2 * width))) for _ in range(depth)])
        self.widen = nn.ModuleList([nn.Linear(width, width) for _ in range(depth)])
        self.narrow = nn.ModuleList([zero(nn.Linear(width, width)) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)
        self.outputs = edge(zero(nn.Linear(width, outputs or dimensions)))

    def forward(self, x: Tensor, logit: Tensor, label: Tensor) -> Tensor:
        e = F.silu(self.time(logit) + self.label(label))
        h = self.inputs(x)
        for norm, modulate, widen, narrow in zip(self.norms, self.modulate, self.widen, self.narrow, strict=True):
            scale, shift = modulate(e).chunk(2, 1)
            h = h + narrow(F.silu(widen(norm(h) * (1 + scale) + shift)))
        return self.outputs(F.silu(self.norm(h)))
