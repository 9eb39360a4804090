"""Prompts, stops and grammars: what steers a model of sequences, said in the modality's own terms."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from genloom.core.batch import Condition
from genloom.core.errors import InputError
from genloom.core.family import Family, HasSteps, HasSurprise
from genloom.core.guide import Guide
from genloom.core.modality import FillsGaps, HasGrammar, Modality, Sequential
from genloom.core.spec import Spec, Tokens

GAP = 64  # tokens between a beginning and an end where nobody says how many
TAIL = 32  # tokens at the end in which a stop is looked for, more for long stops


class StopAt:
    """Ends a row when its text contains one of `stops` after its first `begin` tokens."""

    def __init__(self, modality: Modality[str], stops: Sequence[str], begin: int) -> None:
        self.modality, self.stops, self.begin = modality, [s for s in stops if s], begin
        self.tail = TAIL + 4 * max(map(len, self.stops), default=0)

    def allowed(self, tokens: Tensor) -> Tensor | None:
        return None

    def finished(self, tokens: Tensor) -> Tensor | None:
        recent = tokens[:, max(self.begin, tokens.shape[1] - self.tail) :].cpu()
        found = [any(s in self.modality.decode(row) for s in self.stops) for row in recent]
        return torch.tensor(found, device=tokens.device)


class Both:
    """Two guides at once."""

    def __init__(self, first: Guide, second: Guide) -> None:
        self.first, self.second = first, second

    def allowed(self, tokens: Tensor) -> Tensor | None:
        a, b = self.first.allowed(tokens), self.second.allowed(tokens)
        return b if a is None else a if b is None else a & b

    def finished(self, tokens: Tensor) -> Tensor | None:
        a, b = self.first.finished(tokens), self.second.finished(tokens)
        return b if a is None else a if b is None else a | b


def guide_for(modality: Modality[Any], stops: Sequence[str], begin: int) -> Guide | None:
    """The modality's grammar, if it has one, and the stops, if there are any."""
    sequences = isinstance(modality.spec, Tokens)
    grammar = modality.grammar() if sequences and isinstance(modality, HasGrammar) else None
    if not any(stops):
        return grammar
    stop = StopAt(modality, stops, begin)
    return Both(grammar, stop) if grammar is not None else stop


def given(
    family: Family,
    modality: Modality[Any],
    prompt: str,
    suffix: str,
    room: int | None,
    notify: Callable[[str], None],
) -> Condition | None:
    """The known parts of a sample that begins with `prompt` and ends with `suffix`, with `room` tokens between
    them (None: what the modality says, else GAP).

    Raises InputError for a family or modality without prompts, and for unknown characters.
    """
    if not prompt and not suffix:
        return None
    spec = family.spec
    if not isinstance(spec, Tokens) or not isinstance(modality, Sequential) or not isinstance(family, HasSteps):
        raise InputError("only models of sequences can be given a prompt; leave --prompt and --suffix out")
    before, after = modality.prompt(prompt), modality.prompt(suffix)
    if room is None:
        room = modality.gap(len(before), len(after)) if isinstance(modality, FillsGaps) else GAP
    context = family.context if isinstance(family, HasSurprise) and family.stride else None
    if context is not None and len(before) >= context:
        notify(f"the prompt has {len(before)} tokens and the model looks back at {context}: it sees the end of it only")
    if not spec.stream:
        before = [spec.bos, *before]
    gap = room if after else 0
    known = torch.tensor([*before, *[spec.pad] * gap, *after])[None]
    mask = torch.tensor([True] * len(before) + [False] * gap + [True] * len(after))[None]
    return Condition(known=known, mask=mask)


def columns(spec: Spec, known: Condition | None) -> int:
    """Columns of the generated tokens that come before what is drawn: the token that everything starts from, and the
    prompt."""
    length = 0 if known is None or known.known is None else known.known.shape[1]
    return 1 + length if isinstance(spec, Tokens) and spec.stream else max(1, length)


def cut(text: str, begin: int, stops: Sequence[str]) -> str:
    """`text` up to the first stop after its first `begin` characters."""
    places = [p for s in stops if s and (p := text.find(s, begin)) >= 0]
    return text[: min(places)] if places else text


class Pieces:
    """The text of tokens as they come. Half a character is held back until it is whole, and what may be the beginning
    of a stop until it is known not to be. stopped: a stop has come."""

    def __init__(self, decode: Callable[[Tensor], str], stops: Sequence[str]) -> None:
        self.decode, self.stops = decode, stops
        self.held: list[int] = []
        self.text, self.stopped = "", False

    def feed(self, token: int) -> str:
        """What can be told once this token has come; nothing more is fed after a stop."""
        self.held.append(token)
        piece = self.decode(torch.tensor(self.held))
        if piece.endswith("\N{REPLACEMENT CHARACTER}") and len(self.held) < 8:
            return ""
        self.held, self.text = [], self.text + piece
        ended = cut(self.text, 0, self.stops)
        if ended != self.text:
            self.text, self.stopped = "", True
            return ended
        keep = max((k for s in self.stops for k in range(1, len(s)) if self.text.endswith(s[:k])), default=0)
        ready = self.text[: len(self.text) - keep]
        self.text = self.text[len(self.text) - keep :]
        return ready

    def rest(self) -> str:
        """What was held back until the end."""
        text, held = self.text, self.held
        self.text, self.held = "", []
        return text + (self.decode(torch.tensor(held)) if held else "")


def pieces(decode: Callable[[Tensor], str], tokens: Iterator[int], stops: Sequence[str]) -> Iterator[str]:
    """`Pieces` of tokens, one after the other, without empty ones."""
    told = Pieces(decode, stops)
    for token in tokens:
        if piece := told.feed(token):
            yield piece
        if told.stopped:
            return
    if piece := told.rest():
        yield piece
