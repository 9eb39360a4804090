"""The network of a variational autoencoder: one code vector and, as a ladder, further layers of latent grids below
it.

Top-down inference as in Sonderby et al. 2016, "Ladder variational autoencoders"; every posterior is relative to its
prior as in Vahdat & Kautz 2020 (NVAE, residual normal) and a layer stands before each residual block as in Child 2021
(VDVAE).

Shapes: `B` batch, `D` width of the code vector, `K` channels of a latent grid, `E` width of the class embedding.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from genloom.core.optim import edge
from genloom.core.spec import Grid
from genloom.nets.blocks import Residual, conv, zero
from genloom.nets.coder import Decoder, Encoder

Normal = tuple[Tensor, Tensor]  # mean and log-variance, of equal shape
Choose = Callable[[int, "Rung", Tensor], Tensor]  # (layer, rung, h) -> its latents [B, K, *size]


def kl_normal(change: Tensor, log_ratio: Tensor, prior_logvar: Tensor | float = 0.0) -> Tensor:
    """[B] KL(q || p) in nats of normals whose means differ by `change` and whose log-variances by `log_ratio` (q's
    less p's)."""
    prior_variance = math.exp(prior_logvar) if isinstance(prior_logvar, float) else prior_logvar.exp()
    return 0.5 * (change.square() / prior_variance + log_ratio.exp() - 1 - log_ratio).flatten(1).sum(1)


def log_normal(z: Tensor, mean: Tensor | float, logvar: Tensor | float) -> Tensor:
    """[B] log-density of z under a normal, summed over its values."""
    scale = math.exp(logvar) if isinstance(logvar, float) else logvar.exp()
    return -0.5 * ((z - mean).square() / scale + logvar + math.log(2 * math.pi)).flatten(1).sum(1)


class Rung(nn.Module):
    """One layer of latent grids between the decoder's state h [B, C, *size] and the encoder's features
    f [B, F, *size]."""

    def __init__(self, axes: int, channels: int, features: int, codes: int, embedding: int) -> None:
        super().__init__()
        self.context = Residual(axes, channels, embedding)  # lets the prior see what the layers above say together
        self.prior_net = edge(zero(conv(axes, channels, 2 * codes)))
        self.change_net = edge(conv(axes, channels + features, 2 * codes))
        self.project = edge(conv(axes, codes, channels, kernel=1))

    def prior(self, h: Tensor) -> Normal:
        """p(z | h)."""
        mean, logvar = self.prior_net(h).float().chunk(2, 1)
        return mean, logvar.clamp(-8, 4)

    def change(self, h: Tensor, f: Tensor) -> Normal:
        """What q(z | h, x) adds to the prior's mean and log-variance."""
        mean, logvar = self.change_net(torch.cat([h, f], 1)).float().chunk(2, 1)
        return mean, logvar.clamp(-8, 4)


class Coder(nn.Module):
    """Encoder to a normal over codes [B, D], decoder back, a class embedding if `classes`, and rungs of `ladder`
    channels if not 0.

    Class index `classes` means "no class".
    """

    def __init__(
        self,
        spec: Grid,
        latent: int,
        encoder_width: int,
        decoder_width: int,
        depth: int,
        outputs_per_value: int,
        classes: int = 0,
        ladder: int = 0,
        embedding: int = 64,
    ) -> None:
        super().__init__()
        self.latent, self.classes = latent, classes
        self.encoder = Encoder(spec, 2 * latent, encoder_width, depth)
        self.label = edge(nn.Embedding(classes + 1, embedding)) if classes else None
        self.decoder = Decoder(spec, latent, decoder_width, depth, outputs_per_value, embedding if classes else 0)
        rungs = depth if ladder else 0
        self.rungs = nn.ModuleList(
            [Rung(spec.axes, decoder_width, encoder_width, ladder, embedding if classes else 0) for _ in range(rungs)]
        )
        self.shapes = [(ladder, *self.decoder.folding.coarse)] * rungs  # of the rungs' latents

    def posterior(self, x: Tensor) -> tuple[Normal, Tensor]:
        """q(z | x), each [B, D], and the encoder's features for the rungs."""
        out, features = self.encoder.features(x)
        mean, logvar = out.float().chunk(2, 1)
        return (mean, logvar.clamp(-14, 4)), features

    def decode(self, z: Tensor, label: Tensor | None, choose: Choose) -> Tensor:
        """Decoder output [B, outputs_per_value * C, *size] for codes z [B, D] and classes [B]; `choose` gives each
        rung's latents."""

        e = None
        if self.label is not None:
            e = self.label(torch.full((len(z),), self.classes, device=z.device) if label is None else label)

        def inject(i: int, h: Tensor) -> Tensor:
            rung = self.rungs[i]
            assert isinstance(rung, Rung)
            h = rung.context(h, e)
            projected: Tensor = rung.project(choose(i, rung, h).to(h.dtype))
            return h + projected

        out: Tensor = self.decoder(z, e, inject if self.rungs else None)
        return out
