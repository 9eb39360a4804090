"""One comparison at a time in a folder, also when an earlier one was killed and left its training at work."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from genloom.core.errors import InputError

PATIENCE = 120.0  # seconds that a training left behind gets for its checkpoint


class Lock:
    """Context that holds `path` by flock. Children inherit it (`handle`), so it stays held while one of them lives.

    A training whose comparison is gone is asked by SIGTERM to write its checkpoint and end. Raises InputError when
    another comparison is at work. Where the system has no flock (Windows) nothing is held.
    """

    def __init__(self, path: Path, notify: Callable[[str], None]) -> None:
        self.path, self.notify = path, notify
        self.handle: int | None = None

    def __enter__(self) -> Lock:
        try:
            import fcntl
        except ImportError:
            return self
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)

        def taken() -> bool:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return False
            return True

        if not taken():
            self._wait(taken)
        self.handle = handle
        self.note(None)
        return self

    def _wait(self, taken: Callable[[], bool]) -> None:
        """Until a training that was left behind has ended."""
        holder = self._read()
        parent, child = holder.get("comparison"), holder.get("training")
        if not isinstance(child, int) or (isinstance(parent, int) and _lives(parent)):
            raise InputError(
                f"another comparison is at work in {self.path.parent} (process {parent}); wait for it to end, or "
                "choose another folder with --out"
            )
        self.notify("a training of the earlier comparison is still at work; it is asked to write its checkpoint")
        os.kill(child, signal.SIGTERM)
        begin = time.monotonic()
        while not taken():
            if time.monotonic() - begin > PATIENCE:
                raise InputError(f"the training left in {self.path.parent} (process {child}) does not end; stop it")
            time.sleep(0.1)

    def _read(self) -> dict[str, Any]:
        try:
            known = json.loads(self.path.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}

    def note(self, child: int | None) -> None:
        """Write down who holds the lock: this process and the training it has started."""
        if self.handle is None:
            return
        text = json.dumps({"comparison": os.getpid(), "training": child}).encode()
        os.pwrite(self.handle, text.ljust(120), 0)

    def __exit__(self, *error: object) -> None:
        if self.handle is not None:
            os.close(self.handle)
            self.handle = None


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
