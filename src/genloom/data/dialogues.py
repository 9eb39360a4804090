"""Conversations: turns with roles, of which each turn of the assistant is an example that follows from those before.

A row holds messages ({"role", "content"}), turns in the form of ShareGPT ({"from", "value"}), a list of texts (user and
assistant in turns), or a transcript ("Name: text" on each line).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from genloom.core.errors import InputError, Unreadable
from genloom.data.columns import SPLITS, Asked, Columns, find_named
from genloom.data.records import Rows

Role = Literal["system", "user", "assistant"]
COLUMNS = ("messages", "conversations", "conversation", "turns", "dialog", "dialogue", "chat", "utterances")
ROLES: dict[str, Role] = {
    "system": "system", "user": "user", "human": "user", "customer": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "bot": "assistant", "model": "assistant", "agent": "assistant",
}  # fmt: skip
MARKS: dict[Role, str] = {"system": "#", "user": ">", "assistant": "<"}  # what a turn begins with in a history
SPEAKER = re.compile(r"\s*([^\s:：][^:：]{0,39})[:：]\s*(.*)")


@dataclass(frozen=True)
class Turn:
    role: Role
    text: str


def history(turns: Sequence[Turn]) -> str:
    """The turns as the model reads them: a line each, which begins with the mark of its role."""
    return "\n".join(f"{MARKS[t.role]} {' '.join(t.text.split())}" for t in turns)


def turns_of(value: Any) -> list[Turn]:
    """The turns in a value of a row. Raises Unreadable: no conversation, unknown roles, roles out of order."""
    if isinstance(value, str):
        turns = _transcript(value)
    elif isinstance(value, list) and value and all(isinstance(v, str) for v in value):
        turns = [Turn("assistant" if i % 2 else "user", text) for i, text in enumerate(value)]
    elif isinstance(value, list) and value:
        turns = messages_of(value)
    else:
        raise Unreadable("there is no conversation in it")
    if not any(t.role == "assistant" for t in in_order(turns)):
        raise Unreadable("it has no turn of the assistant to learn from")
    return turns


def messages_of(values: Sequence[Any]) -> list[Turn]:
    """Messages with roles as turns, in whatever order. Raises Unreadable."""
    return [_message(v, i) for i, v in enumerate(values, 1)]


def in_order(turns: list[Turn]) -> list[Turn]:
    """The turns, checked: the system first or not at all, then user and assistant in turns. Raises Unreadable."""
    before: Role | None = None
    for i, turn in enumerate(turns, 1):
        if not turn.text.strip():
            raise Unreadable(f"turn {i} is empty")
        if turn.role == "system" and i > 1:
            raise Unreadable(f"roles out of order: turn {i} is the system's, which only begins a conversation")
        if turn.role == before:
            raise Unreadable(f"roles out of order: turns {i - 1} and {i} are both the {turn.role}'s")
        before = turn.role
    return turns


def _message(value: Any, number: int) -> Turn:
    if not isinstance(value, Mapping):
        raise Unreadable(f"turn {number} is no message with a role and a content")
    name = next((value[k] for k in ("role", "from", "speaker") if k in value), None)
    text = next((value[k] for k in ("content", "value", "text") if k in value), None)
    if isinstance(text, list):  # parts, of which those of text count
        text = "\n".join(str(p.get("text", "")) for p in text if isinstance(p, Mapping))
    if ROLES.get(str(name).lower()) is None:
        raise Unreadable(f"turn {number} has the role {name!r}; roles are system, user and assistant")
    if not isinstance(text, str):
        raise Unreadable(f"turn {number} has no text in it")
    return Turn(ROLES[str(name).lower()], text)


def _transcript(text: str) -> list[Turn]:
    """Lines "Name: text"; a line without a known name goes on with the turn before. Who speaks first is the user."""
    found: list[tuple[str, str]] = []
    for line in text.splitlines():
        match = SPEAKER.fullmatch(line)
        speakers = list(dict.fromkeys(name for name, _ in found))
        if match and (match[1] in speakers or len(speakers) < 2):
            found.append((match[1], match[2]))
        elif found and line.strip():
            found[-1] = (found[-1][0], f"{found[-1][1]}\n{line}")
    speakers = list(dict.fromkeys(name for name, _ in found))
    if len(speakers) != 2:
        raise Unreadable("it is no transcript of two speakers, with a name and a colon before what each says")
    roles = {name: ROLES.get(name.lower()) for name in speakers}
    if set(roles.values()) != {"user", "assistant"}:
        roles = dict(zip(speakers, ("user", "assistant"), strict=True))
    return [Turn(roles[name] or "user", said) for name, said in found]


class Talks:
    """A shelf: the replies in the conversations of a table, with the turns before each. A conversation that cannot be
    read is one item with the reason."""

    def __init__(self, shelf: Rows) -> None:
        self.shelf, self.name = shelf, shelf.name
        rows: list[int] = []
        turns: list[int] = []
        for k in range(len(shelf)):
            try:
                replies = [i for i, t in enumerate(self._turns(k)) if t.role == "assistant"]
            except Unreadable:
                replies = [-1]
            rows += [k] * len(replies)
            turns += replies
        shelf.close()
        self.rows: NDArray[np.int64] = np.array(rows, dtype=np.int64)
        self._at: NDArray[np.int64] = np.array(turns, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.rows)

    def _turns(self, k: int) -> list[Turn]:
        return turns_of(self.shelf.values(k).get(self.shelf.column))

    def read(self, k: int) -> str:
        """The reply. Raises Unreadable."""
        return self._turns(int(self.rows[k]))[int(self._at[k])].text

    def source(self, k: int) -> str:
        """What comes before it."""
        return history(self._turns(int(self.rows[k]))[: int(self._at[k])])

    def whole(self, k: int) -> str:
        """The conversation."""
        return history(self._turns(int(self.rows[k])))

    def numbers(self) -> NDArray[np.int32]:
        numbers: NDArray[np.int32] = self.shelf.numbers()[self.rows]
        return numbers

    def close(self) -> None:
        self.shelf.close()


def conversation_column(name: str, rows: Sequence[Mapping[str, Any]], asked: Asked) -> Columns:
    """The column of conversations. Raises InputError naming the columns there are."""
    names = list(dict.fromkeys(str(k) for row in rows for k in row))
    lower = {n.lower(): n for n in reversed(names)}
    split = next((lower[n] for n in SPLITS if n in lower), None)
    if asked.text:
        return Columns(find_named(name, asked.text, lower), None, split, False)
    known = next((lower[n] for n in COLUMNS if n in lower), None)
    column = known or next((n for n in names if _mostly(rows, n)), None)
    if column is None:
        raise InputError(
            f"{name} has the columns {', '.join(names[:8]) or 'none'}, and none holds conversations: lists of messages "
            'as in {"role": "user", "content": "..."}; name one with data.column'
        )
    return Columns(column, None, split, False)


def _mostly(rows: Sequence[Mapping[str, Any]], column: str) -> bool:
    """Whether most values of a column are conversations."""
    good = 0
    for row in rows:
        try:
            good += len(turns_of(row.get(column))) > 1
        except Unreadable:
            continue
    return 2 * good > len(rows)
