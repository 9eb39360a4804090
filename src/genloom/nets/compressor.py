"""The autoencoder under a latent flow: few smooth code dimensions, sharp decodings.

Rombach et al. 2022, "High-resolution image synthesis with latent diffusion models": reconstruction, a slight KL term
and a faint adversarial loss (here relativistic, with R1 and R2 penalties, Huang et al. 2024).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genloom.core.batch import Batch
from genloom.core.config import Settings, setting
from genloom.core.family import Clock, Update
from genloom.core.optim import OptimiserConfig, edge
from genloom.core.rng import Rng
from genloom.core.spec import Grid
from genloom.nets.blocks import conv
from genloom.nets.coder import Decoder, Encoder


class CompressorConfig(Settings):
    """Settings of the autoencoder that a latent flow trains first."""

    codes: int = setting(32, "Width of a code.", ge=1)
    share: float = setting(0.4, "Share of the training that the autoencoder gets.", unit="share", gt=0, lt=1)
    batch: int = setting(64, "Batch of the autoencoder.", unit="examples", ge=1)
    encoder_width: int = setting(64, "Channels of the encoder.", unit="channels", ge=4, multiple_of=4)
    decoder_width: int = setting(96, "Channels of the decoder.", unit="channels", ge=4, multiple_of=4)
    kl: float = setting(3e-4, "Weight of the KL term, in squared error a nat.", ge=0)
    adversarial: float = setting(0.02, "Weight of the adversarial loss; 0 is none.", ge=0)
    adversarial_from: float = setting(
        0.2, "Share of the autoencoder's training after which it begins.", unit="share", ge=0, le=1
    )
    penalty_every: int = setting(8, "Steps between two gradient penalties of the critic.", unit="steps", ge=1)
    drop_label: float = setting(
        0.1, "Share of examples decoded without their class in training.", unit="share", ge=0, le=1
    )
    optimiser: Literal["adamw", "muon"] = setting(
        "muon", "adamw, or muon on hidden weight matrices with adamw elsewhere."
    )
    lr: float = setting(2e-3, "Peak learning rate of AdamW.", gt=0)
    muon_lr: float = setting(0.02, "Peak learning rate of Muon.", gt=0)


class PatchCritic(nn.Module):
    """Scores patches of a grid and averages the scores: [B, C, *size] -> [B] (Isola et al. 2017)."""

    def __init__(self, spec: Grid, width: int = 32) -> None:
        super().__init__()
        a = spec.axes
        self.layers = nn.ModuleList(
            [
                edge(conv(a, spec.channels, width, 4, 2)),
                conv(a, width, 2 * width, 4, 2),
                conv(a, 2 * width, 2 * width),
            ]
        )
        self.out = edge(conv(a, 2 * width, 1))

    def forward(self, x: Tensor) -> Tensor:
        short = [max(0, 4 - n) for n in x.shape[2:]]
        x = F.pad(x, [p for n in reversed(short) for p in (0, n)])
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
        return self.out(x).float().flatten(1).mean(1)


class Compressor(nn.Module):
    """Encoder and decoder between grids and codes [B, D], trained by `updates`; frozen afterwards."""

    def __init__(self, spec: Grid, config: CompressorConfig, classes: int) -> None:
        super().__init__()
        self.config, self.classes = config, classes
        width = 64 if classes else 0  # of the class embedding: what the class tells need not be in the code
        self.coder = nn.ModuleDict(
            {
                "encoder": Encoder(spec, 2 * config.codes, config.encoder_width, 1),
                "decoder": Decoder(spec, config.codes, config.decoder_width, 1, embedding=width),
            }
        )
        if classes:
            self.coder["label"] = edge(nn.Embedding(classes + 1, width))
        self.critic = PatchCritic(spec) if config.adversarial else None

    def players(self) -> dict[str, nn.Module]:
        return {"autoencoder": self.coder} | ({"critic": self.critic} if self.critic is not None else {})

    def optimisers(self) -> dict[str, OptimiserConfig]:
        coder = OptimiserConfig(kind=self.config.optimiser, lr=self.config.lr, muon_lr=self.config.muon_lr)
        critic = OptimiserConfig(kind="adamw", lr=self.config.lr / 2, beta1=0.0)
        return {"autoencoder": coder} | ({"critic": critic} if self.critic is not None else {})

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z | x), each [B, D]."""
        mean, logvar = self.coder["encoder"](x).float().chunk(2, 1)
        return mean, logvar.clamp(-12, 4)

    def encode(self, x: Tensor) -> Tensor:
        return self.posterior(x)[0]

    def decode(self, z: Tensor, label: Tensor | None) -> Tensor:
        """Grids of codes [B, D] and classes [B]; class index `classes` or None means "no class"."""
        e = None
        if self.classes:
            e = F.silu(
                self.coder["label"](torch.full((len(z),), self.classes, device=z.device) if label is None else label)
            )
        out: Tensor = self.coder["decoder"](z, e).float()
        return out

    def updates(self, batch: Batch, clock: Clock, rng: Rng) -> Iterator[Update]:
        c, x = self.config, batch.x
        mean, logvar = self.posterior(x)
        z = mean + (0.5 * logvar).exp() * rng.normal("code", *mean.shape)
        label = batch.condition.label if self.classes else None
        if label is not None:
            label = torch.where(rng.uniform("drop", len(x)) < c.drop_label, self.classes, label)
        y = self.decode(z, label)
        error = F.mse_loss(y, x) + 0.3 * F.l1_loss(y, x)
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum(1).mean()
        loss = error + c.kl * kl
        critic = self.critic if clock.fraction >= c.share * c.adversarial_from else None
        if critic is not None:
            with torch.no_grad():
                real = critic(x)
            loss = loss + c.adversarial * F.softplus(real - critic(y)).mean()
        yield Update("autoencoder", loss, {"reconstruction": error, "kl": kl})
        if critic is not None:
            yield Update("critic", self._critic_loss(critic, x, y.detach(), clock))

    def _critic_loss(self, critic: PatchCritic, x: Tensor, y: Tensor, clock: Clock) -> Tensor:
        """Relativistic pairing loss, with R1 and R2 every few steps."""
        both = torch.cat([x, y])
        lazy = clock.step % self.config.penalty_every == 0
        both.requires_grad_(lazy)
        scores = critic(both)
        real, fake = scores.chunk(2)
        loss = F.softplus(fake - real).mean()
        if lazy:
            (gradient,) = torch.autograd.grad(scores.sum(), both, create_graph=True)
            loss = loss + 0.3 * self.config.penalty_every * gradient.float().square().flatten(1).sum(1).mean()
        return loss
