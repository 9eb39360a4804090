"""The command line. Data goes to stdout, progress and notices to stderr; `--json` prints one JSON document on one line.

torch is imported by the commands that need it, never by this package, so that `genloom --help` answers at once.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from genloom import __version__
from genloom.cli import (
    applying,
    comparing,
    explaining,
    generating,
    inspecting,
    lookup,
    optimising,
    pages,
    provenance,
    scoring,
    serving,
    training,
)
from genloom.cli.output import fail, unexpected
from genloom.core.errors import GenloomError, InputError, Interrupted

EPILOG = (
    "Exit codes: 0 done · 1 failed although the input was good · 2 bad input or usage · 130 stopped by Ctrl-C · "
    "143 stopped by SIGTERM (a training writes a checkpoint first). Data goes to stdout, progress to stderr; "
    "with --json stdout is one JSON document on one line."
)

app = typer.Typer(
    name="genloom",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Your data in, an honest generator out: train, judge and sample generative models on your own data.",
)
training.register(app)
comparing.register(app)
inspecting.register(app)
generating.register(app)
applying.register(app)
explaining.register(app)
optimising.register(app)
scoring.register(app)
lookup.register(app)
pages.register(app)
provenance.register(app)
serving.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"genloom {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    for stream in (sys.stdout, sys.stderr):  # file names that the terminal's encoding lacks must not end a command
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    code = _run(list(sys.argv[1:] if arguments is None else arguments))
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # `genloom list | head`: the reader has what it wanted
        _drop_stdout()
    sys.exit(code)


def _drop_stdout() -> None:
    """Keep the interpreter from complaining about the closed pipe when it exits."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(arguments: list[str]) -> int:
    as_json = "--json" in arguments
    try:
        result = app(arguments, prog_name="genloom", standalone_mode=False)
    except typer.TyperException as e:
        return fail("usage", _usage(e), e.exit_code, as_json)
    except Interrupted as e:
        return fail("interrupted", str(e), e.exit_code, as_json)
    except InputError as e:
        return fail("input", str(e), e.exit_code, as_json)
    except GenloomError as e:
        return fail("failure", str(e), e.exit_code, as_json)
    except (KeyboardInterrupt, typer.Abort):
        return fail("interrupted", "stopped", 130, as_json)
    except BrokenPipeError:
        _drop_stdout()
        return 1
    except Exception as e:
        return fail("internal", unexpected(e), 1, as_json)
    if result == 130:  # how typer reports Ctrl-C
        return fail("interrupted", "stopped", 130, as_json)
    return result if isinstance(result, int) else 0


def _usage(error: typer.TyperException) -> str:
    """One sentence about a wrong command line: what is wrong, and where to read what is right."""
    message = " ".join(error.format_message().replace("Value error, ", "").split()).rstrip(".")
    option, near = getattr(error, "option_name", ""), getattr(error, "possibilities", None)
    if near:
        nearest = max(near, key=lambda name: difflib.SequenceMatcher(None, name, option).ratio())
        message = f"there is no option {option}; did you mean {nearest}?"
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "genloom"
    return f"{message[:1].lower()}{message[1:]}; see `{command} --help`"
