"""A plain GPT to compare with: learned positions, LayerNorm, GELU, tied embeddings, AdamW with cosine decay.

As in nanoGPT's configuration for a CPU, written anew: what somebody gets who takes a small standard recipe.
"""

from __future__ import annotations

import math
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genloom.data.sequences import Sequences


class PlainGPT(nn.Module):
    def __init__(self, vocab: int, width: int, depth: int, heads: int, context: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.context = context
        self.token, self.position = nn.Embedding(vocab, width), nn.Embedding(context, width)
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, dropout, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, depth, nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, vocab, bias=False)
        self.head.weight = self.token.weight
        for p in self.parameters():
            if p.ndim == 2:
                nn.init.normal_(p, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T] -> logits [B, T, V]."""
        length = x.shape[1]
        h = self.token(x) + self.position(torch.arange(length))
        mask = nn.Transformer.generate_square_subsequent_mask(length)
        return self.head(self.layers(h, mask=mask, is_causal=True))

    def surprise(self, x: Tensor, pad: int, eos: int | None) -> Tensor:
        """[B, T - 1] nats of x[:, 1:]; 0 at padding and after eos. T - 1 at most the context."""
        nats = F.cross_entropy(self(x[:, :-1]).flatten(0, 1), x[:, 1:].flatten(), reduction="none").view(len(x), -1)
        counted = x[:, 1:] != pad
        if eos is not None:
            counted &= x[:, :-1] != eos
        return nats * counted


def train(model: PlainGPT, data: Sequences, budget: float, batch: int, pad: int, eos: int | None, seed: int) -> int:
    """Train for `budget` seconds of the clock that time.perf_counter shows; returns the steps done."""
    generator = np.random.default_rng(seed)
    decay = [p for p in model.parameters() if p.ndim >= 2]
    rest = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decay, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, 1e-3, (0.9, 0.99), fused=True)
    begin, step = time.perf_counter(), 0
    while (fraction := (time.perf_counter() - begin) / budget) < 1:
        rate = min(1, (step + 1) / 100) * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * fraction)))
        for group in optimiser.param_groups:
            group["lr"] = 1e-3 * rate
        starts = generator.integers(0, max(1, data.total - model.context - 1), batch)
        x = data.windows(starts, model.context + 1).x
        nats = model.surprise(x, pad, eos)
        loss = nats.sum() / (nats > 0).sum().clamp(min=1)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        step += 1
    return step
