"""What was read of many runs, so that the next page, or the next server, need not read all of it again."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genloom.core.errors import GenloomError
from genloom.core.files import write_atomic

FORMAT = 1
WORTH = 20  # new values from which they are written


class Kept:
    """JSON values by name, each good as long as the files it was read from have the times `changed`. In a file, which
    may be missing, damaged or of another version: then there is nothing in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held: dict[str, tuple[list[int], Any]] | None = None
        self._new = 0
        self._guard = threading.Lock()

    def get(self, name: str, changed: Sequence[int]) -> Any:
        """None where nothing is kept or it has changed."""
        held = self._values().get(name)
        return held[1] if held is not None and held[0] == list(changed) else None

    def put(self, name: str, changed: Sequence[int], value: Any) -> None:
        self._values()[name] = (list(changed), value)
        self._new += 1

    def save(self, names: Sequence[str]) -> None:
        """Write the values of `names`, where enough are new; what cannot be written is read again next time."""
        with self._guard:
            if self._new < WORTH:
                return
            self._new = 0
            held = {n: v for n in names if (v := self._values().get(n)) is not None}
            with contextlib.suppress(OSError, GenloomError):
                write_atomic(self.path, json.dumps({"format": FORMAT, "held": held}).encode())

    def _values(self) -> dict[str, tuple[list[int], Any]]:
        if self._held is None:
            held: dict[str, tuple[list[int], Any]] = {}
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
                told = json.loads(self.path.read_bytes())
                if told["format"] == FORMAT:
                    held = {str(n): (list(changed), value) for n, (changed, value) in told["held"].items()}
            self._held = held
        return self._held
