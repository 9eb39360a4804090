"""Beam search over every kind of sequence model.

Shapes: `B` rows, `t` tokens so far, `V` vocabulary, `K` beams, `L` rows that are not done.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genloom.core.errors import InputError
from genloom.core.guide import Guide
from genloom.nets.decoding import Mix, Start, as_wide
from genloom.nets.sequence import NextToken


def beam_search(
    model: NextToken[Any],
    start: Start,
    *,
    beams: int,
    most: int,
    eos: int,
    pad: int,
    penalty: float,
    forbidden: Tensor,
    enough: int | None = None,
    guide: Guide | None = None,
    mix: Mix | None = None,
) -> tuple[Tensor, Tensor]:
    """The most probable continuations found: tokens [B, t] and their scores [B].

    Score: log-probability / length ** penalty (Wu et al. 2016, eq. 14, without its constant). Every row keeps `beams`
    unfinished hypotheses; a row is done when none of them can still beat its best finished one, or when `enough` have
    ended; it costs nothing from then on. Sequences end where a model with a limited state does. Of a guide only what it
    allows counts. Raises InputError for prompts of different lengths, or as long as that limit.
    """
    if not bool(start.given.all()):
        raise InputError("beam search takes prompts of equal length; sample the prompts one at a time")
    model.eval()
    rows, device = len(start.tokens), start.tokens.device
    vocab, prompt = model.vocab, start.tokens.shape[1]
    if model.limit is not None:
        most = min(most, model.limit - prompt)
        if most < 1:
            raise InputError(f"beam search needs a prompt shorter than the context of {model.limit} tokens")
    state = model.begin(rows, prompt + most, start.condition)
    logits = model.last(start.tokens, state).repeat_interleave(beams, 0)
    state = state.branch(torch.arange(rows, device=device).repeat_interleave(beams), None)
    tokens = start.tokens.repeat_interleave(beams, 0)
    scores = torch.full((rows, beams), -torch.inf, device=device)
    scores[:, 0] = 0.0  # the beams of a row begin equal: only the first counts
    live, ended = torch.arange(rows, device=device), torch.zeros(rows, dtype=torch.long, device=device)
    best = torch.full((rows,), -torch.inf, device=device)
    found = torch.full((rows, prompt + most), pad, device=device)
    for length in range(1, most + 1):
        logp = _allowed(torch.log_softmax(logits, 1), tokens, forbidden, guide, mix)
        total = (scores.flatten()[:, None] + logp).view(len(live), beams * vocab)
        top, place = total.topk(min(2 * beams, beams * vocab), 1)
        beam, token = place // vocab, place % vocab
        ends = token == eos
        value, which = torch.where(ends, top / length**penalty, -torch.inf).max(1)
        better = value > best[live]
        if bool(better.any()):
            own = torch.arange(len(live), device=device)[better]
            row = tokens[own * beams + beam[own, which[own]]]
            found[live[own]] = pad
            found[live[own], : row.shape[1] + 1] = torch.nn.functional.pad(row, (0, 1), value=eos)
            best[live[own]] = value[own]
        ended = ended + (ends[:, :beams] & (top[:, :beams] > -torch.inf)).sum(1)
        scores, order = torch.where(ends, -torch.inf, top).topk(beams, 1)
        beam, token = beam.gather(1, order), token.gather(1, order)
        # The best that an open hypothesis may still reach: it can only lose probability.
        hope = scores[:, 0] / (most if penalty > 0 else length) ** penalty
        done = best[live] >= hope
        if enough is not None:
            done = done | (ended >= enough)
        source = torch.arange(len(live), device=device)[:, None] * beams + beam
        if length == most:
            done = torch.ones_like(done)
            never = best[live] == -torch.inf
            last = torch.cat([tokens[source[:, 0]], token[:, :1]], 1)[never]
            found[live[never], : last.shape[1]] = last
            best[live[never]] = scores[never, 0] / length**penalty
        stay = (~done).nonzero()[:, 0]
        if not len(stay):
            break
        fewer = stay if len(stay) < len(live) else None
        if fewer is not None:
            live, ended, scores, source, token = (t[stay] for t in (live, ended, scores, source, token))
        tokens = torch.cat([tokens[source.flatten()], token.flatten()[:, None]], 1)
        state = state.branch(source.flatten(), fewer)
        logits = model.last(token.flatten()[:, None], state)
    return found, best


def _allowed(logp: Tensor, tokens: Tensor, forbidden: Tensor, guide: Guide | None, mix: Mix | None) -> Tensor:
    """Log-probabilities [B, V] of what may follow tokens [B, t]."""
    if mix is not None:
        logp = mix(logp, tokens)
    if len(forbidden):
        logp = logp.index_fill(1, forbidden, -torch.inf)
    allowed = guide.allowed(tokens) if guide is not None else None
    return logp if allowed is None else logp.masked_fill(~as_wide(allowed, logp), -torch.inf)
