"""Generating token by token, for every kind of sequence model: sampling with filters. Beam search is in nets/beams.py.

Shapes: `B` rows, `t` tokens so far, `V` vocabulary, `P` prompt.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from genloom.core.batch import Condition
from genloom.core.config import Settings, setting
from genloom.core.errors import GenloomError
from genloom.core.guide import Guide, Step
from genloom.core.rng import Rng
from genloom.core.spec import Tokens
from genloom.nets.sequence import NextToken, Steps
from genloom.nets.stepping import together

COLD = 1e-6  # below this a temperature is 0: float32 cannot divide by it
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

    def values(self) -> tuple[object, ...]:
        """Equal for filters that do the same."""
        forbidden = tuple(self.forbidden.tolist())
        return self.temperature, self.top_k, self.top_p, self.min_p, self.repetition, forbidden

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
        if self.temperature < COLD:
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
    min_p: float | None = setting(
        None, "Leave out tokens below this share of the highest probability; as the training says if none.", ge=0, le=1
    )
    repetition: float = setting(1.0, "Penalty on tokens that occurred already; 1 is none.", ge=1)
    beams: int = setting(1, "Keep this many hypotheses and return the most probable; 1 samples.", ge=1, le=64)
    length_penalty: float = setting(1.0, "Of beam search: above 0 favours longer sequences.", ge=0)
    enough: int | None = setting(
        None, "Of beam search: stop when this many hypotheses have ended; if none, when no other can be better.", ge=1
    )

    def filters(self, forbidden: Tensor, min_p: float = 0.0) -> Filters:
        """min_p: where nobody says."""
        least = min_p if self.min_p is None else self.min_p
        return Filters(self.temperature, self.top_k, self.top_p, least, self.repetition, forbidden)


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


class Decoding:
    """Rows that are generated token by token, all at one place: what they are so far, and how they go on.

    uniform [B, M] in [0, 1) decides every draw, so row i depends on its own prompt and numbers alone; M is the most
    tokens after the first column of `start`. Ends early when all rows have. A model with a limited state goes on past
    it from the second half of what it holds. reach: tokens of the past that `mix` looks at, None for all.
    """

    def __init__(
        self,
        model: NextToken[Any],
        start: Start,
        uniform: Tensor,
        filters: Filters,
        *,
        eos: int | None,
        pad: int,
        guide: Guide | None = None,
        mix: Mix | None = None,
        reach: int | None = None,
    ) -> None:
        model.eval()
        self.model, self.start, self.filters = model, start, filters
        self.eos, self.pad, self.guide, self.mix, self.reach = eos, pad, guide, mix, reach
        rows, device = len(start.tokens), start.tokens.device
        self.place, self.most = common_prefix(start.given), uniform.shape[1] + 1
        # Columns from `place` on are to come.
        self.tokens = torch.full((rows, max(self.most, self.place)), pad, device=device)
        self.tokens[:, : self.place] = start.tokens[:, : self.place]
        self.numbers = uniform.double().unbind(1)
        self.over = self.place >= self.most
        self.ended: Tensor | None = None
        self.logp: Tensor | None = None  # [B, V] log-probabilities from which the newest tokens were drawn
        self.alike = (filters.values(), mix, eos)  # decodings for which this is equal choose together
        self._stepper: Steps | None = None
        self._newest: Tensor | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def sofar(self) -> Tensor:
        """[B, t] all tokens until now."""
        return self.tokens[:, : self.place]

    def _reread(self) -> Tensor | None:
        """The logits after reading anew, at the beginning or where the state is full; None where it has room."""
        limit, stepper = self.model.limit, self._stepper
        if stepper is not None and (limit is None or stepper.length < limit):
            return None
        back = self.place if limit is None else limit if stepper is None else max(1, limit // 2)
        read = self.tokens[:, max(0, self.place - back) : self.place]
        self._stepper = self.model.stepper(read, self.start.condition, self.most)
        return self._stepper.logits

    def _allowed(self) -> Tensor | None:
        allowed = None if self.guide is None else self.guide.allowed(self.sofar)
        return allowed if allowed is None or self.ended is None else allowed | self.ended[:, None]

    def _instead(self, chosen: Tensor) -> Tensor:
        """chosen [B] with the tokens that are given in their place."""
        if self.place >= self.start.tokens.shape[1]:
            return chosen
        return torch.where(self.start.given[:, self.place], self.start.tokens[:, self.place], chosen)

    def _accept(self, chosen: Tensor, step: Tensor, logp: Tensor, end: bool) -> Step:
        """Put chosen [B], drawn from logp [B, V], with the log-probabilities step [B], in their place. end: whether eos
        may be among them."""
        if self.ended is not None:
            step, chosen = step.masked_fill(self.ended, 0.0), chosen.masked_fill(self.ended, self.pad)
        self.tokens[:, self.place] = chosen
        self.place += 1
        self.logp, self._newest = logp, chosen
        stop = self.guide.finished(self.sofar) if self.guide is not None else None
        self.ended = _ended(self.ended, chosen, self.eos if end else None, stop)
        self.over = self.place >= self.most or (self.ended is not None and bool(self.ended.all()))
        return Step(chosen, step)


def advance(decodings: Sequence[Decoding]) -> list[Step]:
    """One more token of every row of each, computed together: each draws what it would draw alone. None may be over.

    Raises GenloomError when a model's output is not finite.
    """
    ready = {k: logits for k, d in enumerate(decodings) if (logits := d._reread()) is not None}
    others = [k for k in range(len(decodings)) if k not in ready]
    going = [(d._stepper, d._newest) for k in others for d in [decodings[k]]]
    ready.update(zip(others, together([s for s, _ in going], [t for _, t in going]), strict=True))  # type: ignore[misc]
    alike: dict[object, list[int]] = {}
    for k, d in enumerate(decodings):
        alike.setdefault(d.alike, []).append(k)
    steps: dict[int, Step] = {}
    for group in alike.values():
        for k, step in zip(group, _choose([decodings[k] for k in group], [ready[k] for k in group]), strict=True):
            steps[k] = step
    return [steps[k] for k in range(len(decodings))]


def _choose(group: Sequence[Decoding], each: Sequence[Tensor]) -> list[Step]:
    """The next tokens of decodings that choose alike, of which `each` are the logits [B, V]."""
    first, sizes = group[0], [len(d) for d in group]
    logits = each[0] if len(group) == 1 else torch.cat(list(each))
    if not math.isfinite(float(logits.sum())):
        raise GenloomError("the model's output is not finite: its weights are damaged or its training diverged")
    logp = torch.log_softmax(logits, 1)
    repeats = first.filters.repetition != 1
    past = _past(group, None if repeats else first.reach) if repeats or first.mix is not None else first.tokens[:, :0]
    if first.mix is not None:
        logits = logp = first.mix(logp, past)
    masks = [d._allowed() for d in group]
    allowed: Tensor | None = None
    if any(m is not None for m in masks):
        free = torch.ones((), dtype=torch.bool, device=logits.device).expand(len(logits), logits.shape[1])
        parts = free.split(sizes)
        allowed = torch.cat([part if m is None else m for m, part in zip(masks, parts, strict=True)])
    numbers = [d.numbers[d.place - 1] for d in group]
    chosen = draw(first.filters(logits, past, allowed), numbers[0] if len(group) == 1 else torch.cat(numbers))
    if any(d.place < d.start.tokens.shape[1] for d in group):
        chosen = torch.cat([d._instead(t) for d, t in zip(group, chosen.split(sizes), strict=True)])
    step, end = logp.gather(1, chosen[:, None])[:, 0], first.eos in chosen.tolist()
    if len(group) == 1:
        return [first._accept(chosen, step, logp, end)]
    rows = zip(group, chosen.split(sizes), step.split(sizes), logp.split(sizes), strict=True)
    return [d._accept(tokens, nats, own, end) for d, tokens, nats, own in rows]


def _past(group: Sequence[Decoding], reach: int | None) -> Tensor:
    """[B, t] the last `reach` tokens of all rows, padded in front where there are fewer."""
    longest = max(d.place for d in group)
    longest = longest if reach is None else min(reach, longest)
    past = [d.tokens[:, max(0, d.place - longest) : d.place] for d in group]
    if len(group) == 1:
        return past[0]
    return torch.cat([F.pad(t, (longest - t.shape[1], 0), value=group[0].pad) for t in past])


def generate(decoding: Decoding) -> Iterator[Step]:
    """Its steps. What all rows have given comes first. Closing the iterator stops the work."""
    for given in decoding.sofar.unbind(1)[1:]:
        yield Step(given, torch.zeros(len(given), device=given.device))
    while not decoding.over:
        yield advance([decoding])[0]


@runtime_checkable
class HasDecoding(Protocol):
    """A family whose samples can be decoded together with those of other requests."""

    def gradual(self, condition: Condition, options: Any) -> bool:
        """Whether such samples are known token by token, and not at the end alone."""
        ...

    def started(self, n: int, condition: Condition, rng: Rng, options: Any, guide: Guide | None = None) -> Decoding:
        """What `steps` generates, not yet begun. Raises InputError for options with which it is not decoded so."""
        ...

    def finished(self, tokens: Tensor, condition: Condition, options: Any) -> Tensor:
        """Samples as the spec says of what was decoded: tokens [B, T] after the first column."""
        ...


def _ended(before: Tensor | None, chosen: Tensor, eos: int | None, stop: Tensor | None) -> Tensor | None:
    """bool [B]: rows that have ended; None: none of them, so that nothing needs to be masked."""
    if eos is not None and eos in chosen.tolist():
        before = chosen == eos if before is None else before | (chosen == eos)
    if stop is not None and bool(stop.any()):
        before = stop if before is None else before | stop
    return before


def common_prefix(given: Tensor) -> int:
    """Columns at the start that are given in every row."""
    shared = given.all(0).int()
    return max(1, int(shared.cumprod(0).sum()))
