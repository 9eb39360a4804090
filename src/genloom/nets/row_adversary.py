"""Generator and critic of adversarial training on rows of tables.

Both see points of rows (nets/row_heads.py) and which entries are known: the conditional vector of Xu et al. 2019,
"Modeling tabular data using conditional GAN" (CTGAN), for any columns at once. What is known stands in the generated
row as it is. Levels are drawn by Gumbel-max; gradients go through the softmax at a temperature (Jang et al. 2017,
straight-through Gumbel-softmax), so that the critic never sees anything but levels.

Shapes: `B` rows, `S` spans, `P` entries of a point, `Z` width of the noise, `W` width, `K` outputs.
"""

from __future__ import annotations

from typing import NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genloom.core.batch import Batch
from genloom.core.config import Settings, setting
from genloom.core.optim import edge
from genloom.core.rng import Rng
from genloom.core.spec import Row
from genloom.nets.adversary import Head, minibatch_deviation
from genloom.nets.columns import Block
from genloom.nets.row_heads import Points, inverse, together

TINY = 1e-6  # uniform numbers stay so far from 0 and 1


class RowGameConfig(Settings):
    """The generator and the critic of rows of a table."""

    width: int = setting(256, "Width of both.", unit="values", ge=8)
    depth: int = setting(2, "Residual blocks of the generator; layers of the critic after its first.", ge=1)
    directions: int = setting(
        64, "Levels up to which a category has an input each; wider ones get so many inputs at random.", ge=2
    )
    gumbel: float = setting(0.5, "Temperature of the softmax that gradients of levels go through.", gt=0)
    balance: bool = setting(True, "Draw training rows by their levels, rare ones more often than they are.")
    more_known: float = setting(
        0.5, "Share of training rows of which further columns are known, any number of them.", unit="share", ge=0, le=1
    )


class Given(NamedTuple):
    """What is known of rows, and the chance of their levels. rows, mask [B, S]; points [B, P]; uniform [B, L] in
    (0, 1), for each level of each category."""

    rows: Tensor
    mask: Tensor
    points: Tensor
    uniform: Tensor


@final
class RowGenerator(nn.Module):
    """Noise [B, Z] and what is known -> points [B, P]."""

    def __init__(self, spec: Row, latent: int, config: RowGameConfig) -> None:
        super().__init__()
        self.spec, self.gumbel, self.more, self.latent = spec, config.gumbel, config.more_known, latent
        self.points = Points(spec, config.directions)
        self.numbers = [i for i, s in enumerate(spec.spans) if s.head == "numeric"]
        self.categories = [i for i, s in enumerate(spec.spans) if s.head == "category"]
        self.sizes = [len(self.numbers), *(spec.spans[i].levels for i in self.categories)]
        self.inputs = edge(nn.Linear(latent + self.points.width + spec.width, config.width))
        self.trunk = nn.Sequential(
            *(Block(config.width, 0.0) for _ in range(config.depth)), nn.LayerNorm(config.width), nn.SiLU()
        )
        self.outputs = edge(nn.Linear(config.width, sum(self.sizes)))

    def given(self, batch: Batch, rng: Rng) -> Given:
        """What a training batch is conditioned on: what the data stage says is known, and in a share of the rows any
        number of further columns; a number is known where its gate is."""
        (n, width), told = batch.x.shape, batch.condition.mask
        share = rng.uniform("how many", n, 1) * (rng.uniform("more", n, 1) < self.more)
        more = rng.uniform("which", n, width) < share
        gates = torch.tensor([i if g < 0 else g for i, g in enumerate(self.spec.gates())], device=more.device)
        mask = more[:, gates] if told is None else told | more[:, gates]
        points = self.points(batch.x) * self.points.spread(mask)
        return Given(batch.x, mask, points, rng.uniform("levels", n, sum(self.sizes[1:])))

    def forward(self, z: Tensor, given: Given) -> Tensor:
        numbers, *logits = self._outputs(z, given.points, given.mask)
        noise = given.uniform.clamp(TINY, 1 - TINY).split(self.sizes[1:], 1)
        parts: dict[int, Tensor] = {}
        levels: dict[int, Tensor] = {}
        for i, own, u in zip(self.categories, logits, noise, strict=True):
            noisy = own - (-u.log()).log()
            soft = (noisy / self.gumbel).softmax(1) @ self.points.levels(i)
            drawn = noisy.argmax(1)
            levels[i] = torch.where(given.mask[:, i], given.rows[:, i].round().long(), drawn)
            parts[i] = self.points.levels(i)[drawn] + soft - soft.detach()
        for k, i in enumerate(self.numbers):
            gate = self.spec.gates()[i]
            value = numbers[:, k, None]
            parts[i] = value if gate < 0 else value * (levels[gate] == 0)[:, None]
        made = torch.cat([parts[i] for i in range(self.spec.width)], 1)
        return torch.where(self.points.spread(given.mask), given.points, made)

    def _outputs(self, z: Tensor, points: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        h = self.inputs(torch.cat([z, points, mask.to(z)], 1))
        return self.outputs(self.trunk(h)).float().split(self.sizes, 1)

    @torch.no_grad()
    def rows(self, z: Tensor, known: Tensor, mask: Tensor) -> Tensor:
        """[B, S] rows of noise z [B, Z + S], whose last entries choose the levels."""
        size = together(self.spec)
        return torch.cat([self._rows(*p) for p in zip(z.split(size), known.split(size), mask.split(size), strict=True)])

    def _rows(self, z: Tensor, known: Tensor, mask: Tensor) -> Tensor:
        z, chance = z.split([self.latent, self.spec.width], 1)
        numbers, *logits = self._outputs(z, self.points(known) * self.points.spread(mask), mask)
        u = torch.special.ndtr(chance.double())
        drawn = {i: inverse(own, u[:, i])[0].float() for i, own in zip(self.categories, logits, strict=True)}
        drawn |= {i: numbers[:, k] for k, i in enumerate(self.numbers)}
        out = known.clone()
        for i, gate in enumerate(self.spec.gates()):
            value = drawn[i] if gate < 0 else torch.where(out[:, gate] == 0, drawn[i], 0.0)
            out[:, i] = torch.where(mask[:, i], known[:, i], value)
        return out


@final
class RowCritic(nn.Module):
    """Points [B, P] and what is known -> scores [B]; rows are compared within groups (as PacGAN: Lin et al. 2018)."""

    def __init__(self, spec: Row, config: RowGameConfig, group: int) -> None:
        super().__init__()
        points = sum(1 if s.head == "numeric" else min(s.levels, config.directions) for s in spec.spans)
        self.inputs = edge(nn.Linear(points + spec.width, config.width))
        self.layers = nn.ModuleList([nn.Linear(config.width, config.width) for _ in range(config.depth)])
        self.group, self.head = group, Head(2 * config.width, 0)

    def forward(self, x: Tensor, given: Given) -> Tensor:
        h = F.leaky_relu(self.inputs(torch.cat([x, given.mask.to(x)], 1)), 0.2)
        for layer in self.layers:
            h = h + F.leaky_relu(layer(h), 0.2)
        scores: Tensor = self.head(torch.cat([h, minibatch_deviation(h, self.group)], 1), None)
        return scores


class Shares(nn.Module):
    """How often each level of each category is, from which a column and its level are drawn to condition rows on."""

    counts: Tensor  # [L] of all categories, one after the other

    def __init__(self, spec: Row) -> None:
        super().__init__()
        self.width = spec.width
        self.levels = {i: s.levels for i, s in enumerate(spec.spans) if s.head == "category" and s.levels > 1}
        self.register_buffer("counts", torch.ones(sum(self.levels.values()), dtype=torch.float64))

    def measure(self, x: Tensor) -> None:
        """Count the levels of rows [N, S]."""
        counted = [x[:, i].round().long().bincount(minlength=n) for i, n in self.levels.items()]
        self.counts.copy_(torch.cat(counted) if counted else self.counts)

    def draw(self, n: int, rng: Rng) -> tuple[Tensor, Tensor]:
        """Rows [n, S] of which one column is known, and bool [n, S] which one."""
        known = torch.zeros(n, self.width, device=self.counts.device)
        mask = torch.zeros(n, self.width, dtype=torch.bool, device=self.counts.device)
        u = rng.uniforms("column", n, 2)
        column = (u[:, 0] * len(self.levels)).long()
        for k, (i, counts) in enumerate(zip(self.levels, self.counts.split([*self.levels.values()]), strict=True)):
            rows = column == k
            edges = counts.cumsum(0)
            level = torch.searchsorted(edges, u[rows, 1] * edges[-1], right=True).clamp(max=len(edges) - 1)
            known[rows, i], mask[rows, i] = level.float(), True
        return known, mask
