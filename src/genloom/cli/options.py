"""Options and arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genloom.cli.values import complete_run

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on one line on stdout.")]
RunArgument = Annotated[
    str,
    typer.Argument(metavar="RUN", help="Folder of a run, or its name in ./runs.", autocompletion=complete_run),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same result.")]
Out = Annotated[Path | None, typer.Option("-o", "--out", metavar="DIR", help="Folder to write to.")]
Label = Annotated[str | None, typer.Option("--label", help="Class of the samples; all classes in turn if not given.")]
NoMark = Annotated[
    bool, typer.Option("--no-mark", help="Leave the mark of generated content out; the run's manifest notes it.")
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A setting; repeat for more. `genloom describe NAME` shows all."),
]
