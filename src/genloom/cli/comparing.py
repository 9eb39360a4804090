"""`genloom compare`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from genloom.cli.options import Json, Sets
from genloom.cli.output import emit, say
from genloom.cli.values import complete_comparable, find_run
from genloom.core.errors import InputError

FEW = ("frechet", "precision", "recall", "nats_per_character_64", "bits_per_byte", "bleu_4", "self_bleu")


def compare(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA | RUN RUN...",
            autocompletion=complete_comparable,
            help="Data to train several models on, or two or more runs that are there.",
        ),
    ],
    models: Annotated[
        str | None,
        typer.Option("--models", "-m", metavar="A,B", help="Families, also NAME:RECIPE; all that fit if not given."),
    ] = None,
    recipes: Annotated[str | None, typer.Option("--recipes", "-r", metavar="A,B", help="Recipes to compare.")] = None,
    seeds: Annotated[
        str | None, typer.Option("--seeds", metavar="0,1,2", help="Train each with these seeds; medians are compared.")
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option("--budget", metavar="TIME", help="Training time of each: 5m, 90s; 10m if not given."),
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Optimiser steps of each, for a budget.")] = None,
    sets: Sets = None,
    n: Annotated[
        int | None, typer.Option("-n", "--number", min=2, help="Samples to judge; by the data's size if not given.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Folder; runs/compare-DATA if not given.")
    ] = None,
    json: Json = False,
) -> None:
    """Train several models on DATA under an equal budget, or take RUNs, and compare them in one table and page.

    The same command goes on where it was stopped. The exit code is 1 when a model failed; the others are compared.
    """
    if budget is not None and steps is not None:
        raise InputError("give --budget or --steps, not both")
    data: str | list[Path] = what[0]
    if len(what) > 1:
        if models or recipes:
            raise InputError("give one DATA with --models or --recipes, or several runs without them")
        if seeds is not None:
            raise InputError("runs that are trained have their seeds; leave --seeds out")
        data = [find_run(name) for name in what]
    elif (Path(what[0]) / "config.json").is_file():
        raise InputError(f"{what[0]} is one run; name two or more to compare, or DATA to train several models on")

    from genloom.cli.watching import watching
    from genloom.comparison import compare as compared

    with watching() as watcher:
        result = compared(
            data,
            models=models,
            recipes=recipes,
            seeds=seeds if seeds is not None else (0,),
            budget=budget,
            steps=steps,
            settings=sets or None,
            n=n,
            out=out,
            watcher=watcher,
        )
    if json:
        emit(result.document)
    else:
        print(_table(result.document))
        print(f"\n{result.verdict}")
        for notice in result.document["notices"]:
            say(f"note: {notice}")
        say(f"The page: {result.page}")
    if result.failed:
        raise typer.Exit(1)


def _table(document: Mapping[str, Any]) -> str:
    """A row for each model and two for the references; "*" is best, "=" cannot be told from it."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    lead = document["lead"]
    figures = [f for f in document["figures"] if f["name"] == lead or f["name"] in FEW]
    figures.sort(key=lambda f: f["name"] != lead)
    head = ["model", *(f["name"] for f in figures), "copying", "samples/s", "examples/s", "parameters", "MB", "Wh"]
    rows = [_row(label, figures, document) for label in dict.fromkeys(r["label"] for r in document["runs"])]
    for name, side in (("real data", "ceiling"), ("no skill", "floor")):
        rows.append([name, *(_reference(f, side) for f in figures), *[""] * 6])
    grid = Table(*head, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column in grid.columns[1:]:
        column.justify = "right"
    for row in rows:
        grid.add_row(*(Text(cell) for cell in row))
    console = Console(width=200, color_system=None)
    with console.capture() as captured:
        console.print(grid)
    lines = [line.rstrip() for line in captured.get().splitlines()]
    return "\n".join([*lines, "* best   = not told apart from it   - not known (comparison.json says why)"])


def _row(label: str, figures: Sequence[Mapping[str, Any]], document: Mapping[str, Any]) -> list[str]:
    cost = document["cost"].get(label)
    if cost is None:
        return [label, *["-"] * len(figures), "failed", *["-"] * 5]
    verdicts = [r["copying"]["verdict"] for r in document["runs"] if r["label"] == label and r["copying"]]
    worst = max(verdicts, key=("not tested", "none", "some", "copying").index)
    size = cost["file_bytes"]
    amounts = [cost["samples_per_second"], cost["examples_per_second"], cost["parameters"]]
    return [
        label, *(_figure(f, label) for f in figures), worst, *map(_number, amounts),
        "-" if size is None else f"{size / 1e6:.1f}", _number(cost["watt_hours"]),
    ]  # fmt: skip


def _figure(figure: Mapping[str, Any], label: str) -> str:
    value = figure["values"][label]
    if value["value"] is None:
        return "-"
    mark = "*" if figure["best"] == label else "=" if label in figure["tied"] else ""
    interval = value["interval"]
    spread = f" ({interval[0]:.3g}-{interval[1]:.3g})" if interval else ""
    return f"{value['value']:.3g}{spread}{mark or ' '}"


def _reference(figure: Mapping[str, Any], side: str) -> str:
    known = [v[side] for v in figure["values"].values() if v[side] is not None]
    return f"{min(known):.3g} " if known else "- "


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def register(app: typer.Typer) -> None:
    app.command()(compare)
