"""Translations, summaries and conversations with a model made here, which echoes what it is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from genloom.apply.dialogue import Conversation
from genloom.apply.following import follow
from genloom.core.batch import ConditionSpec, SourceSpec
from genloom.core.errors import InputError
from genloom.core.tasks import decoding


class Echo:
    """Says its sources in capitals."""

    name = "echo"

    def __init__(self, task: str | None) -> None:
        source = None if task is None else SourceSpec(9, 9, 0, 1, True, task)
        self.condition, self.asked = ConditionSpec(source=source), list[Any]()

    def sample(
        self,
        n: int,
        *,
        seed: int = 0,
        options: Mapping[str, Any] | None = None,
        source: Any = None,
        notify: Callable[[str], None] = print,
    ) -> list[str]:
        self.asked.append((seed, options, source))
        return [s.upper() for s in source]

    def stream(
        self,
        prompt: str = "",
        *,
        seed: int = 0,
        options: Mapping[str, Any] | None = None,
        source: Any = None,
        notify: Callable[[str], None] = print,
    ) -> Iterator[str]:
        self.asked.append((seed, options, source))
        yield from ("re", "ply")


def test_sources_are_followed_by_length_and_given_in_order() -> None:
    model = Echo("translate")
    assert follow(model, "translate", ["ccc", "", "a", " ", "bb"]) == ["CCC", "", "A", "", "BB"]
    assert model.asked == [(0, {"beams": 5, "enough": 5, "length_penalty": 1.0}, ["a", "bb", "ccc"])]
    assert follow(model, "translate", []) == [] and follow(model, "translate", [" "]) == [""]


def test_what_is_asked_for_comes_before_what_suits_the_task() -> None:
    assert decoding("translate", {"beams": 2}) == {"beams": 2, "enough": 2, "length_penalty": 1.0}
    assert decoding("translate", {"beams": 1}) == {"beams": 1, "temperature": 0.0}
    assert decoding("summarise", {"temperature": 0.5}) == {"temperature": 0.5}
    assert decoding("chat", {"temperature": 0.1}) == {"temperature": 0.1, "top_p": 0.9}


@pytest.mark.parametrize(
    ("trained", "task", "message"),
    [
        (None, "translate", "echo was trained without sources; train a model with --task translate"),
        ("chat", "summarise", "echo was trained with --task chat; to summarise it, train it with --task summarise"),
        ("", "chat", "was not trained on conversations; to chat with it, train it with --task chat"),
    ],
)
def test_a_model_for_something_else_is_refused(trained: str | None, task: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        follow(Echo(trained), task, ["a"])
    assert follow(Echo(""), "translate", ["a"]) == ["A"]
    with pytest.raises(InputError, match="source 0 is int, not text"):
        follow(Echo("translate"), "translate", [3])  # type: ignore[list-item]


def test_a_conversation_grows_by_turns() -> None:
    model = Echo("chat")
    talk = Conversation(model, "be nice", seed=5)
    assert talk.reply("hi\nthere") == "reply"
    assert list(talk.stream("how?")) == ["re", "ply"]
    sources, seeds = [a[2] for a in model.asked], [a[0] for a in model.asked]
    assert sources == ["# be nice\n> hi there", "# be nice\n> hi there\n< reply\n> how?"]
    assert len(set(seeds)) == 2
    assert [t.role for t in talk.turns] == ["system", "user", "assistant", "user", "assistant"]


def test_roles_out_of_order_are_refused_and_change_nothing() -> None:
    talk = Conversation(Echo("chat"))
    talk.take_up([{"role": "user", "content": "a"}])
    with pytest.raises(InputError, match="turns 1 and 2 are both the user's"):
        talk.take_up([{"role": "user", "content": "b"}])
    with pytest.raises(InputError, match="turn 1 has the role 'robot'"):
        talk.take_up([{"role": "robot", "content": "b"}])
    assert len(talk.turns) == 1
    assert "".join(talk.answer()) == "reply"
    with pytest.raises(InputError, match="it is the user's turn"):
        list(talk.answer())
    with pytest.raises(InputError, match="turn 3 is empty"):
        talk.reply(" ")
