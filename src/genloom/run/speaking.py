"""What a run that follows from sources does for people: translate, summarise, talk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from genloom.apply.dialogue import Conversation, Streams
from genloom.apply.following import follow

if TYPE_CHECKING:
    from genloom.apply.following import Follows

Notify = Callable[[str], None]


class Speaks:
    """Methods of a Run; options: of the family's sampler, over those of the task (apply/following.py)."""

    def translate(
        self,
        texts: str | Sequence[str],
        *,
        options: Mapping[str, Any] | None = None,
        seed: int = 0,
        notify: Notify = lambda _: None,
    ) -> list[str]:
        """The translation of each text, by beam search. Raises InputError: a run that was trained for something else, a
        script that it has never seen."""
        return self._follow("translate", texts, options, seed, notify)  # fmt: skip

    def summarise(
        self,
        texts: str | Sequence[str],
        *,
        options: Mapping[str, Any] | None = None,
        seed: int = 0,
        notify: Notify = lambda _: None,
    ) -> list[str]:
        """The summary of each text, as `translate`."""
        return self._follow("summarise", texts, options, seed, notify)  # fmt: skip

    def _follow(
        self, task: str, texts: str | Sequence[str], options: Mapping[str, Any] | None, seed: int, notify: Notify
    ) -> list[str]:
        given = [texts] if isinstance(texts, str) else texts
        return follow(cast("Follows", self), task, given, options=options, seed=seed, notify=notify)

    def chat(
        self,
        messages: str | Sequence[Mapping[str, str]] | None = None,
        *,
        system: str | None = None,
        options: Mapping[str, Any] | None = None,
        seed: int = 0,
        notify: Notify = lambda _: None,
    ) -> Conversation:
        """A conversation with the run, after its reply to what is given: a text of the user, or messages with roles of
        which the last is the user's. `run.chat("hello").turns[-1].text`, then `.reply("...")`. Raises InputError."""
        talk = Conversation(cast("Streams", self), system, options=options, seed=seed, notify=notify)
        if messages is not None:
            talk.take_up([{"role": "user", "content": messages}] if isinstance(messages, str) else messages)
            for _ in talk.answer():
                pass
        return talk
