"""`genloom score`: how likely a model finds examples."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genloom.cli.generating import _load
from genloom.cli.options import Json, RunArgument
from genloom.cli.output import emit, say, table
from genloom.core.errors import InputError

if TYPE_CHECKING:
    from genloom.run.scoring import Scores

LISTED = 10


def score(
    run: RunArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Variants: FASTA, a table (.csv, .tsv), or lines.")],
    wild_type: Annotated[
        str | None,
        typer.Option("--wild-type", metavar="FILE|EXAMPLE", help="What they are variants of; else their consensus."),
    ] = None,
    measured: Annotated[
        str | None, typer.Option("--measured", metavar="COLUMN", help="Column of what was measured; else told by name.")
    ] = None,
    label: Annotated[str | None, typer.Option("--label", help="Class that the examples are given.")] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE.csv", help="Write every score there.")
    ] = None,
    json: Json = False,
) -> None:
    """How likely RUN finds each example of FILE, as the difference to the wild type in nats; beside measured effects
    also their rank correlation."""
    trained = _load(run)

    from genloom.data.variants import read_variants
    from genloom.run.scoring import scored

    wild = None if wild_type is None else _wild(wild_type)
    found = scored(trained, read_variants(file, wild, measured), wild, label)
    if found.refused:
        name, reason = found.refused[0]
        every = len(found.refused) + len(found.variants)
        say(f"{len(found.refused):,} of {every:,} variants are left out; the first is {name}: {reason}")
    if found.consensus:
        say("differences are from the consensus of the variants, taken as the wild type; --wild-type gives another")
    r, interval, n = found.agreement()
    if out is not None:
        _write(out, found)
    if json:
        document: dict[str, Any] = {
            "schema": "genloom.score/1", "run": trained.path, "scored": len(found.variants),
            "refused": len(found.refused),
            "wild_type": None if found.wild is None else {"example": found.wild[0], "log_likelihood": found.wild[1]},
            "spearman": None if math.isnan(r) else r, "interval": interval, "measured": n,
            "variants": [
                {"name": v.name, "log_likelihood": float(nats), "difference": float(d) if found.wild else None,
                 "measured": None if math.isnan(v.measured) else v.measured}
                for v, nats, d in zip(found.variants, found.nats, found.differences, strict=True)
            ],
            "file": out,
        }  # fmt: skip
        emit(document)
        return
    order = found.differences.argsort()[::-1]
    head = "difference" if found.wild else "log-likelihood"
    rows = [("variant", f"{head} (nats)", "measured")]
    shown = [*order[:LISTED], *order[max(LISTED, len(order) - 3) :]]
    for i in shown:
        v = found.variants[i]
        told = "" if math.isnan(v.measured) else f"{v.measured:.4g}"
        rows.append((v.name, f"{found.differences[i]:+.3f}" if found.wild else f"{found.nats[i]:.3f}", told))
    print(table(rows, indent=""))
    say(f"{len(found.variants):,} scored" + (f"; all in {out}" if out is not None else ""))
    if n >= 3 and not math.isnan(r):
        between = f" (95% interval {interval[0]:.3f} to {interval[1]:.3f})" if interval is not None else ""
        say(f"Spearman's correlation with {n:,} measured values: {r:.3f}{between}")


def _wild(given: str) -> str:
    """The wild type that is given, or that a file holds."""
    path = Path(given)
    try:
        if not path.is_file():
            return given
    except OSError:
        return given
    from genloom.data.variants import read_variants

    found = read_variants(path, None)
    if len(found) > 1:
        raise InputError(f"{path} holds {len(found):,} examples; the wild type is one")
    return found[0].raw


def _write(path: Path, found: Scores) -> None:
    from genloom.core.files import write_atomic

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", "log_likelihood", "difference", "measured"])
    for v, nats, d in zip(found.variants, found.nats, found.differences, strict=True):
        known = "" if math.isnan(v.measured) else f"{v.measured:.6g}"
        writer.writerow([v.name, f"{nats:.6f}", f"{d:.6f}" if found.wild else "", known])
    try:
        write_atomic(path, text.getvalue().encode())
    except OSError as e:
        raise InputError(f"{path} cannot be written: {e.strerror or e}; choose another place with -o") from None


def register(app: typer.Typer) -> None:
    app.command()(score)
