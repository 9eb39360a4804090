"""Autoregressive in any order over the columns of a table: every column from whatever others are known.

p(x) = prod_s p(x_o(s) | x_o(1..s-1)) for every order o, by one network that is shown a random part of the columns and
predicts the rest (Uria, Murray and Larochelle 2014, "A deep and tractable density estimator"; Hoogeboom et al. 2022,
"Autoregressive diffusion models", eq. 3 and 4). Numbers are the bins of equal width in their normal scores that they
fall in. Any columns can be given. Its loss is a mean over rows and nothing else of the data enters its weights, so it
can be trained with differential privacy.

Shapes: `B` batch, `S` spans, `W` width.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genloom.core.batch import Batch, Condition, ConditionSpec
from genloom.core.config import Settings, setting
from genloom.core.device import device_of
from genloom.core.family import Clock, Family, Update
from genloom.core.optim import OptimiserConfig
from genloom.core.rng import Rng
from genloom.core.spec import Row
from genloom.nets.columns import Columns
from genloom.nets.row_heads import together


@final
class AnyOrder(Family):
    """A residual network over embedded columns."""

    class Config(Settings):
        """Settings of a model of columns in any order."""

        width: int = setting(256, "Width of the network.", unit="units", ge=8)
        depth: int = setting(3, "Residual blocks.", ge=1)
        embedding: int = setting(16, "Values that a column's level is embedded in.", ge=1)
        bins: int = setting(64, "Bins of a number.", ge=2, le=4096)
        dropout: float = setting(0.0, "Dropout of the blocks.", unit="share", ge=0, lt=1)
        optimiser: OptimiserConfig = OptimiserConfig(kind="adamw", lr=2e-3)

    class Options(Settings):
        """Settings of one call to sample."""

        temperature: float = setting(1.0, "Below 1 tamer, 0 the most probable level of each column.", ge=0, le=4)

    accepts = (Row,)
    conditions = frozenset({"known"})
    train_defaults = {  # noqa: RUF012
        "batch": 256, "ema": 0.998, "decay": 0.7, "warmup": 100, "validate_times": 12, "patience": 6,
    }  # fmt: skip
    # A small network with few bins, large batches, few steps: noise grows with steps and with parameters.
    private_defaults = {  # noqa: RUF012
        "train": {"batch": 2048, "steps": 500, "warmup": 20},
        "family": {"width": 128, "depth": 1, "embedding": 8, "bins": 24, "optimiser": {"kind": "adamw", "lr": 4e-3}},
    }
    exact = True

    def __init__(self, spec: Row, config: AnyOrder.Config, condition: ConditionSpec) -> None:
        super().__init__()
        self.spec: Row = spec
        self.config, self.condition = config, condition
        self.net = Columns(spec, config.bins, config.embedding, config.width, config.depth, config.dropout)

    def players(self) -> dict[str, nn.Module]:
        return {"columns": self.net}

    def optimisers(self) -> dict[str, OptimiserConfig]:
        return {"columns": self.config.optimiser}

    def unpromised(self) -> str:
        return ""

    def updates(self, batch: Batch, clock: Clock, rng: Rng) -> Iterator[Update]:
        """Mean nats of a column that is not known, where a random number of the others are."""
        codes = self.net.codes(batch.x)
        n, spans = codes.shape
        count = (rng.uniform("count", n, 1) * spans).floor()
        known = rng.uniform("order", n, spans).argsort(1).argsort(1) < count
        nats = self.nats(codes, known) * ~known
        loss = (nats.sum(1) / (~known).sum(1)).mean()
        yield Update("columns", loss, {"row": spans * loss.detach()})

    def nats(self, codes: Tensor, known: Tensor) -> Tensor:
        """[B, S] of every column's code, given those that are known [B, S]."""
        logits = self.net(codes, known)
        return torch.stack([F.cross_entropy(z, codes[:, s], reduction="none") for s, z in enumerate(logits)], 1)

    @torch.no_grad()
    def nll(self, batch: Batch, rng: Rng) -> Tensor:
        """[B] nats of each row in the order of the spec, its numbers as the bins that they fall in."""
        codes = self.net.codes(batch.x)
        total = torch.zeros(len(codes), device=codes.device)
        known = torch.zeros_like(codes, dtype=torch.bool)
        for s in range(self.spec.width):
            logits = self.net(codes, known, s)[0]
            total += F.cross_entropy(logits, codes[:, s], reduction="none")
            known[:, s] = True
        return total

    @torch.no_grad()
    def sample(self, n: int, condition: Condition, rng: Rng, options: AnyOrder.Options) -> Tensor:
        """[n, S], column by column in the order of the spec, each given all that are known or drawn."""
        device = device_of(self)
        x = torch.zeros(n, self.spec.width, device=device)
        mask = torch.zeros(n, self.spec.width, dtype=torch.bool, device=device)
        if condition.known is not None and condition.mask is not None:
            x, mask = torch.where(condition.mask, condition.known, 0.0), condition.mask
        u = rng.uniforms("column", n, self.spec.width)
        parts = zip(*(v.split(together(self.spec)) for v in (x, mask, u)), strict=True)
        return torch.cat([self._drawn(x.clone(), mask.clone(), u, options.temperature) for x, mask, u in parts])

    def _drawn(self, x: Tensor, known: Tensor, u: Tensor, temperature: float) -> Tensor:
        """[B, S] rows x with what is not known drawn; changes both."""
        codes = torch.where(known, self.net.codes(x), 0)
        for s, gate in enumerate(self.spec.gates()):
            if not bool(known[:, s].all()):
                allowed = None if gate < 0 else codes[:, gate] == 0
                drawn, left = self.net.draw(self.net(codes, known, s)[0], s, u[:, s], temperature, allowed)
                codes[:, s] = torch.where(known[:, s], codes[:, s], drawn)
                x[:, s] = torch.where(known[:, s], x[:, s], self.net.values(s, drawn, left))
                known[:, s] = True
        return x

    def price(self, mask: Tensor, options: AnyOrder.Options) -> float:
        """What is known need not be drawn."""
        return 1.0
