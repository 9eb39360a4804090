"""The application of `genloom serve`, and how it is run."""

from __future__ import annotations

import contextlib
import gc
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import JSONResponse, Response

from genloom.core.errors import InputError
from genloom.studio import completions, metrics, native
from genloom.studio.app import Application, heed_interrupts, new_app
from genloom.studio.chat import Template
from genloom.studio.limits import Limits
from genloom.studio.metrics import Metrics
from genloom.studio.security import Safety
from genloom.studio.service import Service
from genloom.studio.shelf import Shelf

GRACE = 5  # seconds that requests under way have when the server ends


def server_app(
    paths: Sequence[Path],
    rules: Safety,
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    template: Template | None = None,
) -> Application:
    """The API of these runs. Raises InputError for what is no finished run."""
    measured = Metrics()
    service = Service(Shelf(paths, limits, measured), limits, measured, template)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await service.shelf.close()

    routers = [completions.router(service), native.router(service), about(service)]
    return new_app(rules, routers, title="genloom serve", lifespan=lifespan, counted=measured)


def about(service: Service) -> APIRouter:
    """What the server says of itself."""
    routes = APIRouter(tags=["server"])

    @routes.get("/ready")
    async def ready() -> JSONResponse:
        """That requests are taken, and which models are in memory."""
        shelf = service.shelf
        states: dict[str, Any] = {name: "loaded" if name in shelf.loaded else "on disk" for name in shelf.entries}
        full = [n for n, one in shelf.loaded.items() if len(one.worker.waiting) >= service.limits.waiting]
        return JSONResponse({"status": "busy" if full else "ready", "models": states}, 503 if full else 200)

    @routes.get("/metrics", response_class=Response)
    async def metrics_() -> Response:
        """For Prometheus."""
        return Response(service.metrics.text(), media_type=metrics.CONTENT)

    return routes


def listen(host: str, port: int) -> socket.socket:
    """A socket at an address. Raises InputError when it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bare = host.strip("[]") if host != "localhost" else "127.0.0.1"
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((bare, port))
        sock.listen(2048)  # so that nobody is refused between now and the first turn of the loop
    except (OSError, OverflowError) as e:
        sock.close()
        raise InputError(
            f"{host}:{port} cannot be listened at ({getattr(e, 'strerror', e)}); choose another --port"
        ) from None
    return sock


def run(app: Application, sock: socket.socket) -> None:
    """Serve until a signal comes."""
    import uvicorn

    settings = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, lifespan="on", timeout_graceful_shutdown=GRACE,
        ws="none",
    )  # fmt: skip
    heed_interrupts()
    gc.freeze()  # what was imported stays: looking through all of it costs an answer 0.1 to 0.2 s now and then
    uvicorn.Server(settings).run(sockets=[sock])
