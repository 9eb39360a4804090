"""Training with differential privacy: clipped gradients of single examples, noise, and an account of what they promise.

Abadi et al. 2016, "Deep learning with differential privacy", algorithm 1; gradients of single examples and the
accountant (Mironov 2017, Renyi differential privacy) are Opacus'. Examples are drawn by Poisson sampling. Noise and
draws come from the system's randomness, never from the run's seed: who knew these could take the noise off again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from genloom.core.batch import Batch
from genloom.core.config import TrainConfig
from genloom.core.errors import InputError
from genloom.core.feed import Examples

LEAST = 16  # examples of a batch on average: an empty one is then out of the question


class Private:
    """DP-SGD of one module. noise: deviation of the noise as a multiple of the clipping norm."""

    def __init__(self, module: nn.Module, config: TrainConfig, examples: Examples) -> None:
        """Raises InputError for settings with which nothing can be promised."""
        try:
            from opacus.accountants.utils import get_noise_multiplier
            from opacus.grad_sample import GradSampleModule
        except ModuleNotFoundError:
            raise InputError("private training needs: pip install 'genloom[private]'") from None
        assert config.epsilon is not None
        if config.steps is None:
            raise InputError("private training counts its steps beforehand: give --steps, not --budget")
        if config.accumulate > 1 or config.compile:
            raise InputError("private training takes train.accumulate=1 and train.compile=false")
        if not LEAST <= config.batch <= len(examples):
            raise InputError(f"private training takes batches of {LEAST} to {len(examples):,} examples here")
        self.config, self.examples, self.rate = config, examples, config.batch / len(examples)
        self.delta = config.delta or min(1e-5, 0.1 / len(examples))
        self.noise: float = get_noise_multiplier(
            target_epsilon=config.epsilon, target_delta=self.delta, sample_rate=self.rate, steps=config.steps,
            accountant="rdp",
        )  # fmt: skip
        self._hooked: Any = GradSampleModule(module, loss_reduction="mean")
        self._draw = np.random.Generator(np.random.PCG64())  # from the system's entropy
        self._generator = torch.Generator()
        self._generator.seed()

    def batch(self) -> Batch:
        """Examples, each with the same chance and on its own."""
        while True:
            rows = np.flatnonzero(self._draw.random(len(self.examples)) < self.rate)
            if len(rows):
                return self.examples.batch(rows)

    def privatise(self) -> None:
        """Replace the gradients of the last backward pass by clipped and noisy ones."""
        params = [p for p in self._hooked.parameters() if p.requires_grad]
        each = [p.grad_sample for p in params]
        norms = torch.stack([g.flatten(1).norm(dim=1) for g in each], 1).norm(dim=1)
        factors = (self.config.clip_each / norms.clamp(min=1e-12)).clamp(max=1.0)
        for p, g in zip(params, each, strict=True):
            total = torch.einsum("b,b...->...", factors, g)
            noise = torch.randn(total.shape, generator=self._generator).to(total)
            p.grad = (total + self.noise * self.config.clip_each * noise) / self.config.batch
            p.grad_sample = None

    def promise(self, steps: int) -> dict[str, Any]:
        """What holds after so many steps, as JSON; and take the hooks off the module."""
        from opacus.accountants import create_accountant

        account = create_accountant(mechanism="rdp")
        account.history = [(self.noise, self.rate, steps)]
        self._hooked.remove_hooks()
        return {
            "epsilon": round(float(account.get_epsilon(delta=self.delta)), 4), "delta": self.delta, "steps": steps,
            "noise": round(self.noise, 4), "clip": self.config.clip_each, "rate": self.rate, "accountant": "rdp",
            "unit": "one row of the training data added or taken away",
            "covers": "the weights; not the levels, ranges and quantiles of the columns, nor figures that compare "
            "samples with the data",
        }  # fmt: skip
