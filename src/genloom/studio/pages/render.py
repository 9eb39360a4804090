"""From templates to answers: pages in the person's language, and every error as one sentence, on a page or in JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Coroutine
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote

from fastapi import Request, Response
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader, StrictUndefined

from genloom.core.errors import GenloomError, InputError
from genloom.evaluate.pictures import legible
from genloom.evaluate.units import duration, integer, moment, number, text
from genloom.studio.pages.words import LANGUAGES, TAGS, Words, preferred
from genloom.studio.pages.workspace import Missing
from genloom.studio.security import PAGE, attachment

MOST_FORM = 2**20  # bytes of a form
# Without a referrer browsers would send forms from the origin "null", which the guard refuses.
HEADERS = {
    "Cache-Control": "no-store", "Vary": "Accept-Language, Cookie", "Content-Security-Policy": PAGE,
    "Referrer-Policy": "same-origin",
}  # fmt: skip
THEMES = ("auto", "light", "dark")
# What a browser may show of a file; everything else is downloaded.
SHOWN = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".wav": "audio/wav",
    ".mp4": "video/mp4",
    ".txt": "text/plain; charset=utf-8",
}


@cache
def environment() -> Environment:
    made = Environment(
        loader=PackageLoader("genloom.studio", "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made.filters |= {
        "number": number, "integer": integer, "duration": duration, "moment": moment, "said": text,
        "legible": legible, "address": address, "size": size,
    }  # fmt: skip
    return made


def address(name: str) -> str:
    """A name as a part of an address."""
    return quote(name, safe="")


def size(count: float) -> str:
    """Bytes as people read them."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:,.0f} {unit}" if unit == "B" or count >= 100 else f"{count:,.1f} {unit}"
        count /= 1000
    raise AssertionError


def words_of(request: Request) -> Words:
    """Those of the language chosen by the switch, else of the browser's."""
    chosen = request.cookies.get("language", "")
    return Words(chosen if chosen in LANGUAGES else preferred(request.headers.get("accept-language", "")))


def page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A template as an answer. It knows `t` (the words) besides `values`."""
    words, theme = words_of(request), request.cookies.get("theme", "auto")
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    html = environment().get_template(template).render(
        t=words, language=TAGS[words.language], languages=LANGUAGES, theme=theme if theme in THEMES else "auto",
        themes=THEMES, here=here, section=request.url.path.split("/")[1], **values,
    )  # fmt: skip
    return HTMLResponse(html, status, headers=HEADERS)


def redirect(to: str) -> RedirectResponse:
    return RedirectResponse(to, 303)


def wants_json(request: Request) -> bool:
    return "application/json" in request.headers.get("accept", "")


def failure(request: Request, message: str, status: int) -> Response:
    if wants_json(request):
        return JSONResponse({"error": {"message": message}}, status)
    return page(request, "error.html.j2", status, message=message)


class Route(APIRoute):
    """A route whose InputErrors and GenloomErrors are answered with their sentence."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except Missing as e:
                return failure(request, str(e), 404)
            except InputError as e:
                return failure(request, str(e), 400)
            except GenloomError as e:
                return failure(request, str(e), 500)

        return handled


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form; of a field given several times the last. Raises InputError for one that is too long."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_FORM:
            raise InputError(f"the form has more than {MOST_FORM:,} bytes")
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=2000))


async def json_of(request: Request, most: int = MOST_FORM) -> dict[str, Any]:
    """The JSON object of at most so many bytes that a script sent. Raises InputError."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > most:
            raise InputError(f"the request has more than {most:,} bytes")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise InputError("the request is not JSON") from None
    if not isinstance(value, dict):
        raise InputError("the request is not a JSON object")
    return value


def file_answer(path: Path, download: bool = False, name: str | None = None) -> FileResponse:
    """A file: shown where a browser can do so safely, else (always SVG and HTML) downloaded."""
    kind = SHOWN.get(path.suffix.lower())
    if kind is None or download:
        return FileResponse(path, media_type=kind or "application/octet-stream", headers=attachment(name or path.name))
    return FileResponse(path, media_type=kind, headers={"Cache-Control": "no-cache"})


def local(back: str) -> str:
    """An address of this server to go back to; the first page for any other."""
    return back if re.fullmatch(r"/(?![/\\])[^\s\\]*", back) else "/"
