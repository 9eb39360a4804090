"""Autoencoder: codes from which the data can be rebuilt, and a density fitted on them to sample from.

Ghosh et al. 2020, "From variational to deterministic autoencoders" (RAE): a penalty on the codes' size with a little
noise on them takes the place of the KL term, and a mixture fitted after the training takes that of the prior.
Denoising: Vincent et al. 2008.

Shapes: `B` batch, `C` channels, `D` width of a code.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genloom.core.batch import Batch, Condition, ConditionSpec
from genloom.core.config import Settings, setting
from genloom.core.family import Clock, Family, Stage, Update
from genloom.core.optim import OptimiserConfig
from genloom.core.rng import Rng
from genloom.core.spec import Grid
from genloom.nets.coder import Decoder, Encoder
from genloom.nets.density import FitConfig, MixtureDensity, sparse


@final
class Autoencoder(Family):
    """Deterministic autoencoder over grids with a mixture fitted on its codes."""

    class Config(Settings):
        """Settings of an autoencoder."""

        latent: int = setting(32, "Width of a code.", ge=1)
        encoder_width: int = setting(64, "Channels of the encoder.", unit="channels", ge=8, multiple_of=8)
        decoder_width: int = setting(96, "Channels of the decoder.", unit="channels", ge=8, multiple_of=8)
        depth: int = setting(1, "Residual blocks at each resolution.", ge=1)
        absolute: float = setting(0.3, "Weight of the absolute error beside the squared error; sharpens edges.", ge=0)
        code_penalty: float = setting(3e-4, "Weight of the mean squared length of a code; keeps codes together.", ge=0)
        code_noise: float = setting(0.1, "Noise on the codes in training, so that near codes decode alike.", ge=0)
        noise: float = setting(0.0, "Denoising: noise on the input in training.", unit="of a range of 2", ge=0)
        mask: float = setting(0.0, "Denoising: share of the input hidden in blocks.", unit="share", ge=0, lt=1)
        mask_block: int = setting(4, "Side of a hidden block.", unit="values", ge=1)
        fit: FitConfig = FitConfig()
        optimiser: OptimiserConfig = OptimiserConfig(kind="adamw", lr=2e-3)

    class Options(Settings):
        """Settings of one call to sample."""

        temperature: float = setting(
            1.0, "Scale of the random draws of codes: below 1 tamer, above wilder.", ge=0, le=4
        )

    accepts = (Grid,)
    conditions = frozenset({"label"})
    train_defaults = {"batch": 64, "ema": 0.9985, "decay": 0.7, "warmup": 100}  # noqa: RUF012
    reserve = 0.05  # encoding and fitting 60,000 examples takes half a minute

    spec: Grid
    examples: Tensor

    def __init__(self, spec: Grid, config: Autoencoder.Config, condition: ConditionSpec) -> None:
        super().__init__()
        self.spec, self.config, self.condition = spec, config, condition
        self.encoder = Encoder(spec, config.latent, config.encoder_width, config.depth)
        self.decoder = Decoder(spec, config.latent, config.decoder_width, config.depth)
        self.density = MixtureDensity(config.latent, condition.counts, config.fit.components)
        self.register_buffer("examples", torch.zeros((), dtype=torch.long))  # in the training split

    def players(self) -> dict[str, nn.Module]:
        return {"autoencoder": nn.ModuleDict({"encoder": self.encoder, "decoder": self.decoder})}

    def optimisers(self) -> dict[str, OptimiserConfig]:
        return {"autoencoder": self.config.optimiser}

    def enter(self, stage: Stage, data: Iterable[Batch]) -> None:
        self.examples.fill_(sum(len(b) for b in data))

    # -- training ----------------------------------------------------------------------------------------------------

    def updates(self, batch: Batch, clock: Clock, rng: Rng) -> Iterator[Update]:
        c = self.config
        z = self.encoder(self.corrupt(batch.x, rng)).float()
        y = self.decoder(z + c.code_noise * rng.normal("code", *z.shape)).float()
        squared, absolute = F.mse_loss(y, batch.x), F.l1_loss(y, batch.x)
        size = z.square().sum(1).mean()
        loss = squared + c.absolute * absolute + c.code_penalty * size
        yield Update("autoencoder", loss, {"squared_error": squared.detach(), "code_size": size.detach()})

    def corrupt(self, x: Tensor, rng: Rng) -> Tensor:
        """x [B, C, *size] with noise and hidden blocks, as configured. What is hidden is 0, the middle of the
        range."""
        c = self.config
        if c.noise:
            x = x + c.noise * rng.normal("noise", *x.shape)
        if c.mask:
            cells = [-(-n // c.mask_block) for n in x.shape[2:]]
            keep = (rng.uniform("mask", len(x), 1, *cells) >= c.mask).float()
            for axis, n in enumerate(x.shape[2:], 2):
                keep = keep.repeat_interleave(c.mask_block, axis).narrow(axis, 0, n)
            x = x * keep
        return x

    # -- the fitted density ------------------------------------------------------------------------------------------

    @torch.no_grad()
    def settle(self, data: Iterable[Batch], rng: Rng) -> None:
        """Fit the mixture on the codes of the data, as noisy as the decoder learned to read them."""
        codes, labels = [], []
        for i, b in enumerate(sparse(data, int(self.examples), self.config.fit.examples, rng.seed)):
            z = self.encoder(b.x).float()
            codes.append(z + self.config.code_noise * rng.at(i).normal("code", *z.shape))
            labels.append(b.condition.label)
        known = [label for label in labels if label is not None]
        self.density.fit(torch.cat(codes), torch.cat(known) if known else None, rng.seed)

    @torch.no_grad()
    def sample(self, n: int, condition: Condition, rng: Rng, options: Autoencoder.Options) -> Tensor:
        return self.decode(self.density.sample(n, condition.label, rng, options.temperature))

    # -- latent space ------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """[B, D] codes."""
        z: Tensor = self.encoder(x).float()
        return z

    @torch.no_grad()
    def decode(self, z: Tensor, condition: Condition = Condition()) -> Tensor:  # noqa: B008 (frozen)
        """Examples [B, C, *size] of codes [B, D]."""
        x: Tensor = self.decoder(z).float()
        return x.clamp(-1, 1)
