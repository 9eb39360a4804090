"""A row of a table from one code, and back: the networks of a variational autoencoder of rows, and codes that fit what
is known of a row.

Shapes: `B` rows, `S` spans, `D` width of the code vector, `K` codes that rows begin from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genloom.core.config import Settings, setting
from genloom.core.optim import edge
from genloom.core.rng import Rng
from genloom.core.spec import Row
from genloom.nets.columns import Block
from genloom.nets.density import MixtureDensity
from genloom.nets.ladder import log_normal
from genloom.nets.row_heads import Points, RowHead, RowLikelihood, together


class RowCoderConfig(Settings):
    """The encoder and the decoder of rows of a table."""

    width: int = setting(256, "Width of both.", unit="values", ge=8)
    depth: int = setting(2, "Residual blocks of each.", ge=1)
    components: int = setting(5, "Gaussians of the mixture that a number has.", ge=1)
    directions: int = setting(
        64, "Levels up to which a category has an input each; wider ones get so many inputs at random.", ge=2
    )


class RowOptions(Settings):
    """How rows of which parts are given are drawn."""

    codes: int = setting(
        1024, "Codes from the prior that such rows begin from, by how likely they make what is given.", ge=1, form="row"
    )
    rounds: int = setting(4, "Times that row and code are drawn anew given each other.", ge=0, form="row")


def price(options: RowOptions) -> float:
    """Work of a row of which parts are given, as a multiple of one of which nothing is: as measured on one core, a code
    to choose from costs 1/2000 and a round (encoding, two likelihoods and a draw) 2.5 of drawing a row."""
    return 1 + options.codes / 2000 + 2.5 * options.rounds


@final
class RowCoder(nn.Module):
    """q(z | row) and p(row | z) by residual networks."""

    def __init__(self, spec: Row, latent: int, config: RowCoderConfig) -> None:
        super().__init__()
        c, self.spec = config, spec
        self.points = Points(spec, c.directions)
        self.read = edge(nn.Linear(self.points.width, c.width))
        self.encoder = _trunk(c.width, c.depth)
        self.posterior_of = edge(nn.Linear(c.width, 2 * latent))
        self.code = edge(nn.Linear(latent, c.width))
        self.decoder = _trunk(c.width, c.depth)
        self.head = RowHead(spec, c.width, c.components)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x [B, S] -> mean and log-variance of the code [B, D]."""
        h = self.encoder(self.read(self.points(x)))
        mean, logvar = self.posterior_of(F.silu(h)).float().chunk(2, 1)
        return mean, logvar.clamp(-8, 4)

    def likelihood(self, z: Tensor) -> RowLikelihood:
        """p(row | z) of codes [B, D]."""
        likelihood: RowLikelihood = self.head(F.silu(self.decoder(self.code(z))))
        return likelihood

    def log_prob(self, x: Tensor, z: Tensor) -> Tensor:
        """[B] log p(x | z), numbers by their density."""
        return self.likelihood(z).log_prob(x)

    @torch.no_grad()
    def draw(self, z: Tensor, rng: Rng, temperature: float, *given: Tensor) -> Tensor:
        """[B, S] a row of each code. given: known and mask [B, S], if any."""
        u = rng.uniforms("row", len(z), self.spec.width)
        size = together(self.spec)
        parts = zip(*(t.split(size) for t in (z, u, *given)), strict=True)
        return torch.cat([self.likelihood(z).draw(u, temperature, *some) for z, u, *some in parts])

    @torch.no_grad()
    def drawn_given(
        self, known: Tensor, mask: Tensor, prior: MixtureDensity, rng: Rng, options: RowOptions, temperature: float
    ) -> Tensor:
        """[B, S] rows with the entries known [B, S] where mask is True and the others drawn given them: codes from the
        prior by how likely they make what is given (Rubin 1987, sampling importance resampling), then code and missing
        entries by turns (Mattei & Frellsen 2018, Metropolis-within-Gibbs, algorithm 2)."""
        n, device = len(known), known.device
        pool = prior.sample(options.codes, None, Rng(0, device=device))  # the same for all rows, however many
        size = together(self.spec)
        likely = torch.cat([self.likelihood(z).between(known, mask) for z in pool.split(size)], 1)  # [B, K]
        edges = likely.double().softmax(1).cumsum(1)
        place = rng.uniforms("chosen", n, 1) * edges[:, -1:]
        z = pool[(edges < place).sum(1).clamp(max=len(pool) - 1)]
        x = self.draw(z, rng, temperature, known, mask)
        for k in range(options.rounds):
            fresh = rng.fork("round", k)
            z = self._moved(x, z, prior, fresh)
            x = self.draw(z, fresh, temperature, known, mask)
        return x

    def _moved(self, x: Tensor, z: Tensor, prior: MixtureDensity, rng: Rng) -> Tensor:
        """[B, D] codes after a step of Metropolis and Hastings that leaves p(z | x) as it is, proposed by q(z | x)."""
        mean, logvar = self.posterior(x)
        other = mean + (0.5 * logvar).exp() * rng.normal_rows("code", *mean.shape)

        def weight(code: Tensor) -> Tensor:
            return _in_parts(lambda c, r, m, v: self.log_prob(r, c) + prior.log_prob(c, None) - log_normal(c, m, v),
                             together(self.spec), code, x, mean, logvar)  # fmt: skip

        accepted = rng.uniforms("accept", len(x), 1)[:, 0].log() < weight(other) - weight(z)
        return torch.where(accepted[:, None], other, z)


def _in_parts(score: Callable[..., Tensor], size: int, *tensors: Tensor) -> Tensor:
    """score of tensors with B rows, some rows at a time."""
    return torch.cat([score(*parts) for parts in zip(*(t.split(min(size, 2048)) for t in tensors), strict=True)])


def _trunk(width: int, depth: int) -> nn.Sequential:
    return nn.Sequential(*(Block(width, 0.0) for _ in range(depth)), nn.LayerNorm(width))
