"""`genloom serve`: runs over HTTP."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from genloom.cli.options import Json
from genloom.cli.output import emit, say
from genloom.cli.values import complete_run, find_run
from genloom.core.errors import InputError

UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30}


def serve(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN...", help="Folders of runs, or names in ./runs.", autocompletion=complete_run),
    ],
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen at; 0 for any free one.")
    ] = 8000,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen at; others than this machine's need a token.")
    ] = "127.0.0.1",
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", metavar="FILE", help="A file with the token that every request must show."),
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option("--name", help="A host name by which the server is reached; repeat for more.")
    ] = None,
    chat_template: Annotated[
        Path | None,
        typer.Option("--chat-template", metavar="FILE", help="How a conversation becomes a prompt, in Jinja."),
    ] = None,
    memory: Annotated[
        str, typer.Option("--memory", metavar="SIZE", help="Weights held at once, as in 500M or 2G; 0: no limit.")
    ] = "0",
    slots: Annotated[int, typer.Option("--slots", min=1, max=1024, help="Samples a model computes at once.")] = 64,
    queue: Annotated[int, typer.Option("--queue", min=1, help="Requests of a model that may wait.")] = 256,
    timeout: Annotated[float, typer.Option("--timeout", min=1, help="Seconds that a request may take.")] = 120.0,
    most: Annotated[int, typer.Option("--max-n", min=1, help="Most samples of a request.")] = 64,
    tokens: Annotated[
        int, typer.Option("--max-tokens", min=1, help="Most tokens of a sample, and of a prompt.")
    ] = 4096,
    steps: Annotated[int, typer.Option("--max-steps", min=1, help="Most steps of a sampler.")] = 250,
    json: Json = False,
) -> None:
    """Serve runs over HTTP: OpenAI's routes for texts and images, `/v1/generate` for all. Ends with Ctrl-C."""
    paths = [find_run(run) for run in runs]
    try:
        from genloom.studio import server
    except ImportError as e:
        raise InputError(f"serving needs the package {e.name}; install genloom[server]") from None
    from genloom.nets.native import library
    from genloom.studio.chat import Template
    from genloom.studio.limits import Limits
    from genloom.studio.security import read_token, safety

    token = None if token_file is None else read_token(token_file)
    rules = safety(host, token, frozenset(name or ()))
    limits = Limits(most, tokens, steps, slots, queue, timeout, size_of(memory))
    template = None if chat_template is None else Template(chat_template)
    app = server.server_app(paths, rules, limits, template)
    sock = server.listen(host, port)
    library.prepare(say)
    address = f"http://{host}:{sock.getsockname()[1]}"
    if json:
        emit({"schema": "genloom.serve/1", "address": address, "models": [p.resolve().name for p in paths]})
    else:
        print(address, flush=True)
        say(f"{len(paths)} {'model' if len(paths) == 1 else 'models'} at {address}/v1/models; Ctrl-C ends it")
    server.run(app, sock)


def size_of(text: str) -> int:
    """Bytes, of 500M or 2G."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]?)(?:i?b)?", text.strip().lower())
    if found is None:
        raise InputError(f"--memory takes a size, as in 500M or 2G; got {text!r}")
    return int(float(found[1]) * UNITS[found[2]])


def register(app: typer.Typer) -> None:
    app.command()(serve)
