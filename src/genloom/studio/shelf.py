"""The runs of a server: loaded when they are asked for, the least recently used unloaded when memory is short."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genloom.core.config import unknown
from genloom.core.errors import InputError
from genloom.core.run import CONFIG, STATE, WEIGHTS, RunFolder
from genloom.run import Run
from genloom.studio.errors import Refused
from genloom.studio.jobs import teller
from genloom.studio.limits import Limits
from genloom.studio.metrics import Metrics
from genloom.studio.worker import Worker


@dataclass(frozen=True)
class Entry:
    """A run as it lies on disk. created: seconds since 1970. task: what its texts are to their sources, "" for none."""

    name: str
    path: Path
    kind: str
    family: str
    classes: tuple[str, ...]
    bytes: int
    created: int
    task: str = ""


@dataclass
class Loaded:
    """A run in memory. fingerprint: the beginning of its weights' sha256. used: when it was last asked for, by
    time.monotonic. users: requests that hold it now."""

    run: Run
    worker: Worker
    bytes: int
    fingerprint: str
    used: float = field(default_factory=time.monotonic)
    users: int = 0


class Shelf:
    """Use it from one event loop, between `open` and `close`."""

    def __init__(self, paths: Sequence[Path], limits: Limits, metrics: Metrics) -> None:
        """Raises InputError for what is no finished run, for two of one name, and for one larger than the memory."""
        self.limits, self.metrics = limits, metrics
        self.entries: dict[str, Entry] = {}
        for path in paths:
            entry = entry_of(path)
            if entry.name in self.entries:
                raise InputError(f"{path} and {self.entries[entry.name].path} are both called {entry.name}; rename one")
            if limits.memory and entry.bytes > limits.memory:
                raise InputError(
                    f"{entry.name} has {entry.bytes:,} bytes of weights, more than the {limits.memory:,} allowed; give "
                    "a larger --memory"
                )
            self.entries[entry.name] = entry
        self.loaded: dict[str, Loaded] = {}
        self.turn = asyncio.Lock()  # one is loaded or unloaded at a time
        metrics.watch(self._rows, self._waiting, lambda: {name: one.bytes for name, one in self.loaded.items()})

    def _rows(self) -> dict[str, int]:
        return {name: one.worker.rows for name, one in self.loaded.items()}

    def _waiting(self) -> dict[str, int]:
        return {name: len(one.worker.waiting) for name, one in self.loaded.items()}

    def entry(self, name: str) -> Entry:
        """Raises Refused for a run that is not served."""
        if name not in self.entries:
            raise Refused(404, unknown(name, list(self.entries), "model"), param="model", code="model_not_found")
        return self.entries[name]

    @contextlib.asynccontextmanager
    async def borrow(self, name: str) -> AsyncIterator[Loaded]:
        """The run in memory, which stays there meanwhile. Raises Refused."""
        entry = self.entry(name)
        async with self.turn:
            one = self.loaded.get(name) or await self._load(entry)
            one.users += 1
        try:
            yield one
        finally:
            one.users -= 1
            one.used = time.monotonic()

    async def _load(self, entry: Entry) -> Loaded:
        await self._make_room(entry.bytes)
        tell, observe = teller(asyncio.get_running_loop()), self.metrics.observer(entry.name)

        def load() -> Loaded:
            run = Run.open(entry.path)
            worker = Worker(run, self.limits, tell, observe)
            worker.start()
            tensors = [*run.family.parameters(), *run.family.buffers()]
            fingerprint = str(run.manifest.get("files", {}).get(WEIGHTS, ""))[:16]
            return Loaded(run, worker, sum(t.numel() * t.element_size() for t in tensors), fingerprint)

        one = self.loaded[entry.name] = await asyncio.to_thread(load)
        return one

    async def _make_room(self, needed: int) -> None:
        """Unload the least recently used runs that nobody uses until so many bytes fit."""
        while self.limits.memory and self.loaded and self._bytes() + needed > self.limits.memory:
            idle = [(one.used, name) for name, one in self.loaded.items() if not one.users]
            if not idle:
                raise Refused(503, "the memory is full of models that are in use; ask again", retry_after=2)
            await self._unload(min(idle)[1])

    async def _unload(self, name: str) -> None:
        one = self.loaded.pop(name)
        await asyncio.to_thread(one.worker.close)
        del one
        gc.collect()

    def _bytes(self) -> int:
        return sum(one.bytes for one in self.loaded.values())

    async def close(self) -> None:
        """End what is under way and unload everything."""
        async with self.turn:
            for name in list(self.loaded):
                await self._unload(name)


def entry_of(path: Path) -> Entry:
    """What a run says of itself, without its weights. Raises InputError for what is no finished run."""
    folder = RunFolder.open(path)
    config, state = folder.read_json(CONFIG), folder.read_json(STATE)
    weights = path / WEIGHTS
    if not weights.is_file():
        folder.load_weights()  # which says what is missing
    try:
        classes: Any = state["condition"]["classes"]
        created = int(weights.stat().st_mtime)
        task = str((state["condition"].get("source") or {}).get("task") or "")
        return Entry(
            path.resolve().name, path, str(config["kind"]), str(config["model"]), tuple(classes),
            weights.stat().st_size, created, task,
        )  # fmt: skip
    except (KeyError, TypeError) as e:
        raise InputError(f"the settings in {path} are damaged ({type(e).__name__}: {e}); restore them") from None
