"""`genloom sample` of a model of tables: rows to a file or to the standard output."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genloom.cli.output import emit, say
from genloom.core.config import validate
from genloom.core.files import sha256_of
from genloom.data.written import to_text
from genloom.progress import counter

if TYPE_CHECKING:
    from genloom.run import Run

MOST_PRINTED = 100_000  # rows


def write(
    run: Run, n: int | None, out: Path | None, where: str | None, fill: Path | None, asked: dict[str, Any], mark: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Rows to `out`, a file (in a folder, rows.csv), or as CSV to the standard output. asked: seed and options."""
    from genloom.run.rows import filled, sampled, write_rows

    options = validate(run.family.Options, asked["options"], "options")
    number = n if n is not None else 16
    told = {"n": number, **asked, "options": options.model_dump(mode="json"), "where": where}
    told["fill"] = None if fill is None else sha256_of(fill) if fill.is_file() else str(fill)
    if out is None and number <= MOST_PRINTED:
        if fill is not None:
            frame = filled(run, fill, seed=asked["seed"], options=options, notify=say)
        else:
            frame = sampled(run, number, where=where, seed=asked["seed"], options=options, notify=say)
        cells = run.modality.as_text(frame)  # type: ignore[attr-defined]
        if as_json:
            rows = cells.to_dict("records")
            emit({"schema": "genloom.sample/1", "run": run.path, **told, "rows": rows})
        else:
            sys.stdout.write(to_text(cells, ",", True, formulas=False).decode("utf-8", "replace"))
        return
    path = run.folder.samples / f"seed-{asked['seed']}" if out is None else out
    path = path if path.suffix else path / "rows.csv"
    marker = run.marker("rows", {**told, "ending": path.suffix.lower()}, mark=mark, notify=say)
    with counter("rows") as progress:
        write_rows(
            run, number, path, marker, where=where, fill=fill, seed=asked["seed"], options=options, notify=say,
            progress=progress,
        )  # fmt: skip
    marker.record(path.parent)
    if as_json:
        emit({"schema": "genloom.sample/1", "run": run.path, **told, "files": [path]})
    else:
        print(path)
