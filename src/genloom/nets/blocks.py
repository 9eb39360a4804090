"""Building blocks for grids with 1, 2 or 3 spatial axes.

Shapes: `B` batch, `C` channels, `N` spatial positions, `E` width of the conditioning vector, `H` heads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genloom.core.optim import edge

_CONV = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def conv(axes: int, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, bias: bool = True) -> nn.Module:
    """A convolution over `axes` spatial axes that keeps the size when stride is 1 and divides it by the stride
    otherwise."""
    padding = (kernel - 1) // 2 if stride == 1 or kernel > stride else 0
    return _CONV[axes - 1](inputs, outputs, kernel, stride, padding, bias=bias)


def batch_norm(axes: int, channels: int) -> nn.Module:
    return _BATCH_NORM[axes - 1](channels, momentum=0.02)


def group_norm(channels: int, affine: bool = True) -> nn.GroupNorm:
    """GroupNorm with groups of at least 4 channels, 8 groups where the width allows."""
    groups = next(g for g in (8, 6, 4, 3, 2, 1) if channels % g == 0 and (channels // g >= 4 or g == 1))
    return nn.GroupNorm(groups, channels, affine=affine)


def zero(module: nn.Module) -> nn.Module:
    """The module with all its parameters set to zero: a residual branch that starts as the identity."""
    for p in module.parameters():
        nn.init.zeros_(p)
    return module


class Dropout(nn.Module):
    """nn.Dropout with p in steps of 1/256 on CPUs, where drawing a byte a value takes a fifth of the time."""

    def __init__(self, p: float = 0.0) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.p or x.device.type != "cpu":
            return F.dropout(x, self.p, self.training)
        threshold = min(255, round(256 * self.p))
        bits = torch.empty(x.numel() // 8 + 1, dtype=torch.int64).random_(-(2**63), None)
        keep = bits.view(torch.uint8)[: x.numel()].view(x.shape) >= threshold
        return x * keep.to(x.dtype).mul_(256 / (256 - threshold))


def unshuffle(x: Tensor, factor: int) -> Tensor:
    """[B, C, *size] to [B, C * factor**axes, *(size / factor)]: space to depth, for any number of axes."""
    axes = x.ndim - 2
    if factor == 1:
        return x
    if axes == 2:
        return F.pixel_unshuffle(x, factor)
    batch, channels, *size = x.shape
    x = x.reshape(batch, channels, *[n for s in size for n in (s // factor, factor)])
    order = [0, 1, *range(3, 3 + 2 * axes, 2), *range(2, 2 + 2 * axes, 2)]
    return x.permute(order).reshape(batch, channels * factor**axes, *[s // factor for s in size])


def shuffle(x: Tensor, factor: int) -> Tensor:
    """Inverse of `unshuffle`: depth to space."""
    axes = x.ndim - 2
    if factor == 1:
        return x
    if axes == 2:
        return F.pixel_shuffle(x, factor)
    batch, channels, *size = x.shape
    x = x.reshape(batch, channels // factor**axes, *[factor] * axes, *size)
    order = [0, 1, *[i for a in range(axes) for i in (2 + axes + a, 2 + a)]]
    return x.permute(order).reshape(batch, channels // factor**axes, *[s * factor for s in size])


def crop(x: Tensor, size: Sequence[int]) -> Tensor:
    """[B, C, *larger] -> [B, C, *size]: what was padded at the end of each axis is dropped."""
    for axis, n in enumerate(size, 2):
        x = x.narrow(axis, 0, n)
    return x


class Residual(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x)))))), the second norm scaled and shifted by a conditioning vector if there
    is one."""

    def __init__(self, axes: int, channels: int, embedding: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm1, self.conv1 = group_norm(channels), conv(axes, channels, channels)
        self.norm2, self.conv2 = group_norm(channels, affine=not embedding), conv(axes, channels, channels)
        zero(self.conv2)
        self.dropout = dropout
        self.modulate = edge(zero(nn.Linear(embedding, 2 * channels))) if embedding else None

    def forward(self, x: Tensor, e: Tensor | None = None) -> Tensor:
        """x [B, C, *size], e [B, E] -> [B, C, *size]."""
        h = self.norm2(self.conv1(F.silu(self.norm1(x))))
        if self.modulate is not None:
            scale, shift = self.modulate(e)[(...,) + (None,) * (x.ndim - 2)].chunk(2, 1)
            h = torch.addcmul(shift, h, 1 + scale)
        h = F.silu(h)
        if self.dropout:
            h = F.dropout(h, self.dropout, self.training)
        return x + self.conv2(h)


class Residuals(nn.Module):
    """`depth` residual blocks after one another."""

    def __init__(self, axes: int, channels: int, depth: int, embedding: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Residual(axes, channels, embedding, dropout) for _ in range(depth)])

    def forward(self, x: Tensor, e: Tensor | None = None) -> Tensor:
        """x [B, C, *size], e [B, E] -> [B, C, *size]."""
        for block in self.blocks:
            x = block(x, e)
        return x


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention, each [B, H, N, C / H]; on a CPU in fp32, because PyTorch's backward pass in bf16 takes up to
    five times as long there (docs/log.md)."""
    if q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v)
    with torch.autocast("cpu", enabled=False):
        return F.scaled_dot_product_attention(q.float(), k.float(), v.float()).to(q.dtype)


class Attention(nn.Module):
    """Self-attention over all positions of a grid, with a learned embedding of each position."""

    def __init__(self, channels: int, size: Sequence[int], heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm = group_norm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        zero(self.out)
        self.position = nn.Parameter(0.1 * torch.randn(math.prod(size), channels))
        self.position.edge = True  # type: ignore[attr-defined]

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, *size] -> the same."""
        t = self.norm(x).flatten(2).mT + self.position
        q, k, v = self.qkv(t).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # each [B, H, N, C / H]
        t = attend(q, k, v).transpose(1, 2).flatten(2)
        return x + self.out(t).mT.reshape(x.shape)


class TimeEmbedding(nn.Module):
    """[B] log-odds of time to [B, E]: Fourier features of 16 log-spaced frequencies and a small network."""

    freqs: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("freqs", torch.exp(torch.linspace(math.log(0.5), math.log(20), 16)), persistent=False)
        self.net = nn.Sequential(edge(nn.Linear(32, width)), nn.SiLU(), edge(nn.Linear(width, width)))

    def forward(self, logit: Tensor) -> Tensor:
        phase = logit[:, None] * self.freqs
        return self.net(torch.cat([phase.sin(), phase.cos()], 1))
