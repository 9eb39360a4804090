"""Autoencoders that a generator of codes stands on: sharp decodings of codes through a bottleneck.

Rombach et al. 2022, "High-resolution image synthesis with latent diffusion models": reconstruction, a slight KL term
and a faint adversarial loss (here relativistic, with R1 and R2 penalties, Huang et al. 2024). The bottleneck here makes
few smooth code dimensions; that of nets/quantiser.py makes symbols.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar, Literal

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

EMBEDDING = 64  # width of the class embedding: what the class tells need not be in the code


class CodecConfig(Settings):
    """Settings of such an autoencoder, whatever its bottleneck."""

    encoder_width: int = setting(64, "Channels of the encoder.", unit="channels", ge=4, multiple_of=4)
    decoder_width: int = setting(96, "Channels of the decoder.", unit="channels", ge=4, multiple_of=4)
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


class CompressorConfig(CodecConfig):
    """Settings of the autoencoder that a latent flow trains first."""

    codes: int = setting(32, "Width of a code.", ge=1)
    share: float = setting(0.4, "Share of the training that the autoencoder gets.", unit="share", gt=0, lt=1)
    batch: int = setting(64, "Batch of the autoencoder.", unit="examples", ge=1)
    kl: float = setting(3e-4, "Weight of the KL term, in squared error a nat.", ge=0)


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


class Codec(nn.Module, ABC):
    """Encoder and decoder with a bottleneck between them, trained by `updates`.

    part: what its player is called. A decoder takes (code, e), e [B, EMBEDDING] an embedding of the class or None.
    """

    part: ClassVar[str] = "autoencoder"

    def __init__(self, spec: Grid, encoder: nn.Module, decoder: nn.Module, config: CodecConfig, classes: int) -> None:
        super().__init__()
        self.settings, self.classes = config, classes
        self.coder = nn.ModuleDict({"encoder": encoder, "decoder": decoder})
        if classes:
            self.coder["label"] = edge(nn.Embedding(classes + 1, EMBEDDING))
        self.critic = PatchCritic(spec) if config.adversarial else None

    @abstractmethod
    def bottleneck(self, x: Tensor, rng: Rng) -> tuple[Tensor, Tensor | None, dict[str, Tensor]]:
        """Of a training batch x [B, C, *size]: its codes, a penalty on them if there is one, and figures to log."""

    def players(self) -> dict[str, nn.Module]:
        return {self.part: self.coder} | ({"critic": self.critic} if self.critic is not None else {})

    def optimisers(self) -> dict[str, OptimiserConfig]:
        c = self.settings
        coder = OptimiserConfig(kind=c.optimiser, lr=c.lr, muon_lr=c.muon_lr)
        critic = OptimiserConfig(kind="adamw", lr=c.lr / 2, beta1=0.0)
        return {self.part: coder} | ({"critic": critic} if self.critic is not None else {})

    def decode(self, z: Tensor, label: Tensor | None) -> Tensor:
        """Grids of codes and classes [B]; class index `classes` or None means "no class"."""
        e = None
        if self.classes:
            e = F.silu(
                self.coder["label"](torch.full((len(z),), self.classes, device=z.device) if label is None else label)
            )
        out: Tensor = self.coder["decoder"](z, e).float()
        return out

    def updates(self, batch: Batch, clock: Clock, rng: Rng) -> Iterator[Update]:
        """One round of training; the clock's fraction is that of the autoencoder's own training."""
        c, x = self.settings, batch.x
        z, penalty, logs = self.bottleneck(x, rng)
        label = batch.condition.label if self.classes else None
        if label is not None:
            label = torch.where(rng.uniform("drop", len(x)) < c.drop_label, self.classes, label)
        y = self.decode(z, label)
        error = F.mse_loss(y, x) + 0.3 * F.l1_loss(y, x)
        loss = error if penalty is None else error + penalty
        critic = self.critic if clock.fraction >= c.adversarial_from else None
        if critic is not None:
            with torch.no_grad():
                real = critic(x)
            loss = loss + c.adversarial * F.softplus(real - critic(y)).mean()
        yield Update(self.part, loss, {"reconstruction": error, **logs})
        if critic is not None:
            yield Update("critic", self._critic_loss(critic, x, y.detach(), clock))

    def _critic_loss(self, critic: PatchCritic, x: Tensor, y: Tensor, clock: Clock) -> Tensor:
        """Relativistic pairing loss, with R1 and R2 every few steps."""
        both = torch.cat([x, y])
        lazy = clock.step % self.settings.penalty_every == 0
        both.requires_grad_(lazy)
        scores = critic(both)
        real, fake = scores.chunk(2)
        loss = F.softplus(fake - real).mean()
        if lazy:
            (gradient,) = torch.autograd.grad(scores.sum(), both, create_graph=True)
            loss = loss + 0.3 * self.settings.penalty_every * gradient.float().square().flatten(1).sum(1).mean()
        return loss


class Compressor(Codec):
    """Between grids and codes [B, D]."""

    def __init__(self, spec: Grid, config: CompressorConfig, classes: int) -> None:
        encoder = Encoder(spec, 2 * config.codes, config.encoder_width, 1)
        decoder = Decoder(spec, config.codes, config.decoder_width, 1, embedding=EMBEDDING if classes else 0)
        super().__init__(spec, encoder, decoder, config, classes)
        self.kl = config.kl

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z | x), each [B, D]."""
        mean, logvar = self.coder["encoder"](x).float().chunk(2, 1)
        return mean, logvar.clamp(-12, 4)

    def encode(self, x: Tensor) -> Tensor:
        return self.posterior(x)[0]

    def bottleneck(self, x: Tensor, rng: Rng) -> tuple[Tensor, Tensor | None, dict[str, Tensor]]:
        mean, logvar = self.posterior(x)
        z = mean + (0.5 * logvar).exp() * rng.normal("code", *mean.shape)
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum(1).mean()
        return z, self.kl * kl, {"kl": kl}
