"""What a server on a person's own machine must refuse, and the headers that every answer carries.

Browsers let any page that a person visits send requests to 127.0.0.1. So a request must name this server as its host
(else a stranger's domain could be pointed here: DNS rebinding), and one that a page sends must come from this server's
own pages. Outside of this machine there is no server without a token.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from genloom.core.errors import InputError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LEAST = 16  # characters of a token
JSON = b"application/json"
OPEN = frozenset({"/health"})  # answered without a token
DATA = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
# Own files alone. Pictures, sound and downloads may also be made by the page itself.
PAGE = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; connect-src 'self'; img-src 'self' "
    "data: blob:; media-src 'self' blob:; form-action 'self'; frame-src 'self'; frame-ancestors 'self'; base-uri 'none'"
)
# A file that is a page of its own, such as a report: it may draw itself, but reaches nothing and is nobody's origin.
DOCUMENT = (
    "sandbox allow-scripts allow-popups; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; media-src data: blob:; font-src data:; frame-ancestors 'self'; base-uri 'none'"
)
HEADERS = {
    "content-security-policy": DATA,
    "x-content-type-options": "nosniff",
    "x-frame-options": "SAMEORIGIN",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "cache-control": "no-store",
}


@dataclass(frozen=True)
class Safety:
    """Who may ask. Make it by `safety`.

    loopback: reached from this machine alone. token: what every request must show, None for none. names: host names
    beside those of the machine. cookie: its name where browsers may show the token by cookie, "" where not.
    """

    loopback: bool = True
    token: str | None = field(default=None, repr=False)
    names: frozenset[str] = frozenset()
    cookie: str = ""

    def knows(self, host: str) -> bool:
        """Whether a Host header is this server's. A name that is not must be somebody else's, pointed here; an address
        in numbers cannot be."""
        name = _without_port(host)
        if name is None:
            return False
        try:
            address = ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            own = {"localhost"} if self.loopback else {"localhost", socket.gethostname().lower(), *self.names}
            return name.lower().rstrip(".") in own
        return address.is_loopback or not self.loopback

    def accepts(self, shown: str) -> bool:
        """Whether this is the token, told in a time that does not depend on it."""
        return self.token is not None and hmac.compare_digest(_digest(shown), _digest(self.token))

    @property
    def session(self) -> str:
        """What the cookie holds: not the token itself."""
        return hmac.new((self.token or "").encode(), b"genloom session", "sha256").hexdigest()


def safety(
    host: str = "127.0.0.1", token: str | None = None, names: frozenset[str] = frozenset(), cookie: str = ""
) -> Safety:
    """The rules for a server at `host`. Raises InputError for another address than this machine's without a token."""
    loopback = is_loopback(host)
    if not loopback and token is None:
        raise InputError(
            f"{host} can be reached from other machines; put a token into a file and give it with --token-file, or "
            "leave --host out"
        )
    return Safety(loopback, token, frozenset(n.lower() for n in names), cookie)


def is_loopback(host: str) -> bool:
    """Whether an address to listen at is this machine's alone. Raises InputError for what is no address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        raise InputError(f"--host takes an address in numbers, such as 127.0.0.1 or 0.0.0.0; got {host!r}") from None


def read_token(path: Path) -> str:
    """The token in a file's first line. Raises InputError."""
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except FileNotFoundError:
        raise InputError(
            f"there is no file {path}; make one with a token: "
            "python -c 'import secrets; print(secrets.token_urlsafe())' > FILE"
        ) from None
    except (OSError, UnicodeDecodeError) as e:
        raise InputError(f"{path} cannot be read: {getattr(e, 'strerror', None) or 'it is not text'}") from None
    token = lines[0].strip() if lines else ""
    if len(token) < LEAST or not token.isascii() or not token.isprintable() or " " in token:
        raise InputError(
            f"{path} should hold a token of at least {LEAST} ASCII characters without spaces in its first line"
        )
    return token


def new_token() -> str:
    """One that nobody guesses."""
    return secrets.token_urlsafe(24)


class Guard:
    """The outermost layer of a server: refuses, or passes on and puts the headers on the answer."""

    def __init__(self, app: App, rules: Safety) -> None:
        self.app, self.rules = app, rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # there are no web sockets here
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return

        replaced = False

        async def guarded(message: Message) -> None:
            nonlocal replaced
            if replaced:
                return
            if message["type"] == "http.response.start":
                if message["status"] == 413 and (b"content-type", JSON) not in message["headers"]:
                    # The framework refuses a large body with plain text.
                    await answer(guarded, 413, None, "the body is larger than this server takes")
                    replaced = True
                    return
                given = list(message.get("headers", ()))
                there = {name.lower() for name, _ in given}
                added = [(k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in there]
                message = {**message, "headers": [*given, *added]}
            await send(message)

        headers = _headers(scope)
        refused = refusal(scope["method"], headers, self.rules)
        if refused is not None:
            await answer(guarded, 403, "forbidden", refused)
            return
        if self.rules.token is not None and scope["path"] not in OPEN and not self._known(headers):
            await self._stranger(scope, guarded)
            return
        await self.app(scope, receive, guarded)

    def _known(self, headers: dict[str, list[str]]) -> bool:
        kind, _, shown = next(iter(headers.get("authorization", [])), "").partition(" ")
        if kind.lower() == "bearer" and self.rules.accepts(shown.strip()):
            return True
        if not self.rules.cookie:
            return False
        try:
            cookies = SimpleCookie("; ".join(headers.get("cookie", [])))
        except CookieError:
            return False
        shown = cookies[self.rules.cookie].value if self.rules.cookie in cookies else ""
        return hmac.compare_digest(_digest(shown), _digest(self.rules.session))

    async def _stranger(self, scope: Scope, send: Send) -> None:
        """Refuse; but a page opened with the right ?token= gets the cookie, and its address without the token."""
        query = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        shown = next((v for k, v in query if k == "token"), "")
        if self.rules.cookie and scope["method"] == "GET" and self.rules.accepts(shown):
            rest = urlencode([(k, v) for k, v in query if k != "token"])
            place = quote("/" + scope["path"].lstrip("/")) + (f"?{rest}" if rest else "")
            cookie = f"{self.rules.cookie}={self.rules.session}; Path=/; HttpOnly; SameSite=Strict"
            headers = [(b"location", place.encode()), (b"set-cookie", cookie.encode()), (b"content-length", b"0")]
            await send({"type": "http.response.start", "status": 303, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        how = "show the token as `Authorization: Bearer TOKEN`"
        how += " or open the page with ?token=TOKEN" if self.rules.cookie else ""
        await answer(
            send, 401, "unauthorized", f"this server asks for its token: {how}", {"www-authenticate": "Bearer"}
        )


def refusal(method: str, headers: dict[str, list[str]], rules: Safety) -> str | None:
    """Why a request is not this server's to answer; None where it is."""
    hosts = headers.get("host", [])
    if len(hosts) != 1 or not rules.knows(hosts[0]):
        return "the Host header names another server; use this server's address, or allow the name with --name"
    for origin in headers.get("origin", []):
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or parts.netloc.lower() != hosts[0].lower():
            return f"a page of another origin ({origin[:80]}) may not use this server"
    site = next(iter(headers.get("sec-fetch-site", [])), "none")
    opened = method == "GET" and next(iter(headers.get("sec-fetch-mode", [])), "") == "navigate"
    framed = next(iter(headers.get("sec-fetch-dest", [])), "document") != "document"
    if site not in ("none", "same-origin") and (not opened or framed):  # a link to a page may stand anywhere
        return "a page of another site may not use this server"
    return None


async def answer(
    send: Send, status: int, code: str | None, message: str, headers: dict[str, str] | None = None
) -> None:
    """An error in the form of studio/errors.py, without the framework."""
    from genloom.studio.errors import body_of

    body = body_of(status, message, code=code)
    fields = {"content-type": JSON.decode(), "content-length": str(len(body)), **(headers or {})}
    encoded = [(k.encode(), v.encode()) for k, v in fields.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})


def inside(folder: Path, name: str) -> Path:
    """`folder`/`name`, for a name that a request gave: one plain component, and in the folder even through links.

    Raises InputError.
    """
    plain = name and name not in (".", "..") and not any(c in name for c in "/\\:\0") and name.isprintable()
    path = folder / name if plain else folder
    if not plain or not path.resolve().is_relative_to(folder.resolve()) or path.resolve() == folder.resolve():
        raise InputError(f"{name[:80]!r} is not the name of a file or folder here")
    return path


def attachment(name: str) -> dict[str, str]:
    """Headers by which browsers save an answer and never show it: for SVG, HTML and all that people's files hold."""
    return {
        "content-disposition": f"attachment; filename*=utf-8''{quote(name, safe='')}",
        "content-security-policy": DATA,
    }


def _headers(scope: Scope) -> dict[str, list[str]]:
    out: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        out.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return out


def _without_port(host: str) -> str | None:
    """The name or address in a Host header; None for one that is not well formed."""
    if not host or any(c in host for c in "/\\@?# ,"):
        return None
    if host.startswith("["):
        name, end, port = host.partition("]")
        name, port = name + end, port.removeprefix(":")
    else:
        name, _, port = host.partition(":")
    return name if not port or (port.isascii() and port.isdigit()) else None


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
