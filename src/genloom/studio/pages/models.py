"""Runs loaded for the playground: few at once, the least recently used one given up first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from genloom.core.errors import GenloomError
from genloom.core.run import WEIGHTS

if TYPE_CHECKING:
    from genloom.run import Run

MOST = 3  # loaded at once
PATIENCE = 120.0  # seconds to wait for another's samples
BUSY = "the studio is busy drawing other samples; try again in a minute"


class Models:
    """One computation at a time: on a few cores two would make each other slower."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Path, int], Run] = OrderedDict()
        self._loading, self._turn = threading.Lock(), threading.Semaphore(1)

    def get(self, path: Path) -> Run:
        """The run in a folder, as its weights are now. Raises InputError when it cannot be loaded."""
        from genloom import api

        weights = path / WEIGHTS
        key = (path, weights.stat().st_mtime_ns if weights.exists() else 0)
        with self._loading:
            if key not in self._kept:
                for old in [k for k in self._kept if k[0] == path]:
                    del self._kept[old]
                self._kept[key] = api.load(path)
                while len(self._kept) > MOST:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]

    def take(self) -> bool:
        """Take the turn if nobody has it; `give` it back."""
        return self._turn.acquire(blocking=False)

    def give(self) -> None:
        self._turn.release()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Raises GenloomError when others take too long."""
        if not self._turn.acquire(timeout=PATIENCE):
            raise GenloomError(BUSY)
        try:
            yield
        finally:
            self._turn.release()
