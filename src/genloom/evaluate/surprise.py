"""How surprised a model of sequences is by each token of a text, and what it expected instead."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from genloom.core.batch import Condition
from genloom.core.device import device_of
from genloom.core.family import Family, HasPredictions
from genloom.core.modality import Modality
from genloom.core.spec import Tokens

MOST = 1500  # tokens of one text
LEVELS = (0.5, 1.5, 3.0, 5.0)  # nats between the five shades
SHADES = ("expected", "likely", "open", "unlikely", "surprising")
HALF = "\N{REPLACEMENT CHARACTER}"  # how a token that is part of a character is read
LONGEST = 8  # tokens that one character may take


@dataclass(frozen=True)
class Piece:
    """A token as it is read (several where a character is made of several). nats: its surprise. rank: its place among
    all tokens by probability, 1 the most probable (of several: the worst). expected: what was most probable in its
    place, and how probable. end: it stands for the end of the text."""

    text: str
    nats: float
    rank: int
    expected: str
    chance: float
    end: bool = False


@dataclass(frozen=True)
class Surprise:
    """The pieces of one text. source: where it is from. cut: tokens left out at its end. uniform: nats of a token if
    all were as likely."""

    source: str
    pieces: tuple[Piece, ...]
    tokens: int
    cut: int
    uniform: float

    @property
    def nats(self) -> float:
        return sum(p.nats for p in self.pieces)

    def to_json(self) -> dict[str, Any]:
        pieces = [
            {"text": p.text, "nats": round(p.nats, 4), "rank": p.rank, "expected": p.expected,
             "chance": round(p.chance, 4), "end": p.end}
            for p in self.pieces
        ]  # fmt: skip
        mean = self.nats / max(1, self.tokens)
        return {
            "source": self.source, "tokens": self.tokens, "cut": self.cut, "nats": round(self.nats, 4),
            "nats_per_token": round(mean, 4), "perplexity": round(math.exp(min(mean, 700)), 3),
            "uniform": round(self.uniform, 4), "pieces": pieces,
        }  # fmt: skip


def shade(nats: float) -> int:
    """Which of the shades, from 0."""
    return sum(nats > level for level in LEVELS)


@torch.no_grad()
def surprise_of(
    family: Family,
    modality: Modality[Any],
    tokens: Sequence[int],
    source: str,
    *,
    condition: Condition = Condition(),  # noqa: B008 (frozen)
    known: int = 1,
) -> Surprise:
    """Of tokens as the spec says, the first `known` of which are only context (bos, or what goes before in a stream).
    condition: class, properties and source, with one row.

    Raises ValueError for a family that makes no predictions of tokens.
    """
    spec = family.spec
    if not isinstance(family, HasPredictions) or not isinstance(spec, Tokens):
        raise ValueError(f"{type(family).__name__} makes no predictions of tokens")
    device = device_of(family)
    used = list(tokens[: known + MOST])
    x = torch.tensor(used, device=device)[None]
    given = condition.only(family.honours() - {"known"}).map(lambda t: t.to(device))
    logp = family.predictions(x, given)[0, known - 1 :].float()
    there = x[0, known:]
    own = logp.gather(1, there[:, None])
    rank = (logp > own).sum(1) + 1
    best, most = logp.max(1)
    pieces, held, unknown = [], 0, getattr(modality, "unknown", None)
    facts = np.stack([-own[:, 0].cpu().numpy(), rank.cpu().numpy(), best.exp().cpu().numpy()], 1)
    expected = [_read(modality, spec, [i]) for i in most.cpu().tolist()]
    for i, token in enumerate(there.tolist()):
        end = not spec.stream and token == spec.eos
        text = _read(modality, spec, there[held : i + 1].tolist())
        half = text.endswith(HALF) and token != unknown
        if half and not end and i + 1 - held < LONGEST and i + 1 < len(there):
            continue  # half a character
        part = facts[held : i + 1]
        pieces.append(
            Piece(text, float(part[:, 0].sum()), int(part[:, 1].max()), expected[held], float(part[0, 2]), end)
        )
        held = i + 1
    return Surprise(source, tuple(pieces), len(there), len(tokens) - len(used), math.log(spec.vocab))


def _read(modality: Modality[Any], spec: Tokens, ids: list[int]) -> str:
    """Tokens as a person reads them; marks have no text."""
    if not spec.stream and ids[-1] == spec.eos:
        return ""
    if ids[-1] >= spec.vocab:
        return ""
    text = modality.decode(torch.tensor(ids))
    return (
        text if isinstance(text, str) else " ".join(modality.units(text)) if hasattr(modality, "units") else str(text)
    )
