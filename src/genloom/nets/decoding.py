"""Generating token by token, for every kind of sequence model: sampling with filters. Beam search is in nets/beams.py.

Shapes: `B` rows, `t` tokens so far, `V` vocabulary, `P` prompt.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from genloom.core.batch import Condition
from genloom.core.config import Settings, setting
from genloom.core.errors import GenloomError
from genloom.core.guide import Guide, Step
from genloom.core.spec import Tokens
from genloom.nets.sequence import NextToken

Mix = Callable[[Tensor, Tensor], Tensor]  # (log-probabilities [B, V], tokens so far [B, t]) -> the same, mixed


@dataclass(frozen=True)
class Filters:
    """How a token is chosen from the model's distribution, in this order.

    forbidden [F]: tokens never drawn. repetition: logits (log-probabilities where counts are mixed in) of tokens that
    occurred are divided by it if positive, multiplied if negative (Keskar et al. 2019). temperature: 0 takes the most
    probable token. top_k: the k most probable. top_p: the fewest that together have this probability (Holtzman et al.
    2020). min_p: those with at least this share of the highest probability (Nguyen et al. 2024).
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    min_p: float = 0.0
    repetition: float = 1.0
    forbidden: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))

    def __call__(self, logits: Tensor, tokens: Tensor, allowed: Tensor | None) -> Tensor:
        """Probabilities [B, V] to draw from; they need not sum to 1. Raises GenloomError when nothing may follow."""
        if len(self.forbidden):
            logits = logits.index_fill(1, self.forbidden, -torch.inf)
        if allowed is not None:
            logits = logits.masked_fill(~as_wide(allowed, logits), -torch.inf)
            if not bool((logits > -torch.inf).any(1).all()):
                raise GenloomError("the grammar allows no token here; this is a fault of the modality's grammar")
        if self.repetition != 1:
            seen = logits.gather(1, tokens)
            changed = torch.where(seen > 0, seen / self.repetition, seen * self.repetition)
            logits = logits.scatter(1, tokens, changed)
        if self.temperature == 0:
            return torch.zeros_like(logits).scatter_(1, logits.argmax(1, keepdim=True), 1.0)
        p = torch.softmax(logits if self.temperature == 1 else logits / self.temperature, 1)
        if self.top_k is not None and self.top_k < p.shape[1]:
            least = p.topk(self.top_k, 1).values[:, -1:]
            p = p.masked_fill(p < least, 0.0)
        if self.top_p < 1:
            p = _nucleus(p, self.top_p)
        if self.min_p > 0:
            p = p.masked_fill(p < self.min_p * p.amax(1, keepdim=True), 0.0)
        return p


def as_wide(allowed: Tensor, logits: Tensor) -> Tensor:
    """What a grammar of the data's tokens allows, for a model that has tokens of its own after them."""
    return F.pad(allowed, (0, logits.shape[1] - allowed.shape[1]))


def _nucleus(p: Tensor, share: float) -> Tensor:
    """p with all but the fewest tokens that together reach `share` of the (remaining) probability set to 0."""
    ordered, places = p.sort(1, descending=True)
    before = ordered.cumsum(1) - ordered
    keep = before < share * ordered.sum(1, keepdim=True)
    return torch.zeros_like(p).scatter_(1, places, ordered * keep)


def draw(p: Tensor, u: Tensor) -> Tensor:
    """[B] tokens by inversion: p [B, V] need not sum to 1, u [B] uniform in [0, 1). In float64, so that no u is near
    enough to 1 to pass the last token that has a probability."""
    total = p.cumsum(1, dtype=torch.float64)
    return torch.searchsorted(total, u[:, None] * total[:, -1:], right=True)[:, 0]


class Options(Settings):
    """Settings of one call to sample of any model of the next token."""

    max_tokens: int | None = setting(None, "Most tokens to generate; by the data if none.", unit="tokens", ge=1)
    temperature: float = setting(1.0, "Below 1 tamer, above 1 wilder; 0 takes the most probable token.", ge=0)
    top_k: int | None = setting(None, "Draw from the k most probable tokens only.", ge=1)
    top_p: float = setting(1.0, "Draw from the fewest tokens that together have this probability.", gt=0, le=1)
    min_p: float = setting(0.0, "Leave out tokens below this share of the highest probability.", ge=0, le=1)
    repetition: float = setting(1.0, "Penalty on tokens that occurred already; 1 is none.", ge=1)
    beams: int = setting(1, "Keep this many hypotheses and return the most probable; 1 samples.", ge=1, le=64)
    length_penalty: float = setting(1.0, "Of beam search: above 0 favours longer sequences.", ge=0)
    enough: int | None = setting(
        None, "Of beam search: stop when this many hypotheses have ended; if none, when no other can be better.", ge=1
    )

    def filters(self, forbidden: Tensor) -> Filters:
        return Filters(self.temperature, self.top_k, self.top_p, self.min_p, self.repetition, forbidden)


@dataclass(frozen=True)
class Start:
    """How sequences begin. tokens [B, P] int64: at least one column, bos first. given [B, P] bool: False where a row's
    prompt is over and its tokens are drawn (all True in column 0). condition: class, properties and source of the
    rows."""

    tokens: Tensor
    given: Tensor
    condition: Condition = field(default_factory=Condition)


def begin(n: int, spec: Tokens, given: Condition, wanted: int | None, device: torch.device) -> tuple[Start, int]:
    """How n rows begin with the known parts of `given`, and the most tokens to come after the first column: `wanted`
    after the prompts, or by the data."""
    first = torch.full((n, 1), spec.bos, device=device)
    known, mask, asked = given.known, given.mask, given.only(frozenset({"label", "properties", "source"}))
    if known is None or mask is None:
        return Start(first, torch.ones_like(first, dtype=torch.bool), asked), wanted or spec.length - 1
    if not spec.stream and bool((known[:, 0] == spec.bos).all()):
        known, mask = known[:, 1:], mask[:, 1:]
    longest = int(mask.sum(1).max())
    room = wanted or max(1, known.shape[1] - longest, spec.length - 1 - longest)
    given_at = torch.cat([torch.ones_like(first, dtype=torch.bool), mask], 1)
    return Start(torch.cat([first, known], 1), given_at, asked), longest + room


def generate(
    model: NextToken[Any],
    start: Start,
    uniform: Tensor,
    filters: Filters,
    *,
    eos: int | None,
    pad: int,
    guide: Guide | None = None,
    mix: Mix | None = None,
) -> Iterator[Step]:
    """Sequences token by token, at most uniform.shape[1] of them after the first column of `start`.

    uniform [B, M] in [0, 1) decides every draw, so row i depends on its own prompt and numbers alone. Ends early when
    all rows have. A model with a limited state goes on past it from the second half of what it holds. Raises
    GenloomError when the model's output is not finite. Closing the iterator stops the work.
    """
    model.eval()
    rows, device, limit = len(start.tokens), start.tokens.device, model.limit
    place, most = _common_prefix(start.given), uniform.shape[1] + 1
    tokens = torch.full((rows, max(most, place)), pad, device=device)  # columns from `place` on are to come
    tokens[:, :place] = start.tokens[:, :place]
    # What all rows have given goes through the model at once.
    yield from (Step(t, torch.zeros(rows, device=device)) for t in start.tokens[:, 1:place].unbind(1))
    if place >= most:
        return
    stepper = model.stepper(tokens[:, (0 if limit is None else max(0, place - limit)) : place], start.condition, most)
    logits, numbers = stepper.logits, uniform.double().unbind(1)
    ended: Tensor | None = None
    while True:
        if not math.isfinite(float(logits.sum())):
            raise GenloomError("the model's output is not finite: its weights are damaged or its training diverged")
        sofar = tokens[:, :place]
        logp = torch.log_softmax(logits, 1)
        if mix is not None:
            logits = logp = mix(logp, sofar)
        allowed = guide.allowed(sofar) if guide is not None else None
        if allowed is not None and ended is not None:
            allowed = allowed | ended[:, None]
        chosen = draw(filters(logits, sofar, allowed), numbers[place - 1])
        if place < start.tokens.shape[1]:
            chosen = torch.where(start.given[:, place], start.tokens[:, place], chosen)
        step = logp.gather(1, chosen[:, None])[:, 0]
        if ended is not None:
            step, chosen = step.masked_fill(ended, 0.0), chosen.masked_fill(ended, pad)
        tokens[:, place] = chosen
        place += 1
        yield Step(chosen, step)
        ended = _ended(ended, chosen, eos, guide.finished(tokens[:, :place]) if guide is not None else None)
        if place >= most or (ended is not None and bool(ended.all())):
            return
        if limit is not None and stepper.length >= limit:
            stepper = model.stepper(tokens[:, place - max(1, limit // 2) : place], start.condition, most)
            logits = stepper.logits
        else:
            logits = stepper.step(chosen)


def _ended(before: Tensor | None, chosen: Tensor, eos: int | None, stop: Tensor | None) -> Tensor | None:
    """bool [B]: rows that have ended; None: none of them, so that nothing needs to be masked."""
    if eos is not None and eos in chosen.tolist():
        before = chosen == eos if before is None else before | (chosen == eos)
    if stop is not None and bool(stop.any()):
        before = stop if before is None else before | stop
    return before


def _common_prefix(given: Tensor) -> int:
    """Columns at the start that are given in every row."""
    shared = given.all(0).int()
    return max(1, int(shared.cumprod(0).sum()))
