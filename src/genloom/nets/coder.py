"""Convolutional encoder and decoder between a grid and one vector, or a coarse grid of codes.

Both fold the grid first (space to depth), so that all the work is done at two coarse resolutions: 14x14 and 7x7 for
an image of 28x28, 16x16 and 8x8 for one of 64x64. Any size and 1 to 3 axes: padded at the end of each axis, then
cropped.

Shapes: `B` batch, `C` channels of the spec, `E` width of a conditioning vector, `L` channels of a code.
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
    that. positions: most of them along an axis of the coarse grid."""

    def __init__(self, spec: Grid, positions: int = 8) -> None:
        self.size = spec.size
        self.patch = max(1, 2 ** math.ceil(math.log2(max(spec.size) / (2 * positions))))
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


class Descent(nn.Module):
    """Grid to features: x [B, C, *size] (and e [B, embedding]) -> [B, width, *coarse].

    width: channels at the coarser resolution. depth: residual blocks there. embedding: width of a conditioning
    vector, 0 for none.
    """

    def __init__(self, spec: Grid, folding: Folding, width: int, depth: int, embedding: int = 0) -> None:
        super().__init__()
        self.folding = folding
        fine = fine_width(width)
        self.inputs = edge(conv(spec.axes, self.folding.channels, fine))
        self.down = conv(spec.axes, fine, width, kernel=2, stride=2)
        self.blocks = nn.ModuleList([Residual(spec.axes, width, embedding) for _ in range(depth)])
        self.norm = group_norm(width)

    def descend(self, x: Tensor, e: Tensor | None) -> Tensor:
        h = self.down(F.silu(self.inputs(self.folding.fold(x))))
        for block in self.blocks:
            h = block(h, e)
        return F.silu(self.norm(h))


class Encoder(Descent):
    """Grid to vector: x [B, C, *size] (and e [B, embedding]) -> [B, outputs]. The rest as in Descent."""

    def __init__(self, spec: Grid, outputs: int, width: int, depth: int, embedding: int = 0) -> None:
        super().__init__(spec, Folding(spec), width, depth, embedding)
        self.outputs = edge(nn.Linear(width * math.prod(self.folding.coarse), outputs))

    def forward(self, x: Tensor, e: Tensor | None = None) -> Tensor:
        return self.features(x, e)[0]

    def features(self, x: Tensor, e: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The vector [B, outputs] and the features it was made of, [B, width, *coarse]."""
        h = self.descend(x, e)
        return self.outputs(h.flatten(1)), h


class GridEncoder(Descent):
    """Grid to coarse grid: x [B, C, *size] -> [B, outputs, *coarse]."""

    def __init__(self, spec: Grid, folding: Folding, outputs: int, width: int, depth: int) -> None:
        super().__init__(spec, folding, width, depth)
        self.outputs = edge(conv(spec.axes, width, outputs, kernel=1))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.outputs(self.descend(x, None))
        return out


class Ascent(nn.Module):
    """Features to grid: h [B, width, *coarse] (and e [B, embedding]) -> [B, outputs_per_value * C, *size].

    inputs: the layer before it. width: channels at the coarser resolution. depth: residual blocks at each resolution.
    """

    def __init__(
        self,
        spec: Grid,
        folding: Folding,
        inputs: nn.Module,
        width: int,
        depth: int,
        outputs_per_value: int = 1,
        embedding: int = 0,
    ) -> None:
        super().__init__()
        self.folding, self.inputs = folding, edge(inputs)
        axes, fine = spec.axes, fine_width(width)
        self.coarse = nn.ModuleList([Residual(axes, width, embedding) for _ in range(depth)])
        self.up = conv(axes, width, fine * 2**axes, kernel=1)
        self.fine = nn.ModuleList([Residual(axes, fine, embedding) for _ in range(depth)])
        self.norm = group_norm(fine)
        self.outputs = edge(conv(axes, fine, self.folding.channels * outputs_per_value))

    def ascend(self, h: Tensor, e: Tensor | None, inject: Inject | None = None) -> Tensor:
        for i, block in enumerate(self.coarse):
            h = block(inject(i, h) if inject else h, e)
        h = shuffle(self.up(h), 2)
        for block in self.fine:
            h = block(h, e)
        return self.folding.unfold(self.outputs(F.silu(self.norm(h))))


class Decoder(Ascent):
    """Vector to grid: z [B, inputs] (and e [B, embedding]) -> [B, outputs_per_value * C, *size]. The rest as in Ascent.

    `forward` may be given `inject(i, h)`, which returns h with something added before the i-th residual block at the
    coarser resolution.
    """

    def __init__(
        self, spec: Grid, inputs: int, width: int, depth: int, outputs_per_value: int = 1, embedding: int = 0
    ) -> None:
        folding = Folding(spec)
        layer = nn.Linear(inputs, width * math.prod(folding.coarse))
        super().__init__(spec, folding, layer, width, depth, outputs_per_value, embedding)

    def forward(self, z: Tensor, e: Tensor | None = None, inject: Inject | None = None) -> Tensor:
        return self.ascend(self.inputs(z).unflatten(1, (-1, *self.folding.coarse)), e, inject)


class GridDecoder(Ascent):
    """Coarse grid to grid: z [B, inputs, *coarse] (and e [B, embedding]) -> [B, C, *size]."""

    def __init__(self, spec: Grid, folding: Folding, inputs: int, width: int, depth: int, embedding: int = 0) -> None:
        super().__init__(spec, folding, conv(spec.axes, inputs, width), width, depth, embedding=embedding)

    def forward(self, z: Tensor, e: Tensor | None = None) -> Tensor:
        return self.ascend(self.inputs(z), e)
