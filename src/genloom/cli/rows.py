"""`genloom sample`, `reconstruct` and `interpolate` of a model of tables: rows to a file or to the standard output."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genloom.cli.output import emit, say
from genloom.core.config import validate
from genloom.core.errors import InputError
from genloom.core.files import sha256_of
from genloom.data.written import to_text
from genloom.progress import counter

if TYPE_CHECKING:
    import pandas as pd

    from genloom.run import Run

MOST_PRINTED = 100_000  # rows


def not_for_rows(given: dict[str, Any], instead: str = "; leave it out") -> None:
    """Raise InputError for the first option that a model of tables does not have."""
    if wrong := [name for name, value in given.items() if value]:
        raise InputError(f"{wrong[0]} is not for rows of tables{instead}")


def write(
    run: Run, n: int | None, out: Path | None, where: str | None, fill: Path | None, asked: dict[str, Any], mark: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Rows to `out`, a file (in a folder, rows.csv), or as CSV to the standard output. asked: seed and options."""
    from genloom.run.rows import filled, sampled, write_rows

    if fill is not None and (where or n is not None):
        raise InputError(f"--fill gives a row for each of {fill}; leave {'--where' if where else '-n'} out")
    options = validate(run.family.Options, asked["options"], "options")
    number = n if n is not None else 16
    told = {"n": number, **asked, "options": options.model_dump(mode="json"), "where": where}
    told["fill"] = None if fill is None else sha256_of(fill) if fill.is_file() else str(fill)
    if out is None and number <= MOST_PRINTED:
        if fill is not None:
            frame = filled(run, fill, seed=asked["seed"], options=options, notify=say)
        else:
            frame = sampled(run, number, where=where, seed=asked["seed"], options=options, notify=say)
        if as_json:
            emit({"schema": "genloom.sample/1", "run": run.path, **told, "rows": _records(run, frame)})
        else:
            _print(run, frame)
        return
    path = _file(out, run.folder.samples / f"seed-{asked['seed']}")
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


def reconstruct(run: Run, files: list[Path], out: Path | None, mark: bool, as_json: bool) -> None:
    """Each row of tables encoded and decoded again, as one table."""
    import pandas as pd

    from genloom.run.row_codes import reconstructed_rows

    parts = [_of(path, lambda path: reconstructed_rows(run, path, say)) for path in files]
    asked = {"tables": [sha256_of(path) for path in files]}
    _give(run, "reconstruct", pd.concat(parts, ignore_index=True), asked, {"tables": files}, out, mark, as_json)


def interpolate(
    run: Run, between: list[Path], asked: dict[str, Any], out: Path | None, mark: bool, as_json: bool
) -> None:
    """Rows on the ways between samples, or between the rows of tables, way after way. asked: n, rows and seed."""
    import pandas as pd

    from genloom.run.row_codes import given_cells
    from genloom.run.rows import table_of

    table = table_of(run)
    ends = [_of(path, lambda path: given_cells(table, path, say)) for path in between]
    ways = run.interpolate(**asked, between=pd.concat(ends, ignore_index=True) if ends else None)
    digests = [sha256_of(path) for path in between]
    told = {"n": asked["n"], "ways": len(ways), "seed": asked["seed"], "between": between}
    frame = pd.concat(ways, ignore_index=True)
    _give(run, "interpolate", frame, {**asked, "label": None, "between": digests}, told, out, mark, as_json)


def _of(path: Path, make: Callable[[Path], pd.DataFrame]) -> pd.DataFrame:
    """What is made of a file; errors name it."""
    try:
        return make(path)
    except InputError as e:
        raise e if path.name in str(e) else InputError(f"{path.name}: {e}") from None


def _give(
    run: Run, task: str, frame: pd.DataFrame, asked: dict[str, Any], told: dict[str, Any], out: Path | None, mark: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Rows that are made: printed, or written as a marked file where it is asked for or they are many. asked: what
    decides them, for the record. told: what a JSON document says of it."""
    from genloom.run.rows import put_rows, table_of

    head = {"schema": f"genloom.{task}/1", "run": run.path, **told}
    if out is None and len(frame) <= MOST_PRINTED:
        if as_json:
            emit({**head, "rows": _records(run, frame)})
        else:
            _print(run, frame)
        return
    path = _file(out, run.folder.samples / task)
    marker = run.marker(task, {**asked, "ending": path.suffix.lower()}, mark=mark, notify=say)
    put_rows(table_of(run), [frame], path, marker)
    marker.record(path.parent)
    if as_json:
        emit({**head, "files": [path]})
    else:
        print(path)


def _records(run: Run, frame: pd.DataFrame) -> list[dict[str, str]]:
    """Rows as a JSON document has them: cells of text by the names of their columns."""
    from genloom.run.rows import table_of

    records: list[dict[str, str]] = table_of(run).as_text(frame).to_dict("records")
    return records


def _print(run: Run, frame: pd.DataFrame) -> None:
    from genloom.run.rows import table_of

    cells = table_of(run).as_text(frame)
    sys.stdout.write(to_text(cells, ",", True, formulas=False).decode("utf-8", "replace"))


def _file(out: Path | None, folder: Path) -> Path:
    """The file to write to: what was asked for, in a folder rows.csv."""
    path = folder if out is None else out
    return path if path.suffix else path / "rows.csv"
