"""`genloom train` and `genloom merge`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from genloom.cli.options import Json, RunArgument, Sets
from genloom.cli.output import emit, leaves, say, table, text_of
from genloom.cli.values import complete_data, complete_model, complete_recipe, complete_run, find_run
from genloom.core.errors import InputError

if TYPE_CHECKING:
    from genloom.run import Run


def train(
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA",
            autocompletion=complete_data,
            help="A folder of images (subfolders are classes), a zip or tar, an .npy, .npz or idx file, a table "
            "(CSV, Parquet, Excel, a database), or a name from `genloom list data`.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="Family; see `genloom list families`.", autocompletion=complete_model),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe", "-r", help="Tested starting point; see `genloom list recipes`.", autocompletion=complete_recipe
        ),
    ] = None,
    budget: Annotated[
        str | None, typer.Option("--budget", metavar="TIME", help="Training time: 10m, 90s, 1h30m, 600 (seconds).")
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Optimiser steps, in place of a budget.")] = None,
    sets: Sets = None,
    config: Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Settings in a TOML file.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Run folder; runs/DATA-MODEL if not given.")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="START",
            help="Begin with the weights of a run, of a folder of transformers, or of a model on the hub.",
            autocompletion=complete_run,
        ),
    ] = None,
    lora: Annotated[
        bool, typer.Option("--lora", help="Train low-rank changes of the weights given by --from.")
    ] = False,
    task: Annotated[
        Literal["translate", "summarise", "chat"] | None,
        typer.Option("--task", help="What texts are to their sources: pairs, or conversations as JSON lines."),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option("--teacher", metavar="RUN", help="Learn what this run expects too.", autocompletion=complete_run),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the stopped training in the run folder.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the settings, the data and the expected time; write nothing.")
    ] = False,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Seed of every random stream.")] = None,
    target: Annotated[
        str | None, typer.Option("--target", metavar="COLUMN", help="Of a table: the column that people predict.")
    ] = None,
    kinds: Annotated[
        Path | None,
        typer.Option("--kinds", metavar="FILE", help="Of a table: kinds of columns, as TOML lines: age = 'number'."),
    ] = None,
    private: Annotated[
        str | None,
        typer.Option(
            "--private", metavar="epsilon=NUMBER", help="Train with differential privacy; also epsilon=3,delta=1e-6."
        ),
    ] = None,
    stop_on_copying: Annotated[
        bool,
        typer.Option(
            "--stop-on-copying", help="Look for copies of training examples now and then; stop when the model copies."
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Train a model on DATA. Ctrl-C stops it with a checkpoint; --resume goes on."""
    from genloom.core.config import merge, parse_sets, read_toml

    if budget is not None and steps is not None:
        raise InputError("give --budget or --steps, not both")
    if resume and dry_run:
        raise InputError("give --resume or --dry-run, not both")
    settings = parse_sets(sets or [])
    table = {**({"target": target} if target else {}), **({"kinds": read_toml(kinds)} if kinds else {})}
    if table:
        settings = merge(settings, {"modality": table})
    if private:
        settings = merge(settings, {"train": parse_sets(private.split(","))})
    if teacher is not None:
        settings = merge(settings, {"family": {"teacher": {"run": teacher}}})
    if stop_on_copying:
        settings = merge(settings, {"train": {"stop_on_copying": True}})

    from genloom import api

    if dry_run:
        plan = api.plan(
            data,
            model=model,
            recipe=recipe,
            budget=budget,
            steps=steps,
            settings=settings,
            config=config,
            out=out,
            start=start,
            lora=lora,
            task=task,
            seed=seed,
            notify=say,
        )
        _show_plan(plan.to_json(), json)
        return
    from genloom.progress import watcher

    with watcher() as progress:
        run = api.train(
            data,
            model=model,
            recipe=recipe,
            budget=budget,
            steps=steps,
            settings=settings,
            config=config,
            out=out,
            start=start,
            lora=lora,
            task=task,
            resume=resume,
            seed=seed,
            observers=[progress],
            notify=progress.notice,
        )
    _show_run(run, json)


def _show_plan(plan: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit({"schema": "genloom.train/1", "dry_run": True, "plan": plan})
        return
    print(table([(name, text_of(value)) for name, value in leaves(plan)], indent=""))


def _show_run(run: Run, as_json: bool) -> None:
    if as_json:
        emit(
            {"schema": "genloom.train/1", "dry_run": False, "run": run.path, "name": run.name, "summary": run.summary()}
        )
        return
    print(run.path)
    say(f"Next: genloom {_what_next(run)}   ·   genloom evaluate {run.path}")


def _what_next(run: Run) -> str:
    """The verb of the run's task, or a sample as people of its data want it."""
    source = run.condition.source
    if source is not None and source.task:
        return f"{source.task} {run.path}" + {"translate": ' "TEXT"', "summarise": " FILE"}.get(source.task, "")
    if run.config.kind == "table":
        return f"sample {run.path} -n 1000 -o synthetic.csv"
    return f"sample {run.path} -n {'4' if run.modality.shows_text else '64 --grid'}"


class Form(StrEnum):
    """What `merge` writes."""

    run = "run"
    transformers = "transformers"


def merge(
    run: RunArgument,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to write to; new or empty.")],
    to: Annotated[
        Form, typer.Option("--to", help="A run of genloom, or a folder that transformers reads (pretrained models).")
    ] = Form.run,
    json: Json = False,
) -> None:
    """Put the low-rank changes of a run trained with --lora into its weights, as a model of its own."""
    path = find_run(run)

    from genloom import api
    from genloom.run import adapters

    loaded = api.load(path)
    written = adapters.merge(loaded, out) if to is Form.run else adapters.export(loaded, out)
    if json:
        emit({"schema": "genloom.merge/1", "run": str(path), "to": to.value, "out": str(written)})
    else:
        print(written)


def register(app: typer.Typer) -> None:
    app.command()(train)
    app.command()(merge)
