"""Requests of one server: from what was asked to a job under way, and to who has gone away meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from fastapi import Request as HttpRequest
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from genloom.core.spec import Row
from genloom.run.requests import Request, ready
from genloom.studio.chat import Template
from genloom.studio.jobs import Job
from genloom.studio.limits import Limits
from genloom.studio.metrics import Metrics
from genloom.studio.shelf import Loaded, Shelf

T = TypeVar("T")


class ClientGone(Exception):
    """Nobody reads the answer."""


@dataclass(frozen=True)
class Service:
    """What the routes of a server share. template: how conversations become prompts, None for not at all."""

    shelf: Shelf
    limits: Limits
    metrics: Metrics
    template: Template | None = None

    async def submit(self, model: Loaded, request: Request, *, told: bool = False, tops: int = 0) -> Job:
        """A job for the model's worker. Raises InputError and Refused."""
        self.limits.check_number(request.n, isinstance(model.run.family.spec, Row))
        asked = await asyncio.to_thread(ready, model.run, request)
        self.limits.check(asked)
        job = Job(asked, time.monotonic() + self.limits.seconds, told and model.worker.stepwise, tops)
        model.worker.submit(job)
        return job

    @contextlib.asynccontextmanager
    async def held(self, name: str) -> AsyncIterator[tuple[Loaded, list[Job]]]:
        """The model, and a list for its jobs: those that are not done are left when the block is."""
        jobs: list[Job] = []
        async with self.shelf.borrow(name) as model:
            try:
                yield model, jobs
            finally:
                for job in jobs:
                    job.leave()

    def seed(self, given: int | None) -> int:
        return secrets.randbelow(2**31) if given is None else given


async def unless_gone(request: HttpRequest, work: Awaitable[T]) -> T:
    """What `work` gives. Raises ClientGone as soon as the client goes away, and stops the work then."""
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientGone
    finally:
        for one in (task, gone):
            one.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _gone(request: HttpRequest) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class Stream(StreamingResponse):
    """Server-sent events. end: called in any case, also when the client goes away before the first."""

    def __init__(self, events: AsyncIterator[str], end: Callable[[], Awaitable[object]]) -> None:
        super().__init__(events, media_type="text/event-stream", headers={"x-accel-buffering": "no"})
        self.end = end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self.end()
