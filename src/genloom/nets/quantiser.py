"""A learned tokenizer of grids: an autoencoder whose code is a coarse grid of symbols.

Mentzer et al. 2024, "Finite scalar quantization: VQ-VAE made simple": a few channels a position, each bounded and
rounded to a few levels, gradients passed straight through; together they name one of prod(levels) codes. There is no
codebook to learn and none to collapse. Here every channel has its levels evenly spaced from -1 to 1, also where their
number is even.

Shapes: `B` batch, `C` channels of the spec, `L` channels of a code, `P` positions in raster order, `K` codes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from genloom.core.batch import Batch, Condition
from genloom.core.config import setting
from genloom.core.errors import InputError
from genloom.core.family import Clock, Update
from genloom.core.rng import Rng
from genloom.core.spec import Grid, Tokens
from genloom.nets.coder import Folding, GridDecoder, GridEncoder
from genloom.nets.compressor import EMBEDDING, Codec, CodecConfig

MOST_CODES = 2**16
PAD, EOS, BOS, FIRST = 0, 1, 2, 3  # ids in a sequence of codes: code k is FIRST + k
DEAD = 0.2  # share of the codes in use under which a person should know
MEASURED = 2000  # examples that the reconstruction error is measured on


class TokenizerConfig(CodecConfig):
    """Settings of a tokenizer."""

    levels: tuple[Annotated[int, Field(ge=2)], ...] = setting(
        (8, 5, 5, 5), "Levels of each channel of a code; their product is the number of codes.", min_length=1
    )
    positions: int | None = setting(
        None, "Most codes along the longest axis; if none, 8, or 64 where there is one axis only.", ge=1
    )
    depth: int = setting(1, "Residual blocks at each resolution.", ge=1)
    # Codes are sharp by themselves: on digits the adversarial loss only cost time and added specks (docs/log.md).
    adversarial: float = setting(0.0, "Weight of the adversarial loss; 0 is none.", ge=0)


class TokenizerStageConfig(TokenizerConfig):
    """Settings of a tokenizer that is trained before the model of its codes."""

    share: float = setting(0.3, "Share of the training that the tokenizer gets.", unit="share", gt=0, lt=1)
    batch: int = setting(64, "Batch of the tokenizer.", unit="examples", ge=1)


class ScalarQuantiser(nn.Module):
    """Rounds each of L channels to its levels; together they are one of K = prod(levels) codes."""

    levels: Tensor
    radix: Tensor

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        self.codes = math.prod(levels)
        radix = [math.prod(levels[:i]) for i in range(len(levels))]
        self.register_buffer("levels", torch.tensor(levels), persistent=False)
        self.register_buffer("radix", torch.tensor(radix), persistent=False)

    def forward(self, z: Tensor) -> Tensor:
        """z [B, L, *size], any values -> float32 the same in [-1, 1] on the levels. The gradient is that of the bound,
        as if there were no rounding."""
        return self.snap(torch.tanh(z.float()))

    def snap(self, bounded: Tensor) -> Tensor:
        """Values in [-1, 1] to their nearest levels, straight through."""
        steps = self._along(self.levels - 1, bounded)
        place = (bounded + 1) / 2 * steps
        place = place + (place.round() - place).detach()
        return 2 * place / steps - 1

    def index(self, values: Tensor) -> Tensor:
        """Values on the levels [B, L, *size] -> int64 [B, *size] in [0, K)."""
        index = (self.digits(values) * self._along(self.radix, values)).sum(1)
        return index.clamp(0, self.codes - 1)  # also where not finite

    def digits(self, values: Tensor) -> Tensor:
        """Values on the levels [B, L, *size] -> int64 the same: the place of each among its channel's levels."""
        return ((values + 1) / 2 * self._along(self.levels - 1, values)).round().long()

    def values(self, index: Tensor) -> Tensor:
        """int64 [B, *size] -> float32 [B, L, *size]: the inverse of `index`."""
        wide = index[:, None]
        levels = self._along(self.levels, wide)
        digits = wide // self._along(self.radix, wide) % levels
        return 2 * digits.float() / (levels - 1) - 1

    def _along(self, channels: Tensor, like: Tensor) -> Tensor:
        """[L] as [1, L, 1, ...] for a tensor such as `like`."""
        return channels.view(1, -1, *[1] * (like.ndim - 2))


def codebook_use(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Of how often each code occurs [K]: the share of codes that do, and their perplexity exp(-sum p log p), the
    number of codes that would be as varied if all were equally frequent."""
    p = counts.double() / counts.sum().clamp(min=1e-12)
    return (counts > 0).double().mean(), torch.special.entr(p).sum().exp()


class Tokenizer(Codec):
    """Grids to sequences of codes in raster order and back, trained by `updates`.

    shape: positions along each axis. length: their number P. spec: that of the sequences, bos and P codes. counts [K]:
    how often each code occurs, in the last batches while it trains and afterwards in the whole training split. error:
    mean squared error of reconstructions there.
    """

    part: ClassVar[str] = "tokenizer"
    counts: Tensor
    error: Tensor

    def __init__(self, spec: Grid, config: TokenizerConfig, classes: int) -> None:
        """classes: what the decoder is told, 0 for nothing. Raises InputError for more codes than MOST_CODES."""
        quantiser = ScalarQuantiser(config.levels)
        if quantiser.codes > MOST_CODES:
            raise InputError(
                f"levels={list(config.levels)} make {quantiser.codes} codes; a codebook holds at most {MOST_CODES}"
            )
        folding = Folding(spec, config.positions or (64 if spec.axes == 1 else 8))
        channels, told = len(config.levels), EMBEDDING if classes else 0
        encoder = GridEncoder(spec, folding, channels, config.encoder_width, config.depth)
        decoder = GridDecoder(spec, folding, channels, config.decoder_width, config.depth, told)
        super().__init__(spec, encoder, decoder, config, classes)
        self.quantiser, self.shape, self.length = quantiser, folding.coarse, math.prod(folding.coarse)
        self.spec = Tokens(self.length + 1, FIRST + quantiser.codes, PAD, BOS, EOS, stream=True)
        self.register_buffer("counts", torch.zeros(quantiser.codes))
        self.register_buffer("error", torch.full((), math.nan))
        self._fraction = 0.0
        self._codes: Tensor | None = None  # int32 [N, P] of the training split

    # -- between grids and codes --------------------------------------------------------------------------------------

    def values(self, x: Tensor) -> Tensor:
        """x [B, C, *size] -> float32 [B, L, *shape] on the levels."""
        out: Tensor = self.quantiser(self.coder["encoder"](x))
        return out

    def codes(self, x: Tensor) -> Tensor:
        """x [B, C, *size] -> int64 [B, P] in [0, K)."""
        return self.quantiser.index(self.values(x)).flatten(1)

    def grids(self, codes: Tensor, label: Tensor | None) -> Tensor:
        """Codes [B, P] and classes [B] or None -> [B, C, *size] in [-1, 1]."""
        values = self.quantiser.values(codes.view(-1, *self.shape))
        return self.decode(values, label).clamp(-1, 1)

    # -- training -----------------------------------------------------------------------------------------------------

    def bottleneck(self, x: Tensor, rng: Rng) -> tuple[Tensor, Tensor | None, dict[str, Tensor]]:
        z = self.values(x)
        with torch.no_grad():
            self.counts.mul_(0.99).add_(self._occurrences(self.quantiser.index(z)))
            used, perplexity = codebook_use(self.counts.where(self.counts > 0.5, 0.0))
        return z, None, {"codes_used": used, "perplexity": perplexity}

    def updates(self, batch: Batch, clock: Clock, rng: Rng) -> Iterator[Update]:
        self._fraction = clock.fraction
        yield from super().updates(batch, clock, rng)

    def _occurrences(self, index: Tensor) -> Tensor:
        return torch.bincount(index.flatten(), minlength=self.quantiser.codes).to(self.counts)

    @torch.no_grad()
    def measure(self, data: Iterable[Batch]) -> Tensor:
        """int32 [N, P] codes of all examples; `counts` and `error` are then of them (the error of the first 2,000)."""
        parts, squares, values = [], 0.0, 0
        self.counts.zero_()
        for b in data:
            index = self.codes(b.x)
            self.counts += self._occurrences(index)
            parts.append(index.int())
            if values < MEASURED * b.x[0].numel():
                y = self.grids(index, b.condition.label if self.classes else None)
                squares, values = squares + float(F.mse_loss(y, b.x, reduction="sum")), values + b.x.numel()
        self.error.fill_(squares / max(1, values))
        return torch.cat(parts)

    def warnings(self) -> list[str]:
        used, _ = codebook_use(self.counts.where(self.counts > 0.5, 0.0))
        if self._fraction < 0.5 or float(used) >= DEAD:
            return []
        return [f"only {float(used):.0%} of the {self.quantiser.codes} codes are in use: fewer levels would do as well"]

    # -- sequences for a model of codes -------------------------------------------------------------------------------

    def freeze(self, data: Iterable[Batch]) -> None:
        """End the training: keep the codes of all examples of the training split, `data`, for `sequences`."""
        self.eval().requires_grad_(False)
        self._codes = self.measure(data)

    def sequences(self, batch: Batch) -> Batch:
        """The codes of a batch of the training split as int64 [B, 1 + P], bos first, with its labels. Not those of
        augmented examples: codes are computed once."""
        assert self._codes is not None and batch.index is not None
        codes = F.pad(self._codes[batch.index].long() + FIRST, (1, 0), value=BOS)
        return Batch(codes, Condition(label=batch.condition.label), batch.index)

    def parts(self) -> Tensor:
        """float32 [FIRST + K, sum(levels)]: which levels each code has, 1 or 0; codes that are alike share them."""
        digits = self.quantiser.digits(self.quantiser.values(torch.arange(self.quantiser.codes)[None]))[0]
        one_hot = [F.one_hot(d, n) for d, n in zip(digits, self.quantiser.levels.tolist(), strict=True)]
        return F.pad(torch.cat(one_hot, 1).float(), (0, 0, FIRST, 0))

    def neighbours(self) -> tuple[int, ...]:
        """How far before each token of a sequence stand the codes beside the next one in the lines before: behind,
        above and so on, and one to either side of it."""
        strides = [math.prod(self.shape[i:]) for i in range(1, len(self.shape))]
        return tuple(sorted({s - 1 + side for s in strides for side in (-1, 0, 1) if s - 1 + side > 0}))
