"""`genloom optimise`: samples that score high."""

from __future__ import annotations

import csv
import io
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from genloom.cli.generating import _folder, _load
from genloom.cli.options import Json, NoMark, Out, RunArgument, Seed
from genloom.cli.output import emit, say, table

if TYPE_CHECKING:
    from genloom.run.optimise import Optimised

SECONDS = 5.0  # between two lines of progress
LISTED = 10


def optimise(
    run: RunArgument,
    maximise: Annotated[
        list[str] | None,
        typer.Option("--maximise", metavar="SCORE", help="A number to raise, as qed, or FILE.py:FUNCTION; repeat."),
    ] = None,
    minimise: Annotated[
        list[str] | None, typer.Option("--minimise", metavar="SCORE", help="A number to lower; repeat.")
    ] = None,
    keep: Annotated[
        list[str] | None, typer.Option("--keep", metavar="BOUND", help="What must hold, as in 'logp<5'; repeat.")
    ] = None,
    similar_to: Annotated[
        str | None, typer.Option("--similar-to", metavar="EXAMPLE", help="What samples shall resemble, as a SMILES.")
    ] = None,
    loss: Annotated[
        Literal["regression", "reinforce"],
        typer.Option("--loss", help="Regression finds rare examples (REINVENT); reinforce makes all better."),
    ] = "regression",
    calls: Annotated[int, typer.Option("--calls", min=64, help="Examples that are scored at most.")] = 10_000,
    best: Annotated[int, typer.Option("--best", min=1, max=1000, help="The best that are written as files.")] = 20,
    seed: Seed = 0,
    out: Out = None,
    no_mark: NoMark = False,
    json: Json = False,
) -> None:
    """Find samples of RUN that score high, by moving a copy of the model (policy gradient with replay). Every example
    that was scored is told in calls.csv. RUN stays as it is."""
    trained = _load(run)

    from genloom.run import save_shown
    from genloom.run.goals import goal_of
    from genloom.run.optimise import BEST, Pace
    from genloom.run.optimise import optimise as search

    goal = goal_of(trained.modality, maximise or [], minimise or [], keep or [], similar_to)
    folder = _folder(out, trained, "optimise")
    begin, last = time.monotonic(), [0.0]

    def progress(found: Optimised) -> None:
        if time.monotonic() - last[0] >= SECONDS:
            last[0] = time.monotonic()
            tried = len(found.calls) + found.invalid + found.again
            say(
                f"{len(found.calls):,} of {calls:,} scored  best {_mean(found, 1):.3f}, mean of the best {BEST} "
                f"{_mean(found, BEST):.3f}  valid {1 - found.invalid / max(1, tried):.0%}"
            )

    found = search(trained.family, trained.modality, goal, Pace(calls=calls, loss=loss), seed, say, progress)
    chosen = found.best(best)
    asked = {
        "maximise": maximise or [], "minimise": minimise or [], "keep": keep or [], "similar_to": similar_to,
        "calls": calls, "loss": loss, "seed": seed,
    }  # fmt: skip
    kept = sum(c.kept for c in found.calls)
    if goal.bounds and not kept:
        say(f"none of {len(found.calls):,} examples keeps {' and '.join(map(str, goal.bounds))}; the nearest are shown")
    marker = trained.marker("optimise", asked, mark=not no_mark, notify=say)
    stems = [f"best-{i:04d}" for i in range(1, len(chosen) + 1)]
    marker.places = {stem: (i, None) for i, stem in enumerate(stems)}
    paths = trained.modality.write([c.example for c in chosen], folder, stems, marker)
    paths.append(save_shown(trained.modality.show([c.example for c in chosen[:20]]), folder / "best", marker))
    paths.append(_calls(folder / "calls.csv", found, goal.names))
    marker.record(folder)
    document: dict[str, Any] = {
        "schema": "genloom.optimise/1", "run": trained.path, **asked,
        "scored": len(found.calls), "invalid": found.invalid, "repeated": found.again, "steps": found.steps,
        "kept": kept, "mean_of_best": _mean(found, BEST), "best_of": min(BEST, len(found.calls)),
        "seconds": round(time.monotonic() - begin, 1),
        "best": [
            {"example": c.identity, "score": c.score, "call": c.number, "kept": c.kept, **c.numbers} for c in chosen
        ],
        "files": paths,
    }  # fmt: skip
    if json:
        emit(document)
        return
    rows = [("score", *goal.names, "call", "example")]
    rows += [
        (f"{c.score:.3f}", *(f"{v:.3g}" for v in c.numbers.values()), str(c.number), c.identity)
        for c in chosen[:LISTED]
    ]
    print(table(rows, indent=""))
    say(
        f"{len(found.calls):,} scored ({found.invalid:,} samples were not valid, {found.again:,} known already); mean "
        f"of the best {document['best_of']}: {document['mean_of_best']:.3f}; all calls: {folder / 'calls.csv'}"
    )


def _mean(found: Optimised, n: int) -> float:
    scores = [c.score for c in found.best(n)]
    return sum(scores) / len(scores) if scores else 0.0


def _calls(path: Path, found: Optimised, names: list[str]) -> Path:
    """Every example that was scored, in order."""
    from genloom.core.files import write_atomic

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["call", "example", "score", "kept", *names])
    for c in found.calls:
        writer.writerow([c.number, c.identity, f"{c.score:.6g}", int(c.kept), *(f"{c.numbers[n]:.6g}" for n in names)])
    write_atomic(path, text.getvalue().encode())
    return path


def register(app: typer.Typer) -> None:
    app.command()(optimise)
