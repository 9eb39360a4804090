"""`genloom verify` and `genloom reproduce`: where a file comes from, and the same file again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genloom.cli.options import Json, Out
from genloom.cli.output import emit, say
from genloom.cli.values import complete_run

Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files to look at.")]


def verify(files: Files, json: Json = False) -> None:
    """Say what each FILE claims of its origin and whether that holds. Exit code 0 when all hold, else 1."""
    from genloom.provenance import verify as judge

    verdicts = [judge(path) for path in files]
    good = all(v.holds for v in verdicts)
    if json:
        emit({"schema": "genloom.verify/1", "holds": good, "files": [v.to_json() for v in verdicts]})
    else:
        for v in verdicts:
            print(f"{v.file}: {v.state}: {_plain(v.says)}")
            if v.signer:
                whose = "yours" if v.own else "not yours, so anybody's who used this name"
                print(f"  signed by {_plain(v.signer)} ({whose})")
            for note in v.notes:
                say(f"  {_plain(note)}")
    if not good:
        raise typer.Exit(1)


def _plain(text: str) -> str:
    """Words that a stranger may have written, without what a terminal would obey."""
    return "".join(c if c.isprintable() else "?" for c in text)


def reproduce(
    files: Files,
    run: Annotated[
        Path | None,
        typer.Option(
            "--run",
            metavar="RUN",
            help="Where the run is, if not around FILE or in runs.",
            autocompletion=complete_run,
        ),
    ] = None,
    out: Out = None,
    json: Json = False,
) -> None:
    """Make each FILE again from the record beside it and compare. Exit code 0 when all are the same, else 1."""
    from genloom.run import reproduce as again

    done = [again(path, run, out, notify=say) for path in files]
    good = all(r.same for r in done)
    if json:
        emit({"schema": "genloom.reproduce/1", "same": good, "files": [r.to_json() for r in done]})
    else:
        for r in done:
            made = "the same bytes" if r.same else "other bytes"
            state = "" if r.intact else "; the file itself is missing or was changed since"
            print(f"{r.file}: {made} by {r.run.name}{state}" + (f"; written to {r.written}" if r.written else ""))
            if not r.same and r.differences:
                say(f"  {'; '.join(r.differences)}")
    if not good:
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    for command in (verify, reproduce):
        app.command()(command)
