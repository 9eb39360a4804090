"""A small U-Net over grids of 1, 2 or 3 axes, conditioned on time and an optional class.

Shapes: `B` batch, `C` channels, `E` width of the conditioning vector.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genloom.core.optim import edge
from genloom.nets.blocks import Attention, Residuals, TimeEmbedding, conv, crop, group_norm, shuffle, unshuffle, zero


def patch_for(size: Sequence[int]) -> int:
    """Space-to-depth factor that leaves at most 16 positions along the longest axis: all the work is done there."""
    return max(1, 2 ** math.ceil(math.log2(max(size) / 16)))


class UNet(nn.Module):
    """Predicts a grid like its input: [B, C, *size], log-odds of time [B], class [B] -> [B, C, *size].

    The input is folded by `patch` (space to depth); `widths` are the channels of each resolution, every one half as
    fine as the last; `depths` the residual blocks at each. Class index `classes` means "no class". Any size: padded,
    then cropped.
    """

    def __init__(
        self,
        channels: int,
        size: Sequence[int],
        classes: int,
        *,
        widths: Sequence[int] = (32, 96),
        depths: Sequence[int] = (1, 2),
        attention: bool = False,
        patch: int | None = None,
        embedding: int = 128,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        axes = len(size)
        self.patch = patch or patch_for(size)
        self.multiple = self.patch * 2 ** (len(widths) - 1)
        padded = [math.ceil(n / self.multiple) * self.multiple for n in size]
        folded = channels * self.patch**axes
        coarse = [[n // self.patch // 2**level for n in padded] for level in range(len(widths))]

        self.time = TimeEmbedding(embedding)
        self.label = edge(nn.Embedding(classes + 1, embedding))
        self.inputs = edge(conv(axes, folded, widths[0]))
        self.position = nn.Parameter(torch.zeros(widths[0], *coarse[0]))
        self.position.edge = True  # type: ignore[attr-defined]

        def blocks(width: int, depth: int) -> Residuals:
            return Residuals(axes, width, depth, embedding, dropout)

        self.down = nn.ModuleList([blocks(w, d) for w, d in zip(widths, depths, strict=True)])
        self.up = nn.ModuleList([blocks(w, d) for w, d in zip(widths[:-1], depths[:-1], strict=True)])
        pairs = list(pairwise(widths))
        self.coarser = nn.ModuleList([conv(axes, fine, wide, kernel=2, stride=2) for fine, wide in pairs])
        self.finer = nn.ModuleList([conv(axes, wide, fine * 2**axes, kernel=1) for fine, wide in pairs])
        self.mix = nn.ModuleList([conv(axes, 2 * fine, fine, kernel=1) for fine, _ in pairs])
        self.attention = Attention(widths[-1], coarse[-1]) if attention else None
        self.norm = group_norm(widths[0])
        self.outputs = edge(zero(conv(axes, widths[0], folded)))

    def forward(self, x: Tensor, logit: Tensor, label: Tensor) -> Tensor:
        size = x.shape[2:]
        short = [-n % self.multiple for n in size]
        if any(short):
            x = F.pad(x, [p for n in reversed(short) for p in (0, n)])
        e = F.silu(self.time(logit) + self.label(label))
        h = self.inputs(unshuffle(x, self.patch)) + self.position
        skips = []
        for level, blocks in enumerate(self.down):
            h = blocks(h, e)
            if level < len(self.coarser):
                skips.append(h)
                h = self.coarser[level](h)
        if self.attention is not None:
            h = self.attention(h)
        for level in reversed(range(len(self.coarser))):
            h = self.mix[level](torch.cat([skips[level], shuffle(self.finer[level](h), 2)], 1))
            h = self.up[level](h, e)
        return crop(shuffle(self.outputs(F.silu(self.norm(h))), self.patch), size)
