"""The application that the server and the studio share: safety around everything, errors in one form."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from genloom import __version__
from genloom.core.errors import GenloomError, InputError
from genloom.studio import security
from genloom.studio.errors import Refused, document
from genloom.studio.metrics import Counted, Metrics

BODY = 8 * 2**20  # bytes of a request, where a route says nothing else


class Application(FastAPI):
    """FastAPI behind the guard, which is outermost: also what goes wrong inside is answered with its headers."""

    rules = security.Safety()

    def build_middleware_stack(self) -> Any:
        return security.Guard(super().build_middleware_stack(), self.rules)


def new_app(
    rules: security.Safety,
    routers: Sequence[APIRouter],
    *,
    title: str = "genloom",
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]] | None = None,
    counted: Metrics | None = None,
) -> Application:
    """An application of these routes. counted: where requests are counted. `/health` answers everybody.

    Bodies are limited to BODY bytes; a route or router that takes files sets its own `max_body_size`.
    """
    # The framework's pages of documentation would fetch scripts from elsewhere.
    app = Application(
        title=title, version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan, max_body_size=BODY,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )  # fmt: skip
    app.rules = rules
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(GenloomError, _genloom)
    app.add_exception_handler(Exception, _unexpected)
    if counted is not None:
        app.add_middleware(Counted, metrics=counted)
    app.add_api_route("/health", health, methods=["GET"], tags=["server"])
    for router in routers:
        app.include_router(router)
    return app


def heed_interrupts() -> None:
    """uvicorn raises a signal again when it has ended for it: a shell that ignores Ctrl-C for what it starts must not
    turn that into success."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


async def health() -> dict[str, str]:
    """That the server runs. Needs no token."""
    return {"status": "ok"}


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refused)
    headers = {} if error.retry_after is None else {"retry-after": str(error.retry_after)}
    return JSONResponse(
        document(error.status, error.message, param=error.param, code=error.code), error.status, headers
    )


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    """What pydantic found, as one sentence about its first finding."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = [str(p) for p in first.get("loc", ()) if p not in ("body", "query", "path")]
    param = ".".join(place) or None
    why = str(first.get("msg", "it is not valid")).removeprefix("Value error, ")
    if first.get("type") == "extra_forbidden":
        why = "this server does not know it; leave it out"
    if first.get("type") == "json_invalid":
        param, why = None, f"the body is not JSON: {first.get('ctx', {}).get('error', '')}"
    return JSONResponse(document(400, f"{param}: {why}" if param else why, param=param), 400)


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    message = str(error.detail)
    if error.status_code == 404 and message == "Not Found":
        message = f"there is nothing at {request.url.path[:80]}; see /openapi.json for what there is"
    return JSONResponse(document(error.status_code, message), error.status_code, error.headers)


async def _genloom(request: Request, error: Exception) -> JSONResponse:
    status = 400 if isinstance(error, InputError) else 500
    return JSONResponse(document(status, str(error)), status)


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse(document(500, f"an error in genloom itself ({type(error).__name__}); its log says more"), 500)
