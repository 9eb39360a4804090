"""Talking with a model: the conversation so far is its source, the reply what follows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from genloom.apply.following import Follows, Notify, check_task
from genloom.core.errors import InputError, Unreadable
from genloom.core.tasks import decoding
from genloom.data.dialogues import Turn, history, in_order, messages_of


class Streams(Follows, Protocol):
    """A model that gives its samples piece by piece too."""

    def stream(
        self, prompt: str = "", *, seed: int = 0, options: Mapping[str, Any] | None = None, source: Any = None,
        notify: Notify = ...,
    ) -> Iterator[str]: ...  # fmt: skip


class Conversation:
    """Turns of a person and of a model, in turns. system: what stands before them all."""

    def __init__(
        self,
        model: Streams,
        system: str | None = None,
        *,
        options: Mapping[str, Any] | None = None,
        seed: int = 0,
        notify: Notify = lambda _: None,
    ) -> None:
        """Raises InputError for a model that was not trained on conversations."""
        check_task(model, "chat")
        self.model, self.seed, self.notify = model, seed, notify
        self.options = decoding("chat", options)
        self.turns = [Turn("system", system)] if system and system.strip() else []

    def take_up(self, messages: Sequence[Any]) -> None:
        """Go on after these messages, as in {"role": "user", "content": "..."}; the last may be the user's, which
        `answer` then replies to. Raises InputError: roles that are unknown or out of order."""
        try:
            self.turns = in_order([*self.turns, *messages_of(list(messages))])
        except Unreadable as e:
            raise InputError(f"the conversation cannot be gone on with: {e}") from None

    def reply(self, text: str) -> str:
        """The model's reply to what the person says. Raises InputError for nothing."""
        return "".join(self.stream(text))

    def stream(self, text: str) -> Iterator[str]:
        """The reply piece by piece; it is part of the conversation when the last piece has come."""
        self.take_up([{"role": "user", "content": text}])
        yield from self.answer()

    def answer(self) -> Iterator[str]:
        """The reply to the last turn, which must be the user's, piece by piece. Raises InputError."""
        if not self.turns or self.turns[-1].role != "user":
            raise InputError("it is the user's turn: the conversation must end with a message of the user")
        before, said = history(self.turns), ""
        seed = self.seed + len(self.turns)  # every turn has draws of its own
        if self.options.get("beams", 1) > 1:
            found = self.model.sample(1, seed=seed, options=self.options, source=before, notify=self.notify)
            pieces = iter([str(found[0])])
        else:
            pieces = self.model.stream(seed=seed, options=self.options, source=before, notify=self.notify)
        for piece in pieces:
            said += piece
            yield piece
        self.turns.append(Turn("assistant", said if said.strip() else "…"))
