"""The network whose inner values are the features of token sequences, and what it is trained on.

`B` batch, `T` tokens, `V` vocabulary, `C` channels, `D` feature width.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genloom.core.batch import Batch
from genloom.core.spec import Tokens
from genloom.evaluate.networks import WIDTH

CHANNELS, KERNEL, DILATIONS = 64, 4, (1, 2, 4)
ROW = 64  # tokens of a training example; longer ones are cut
BATCH = 48
BUDGET = 4e11  # multiply-adds of one training, about 20 s on one CPU core


class SequenceExtractor(nn.Module):
    """Causal convolutions over embedded tokens, then the mean over the tokens: x int64 [B, T] -> [B, D], D = 128.

    Each position sees the 22 tokens up to it; the mean tells how often what occurs, not where. `multiply_adds` is the
    cost of one training example.
    """

    def __init__(self, spec: Tokens) -> None:
        super().__init__()
        self.pad = spec.pad
        self.embedding = nn.Embedding(spec.vocab, CHANNELS)
        self.norms = nn.ModuleList(nn.LayerNorm(CHANNELS) for _ in DILATIONS)
        self.convolutions = nn.ModuleList(nn.Linear(KERNEL * CHANNELS, CHANNELS) for _ in DILATIONS)
        self.out = nn.Sequential(nn.LayerNorm(CHANNELS), nn.Linear(CHANNELS, WIDTH), nn.ReLU())
        nn.init.normal_(self.embedding.weight, std=0.5)
        self.multiply_adds = ROW * CHANNELS * (len(DILATIONS) * KERNEL * CHANNELS + WIDTH)

    def hidden(self, x: Tensor) -> Tensor:
        """[B, T, C] of x [B, T]; position t has seen the tokens up to t."""
        h: Tensor = self.embedding(x)
        for norm, convolution, dilation in zip(self.norms, self.convolutions, DILATIONS, strict=True):
            reach = (KERNEL - 1) * dilation
            padded = F.pad(norm(h), (0, 0, reach, 0))
            taps = [padded[:, k * dilation : k * dilation + x.shape[1]] for k in range(KERNEL)]
            h = h + F.gelu(convolution(torch.cat(taps, 2)))
        return h

    def pooled(self, h: Tensor, x: Tensor) -> Tensor:
        """[B, D] means over the tokens that are no padding."""
        there = (x != self.pad)[..., None].to(h.dtype)
        means: Tensor = (self.out(h) * there).sum(1) / there.sum(1).clamp(min=1)
        return means

    def forward(self, x: Tensor) -> Tensor:
        return self.pooled(self.hidden(x), x)


class Reading(nn.Module):
    """Predicts the next token, and tells examples apart: two parts of an example agree, all others do not.

    The contrast is NT-Xent (Chen et al. 2020, "A Simple Framework for Contrastive Learning of Visual Representations",
    eq. 1) on two random stretches of each example, with spoilt copies of a quarter of them as further negatives: tokens
    replaced by others of the batch, or put into another order. So the features see what is said as well as how.
    """

    passes = 2.25
    temperature = 0.2

    def __init__(self, spec: Tokens) -> None:
        super().__init__()
        self.pad = spec.pad
        self.next = nn.Linear(CHANNELS, spec.vocab)
        self.head = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 64))
        # of a large vocabulary only some places are predicted, so that this costs no more than the rest
        self.share = min(1.0, 4 * KERNEL * CHANNELS / spec.vocab)

    def forward(self, extractor: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        assert isinstance(extractor, SequenceExtractor)
        x = batch.x
        n, rows = len(x), [stretch(x, self.pad, generator), stretch(x, self.pad, generator)]
        rows.append(spoilt(rows[0][: n // 4], self.pad, generator))
        views = torch.cat(rows)
        h = extractor.hidden(views)
        z = F.normalize(self.head(extractor.pooled(h, views)), dim=1)
        similar = z[: 2 * n] @ z.T / self.temperature
        similar[torch.arange(2 * n), torch.arange(2 * n)] = -torch.inf
        loss = F.cross_entropy(similar, torch.arange(2 * n, device=x.device).roll(n))
        places = (rows[0][:, 1:] != self.pad).flatten().nonzero()[:, 0]
        if self.share < 1:
            count = math.ceil(self.share * len(places))
            places = places[torch.randperm(len(places), generator=generator)[:count].to(places.device)]
        if len(places):
            predicted = self.next(h[:n, :-1].flatten(0, 1)[places])
            loss = loss + F.cross_entropy(predicted, rows[0][:, 1:].flatten()[places])
        return loss


def stretch(x: Tensor, pad: int, generator: torch.Generator) -> Tensor:
    """A random stretch of one half to all of each row x [B, T], moved to the front and padded."""
    lengths = (x != pad).sum(1)
    share = 0.5 + 0.5 * torch.rand(len(x), generator=generator).to(x.device)
    kept = (share * lengths).ceil().long()
    first = (torch.rand(len(x), generator=generator).to(x.device) * (lengths - kept + 1)).long()
    place = torch.arange(x.shape[1], device=x.device)
    moved = x.gather(1, (first[:, None] + place).clamp(max=x.shape[1] - 1))
    return torch.where(place < kept[:, None], moved, pad)


def spoilt(x: Tensor, pad: int, generator: torch.Generator) -> Tensor:
    """Rows x [B, T] with 5 to 60% of the tokens replaced by other tokens of the batch, and every second row instead in
    pieces of about 5 tokens whose order is random."""
    there = x != pad
    share = 0.05 + 0.55 * torch.rand(len(x), 1, generator=generator).to(x.device)
    hit = (torch.rand(x.shape, generator=generator).to(x.device) < share) & there
    pool = x[there]
    if not len(pool):
        return x
    replaced = torch.where(hit, pool[torch.randint(len(pool), x.shape, generator=generator).to(x.device)], x)
    piece = (torch.rand(x.shape, generator=generator).to(x.device) < 0.2).cumsum(1)
    place = torch.rand(len(x), x.shape[1] + 1, generator=generator).to(x.device).gather(1, piece)
    order = torch.where(there, place, 2.0).sort(dim=1, stable=True).indices
    every_second = torch.arange(len(x), device=x.device)[:, None] % 2 == 1
    return torch.where(every_second, x.gather(1, order), replaced)
