"""A tokenizer of grids by finite scalar quantisation: pictures as short sequences of codes, and back.

Mentzer et al. 2024, "Finite scalar quantization: VQ-VAE made simple". The family trains the tokenizer alone, to look
at what it keeps; `autoregressive` trains the same one and then a model of its codes. To sample at all, each position
draws its code from how often it holds each one in the class, independently of the others: what a picture looks like
without any knowledge of how its parts go together.

Shapes: `B` batch, `C` channels, `L` channels of a code, `P` positions, `K` codes, `G` groups (classes, or 1).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import final

import torch
from torch import Tensor, nn

from genloom.core.batch import Batch, Condition, ConditionSpec
from genloom.core.config import Settings, setting
from genloom.core.errors import InputError
from genloom.core.family import Clock, Family, Update
from genloom.core.optim import OptimiserConfig
from genloom.core.rng import Rng
from genloom.core.spec import Grid
from genloom.nets.decoding import draw
from genloom.nets.quantiser import Tokenizer, TokenizerConfig

LARGEST_TABLE = 2**26  # frequencies kept: a quarter of a gigabyte


@final
class FSQ(Family):
    """Tokenizer of grids with a table of frequencies to sample from."""

    class Config(TokenizerConfig):
        """Settings of a tokenizer that is trained alone."""

        conditional: bool = setting(False, "Tell the decoder the class; reconstructions are then made without it.")

    class Options(Settings):
        """Settings of one call to sample."""

        temperature: float = setting(1.0, "Below 1 the more frequent codes are favoured, above 1 the rarer.", gt=0)

    accepts = (Grid,)
    conditions = frozenset({"label"})
    train_defaults = {"batch": 64, "ema": 0.9985, "decay": 0.7, "warmup": 100}  # noqa: RUF012
    reserve = 0.03  # encoding 60,000 examples takes a quarter of a minute

    spec: Grid
    frequency: Tensor  # [G, P, K]
    share: Tensor  # [G] of the classes in the data

    def __init__(self, spec: Grid, config: FSQ.Config, condition: ConditionSpec) -> None:
        super().__init__()
        self.spec, self.config, self.condition = spec, config, condition
        self.tokenizer = Tokenizer(spec, config, len(condition.classes) if config.conditional else 0)
        groups = max(1, len(condition.classes))
        size = groups * self.tokenizer.length * self.tokenizer.quantiser.codes
        if size > LARGEST_TABLE:
            raise InputError(
                f"{groups} classes, {self.tokenizer.length} positions and {self.tokenizer.quantiser.codes} codes make "
                "too large a table of frequencies; use fewer family.levels or family.positions"
            )
        shape = (groups, self.tokenizer.length, self.tokenizer.quantiser.codes)
        self.register_buffer("frequency", torch.ones(shape))
        self.register_buffer("share", torch.tensor(condition.counts or [1], dtype=torch.float32))

    def players(self) -> dict[str, nn.Module]:
        return self.tokenizer.players()

    def optimisers(self) -> dict[str, OptimiserConfig]:
        return self.tokenizer.optimisers()

    def updates(self, batch: Batch, clock: Clock, rng: Rng) -> Iterator[Update]:
        yield from self.tokenizer.updates(batch, clock, rng)

    def warnings(self) -> list[str]:
        return self.tokenizer.warnings()

    # -- sampling -----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def settle(self, data: Iterable[Batch], rng: Rng) -> None:
        """Count the codes of the data: at each position for each class, and over all for the use of the codebook. A
        class without examples takes the frequencies of all."""
        self.frequency.zero_()
        labels: list[Tensor] = []

        def seen() -> Iterator[Batch]:
            for b in data:
                zeros = torch.zeros(len(b), dtype=torch.long, device=b.x.device)
                labels.append(zeros if b.condition.label is None else b.condition.label)
                yield b

        codes = self.tokenizer.measure(seen()).long()
        groups, places = torch.cat(labels)[:, None], torch.arange(codes.shape[1], device=codes.device)
        ones = torch.ones((), device=codes.device).expand(codes.shape)
        self.frequency.index_put_((groups.expand_as(codes), places.expand_as(codes), codes), ones, accumulate=True)
        empty = self.frequency.sum((1, 2)) == 0
        self.frequency[empty] = self.frequency.sum(0)

    @torch.no_grad()
    def sample(self, n: int, condition: Condition, rng: Rng, options: FSQ.Options) -> Tensor:
        label = condition.label
        if label is None:
            label = draw(self.share.expand(n, -1), rng.uniform_each("class", n))
        uniform = rng.uniform_each("code", n, self.tokenizer.length)
        rows = [
            draw(self.frequency[k] ** (1 / options.temperature), u)  # one row at a time: P x K values each
            for k, u in zip(label.tolist(), uniform, strict=True)
        ]
        return self.tokenizer.grids(torch.stack(rows), self._told(label))

    def _told(self, label: Tensor | None) -> Tensor | None:
        """What the decoder is told of the class."""
        return label if self.config.conditional else None

    # -- latent space -------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """[B, L * P] codes of examples as values on the levels, from -1 to 1."""
        return self.tokenizer.values(x).flatten(1)

    @torch.no_grad()
    def decode(self, z: Tensor, condition: Condition = Condition()) -> Tensor:  # noqa: B008 (frozen)
        """Examples [B, C, *size] of codes [B, L * P]; values between levels go to the nearest."""
        values = self.tokenizer.quantiser.snap(z.clamp(-1, 1).unflatten(1, (-1, *self.tokenizer.shape)))
        return self.tokenizer.decode(values, self._told(condition.label)).clamp(-1, 1)
