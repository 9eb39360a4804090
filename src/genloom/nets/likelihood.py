"""Likelihoods of a grid given a decoder's output: distribution objects, with an explicit or a learned scale.

Values x are in [-1, 1]. `levels` is the number of equally spaced values that data takes there (256 for 8-bit images);
a discrete likelihood gives the log-probability of the level, a density (Gaussian) the log-density of the value.

Shapes: `B` batch, `C` channels.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Literal, Self

import torch
import torch.nn.functional as F
from pydantic import model_validator
from torch import Tensor, nn

from genloom.core.config import Settings, setting
from genloom.core.errors import InputError
from genloom.core.rng import Rng
from genloom.core.spec import Grid

# of values in [-1, 1]: an eighth of an 8-bit level; keeps constant pixels from an infinite density
_LOG_SCALE_FLOOR = -7.0
_SPEED = 8.0  # a global log-scale is this times its parameter: it settles within some hundred steps of AdamW


class Likelihood(ABC):
    """p(x | decoder output), independent over values given the output."""

    mean: Tensor  # [B, C, *size]: the output to show, in [-1, 1] up to the data's own overshoot

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """[B] log-likelihood of x [B, C, *size] in nats, summed over values."""

    @abstractmethod
    def draw(self, rng: Rng) -> Tensor:
        """One draw of x; row i depends on rng's seed and rng.offset + i alone."""


class Bernoulli(Likelihood):
    """Two levels, -1 and 1. A value in between counts as the probability of the upper one: the expected
    log-likelihood of the stochastically binarised value (Salakhutdinov & Murray 2008)."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits

    @property
    def mean(self) -> Tensor:  # type: ignore[override]
        return torch.tanh(self.logits / 2)

    def log_prob(self, x: Tensor) -> Tensor:
        target = (x + 1) / 2
        return -F.binary_cross_entropy_with_logits(self.logits, target, reduction="none").flatten(1).sum(1)

    def draw(self, rng: Rng) -> Tensor:
        uniform = torch.special.ndtr(rng.normal_each("values", *self.logits.shape))
        return torch.where(uniform < torch.sigmoid(self.logits), 1.0, -1.0)


class DiscretisedLogistic(Likelihood):
    """A logistic density gathered into `levels` bins; the two outer bins take the tails (Salimans et al. 2017,
    PixelCNN++, eq. 2)."""

    def __init__(self, mean: Tensor, log_scale: Tensor, levels: int) -> None:
        self.mean, self.log_scale, self.levels = mean, log_scale.clamp(min=_LOG_SCALE_FLOOR), levels

    def log_prob(self, x: Tensor) -> Tensor:
        half, inverse = 1 / (self.levels - 1), torch.exp(-self.log_scale)
        upper, lower = (x - self.mean + half) * inverse, (x - self.mean - half) * inverse
        # log(sigmoid(u) - sigmoid(l)) = log sigmoid(u) + log sigmoid(-l) + log(1 - exp(l - u)), exact far into the
        # tails
        inner = F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(-2 * half * inverse))
        edge = 1 - half  # between the outer level and the next one
        out = torch.where(x < -edge, F.logsigmoid(upper), torch.where(x > edge, F.logsigmoid(-lower), inner))
        return out.flatten(1).sum(1)

    def draw(self, rng: Rng) -> Tensor:
        uniform = torch.special.ndtr(rng.normal_each("values", *self.mean.shape)).clamp(1e-6, 1 - 1e-6)
        value = (self.mean + torch.exp(self.log_scale) * torch.logit(uniform)).clamp(-1, 1)
        return ((value + 1) / 2 * (self.levels - 1)).round() / (self.levels - 1) * 2 - 1


class Gaussian(Likelihood):
    """A normal density. With a learned scale this is the sigma-VAE (Rybkin et al. 2021); a fixed unit scale lets the
    code collapse."""

    def __init__(self, mean: Tensor, log_scale: Tensor) -> None:
        self.mean, self.log_scale = mean, log_scale.clamp(min=_LOG_SCALE_FLOOR)

    def log_prob(self, x: Tensor) -> Tensor:
        z = (x - self.mean) * torch.exp(-self.log_scale)
        out = -0.5 * z.square() - self.log_scale - 0.5 * math.log(2 * math.pi)
        return out.flatten(1).sum(1)

    def draw(self, rng: Rng) -> Tensor:
        return self.mean + torch.exp(self.log_scale) * rng.normal_each("values", *self.mean.shape)


class LikelihoodConfig(Settings):
    """How values are distributed around the decoder's output."""

    kind: Literal["auto", "bernoulli", "logistic", "gaussian"] = setting(
        "auto", "bernoulli, logistic (discretised) or gaussian; auto takes bernoulli for two levels, else gaussian."
    )
    scale: float | None = setting(
        None, "Fixed scale of logistic and gaussian; learned if none.", unit="of a range of 2", gt=0
    )
    per_value: bool = setting(False, "The decoder gives every value a learned scale of its own.")

    @model_validator(mode="after")
    def _one_scale(self) -> Self:
        if self.per_value and self.scale is not None:
            raise ValueError("takes either a fixed scale or per_value=true, not both")
        return self


class LikelihoodHead(nn.Module):
    """Turns a decoder's output [B, outputs_per_value * C, *size] into a Likelihood. Holds the global scale if it is
    learned."""

    spread: Tensor  # standard deviation of the data: where a learned scale begins

    def __init__(self, spec: Grid, config: LikelihoodConfig) -> None:
        super().__init__()
        self.config, self.levels = config, spec.levels
        self.kind = config.kind if config.kind != "auto" else "bernoulli" if spec.levels == 2 else "gaussian"
        if self.kind == "logistic" and spec.levels is None:
            raise InputError("a discretised logistic likelihood needs data with levels; set likelihood.kind=gaussian")
        self.learned = self.kind != "bernoulli" and config.scale is None
        self.outputs_per_value = 2 if self.learned and config.per_value else 1
        self.register_buffer("spread", torch.ones(()))
        self.log_scale = nn.Parameter(torch.zeros(())) if self.learned and not config.per_value else None

    def measure(self, batches: Iterable[Tensor]) -> int:
        """Take the standard deviation of the data from batches [B, C, *size]. Returns the number of examples."""
        examples, values, total, squares = 0, 0, 0.0, 0.0
        for x in batches:
            examples, values = examples + len(x), values + x.numel()
            total += float(x.sum())
            squares += float(x.square().sum())
        self.spread.fill_(max(1e-6, squares / values - (total / values) ** 2) ** 0.5)
        return examples

    def scale(self) -> Tensor:
        """The global log-scale, a scalar."""
        if self.config.scale is not None:
            return self.spread.new_tensor(math.log(self.config.scale))
        assert self.log_scale is not None
        return self.spread.log() + _SPEED * self.log_scale

    def forward(self, out: Tensor) -> Likelihood:
        out = out.float()
        if self.kind == "bernoulli":
            return Bernoulli(out)
        if self.outputs_per_value == 2:
            mean, log_scale = out.chunk(2, 1)
            log_scale = self.spread.log() + log_scale
        else:
            mean, log_scale = out, self.scale()
        if self.kind == "gaussian":
            return Gaussian(mean, log_scale)
        assert self.levels is not None
        return DiscretisedLogistic(mean, log_scale, self.levels)
