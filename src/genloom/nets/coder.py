"""Convolutional encoder and decoder between a grid and one vector.

Both fold the grid first (space to depth), so that all the work is done at two coarse resolutions: 14x14 and 7x7 for
an image of 28x28, 16x16 and 8x8 for one of 64x64. Any size and 1 to 3 axes: padded at the end of each axis, then
cropped.

Shapes: `B` batch, `C` channels of the spec, `E` width of a conditioning vector.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from genloom.core.optim import edge
from genloom.core.spec import Grid
from genloom.nets.blocks import Residual, conv, group_norm, shuffle, unshuffle

Inject = Callable[[int, Tensor], Tensor]


class Folding:
    """How a grid is folded: `patch` is the space-to-depth factor, `fine` the size after it, `coarse` the half of
    that."""

    def __init__(self, spec: Grid) -> None:
        self.size = spec.size
        self.patch = max(1, 2 ** math.ceil(math.log2(max(spec.size) / 16)))
        multiple = 2 * self.patch
        self.padded = tuple(math.ceil(n / multiple) * multiple for n in spec.size)
        self.channels = spec.channels * self.patch**spec.axes
        self.fine = tuple(n // self.patch for n in self.padded)
        self.coarse = tuple(n // 2 for n in self.fine)

    def fold(self, x: Tensor) -> Tensor:
        """[B, C, *size] -> [B, C * patch**axes, *fine]; what is padded repeats the edge."""
        if self.padded != self.size:
            short = [n - m for n, m in zip(self.padded, self.size, strict=True)]
            x = F.pad(x, [p for n in reversed(short) for p in (0, n)], mode="replicate")
        return unshuffle(x, self.patch)

    def unfold(self, x: Tensor) -> Tensor:
        """[B, K * patch**axes, *fine] -> [B, K, *size]."""
        x = shuffle(x, self.patch)
        for axis, n in enumerate(self.size, 2):
            x = x.narrow(axis, 0, n)
        return x


def fine_width(width: int) -> int:
    """Channels at the finer resolution, about a third of those at the coarser: four times the positions, half the
    work."""
    return max(8, round(width / 24) * 8)


class Encoder(nn.Module):
    """Grid to vector: x [B, C, *size] (and e [B, embedding]) -> [B, outputs].

    width: channels at the coarser resolution. depth: residual blocks there. embedding: width of a conditioning
    vector, 0 for none.
    """

    def __init__(self, spec: Grid, outputs: int, width: int, depth: int, embedding: int = 0) -> None:
        super().__init__()
        self.folding = Folding(spec)
        fine = fine_width(width)
        self.inputs = edge(conv(spec.axes, self.folding.channels, fine))
        self.down = conv(spec.axes, fine, width, kernel=2, stride=2)
        self.blocks = nn.ModuleList([Residual(spec.axes, width, embedding) for _ in range(depth)])
        self.norm = group_norm(width)
        self.outputs = edge(nn.Linear(width * math.prod(self.folding.coarse), outputs))

    def forward(self, x: Tensor, e: Tensor | None = None) -> Tensor:
        return self.features(x, e)[0]

    def features(self, x: Tensor, e: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The vector [B, outputs] and the features it was made of, [B, width, *coarse]."""
        h = self.down(F.silu(self.inputs(self.folding.fold(x))))
        for block in self.blocks:
            h = block(h, e)
        h = F.silu(self.norm(h))
        return self.outputs(h.flatten(1)), h


class Decoder(nn.Module):
    """Vector to grid: z [B, inputs] (and e [B, embedding]) -> [B, outputs_per_value * C, *size].

    width: channels at the coarser resolution. depth: residual blocks at each resolution. `forward` may be given
    `inject(i, h)`, which returns h with something added before the i-th residual block at the coarser resolution.
    """

    def __init__(
        self, spec: Grid, inputs: int, width: int, depth: int, outputs_per_value: int = 1, embedding: int = 0
    ) -> None:
        super().__init__()
        self.folding = Folding(spec)
        axes, fine = spec.axes, fine_width(width)
        self.inputs = edge(nn.Linear(inputs, width * math.prod(self.folding.coarse)))
        self.coarse = nn.ModuleList([Residual(axes, width, embedding) for _ in range(depth)])
        self.up = conv(axes, width, fine * 2**axes, kernel=1)
        self.fine = nn.ModuleList([Residual(axes, fine, embedding) for _ in range(depth)])
        self.norm = group_norm(fine)
        self.outputs = edge(conv(axes, fine, self.folding.channels * outputs_per_value))

    def forward(self, z: Tensor, e: Tensor | None = None, inject: Inject | None = None) -> Tensor:
        h = self.inputs(z).unflatten(1, (-1, *self.folding.coarse))
        for i, block in enumerate(self.coarse):
            h = block(inject(i, h) if inject else h, e)
        h = shuffle(self.up(h), 2)
        for block in self.fine:
            h = block(h, e)
        return self.folding.unfold(self.outputs(F.silu(self.norm(h))))
