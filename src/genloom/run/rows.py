"""Rows of a table from a run: those that meet what is asked, holes that are filled, files of any length."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genloom.core.batch import Condition
from genloom.core.config import DataConfig, Settings
from genloom.core.errors import InputError
from genloom.core.family import HasPrice
from genloom.core.spec import Row
from genloom.data.frames import Reading, open_frame
from genloom.data.items import count, listing
from genloom.data.written import TableFile
from genloom.families import family_names, find_family
from genloom.modalities.table import Table
from genloom.run.generate import ROWS, generate
from genloom.run.where import Term, known_of, terms_of

if TYPE_CHECKING:
    import pandas as pd

    from genloom.provenance import Marker
    from genloom.run.trained import Run

FIRST = 1024  # rows made first where some of them may not be kept; then as many as there are, up to ROWS
MOST_TRIES = 50 * ROWS  # rows made without one that meets what was asked, before giving up
DEAR = 25.0  # rows' worth of work that a row with parts given takes, where the family does not say
Where = str | Mapping[str, Any]
Notify = Callable[[str], None]
Progress = Callable[[int, int], None]


def _silent(*_: Any) -> None:
    pass


@dataclass
class Kept:
    """How many rows were made and how many of them met what was asked."""

    made: int = 0
    kept: int = 0

    def sentence(self, why: str) -> str:
        return f"{self.kept:,} of {self.made:,} rows that were made ({self.kept / max(1, self.made):.1%}) {why}"


def table_of(run: Run) -> Table:
    """Its modality. Raises InputError for a run that is not of tables."""
    if not isinstance(run.modality, Table) or not isinstance(run.family.spec, Row):
        raise InputError(f"{run.name} is not a model of tables; leave --where and --fill out")
    return run.modality


def pieces(
    run: Run,
    n: int,
    *,
    where: Where | None = None,
    seed: int = 0,
    options: Settings,
    notify: Notify = _silent,
    check: Callable[[], None] = _silent,
) -> Iterator[pd.DataFrame]:
    """n rows in pieces; row i depends on the seed and on what is asked, not on n. Rows that break a constraint or do
    not meet `where` are made anew; the rate is told. check: called before each piece; what it raises ends the work.
    Raises InputError when hardly any row meets what is asked."""
    table = table_of(run)
    terms = terms_of(where, table) if where else ()
    fixed = _given(run, table, terms)
    price = _price(run, fixed, options)
    given = fixed if price <= 1 else None  # else making rows and choosing among them may be cheaper
    seen: dict[str, set[int]] = {c.text: set() for c in table.constraints if c.rule == "unique"}
    tally, written = Kept(), 0
    while written < n:
        check()
        least = FIRST if terms or table.constraints else n
        wanted = min(ROWS, max(least, tally.made))
        x = generate(run.family, wanted, None, seed, options, given, first=tally.made)
        frame = table.decode_all(x, tally.made)
        keep = table.kept(frame)
        for term in terms:
            keep &= term.holds(frame)
        keep &= _new(frame, keep, table, seen)
        tally.made, tally.kept = tally.made + wanted, tally.kept + int(keep.sum())
        if tally.kept * 2 * price < tally.made:
            given = fixed
        if tally.made >= MOST_TRIES and tally.kept * 10_000 < tally.made:
            raise InputError(f"{tally.sentence('meet what is asked')}: too few to go on; ask for less")
        piece = frame[keep].head(n - written).reset_index(drop=True)
        written += len(piece)
        if len(piece):
            yield piece
    if tally.kept < tally.made:
        notify(tally.sentence("meet the conditions" if terms else "keep the constraints"))


def _given(run: Run, table: Table, terms: tuple[Term, ...]) -> Condition | None:
    """What the terms fix, for a family that takes it; the others are left to rejection."""
    fixed = known_of(terms, table)
    if not fixed or "known" not in run.family.honours():
        return None
    known, mask = table.given(_one(fixed), sole=True)
    return Condition(known=known, mask=mask) if bool(mask.any()) else None


def _price(run: Run, fixed: Condition | None, options: Settings) -> float:
    """What a row of which parts are given costs, as a multiple of one of which nothing is."""
    if fixed is None or fixed.mask is None or not isinstance(run.family, HasPrice):
        return DEAR
    return run.family.price(fixed.mask, options)


def _one(values: Mapping[str, Any]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame({c: [v] for c, v in values.items()})


def _new(frame: pd.DataFrame, keep: Any, table: Table, seen: dict[str, set[int]]) -> Any:
    """[N] rows that repeat no value that must be unique, of those that are kept."""
    import pandas as pd

    out = np.ones(len(frame), bool)
    for constraint in table.constraints:
        if constraint.rule != "unique":
            continue
        marks = pd.util.hash_pandas_object(frame[list(constraint.columns)].astype(str), index=False).to_numpy()
        known = seen[constraint.text]
        for i in np.flatnonzero(keep & out):
            mark = int(marks[i])
            out[i] = mark not in known
            known.add(mark)
    return out


def sampled(
    run: Run,
    n: int,
    *,
    where: Where | None = None,
    seed: int = 0,
    options: Settings,
    notify: Notify = _silent,
    check: Callable[[], None] = _silent,
) -> pd.DataFrame:
    """n rows as one DataFrame with the columns and types of the data."""
    import pandas as pd

    parts = pieces(run, n, where=where, seed=seed, options=options, notify=notify, check=check)
    return pd.concat(list(parts), ignore_index=True)


# -- holes -------------------------------------------------------------------------------------------------------------


def filled(run: Run, holes: Any, *, seed: int = 0, options: Settings, notify: Notify = _silent) -> pd.DataFrame:
    """The rows of a table (a path or a DataFrame), their missing cells drawn given the others; what is given stays.
    Columns that it lacks are holes. Raises InputError for columns and levels that the model does not know."""
    import pandas as pd

    table = table_of(run)
    if "known" not in run.family.honours():
        raise InputError(f"the model {run.config.model} cannot fill holes; {listing(_that_fill())} can")
    own = cells_of(table, holes, notify)
    known, mask = table.given(own)
    out = []
    for at in range(0, len(own), ROWS):
        rows = slice(at, at + ROWS)
        size = len(known[rows])
        x = generate(run.family, size, None, seed, options, Condition(known=known[rows], mask=mask[rows]), first=at)
        made = table.decode_all(x, at)
        for c in own.columns:
            cells = own[c].iloc[rows].reset_index(drop=True)
            made[c] = made[c].where(cells.isna(), cells.astype(made[c].dtype) if not cells.isna().any() else cells)
            made[c] = made[c].astype(table.decode_all(x[:1], 0)[c].dtype)
        out.append(made)
    broken = sum(int((~table.kept(frame)).sum()) for frame in out)
    if broken:
        notify(f"{count(broken, 'row')} cannot keep the constraints with what is given")
    return pd.concat(out, ignore_index=True)


def cells_of(table: Table, rows: Any, notify: Notify) -> pd.DataFrame:
    """The columns of a table (a path or a DataFrame) that the model knows, cells that say nothing as missing. Raises
    InputError for a table without rows or without such columns, and for rows that are not as wide as the others."""
    reading = open_frame(rows, DataConfig(), table.config.query, table.config.sheet).load().frame
    assert isinstance(reading, Reading)
    frame = reading.frame
    own = [c for c in frame.columns if c in table.columns]
    if not own:
        raise InputError(f"{reading.origin} has none of the model's columns; they are {listing(list(table.columns))}")
    strange = [c for c in frame.columns if c not in table.columns]
    if strange:
        notify(f"{count(len(strange), 'column')} that the model does not know: {', '.join(strange)}, left out")
    if reading.lost:
        raise InputError(f"{reading.lost[0][0]} does not fit: {reading.lost[0][1]}; mend it")
    if not len(frame):
        raise InputError(f"{reading.origin} has no rows below its header")
    return table.understood(frame[own], reading.typed)


def _that_fill() -> list[str]:
    """Names of the models that take what is known of a row."""
    families = {name: find_family(name) for name in family_names()}
    return [name for name, family in families.items() if Row in family.accepts and "known" in family.conditions]


# -- files -------------------------------------------------------------------------------------------------------------


def write_rows(
    run: Run,
    n: int,
    path: Path,
    marker: Marker,
    *,
    where: Where | None = None,
    fill: Any = None,
    seed: int = 0,
    options: Settings,
    notify: Notify = _silent,
    progress: Progress = _silent,
) -> Path:
    """Rows into a CSV, TSV, Parquet or Excel file, piece by piece, marked where the format has a place for it.
    fill: a table whose holes are filled, in place of n new rows. progress: told how many of how many are written."""
    if fill is not None:
        parts: Iterable[pd.DataFrame] = [filled(run, fill, seed=seed, options=options, notify=notify)]
    else:
        parts = pieces(run, n, where=where, seed=seed, options=options, notify=notify)
    return put_rows(table_of(run), parts, path, marker, lambda rows: progress(rows, n))


def put_rows(
    table: Table, parts: Iterable[pd.DataFrame], path: Path, marker: Marker, progress: Callable[[int], None] = _silent
) -> Path:
    """Rows that are made into a file, piece by piece."""
    facts = {"genloom": json.dumps(marker.facts())} if marker.batch is not None else {}
    with TableFile(path, table.config.formulas, facts) as file:
        for part in parts:
            file.add(table.as_text(part) if file.takes_text else part)
            progress(file.rows)
    marker.wrote(path)
    return path
