"""Training with differential privacy: clipped gradients of single examples, noise, and an account of what they promise.

Abadi et al. 2016, "Deep learning with differential privacy", algorithm 1; the accountant (Mironov 2017, Renyi
differential privacy) is Opacus'. Examples are drawn by Poisson sampling. Noise and draws come from the system's
randomness, never from the run's seed: who knew these could take the noise off again.

Gradients of single examples are never held: their norms follow from what goes into each layer and what comes back
(Goodfellow 2015, "Efficient per-example gradient computations"), and one product gives the sum of the clipped ones (Bu
et al. 2023, "Differentially private optimization on large model at small cost"). Shapes: `B` batch, `I` inputs, `O`
outputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
        except ModuleNotFoundError:
            raise InputError("private training needs: pip install 'genloom[private]'") from None
        assert config.epsilon is not None
        if config.steps is None:
            raise InputError("private training counts its steps beforehand: give --steps, not --budget")
        if config.accumulate > 1 or config.compile:
            raise InputError("private training takes train.accumulate=1 and train.compile=false")
        if not LEAST <= config.batch <= len(examples):
            raise InputError(
                f"private training takes batches of {LEAST} to {len(examples):,} examples here, not {config.batch:,}; "
                f"set train.batch, such as to {max(LEAST, len(examples) // 16)}"
            )
        self.config, self.examples, self.rate = config, examples, config.batch / len(examples)
        self.delta = config.delta or min(1e-5, 0.1 / len(examples))
        self.noise: float = get_noise_multiplier(
            target_epsilon=config.epsilon, target_delta=self.delta, sample_rate=self.rate, steps=config.steps,
            accountant="rdp",
        )  # fmt: skip
        self._layers = [Layer(m) for m in module.modules() if any(True for _ in m.parameters(recurse=False))]
        self._draw = np.random.Generator(np.random.PCG64())  # from the system's entropy
        self._generator = torch.Generator()
        self.seed = self._generator.seed()  # of the family's draws: with known ones a row would shift those of others

    def batch(self) -> Batch:
        """Examples, each with the same chance and on its own."""
        while True:
            rows = np.flatnonzero(self._draw.random(len(self.examples)) < self.rate)
            if len(rows):
                return self.examples.batch(rows)

    def privatise(self) -> None:
        """Replace the gradients of the last backward pass of a mean over a batch by clipped and noisy ones."""
        used = [layer for layer in self._layers if layer.ready()]
        norms = torch.stack([layer.squares() for layer in used]).sum(0).sqrt()
        factors = (self.config.clip_each / norms.clamp(min=1e-12)).clamp(max=1.0)
        for layer in used:
            layer.sum(factors)
        for layer in self._layers:
            for p in layer.module.parameters(recurse=False):
                noise = torch.randn(p.shape, generator=self._generator).to(p)
                total = torch.zeros_like(p) if p.grad is None else p.grad
                p.grad = (total + self.noise * self.config.clip_each * noise) / self.config.batch

    def promise(self, steps: int) -> dict[str, Any]:
        """What holds after so many steps, as JSON; and take the hooks off the layers."""
        from opacus.accountants import create_accountant

        account = create_accountant(mechanism="rdp")
        account.history = [(self.noise, self.rate, steps)]
        for layer in self._layers:
            layer.hook.remove()
        return {
            "epsilon": round(float(account.get_epsilon(delta=self.delta)), 4), "delta": self.delta, "steps": steps,
            "noise": round(self.noise, 4), "clip": self.config.clip_each, "rate": self.rate, "accountant": "rdp",
            "unit": "one row of the training data added or taken away",
            "covers": "the weights; not the levels, ranges and quantiles of the columns, nor recorded losses and "
            "figures that compare samples with the data",
        }  # fmt: skip


class Layer:
    """What went into a layer in the last forward pass, and the gradients of each example's own loss that came back."""

    def __init__(self, module: nn.Module) -> None:
        if not isinstance(module, nn.Linear | nn.Embedding | nn.LayerNorm):
            raise TypeError(f"no gradients of single examples are known of {type(module).__name__}")
        self.module = module
        self.inputs: list[Tensor] = []  # [B, I], of an embedding int64 [B]
        self.back: list[Tensor] = []  # [B, O]
        self.hook = module.register_forward_hook(self._seen)

    def _seen(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if not output.requires_grad:
            return
        if output.ndim != 2 or self.inputs:
            raise RuntimeError(f"{type(module).__name__} must be used once, on one vector of each example")
        self.inputs.append(inputs[0].detach())
        output.register_hook(lambda g: self.back.append(g.detach() * len(g)))

    def ready(self) -> bool:
        """Whether the last loss depends on it; forgets the pass otherwise."""
        if not self.back:
            self.inputs.clear()
        return bool(self.back)

    def _scaled(self) -> Tensor:
        """[B, O] the gradient of a LayerNorm's scale."""
        assert isinstance(self.module, nn.LayerNorm)
        return self.back[0] * F.layer_norm(self.inputs[0], self.module.normalized_shape, eps=self.module.eps)

    def squares(self) -> Tensor:
        """[B] squared norms of the gradients of its parameters."""
        back = self.back[0].square().sum(1)
        if isinstance(self.module, nn.Embedding):
            return back
        if isinstance(self.module, nn.LayerNorm):
            return self._scaled().square().sum(1) + back
        return back * (self.inputs[0].square().sum(1) + (self.module.bias is not None))

    def sum(self, factors: Tensor) -> None:
        """Put the sum of the examples' gradients times factors [B] into `grad`, and forget the pass."""
        back, m = self.back[0] * factors[:, None], self.module
        if isinstance(m, nn.Embedding):
            m.weight.grad = torch.zeros_like(m.weight).index_add_(0, self.inputs[0], back)
        elif isinstance(m, nn.LayerNorm):
            m.weight.grad = (self._scaled() * factors[:, None]).sum(0)
        else:
            m.weight.grad = back.T @ self.inputs[0]
        if not isinstance(m, nn.Embedding) and m.bias is not None:
            m.bias.grad = back.sum(0)
        self.inputs.clear()
        self.back.clear()
