"""`genloom studio`."""

from __future__ import annotations

import os
import socket
import sys
import threading
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from genloom.cli.output import say
from genloom.core.errors import InputError


def studio(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Workspace: holds runs/, data/ and what the studio keeps.")
    ] = Path("."),
    port: Annotated[int, typer.Option("--port", "-p", min=0, max=65535, help="Port; 0 takes a free one.")] = 7777,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen at; others than this machine's need --token-file.")
    ] = "127.0.0.1",
    token_file: Annotated[
        Path | None, typer.Option("--token-file", metavar="FILE", help="File with a token that browsers must show.")
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option("--name", help="Host name by which the studio is reached; repeat for more.")
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open a browser.")] = False,
) -> None:
    """Open the studio: runs, data, new trainings and a playground in the browser. Ctrl-C ends it, trainings go on."""
    from genloom.studio import security

    try:
        import uvicorn

        from genloom.studio.app import heed_interrupts, new_app
        from genloom.studio.pages.router import pages
    except ImportError as e:
        raise InputError(
            f"the studio needs packages that are not installed ({e.name}); pip install 'genloom[studio]'"
        ) from None
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give the one that the studio shall work in")
    token = security.read_token(token_file) if token_file is not None else None
    rules = security.safety(host, token, frozenset(name or ()), cookie="genloom_studio")
    app = new_app(rules, [pages(folder)], title="genloom studio")
    listening = _listen(host, port)
    address = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"
    say(f"The studio is at {address}{'/?token=…' if token else ''} · Ctrl-C ends it; trainings go on")
    print(address, flush=True)
    if not no_browser:
        _open(f"{address}/?token={token}" if token else address)
    config = uvicorn.Config(app, log_level="warning", server_header=False, timeout_graceful_shutdown=2)
    heed_interrupts()
    uvicorn.Server(config).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    """Raises InputError when the port is taken or the address is not this machine's."""
    try:
        kind = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=kind)
    except OSError as e:
        raise InputError(
            f"{host}:{port} cannot be listened at ({e.strerror or e}); another studio may run there: open it, or "
            "choose another --port"
        ) from None


def _open(address: str) -> None:
    """Show the page, where there is a screen."""
    screen = sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if screen and sys.stderr.isatty():
        threading.Timer(0.7, webbrowser.open, (address,)).start()


def register(app: typer.Typer) -> None:
    app.command()(studio)
