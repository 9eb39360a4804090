"""What happens to a run, as server-sent events over what is on disk.

The id of an event is the place reached in the files: any server, also one started later, goes on from it, so a page
that was cut off misses nothing and hears nothing twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from genloom.studio.pages.curves import before, flat, parsed, size_of
from genloom.studio.pages.standing import log_of, samples_of, standing
from genloom.studio.pages.workspace import Workspace

EVERY, QUIET = 0.5, 15.0  # seconds between looks, and until something is said so that the line stays open
MOST_RECORDS, MOST_LOG = 400, 2**15  # told one by one; of more the page fetches the curve, and the log's end
ID = re.compile(r"(\d{1,18})\.([0-9a-f]{8})\.(\d{1,18})\.([0-9a-f]{8})\.([0-9a-f]{8})")


@dataclass(frozen=True)
class Place:
    """How far a page knows a run. history, log: bytes; tail, samples, state: digests."""

    history: int = 0
    tail: str = "0" * 8
    log: int = 0
    samples: str = "0" * 8
    state: str = "0" * 8

    def __str__(self) -> str:
        return f"{self.history}.{self.tail}.{self.log}.{self.samples}.{self.state}"

    @classmethod
    def read(cls, text: str) -> Place:
        """Inverse of str; the beginning for anything else."""
        m = ID.fullmatch(text)
        return cls(int(m[1]), m[2], int(m[3]), m[4], m[5]) if m else cls()


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=4).hexdigest()


def tail_of(path: Path, offset: int) -> str:
    return _digest(before(path, offset)) if offset else "0" * 8


def news(space: Workspace, name: str, place: Place) -> tuple[Place, list[tuple[str, Any]]]:
    """What a page at `place` does not know yet, as (event, data), and the place it is at then."""
    run, told = space.runs / name, list[tuple[str, Any]]()
    place, records = _history(run / "history.jsonl", place)
    if records is None:
        told.append(("reset", {}))
    elif records:
        told.append(("history", records))
    log = log_of(space, name)
    size = size_of(log)
    if size != place.log:
        begin = place.log if place.log < size else 0
        cut = max(begin, size - MOST_LOG)
        with open(log, "rb") as f:
            f.seek(cut)
            text = f.read(size - cut).decode("utf-8", "replace")
        told.append(("log", {"text": text, "to": size, "new": begin == 0 or cut > begin}))
        place = replace(place, log=size)
    drawn = [asdict(d) for d in samples_of(run)]
    digest = _digest(json.dumps([d["name"] for d in drawn]).encode())
    if digest != place.samples:
        told.append(("samples", drawn))
        place = replace(place, samples=digest)
    state = asdict(standing(space, name))
    digest = _digest(json.dumps(state).encode())
    if digest != place.state:
        told.append(("state", state))
        place = replace(place, state=digest)
    return place, told


def _history(path: Path, place: Place) -> tuple[Place, list[dict[str, Any]] | None]:
    """The records after a place; None where the page had better fetch the whole curve."""
    size = size_of(path)
    if size == place.history:
        return place, []
    if size < place.history or tail_of(path, place.history) != place.tail:  # written anew by a resumed training
        return at_end(path, place, size), None
    with open(path, "rb") as f:
        f.seek(place.history)
        data = f.read(2**22)
    end = data.rfind(b"\n") + 1
    if not end:
        return place, []
    lines, reached = data[:end].splitlines(), place.history + end
    if len(lines) > MOST_RECORDS:
        return at_end(path, place, size), None
    records = [{"step": r["step"], "fraction": r.get("fraction"), "values": dict(flat(r))} for r in parsed(lines)]
    return replace(place, history=reached, tail=tail_of(path, reached)), records


def at_end(path: Path, place: Place, size: int) -> Place:
    """The place after the last whole line of a history of `size` bytes."""
    begin = max(0, size - 2**16)
    with open(path, "rb") as f:
        f.seek(begin)
        reached = begin + f.read(size - begin).rfind(b"\n") + 1
    return replace(place, history=reached, tail=tail_of(path, reached))


async def stream(space: Workspace, name: str, place: Place) -> AsyncIterator[str]:
    """Events of a run from `place` on, for ever."""
    yield "retry: 1000\n\n"
    quiet = 0.0
    while True:
        place, told = await asyncio.to_thread(news, space, name, place)
        for i, (event, data) in enumerate(told):
            # The id belongs to all of a look: a page cut off within hears it again from its beginning.
            id_ = f"id: {place}\n" if i == len(told) - 1 else ""
            yield f"{id_}event: {event}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"
        quiet = 0.0 if told else quiet + EVERY
        if quiet >= QUIET:
            quiet = 0.0
            yield ": still here\n\n"
        await asyncio.sleep(EVERY)
