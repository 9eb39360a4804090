"""The network of a flow over rows of a table: what a noisy point of a row tells of the row.

Of a number the network says, as on grids, in which direction it lies; it sees it also by sines and cosines (Gorishniy
et al. 2022, "On embeddings for numerical features in tabular deep learning"). Of a category it gives the probabilities
of the levels, learnt by cross-entropy; the direction is that towards their mean (Dieleman et al. 2022, "Continuous
diffusion for categorical data", score interpolation; Eijkelboom et al. 2024, "Variational flow matching"), which is the
exact velocity where the probabilities are right. In a share of the training rows some columns stand there without
noise, and the net is told which: any columns can then be given.

Shapes: `B` rows, `S` spans, `P` entries of a point, `K` outputs: an entry for each number, then each category's levels.
"""

from __future__ import annotations

from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genloom.core.config import Settings, setting
from genloom.core.rng import Rng
from genloom.core.spec import Row
from genloom.nets.mlp import ResidualMLP
from genloom.nets.row_heads import Points, inverse

WAVES = 4  # sines and cosines by which the net sees each number, of periods from 2 pi down by halves


class RowFieldConfig(Settings):
    """The network of a flow over rows."""

    width: int = setting(384, "Width.", unit="values", ge=8)
    depth: int = setting(3, "Residual blocks.", ge=1)
    directions: int = setting(
        64, "Levels up to which a category has an entry each; wider ones get so many entries at random.", ge=2
    )
    known: float = setting(
        0.5, "Share of training rows of which some columns, any number, are known.", unit="share", ge=0, le=1
    )


@final
class RowField(nn.Module):
    """Points [B, P], log-odds of time [B], class [B], bool [B, S] spans that are without noise -> outputs [B, K]."""

    def __init__(self, spec: Row, classes: int, config: RowFieldConfig) -> None:
        super().__init__()
        self.spec = spec
        self.points = Points(spec, config.directions)
        self.numbers = [i for i, s in enumerate(spec.spans) if s.head == "numeric"]
        self.categories = [i for i, s in enumerate(spec.spans) if s.head == "category"]
        self.sizes = [len(self.numbers), *(spec.spans[i].levels for i in self.categories)]
        self.known = config.known
        inputs = self.points.width + spec.width + 2 * WAVES * len(self.numbers)
        self.net = ResidualMLP(inputs, classes, width=config.width, depth=config.depth, outputs=sum(self.sizes))

    def forward(self, x: Tensor, logit: Tensor, label: Tensor, mask: Tensor) -> Tensor:
        numbers = x[:, self._of_numbers()]
        phases = torch.cat([2**k * numbers for k in range(WAVES)], 1)
        out: Tensor = self.net(torch.cat([x, mask.to(x), phases.sin(), phases.cos()], 1), logit, label)
        return out

    def some_known(self, n: int, rng: Rng) -> Tensor:
        """bool [n, S] spans of training rows that are known, each number with its gate."""
        share = rng.uniform("how many", n, 1) * (rng.uniform("known", n, 1) < self.known)
        gates = torch.tensor([i if g < 0 else g for i, g in enumerate(self.spec.gates())], device=share.device)
        return (rng.uniform("which", n, self.spec.width) < share)[:, gates]

    def kept(self, x: Tensor, points: Tensor, mask: Tensor) -> Tensor:
        """x [B, P] with the entries of points [B, P] in the spans where mask [B, S] is True."""
        return torch.where(self.points.spread(mask), points, x)

    def _of_numbers(self) -> list[int]:
        """The entries of a point that are numbers."""
        return [self.points.places[i].start for i in self.numbers]

    def loss(self, out: Tensor, target: Tensor, x: Tensor, mask: Tensor) -> Tensor:
        """Mean over rows of a mean over spans, those known by mask [B, S] as 0: the squared error of numbers' outputs
        against target [B, P], the nats of the levels of rows x [B, S]. A number that does not count is 0 and learnt as
        such, so that a point is never half known."""
        numbers, *logits = out.float().split(self.sizes, 1)
        errors = (numbers - target[:, self._of_numbers()]).square()
        each = {i: errors[:, k] for k, i in enumerate(self.numbers)}
        for i, z in zip(self.categories, logits, strict=True):
            each[i] = F.cross_entropy(z, x[:, i].round().long(), reduction="none")
        return (torch.stack([each[i] for i in range(self.spec.width)], 1) * ~mask).mean()

    def field(self, out: Tensor, x: Tensor, t: Tensor, skip: Tensor, scale: Tensor) -> Tensor:
        """[B, P] such that skip x + scale field is the velocity at points x [B, P] at time t."""
        numbers, *logits = out.float().split(self.sizes, 1)
        parts: dict[int, Tensor] = {i: numbers[:, k, None] for k, i in enumerate(self.numbers)}
        for i, z in zip(self.categories, logits, strict=True):
            own = x[:, self.points.places[i]]
            velocity = (z.softmax(1) @ self.points.levels(i) - own) / (1 - t)
            parts[i] = (velocity - skip * own) / scale
        return torch.cat([parts[i] for i in range(self.spec.width)], 1)

    def rows(self, out: Tensor, x: Tensor, u: Tensor, temperature: float, known: Tensor, mask: Tensor) -> Tensor:
        """[B, S] rows at the end of the way: numbers of points x [B, P], levels by the outputs [B, K] a little before
        and u [B, S] in (0, 1); the entries of known [B, S] where mask is True."""
        _, *logits = out.float().split(self.sizes, 1)
        drawn = {i: inverse(z, u[:, i], temperature)[0].float() for i, z in zip(self.categories, logits, strict=True)}
        rows = x.new_zeros(len(x), self.spec.width)
        for i, gate in enumerate(self.spec.gates()):
            value = drawn[i] if i in drawn else x[:, self.points.places[i].start]
            value = value if gate < 0 else torch.where(rows[:, gate] == 0, value, 0.0)
            rows[:, i] = torch.where(mask[:, i], known[:, i], value)
        return rows
