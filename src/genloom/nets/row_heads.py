"""Rows of tables as points of a vector space, and distributions of rows given a network's outputs.

A row's distribution is independent over its spans given the outputs: a category has a probability for each level, a
number a mixture of Gaussians (Bishop 1994, "Mixture density networks") that counts where its gate says so.

Shapes: `B` rows, `S` spans, `P` entries of a point, `W` width, `M` components, `L` levels, `K` outputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genloom.core.optim import edge
from genloom.core.spec import Row

LEAST_LOG_SCALE, MOST_LOG_SCALE = -4.0, 1.0  # numbers are near the standard normal; values that repeat are atoms
ROOM = 2**23  # logits of a category that are held at a time when drawing


class Points(nn.Module):
    """Rows [B, S] as points [B, P]. A number is itself; a level a direction of its own, one of orthogonal ones around
    0. A category of more than `most` levels gets directions at random in `most` dimensions, nearly orthogonal."""

    def __init__(self, spec: Row, most: int) -> None:
        super().__init__()
        self.spec = spec
        self.widths = [1 if s.head == "numeric" else min(s.levels, most) for s in spec.spans]
        self.width = sum(self.widths)
        ends = torch.tensor([0, *self.widths]).cumsum(0).tolist()
        self.places = [slice(a, b) for a, b in pairwise(ends)]
        generator = torch.Generator().manual_seed(0)
        for i, (span, width) in enumerate(zip(spec.spans, self.widths, strict=True)):
            if span.head == "category":
                self.register_buffer(f"level_{i}", directions(span.levels, width, generator))

    def levels(self, i: int) -> Tensor:
        """[L, width] the directions of the levels of span i."""
        return self.get_buffer(f"level_{i}")

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(
            [
                x[:, i : i + 1] if span.head == "numeric" else self.levels(i)[x[:, i].round().long()]
                for i, span in enumerate(self.spec.spans)
            ],
            1,
        )

    def spread(self, mask: Tensor) -> Tensor:
        """bool [B, S] of spans as [B, P] of entries."""
        return mask.repeat_interleave(torch.tensor(self.widths, device=mask.device), 1)


def directions(levels: int, width: int, generator: torch.Generator) -> Tensor:
    """[L, width] levels 2 apart, exactly or nearly, as two deviations of a number are: of categories with many levels
    too, which noise would otherwise hide last, and by which a network would know its training rows."""
    if levels <= width:
        return math.sqrt(2) * (torch.eye(levels) - 1 / levels)
    return math.sqrt(2) * F.normalize(torch.randn(levels, width, generator=generator), dim=1)


class RowHead(nn.Module):
    """Hidden values [B, W] -> the distribution of rows."""

    def __init__(self, spec: Row, width: int, components: int) -> None:
        super().__init__()
        self.spec, self.components = spec, components
        self.sizes = [s.levels if s.head == "category" else 3 * components for s in spec.spans]
        outputs = nn.Linear(width, sum(self.sizes))
        with torch.no_grad():  # components side by side, all levels alike
            start = torch.cat([_started(s.head == "category", n) for s, n in zip(spec.spans, self.sizes, strict=True)])
            outputs.bias.copy_(start)
        self.outputs = edge(outputs)

    def forward(self, h: Tensor) -> RowLikelihood:
        return RowLikelihood(self.spec, self.outputs(h).float().split(self.sizes, 1))


def _started(category: bool, size: int) -> Tensor:
    """[size] where the outputs of a span begin."""
    if category:
        return torch.zeros(size)
    m = size // 3
    return torch.cat([torch.zeros(m), torch.linspace(-1.5, 1.5, m) if m > 1 else torch.zeros(1), torch.zeros(m) - 0.5])


class RowLikelihood:
    """p(row | outputs). parts: of each span, logits [B, L] of a category, or [B, 3M] of a number: logits of its
    components, their means and log-scales."""

    def __init__(self, spec: Row, parts: Sequence[Tensor]) -> None:
        self.spec, self.parts, self.gates = spec, parts, spec.gates()

    def each(self, x: Tensor) -> Tensor:
        """[B, S] log-probability of every entry of x [B, S], a density of numbers; 0 of numbers that do not count."""
        out = []
        for i, (span, part, gate) in enumerate(zip(self.spec.spans, self.parts, self.gates, strict=True)):
            if span.head == "category":
                out.append(-F.cross_entropy(part, x[:, i].round().long(), reduction="none"))
                continue
            log_p = _log_mixture(part, x[:, i, None])
            out.append(log_p if gate < 0 else torch.where(x[:, gate] == 0, log_p, 0.0))
        return torch.stack(out, 1)

    def log_prob(self, x: Tensor) -> Tensor:
        """[B] in nats."""
        return self.each(x).sum(1)

    def between(self, x: Tensor, mask: Tensor) -> Tensor:
        """[N, B] log-probability of the entries where mask is True of rows x [N, S] under each of the B outputs."""
        out = x.new_zeros(len(x), len(self.parts[0]))
        for i, (span, part, gate) in enumerate(zip(self.spec.spans, self.parts, self.gates, strict=True)):
            counts = mask[:, i] if gate < 0 else mask[:, i] & (x[:, gate] == 0)
            rows = counts.nonzero()[:, 0]
            if not len(rows):
                continue
            values, places = x[rows, i].unique(return_inverse=True)  # what is asked for is often the same in all rows
            if span.head == "category":
                log_p = part.log_softmax(1)[:, values.round().long()].T
            else:
                log_p = torch.stack([_log_mixture(part, v.expand(len(part), 1)) for v in values])
            out[rows] += log_p[places]
        return out

    def draw(self, u: Tensor, temperature: float, known: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """[B, S] one row of each, by the inverse of the distribution functions at u [B, S] in (0, 1), the entries of
        known [B, S] where mask is True. temperature 0: the most probable level, the mean of the most probable
        component."""
        out = u.new_zeros(u.shape, dtype=torch.float32)
        for i, (span, part, gate) in enumerate(zip(self.spec.spans, self.parts, self.gates, strict=True)):
            if span.head == "category":
                value = inverse(part, u[:, i], temperature)[0].float()
            else:
                weights, means, scales = _components(part)
                which, left = inverse(weights, u[:, i], temperature)
                mean, scale = (v.gather(1, which[:, None])[:, 0] for v in (means, scales))
                noise = torch.special.ndtri(left.clamp(1e-9, 1 - 1e-9))
                value = (mean + temperature * scale * noise).float()
                value = value if gate < 0 else torch.where(out[:, gate] == 0, value, 0.0)
            out[:, i] = value if known is None or mask is None else torch.where(mask[:, i], known[:, i], value)
        return out


def _components(part: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, means and scales [B, M] of a mixture."""
    weights, means, scales = part.chunk(3, 1)
    return weights, means, scales.clamp(LEAST_LOG_SCALE, MOST_LOG_SCALE).exp()


def _log_mixture(part: Tensor, value: Tensor) -> Tensor:
    """[B] log-density of value [B, 1]."""
    weights, means, scales = _components(part)
    log_p = -0.5 * ((value - means) / scales).square() - scales.log() - 0.5 * math.log(2 * math.pi)
    return torch.logsumexp(weights.log_softmax(1) + log_p, 1)


def inverse(logits: Tensor, u: Tensor, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """[B] levels of logits [B, L] by the inverse of their distribution function at u [B] in (0, 1), and what is left of
    u: again uniform. temperature 0: the most probable level."""
    if temperature == 0:
        return logits.argmax(1), torch.full_like(u, 0.5)
    found, left = [], []
    for own, place in zip(logits.split(step := max(1, ROOM // logits.shape[1])), u.double().split(step), strict=True):
        edges = (own.double() / temperature).softmax(1).cumsum(1)
        code = (edges < place[:, None] * edges[:, -1:]).sum(1).clamp(max=own.shape[1] - 1)
        high = edges.gather(1, code[:, None])[:, 0] / edges[:, -1]
        low = torch.where(code > 0, edges.gather(1, (code - 1).clamp(min=0)[:, None])[:, 0] / edges[:, -1], 0.0)
        found.append(code)
        left.append(((place - low) / (high - low).clamp(min=1e-12)).clamp(0, 1))
    return torch.cat(found), torch.cat(left)


def together(spec: Row) -> int:
    """Rows whose outputs are made at a time, so that those of wide categories fit into memory."""
    return max(1, ROOM // max(1, sum(s.levels for s in spec.spans)))
