"""Generators and critics of adversarial training, convolutional on grids of 1, 2 or 3 axes or plain MLPs.

A generator maps (z [B, Z], label [B] or None) to x [B, C, *size] in [-1, 1]; a critic maps (x, label) to scores [B],
higher for real. The label enters a critic by projection: score = w.h(x) + e(label).h(x) (Miyato & Koyama 2018). All
work is done at 1/`patch` of the size (space to depth), where convolutions are cheap.

Shapes: `B` batch, `C` channels, `Z` width of the noise, `E` width of a label's embedding, `D` width of the features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genloom.core.optim import edge
from genloom.core.spec import Grid
from genloom.nets.blocks import batch_norm, conv, crop, group_norm, shuffle, unshuffle, zero

Norm = Literal["batch", "group"]
EMBEDDING = 32  # E


class Pyramid:
    """Resolutions that a generator climbs and a critic descends, from at most 32 positions an axis down to at most 8.

    patch: space-to-depth factor at the finest. sizes: positions at each resolution, finest first. widths: channels
    there, half of `width` at the finest and `width` elsewhere. padded: what the finest resolution covers.
    """

    def __init__(self, size: Sequence[int], width: int, patch: int | None = None) -> None:
        longest = max(size)
        self.patch = patch or (1 if longest <= 16 else max(2, 2 ** math.ceil(math.log2(longest / 32))))
        finest = math.ceil(longest / self.patch)
        levels = 1 + (max(1, math.ceil(math.log2(finest / 8))) if finest > 4 else 0)
        multiple = 2 ** (levels - 1)
        base = [math.ceil(n / (self.patch * multiple)) for n in size]
        self.sizes = [[n * multiple // 2**level for n in base] for level in range(levels)]
        self.widths = [max(4, width // 2), *[width] * (levels - 1)] if levels > 1 else [width]
        self.padded = [n * self.patch for n in self.sizes[0]]


def pad_to(x: Tensor, size: Sequence[int]) -> Tensor:
    """x with its last element of each axis repeated up to `size`."""
    short = [m - n for n, m in zip(x.shape[2:], size, strict=True)]
    if not any(short):
        return x
    for axis, missing in enumerate(short, 2):
        x = torch.cat([x, x.narrow(axis, x.shape[axis] - 1, 1).repeat_interleave(missing, axis)], axis)
    return x


class ClassNorm(nn.Module):
    """Normalisation whose scale and shift depend on the class, if there are classes (de Vries et al. 2017).

    The noise alone enters below, so the class cannot swamp it before the first normalisation.
    """

    def __init__(self, norm: Norm, axes: int, width: int, classes: int) -> None:
        super().__init__()
        self.norm = batch_norm(axes, width) if norm == "batch" else group_norm(width)
        self.modulate = edge(zero(nn.Linear(EMBEDDING, 2 * width))) if classes else None

    def forward(self, x: Tensor, e: Tensor | None) -> Tensor:
        """x [B, C, *size], e [B, E] or None -> [B, C, *size]."""
        x = self.norm(x)
        if self.modulate is None:
            return x
        scale, shift = self.modulate(e)[(...,) + (None,) * (x.ndim - 2)].chunk(2, 1)
        return torch.addcmul(shift, x, 1 + scale)


class GeneratorLayers(nn.Module):
    """`depth` layers of x + conv(relu(norm(x)))."""

    def __init__(self, axes: int, width: int, depth: int, norm: Norm, classes: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([ClassNorm(norm, axes, width, classes) for _ in range(depth)])
        self.convs = nn.ModuleList([conv(axes, width, width, bias=False) for _ in range(depth)])

    def forward(self, x: Tensor, e: Tensor | None) -> Tensor:
        for norm, layer in zip(self.norms, self.convs, strict=True):
            x = x + layer(F.relu(norm(x, e)))
        return x


class CriticLayers(nn.Module):
    """`depth` layers of x + conv(leaky_relu(x))."""

    def __init__(self, axes: int, width: int, depth: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList([conv(axes, width, width) for _ in range(depth)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.convs:
            x = x + layer(F.leaky_relu(x, 0.2))
        return x


class ConvGenerator(nn.Module):
    """Noise to a small grid by a linear map, then layers and doublings (1x1 convolution, depth to space)."""

    def __init__(
        self,
        spec: Grid,
        latent: int,
        classes: int,
        *,
        width: int = 128,
        depth: int = 1,
        norm: Norm = "batch",
        patch: int | None = None,
    ) -> None:
        super().__init__()
        plan, axes = Pyramid(spec.size, width, patch), spec.axes
        self.size, self.patch, self.base = spec.size, plan.patch, plan.sizes[-1]
        self.label = edge(nn.Embedding(classes, EMBEDDING)) if classes else None
        self.inputs = edge(nn.Linear(latent, plan.widths[-1] * math.prod(self.base)))
        widths = plan.widths[::-1]
        self.layers = nn.ModuleList([GeneratorLayers(axes, w, depth, norm, classes) for w in widths])
        self.finer = nn.ModuleList(
            [conv(axes, wide, fine * 2**axes, kernel=1, bias=False) for wide, fine in pairwise(widths)]
        )
        self.norm = ClassNorm(norm, axes, widths[-1], classes)
        self.outputs = edge(conv(axes, widths[-1], spec.channels * plan.patch**axes))

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """z [B, Z], label [B] int64 -> [B, C, *size]."""
        e = None if self.label is None else self.label(label)
        h = self.inputs(z).unflatten(1, (-1, *self.base))
        for level, layers in enumerate(self.layers):
            if level:
                h = shuffle(self.finer[level - 1](h), 2)
            h = layers(h, e)
        h = self.outputs(F.relu(self.norm(h, e)))
        return torch.tanh(crop(shuffle(h, self.patch), self.size).float())


class Head(nn.Module):
    """Features to scores: [B, D], label [B] -> [B], with the label's projection if there are classes.

    In fp32 whatever the rest is in: rounded to bf16, scores near 2 would be off by a tenth of the usual margin between
    real and generated ones.
    """

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.out = edge(nn.Linear(width, 1))
        self.label = edge(nn.Embedding(classes, width)) if classes else None
        self.scale = width**-0.5

    def forward(self, h: Tensor, label: Tensor | None) -> Tensor:
        with torch.autocast(h.device.type, enabled=False):
            h = h.float()
            score: Tensor = self.out(h)[:, 0]
            if self.label is not None:
                score = score + self.scale * (h * self.label(label)).sum(1)
            return score


def minibatch_deviation(h: Tensor, group: int) -> Tensor:
    """[B, D] -> [B, D]: standard deviation of each feature within groups of `group` consecutive examples.

    A critic sees by it that samples resemble each other (Karras et al. 2018, "Progressive growing of GANs", section 3;
    here of the last features, one figure each instead of one average over the grid).
    Groups are of consecutive examples, so micro-batches that are multiples of `group` give what the full batch gives. A
    batch that is not such a multiple is one group.
    """
    group = group if len(h) % group == 0 else len(h)
    g = h.float().unflatten(0, (-1, group))
    deviation = ((g - g.mean(1, keepdim=True)).square().mean(1) + 1e-6).sqrt()
    return deviation.repeat_interleave(group, 0)


class ConvCritic(nn.Module):
    """Layers and halvings (2x2 convolution), a hidden linear layer, minibatch deviation and the head; no norm."""

    def __init__(
        self,
        spec: Grid,
        classes: int,
        *,
        width: int = 128,
        depth: int = 1,
        group: int = 8,
        features: int = 128,
        patch: int | None = None,
    ) -> None:
        super().__init__()
        plan, axes = Pyramid(spec.size, width, patch), spec.axes
        self.padded, self.patch, self.group = plan.padded, plan.patch, group
        self.inputs = edge(conv(axes, spec.channels * plan.patch**axes, plan.widths[0]))
        self.layers = nn.ModuleList([CriticLayers(axes, w, depth) for w in plan.widths])
        self.coarser = nn.ModuleList(
            [conv(axes, fine, wide, kernel=2, stride=2) for fine, wide in pairwise(plan.widths)]
        )
        self.hidden = nn.Linear(plan.widths[-1] * math.prod(plan.sizes[-1]), features)
        self.head = Head(2 * features, classes)
        convolutions = [m for m in self.modules() if isinstance(m, nn.Conv1d | nn.Conv2d | nn.Conv3d)]
        for m in convolutions:
            nn.init.kaiming_normal_(m.weight, 0.2)
            if m.bias is not None:
                nn.init.zeros_(m.bias)

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """x [B, C, *size], label [B] int64 -> [B]."""
        h = self.inputs(unshuffle(pad_to(x, self.padded), self.patch))
        for level, layers in enumerate(self.layers):
            if level:
                h = self.coarser[level - 1](F.leaky_relu(h, 0.2))
            h = layers(h)
        h = F.leaky_relu(self.hidden(F.leaky_relu(h, 0.2).flatten(1)), 0.2)
        return self.head(torch.cat([h, minibatch_deviation(h, self.group).to(h.dtype)], 1), label)


class MLPGenerator(nn.Module):
    """Noise through hidden leaky ReLU layers to sigmoid outputs, rescaled to [-1, 1], after Goodfellow et al. 2014.

    Without classes: in trials with a class concatenated to the noise, every class became a single image.
    """

    def __init__(self, spec: Grid, latent: int, *, widths: Sequence[int] = (256, 512, 1024)) -> None:
        super().__init__()
        self.shape = spec.shape
        self.layers = nn.ModuleList([nn.Linear(a, b) for a, b in pairwise([latent, *widths])])
        self.outputs = edge(nn.Linear(widths[-1], spec.dimensions))

    def forward(self, z: Tensor, label: None = None) -> Tensor:
        """z [B, Z] -> [B, C, *size]."""
        for layer in self.layers:
            z = F.leaky_relu(layer(z), 0.2)
        return 2 * torch.sigmoid(self.outputs(z).float()).unflatten(1, self.shape) - 1


class MLPCritic(nn.Module):
    """Flattened grids through layers with dropout: leaky ReLU, or with `pieces` > 1 maxout (Goodfellow et al. 2013)."""

    def __init__(
        self, spec: Grid, *, widths: Sequence[int] = (512, 256), pieces: int = 1, dropout: float = 0.3
    ) -> None:
        super().__init__()
        self.pieces, self.dropout = pieces, dropout
        sizes = [spec.dimensions, *widths]
        self.layers = nn.ModuleList([nn.Linear(a, b * pieces) for a, b in pairwise(sizes)])
        edge(self.layers[0])
        self.head = Head(sizes[-1], 0)

    def forward(self, x: Tensor, label: None = None) -> Tensor:
        """x [B, C, *size] -> [B]."""
        h = x.flatten(1)
        for layer in self.layers:
            h = layer(h)
            h = h.unflatten(1, (-1, self.pieces)).amax(2) if self.pieces > 1 else F.leaky_relu(h, 0.2)
            h = F.dropout(h, self.dropout, self.training)
        return self.head(h, None)
