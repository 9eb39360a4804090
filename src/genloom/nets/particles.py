"""Filling gaps between known tokens with an eye to what comes after them: a particle filter over sequence models.

Drawn forward with the known tokens put in, a gap does not foresee what it leads to. Here every row has several drafts
(particles). Drafts after which a known token was likely are gone on with, the others are given up: the bootstrap filter
of Gordon, Salmond and Smith 1993, for sequence models Lew et al. 2023 ("Sequential Monte Carlo steering of large
language models"). With ever more drafts a row is drawn from p(gaps | all that is known).

Shapes: `B` rows, `N` drafts of a row, `t` tokens so far, `V` vocabulary, `M` most tokens after the first column.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genloom.core.guide import Guide
from genloom.nets.decoding import Filters, Mix, Start, common_prefix, draw
from genloom.nets.sequence import NextToken

TOGETHER = 256  # drafts that are computed at once
IMPOSSIBLE = -1e4  # log-probability of a known token that the model rules out: all drafts are then equally bad


def fill(
    model: NextToken[Any],
    start: Start,
    uniform: Tensor,
    chances: Tensor,
    filters: Filters,
    *,
    eos: int | None,
    pad: int,
    guide: Guide | None = None,
    mix: Mix | None = None,
    reach: int | None = None,
) -> Tensor:
    """Tokens [B, M] after the first column: known ones where `start` has them, the others drawn.

    uniform [B, N, M] in [0, 1) decides what every draft draws; chances [B, M + 1] which drafts are gone on with, the
    last number which of them is taken. So a row depends on its own numbers alone. A draft weighs as much as the model
    gave the known tokens, without the filters; drafts are drawn anew (systematically, Carpenter et al. 1999) when fewer
    than half of them count.
    """
    model.eval()
    drafts = uniform.shape[1]
    size = max(1, TOGETHER // drafts)
    parts = []
    for at in range(0, len(start.tokens), size):
        some = slice(at, at + size)
        own = Start(start.tokens[some], start.given[some], start.condition[some])
        one = _Filter(model, own, uniform[some].double(), chances[some].double(), filters, eos, pad, guide, mix, reach)
        parts.append(one.filled())
    return torch.cat(parts)


class _Filter:
    """The drafts of some rows, all at one place: [B * N, t], those of a row next to each other."""

    def __init__(
        self, model: NextToken[Any], start: Start, uniform: Tensor, chances: Tensor, filters: Filters, eos: int | None,
        pad: int, guide: Guide | None, mix: Mix | None, reach: int | None,
    ) -> None:  # fmt: skip
        self.model, self.filters, self.guide, self.mix, self.reach = model, filters, guide, mix, reach
        self.rows, self.drafts, self.most = uniform.shape
        self.eos, self.chances = eos, chances
        self.numbers = uniform.flatten(0, 1)

        def each(t: Tensor) -> Tensor:
            return t.repeat_interleave(self.drafts, 0)

        self.condition = start.condition.map(each)
        self.known, self.given = each(start.tokens), each(start.given)
        # bool [B * N, t]: whether a known token comes at this place or later.
        self.ahead = self.given.flip(1).cummax(1).values.flip(1)
        self.tokens = self.known.new_full((len(self.known), self.most + 1), pad)
        self.place = min(common_prefix(start.given), self.most)
        self.tokens[:, : self.place] = self.known[:, : self.place]
        self.weight = torch.zeros(self.rows, self.drafts, dtype=torch.float64, device=self.known.device)
        self.ended = torch.zeros(len(self.known), dtype=torch.bool, device=self.known.device)
        self.state: Any = None
        self.seen = 0  # tokens that the state holds

    def filled(self) -> Tensor:
        while self.place <= self.most and not bool(self.ended.all()):
            self._step(torch.log_softmax(self._logits(), 1))
        best = draw(self.weight.softmax(1), self.chances[:, -1])
        return self.tokens[self._first + best, 1:]

    @property
    def _first(self) -> Tensor:
        """[B] the place of the first draft of each row."""
        return torch.arange(self.rows, device=self.known.device) * self.drafts

    def _logits(self) -> Tensor:
        """[B * N, V] after all tokens so far. Past the limit of a model it goes on from the second half of what it can
        hold."""
        limit = self.model.limit
        if self.state is not None and (limit is None or self.seen < limit):
            read = self.tokens[:, self.place - 1 : self.place]
        else:
            back = self.place if limit is None else limit if self.state is None else max(1, limit // 2)
            read, self.seen = self.tokens[:, max(0, self.place - back) : self.place], 0
            room = self.most + 1 if limit is None else limit
            self.state = self.model.begin(len(self.tokens), room, self.condition)
        self.seen += read.shape[1]
        return self.model.last(read, self.state)

    def _step(self, logp: Tensor) -> None:
        past = self.tokens[:, : self.place]
        if self.mix is not None:
            logp = self.mix(logp, past if self.reach is None else past[:, -self.reach :])
        allowed = None if self.guide is None else self.guide.allowed(past)
        if allowed is not None:
            allowed = allowed | self.ended[:, None]
        chosen = draw(self.filters(self._open(logp), past, allowed), self.numbers[:, self.place - 1])
        if self.place < self.known.shape[1]:
            told = self.given[:, self.place] & ~self.ended
            chosen = torch.where(told, self.known[:, self.place], chosen)
            self.weight += self._gained(logp, chosen, told).view_as(self.weight)
        # What has ended keeps its padding.
        self.tokens[:, self.place] = torch.where(self.ended, self.tokens[:, self.place], chosen)
        if self.eos is not None:
            self.ended = self.ended | (chosen == self.eos)
        stop = None if self.guide is None else self.guide.finished(self.tokens[:, : self.place + 1])
        if stop is not None:
            self.ended = self.ended | stop
        self._again(self.chances[:, self.place - 1])
        self.place += 1

    def _open(self, logp: Tensor) -> Tensor:
        """logp [B * N, V] without an end where known tokens are still to come."""
        if self.eos is None or self.place >= self.known.shape[1]:
            return logp
        end = logp[:, self.eos].masked_fill(self.ahead[:, self.place], -torch.inf)
        return logp.index_copy(1, torch.tensor([self.eos], device=logp.device), end[:, None])

    def _gained(self, logp: Tensor, chosen: Tensor, told: Tensor) -> Tensor:
        """[B * N] by which the log-weights grow: log-probability of a known token; in a gap before known tokens of not
        ending there."""
        gained = torch.where(told, logp.gather(1, chosen[:, None])[:, 0], 0.0)
        if self.eos is not None:
            gap = self.ahead[:, self.place] & ~told
            gained = torch.where(gap, torch.log1p(-logp[:, self.eos].exp()), gained)
        return gained.clamp(min=IMPOSSIBLE).double().masked_fill(self.ended, 0.0)

    def _again(self, chance: Tensor) -> None:
        """Drafts drawn anew in the rows where the weights differ too much."""
        share = self.weight.softmax(1)
        few = (share.square().sum(1) * self.drafts > 2) & (self.drafts > 1)
        if not bool(few.any()):
            return
        points = (torch.arange(self.drafts, device=share.device) + chance[:, None]) / self.drafts
        total = share.cumsum(1)
        drawn = torch.searchsorted(total, points * total[:, -1:], right=True).clamp(max=self.drafts - 1)
        same = torch.arange(self.drafts, device=share.device).expand_as(drawn)
        which = (self._first[:, None] + torch.where(few[:, None], drawn, same)).flatten()
        self.weight = torch.where(few[:, None], 0.0, self.weight)
        self.tokens, self.ended = self.tokens[which], self.ended[which]
        self.state = self.state.branch(which, None)
