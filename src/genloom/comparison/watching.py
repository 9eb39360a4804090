"""What those who watch a comparison are told: a row for each training, from its history.jsonl."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

TAIL = 65_536  # bytes at the end of a history that hold its last record


class State(StrEnum):
    WAITING = "waiting"
    TRAINING = "training"
    TRAINED = "trained"
    JUDGING = "judging"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class Row:
    """Where one training stands. fraction: share done; seconds: of training; error: one sentence where it failed."""

    name: str
    state: State = State.WAITING
    step: int = 0
    fraction: float = 0.0
    seconds: float = 0.0
    losses: Mapping[str, float] = field(default_factory=dict)
    error: str = ""


class Watcher(Protocol):
    """Called by `compare` from its own thread."""

    def show(self, rows: Sequence[Row]) -> None: ...

    def notice(self, text: str) -> None: ...


class Silent:
    """Watches nothing; notices go to `notify`."""

    def __init__(self, notify: Any = None) -> None:
        self._notify = notify

    def show(self, rows: Sequence[Row]) -> None: ...

    def notice(self, text: str) -> None:
        if self._notify is not None:
            self._notify(text)


class Board:
    """The rows of all trainings, shown to the watcher whenever one changes."""

    def __init__(self, names: Sequence[str], watcher: Watcher) -> None:
        self.rows = {name: Row(name) for name in names}
        self.watcher = watcher

    def set(self, name: str, state: State, folder: Path | None = None, error: str = "") -> None:
        """The training `name` is in `state`; its step and loss come from the run in `folder`."""
        last = last_record(folder / "history.jsonl") if folder is not None else {}
        old = self.rows[name]
        self.rows[name] = Row(
            name,
            state,
            int(last.get("step", old.step)),
            float(last.get("fraction", old.fraction)),
            float(last.get("seconds", old.seconds)),
            last.get("losses", old.losses),
            error,
        )
        self.watcher.show(tuple(self.rows.values()))


def last_record(history: Path) -> dict[str, Any]:
    """The last whole record of a history.jsonl, or an empty one."""
    try:
        with open(history, "rb") as f:
            f.seek(max(0, f.seek(0, 2) - TAIL))
            tail = f.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return {}
    for line in reversed(tail):
        try:
            record = json.loads(line)
        except ValueError:  # cut at either end
            continue
        if isinstance(record, dict) and "step" in record:
            return record
    return {}
