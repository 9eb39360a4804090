"""From drawn tokens to what clients of OpenAI's API read: pieces of text, log-probabilities, reasons, usage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from genloom.core.modality import Modality
from genloom.core.spec import Tokens
from genloom.run.prompting import Pieces, cut
from genloom.studio.jobs import Done, Drawn


@dataclass(frozen=True)
class Token:
    """A token that was drawn, and the most probable ones in its place."""

    text: str
    logp: float
    top: tuple[tuple[str, float], ...]

    def for_chat(self) -> dict[str, Any]:
        def shown(text: str, logp: float) -> dict[str, Any]:
            return {"token": text, "logprob": logp, "bytes": list(text.encode("utf-8", "replace"))}

        return {**shown(self.text, self.logp), "top_logprobs": [shown(*t) for t in self.top]}


@dataclass(frozen=True)
class Delta:
    """What is new of a row."""

    row: int
    text: str
    tokens: tuple[Token, ...] = ()
    reason: str | None = None


class Reader:
    """The rows of one request as text. spec: of the run. begin: as in Ready."""

    def __init__(self, modality: Modality[Any], spec: Tokens, begin: int, rows: int, stops: Sequence[str]) -> None:
        self.modality, self.spec, self.begin, self.stops = modality, spec, begin, stops
        self.pieces = [Pieces(modality.decode, stops) for _ in range(rows)]
        self.drawn = 0  # tokens of all rows

    def read(self, events: Sequence[Drawn]) -> list[Delta]:
        """What is new of each row of which something is."""
        out = []
        for row, pieces in enumerate(self.pieces):
            text, tokens = [], []
            for event in events:
                if not event.live[row]:
                    break
                self.drawn += 1
                token = event.tokens[row]
                if pieces.stopped or token in (self.spec.pad, self.spec.eos):
                    continue
                text.append(pieces.feed(token))
                top = () if event.top is None else tuple((self._name(i), p) for i, p in event.top[row])
                tokens.append(Token(self._name(token), event.logp[row], top))
            if any(text) or tokens:
                out.append(Delta(row, "".join(text), tuple(tokens)))
        return out

    def end(self, done: Done) -> list[Delta]:
        """What was held back of each row, and why it ended."""
        return [Delta(row, "" if p.stopped else p.rest(), (), done.reasons[row]) for row, p in enumerate(self.pieces)]

    def whole(self, done: Done) -> list[Delta]:
        """Each row at once, of a request whose tokens were not told."""
        first = self.begin - (1 if self.spec.stream else 0)
        out = []
        for row, reason in enumerate(done.reasons):
            ids = done.x[row, first:]
            ids = ids[ids != self.spec.pad]
            self.drawn += len(ids)
            text = self.modality.decode(ids[ids != self.spec.eos])
            out.append(Delta(row, cut(text, 0, self.stops), (), reason))
        return out

    def _name(self, token: int) -> str:
        return str(self.modality.decode(torch.tensor([token])))


def usage(prompt: int, drawn: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": drawn, "total_tokens": prompt + drawn}


def legacy_logprobs(tokens: Sequence[Token], offset: int) -> dict[str, Any]:
    """In the form of completions. offset: characters of the text before."""
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token.text)
    return {
        "tokens": [t.text for t in tokens],
        "token_logprobs": [t.logp for t in tokens],
        "top_logprobs": [dict(t.top) for t in tokens],
        "text_offset": offsets,
    }
