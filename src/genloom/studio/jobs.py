"""A request under way: handed over by the event loop, computed by a worker's thread, told back piece by piece."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from genloom.run.requests import Ready


@dataclass(frozen=True)
class Drawn:
    """One more token of every row. tokens: ids. live: rows that had not ended before. logp: nats of each. top: of each
    row the most probable tokens and their nats, where they were asked for."""

    tokens: list[int]
    live: list[bool]
    logp: list[float]
    top: list[list[tuple[int, float]]] | None = None


@dataclass(frozen=True)
class Done:
    """The samples as the spec says (of a table a DataFrame), and of each row why it ended."""

    x: Any
    reasons: list[Literal["stop", "length"]]


Event = Drawn | Done | Exception


@dataclass
class Job:
    """told: whether its tokens are wanted as they come. tops: most probable tokens wanted with each. due: when its time
    is up, by time.monotonic. gone: nobody waits for it any more; set by the event loop, read by the worker."""

    ready: Ready
    due: float
    told: bool = False
    tops: int = 0
    gone: bool = False
    came: float = field(default_factory=time.monotonic)
    events: deque[Event] = field(default_factory=deque)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def rows(self) -> int:
        return self.ready.request.n

    async def listen(self) -> AsyncIterator[list[Drawn] | Done]:
        """What has come since, tokens together; the samples last. Raises what went wrong. Whoever stops listening
        before must say `leave`."""
        while True:
            await self.news.wait()
            self.news.clear()
            drawn: list[Drawn] = []
            while self.events:
                event = self.events.popleft()
                if isinstance(event, Drawn):
                    drawn.append(event)
                    continue
                if drawn:
                    yield drawn
                if isinstance(event, Exception):
                    raise event
                yield event
                return
            if drawn:
                yield drawn

    async def result(self) -> Done:
        """The samples alone."""
        async for event in self.listen():
            if isinstance(event, Done):
                return event
        raise AssertionError("a job ends with its samples or an error")

    def leave(self) -> None:
        """Nobody listens any more: its compute is freed before the next step."""
        self.gone = True


Tell = Callable[[Iterable[tuple[Job, Event]]], None]


def teller(loop: asyncio.AbstractEventLoop) -> Tell:
    """What hands events of a worker's thread over to the event loop, all of one step at once."""

    def deliver(events: list[tuple[Job, Event]]) -> None:
        for job, event in events:
            job.events.append(event)
            job.news.set()

    def tell(events: Iterable[tuple[Job, Event]]) -> None:
        ready = list(events)
        if ready and not loop.is_closed():
            loop.call_soon_threadsafe(deliver, ready)

    return tell
