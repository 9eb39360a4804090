"""Tables of any origin as pandas DataFrames: CSV and TSV with their dialect found, Parquet, Excel, SQL, frames at hand.

Cells of text files stay text, as they were written; what they mean is found later (data/columns_of.py).
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genloom.core.config import DataConfig
from genloom.core.errors import InputError, Unreadable
from genloom.core.files import sha256_of
from genloom.data import catalog, columns
from genloom.data.blobs import file_blob, head_of
from genloom.data.cells import LONG
from genloom.data.encoding import HEAD, detect
from genloom.data.items import Items, Numbered, Source, clean, count, listing

if TYPE_CHECKING:
    import pandas as pd

# Endings that belong to tables alone, and those which they share.
TEXTS, SHEETS = frozenset({".csv", ".tsv"}), frozenset({".xlsx", ".xlsm"})
DATABASES = frozenset({".sqlite", ".sqlite3", ".db"})
SQL = re.compile(r"^[a-z][a-z0-9]*(\+[a-z0-9]+)?://", re.IGNORECASE)
DELIMITERS = ",;\t|"
LOOKED_AT = 100  # rows from which the dialect is told
MOST_COLUMNS = 2_000
PIECE = 100_000  # rows held as Python's own text at a time


def pandas() -> Any:
    """The package. Raises InputError where it is missing."""
    try:
        import pandas
    except ModuleNotFoundError:
        raise InputError("tables need: pip install 'genloom[table]'") from None
    return pandas


@dataclass(frozen=True)
class Reading:
    """A table as it was read. typed: its columns have types of their own; else every cell is text. lost: (origin,
    reason) of rows that do not fit. first: number of the first row, for people. given: each row's split (0 train, 1
    validation, 2 test) where the data say it."""

    frame: pd.DataFrame
    typed: bool
    origin: str
    first: int = 1
    lost: tuple[tuple[str, str], ...] = ()
    notices: tuple[str, ...] = ()
    given: NDArray[np.int8] | None = None


def is_tabular(path: Path) -> bool:
    """Whether a file is a table to be learnt row by row: a workbook, a database, or a CSV or Parquet file of which no
    column holds text to be learnt as such."""
    ending = file_blob(path).ending
    if ending in SHEETS | DATABASES:
        return True
    try:
        if ending == ".parquet":
            import pyarrow.parquet as parquet

            names = list(parquet.read_schema(path).names)
            few = next(parquet.ParquetFile(path).iter_batches(LOOKED_AT)).to_pylist()
            rows = [[str(row[n]) for n in names] for row in few]
        elif ending in TEXTS:
            dialect = dialect_of(path)
            rows = [row for _, row in islice(dialect.rows(path), LOOKED_AT) if len(row) == dialect.width]
            names = rows[0] if rows and is_header(rows[0]) else []
        else:
            return False
    except Exception:  # whatever is wrong with it is said when it is read
        return False
    lower = {n.strip().lower() for n in names}
    if len(rows) < 2 or len(rows[0]) < 2 or lower & set(columns.TEXTS):
        return False
    if lower & set(columns.SOURCES) and lower & set(columns.ANSWERS):
        return False
    cells = list(zip(*rows[1:], strict=True))
    sizes = [sum(map(len, c)) / len(c) for c in cells]
    numbers = any(sum(bool(_NUMBER.fullmatch(v.strip())) for v in c) > len(c) / 2 for c in cells)
    long = [size for size in sizes if size > LONG]
    beside = numbers and len(sizes) >= 6 * len(long) and max(sizes) <= 4 * LONG  # a remark among many other columns
    return (not long or beside) and (numbers or len(cells) >= 3)


def is_frame(data: Any) -> bool:
    """Whether it is a DataFrame, without importing pandas."""
    return type(data).__module__.partition(".")[0] == "pandas" and hasattr(data, "columns")


def open_frame(data: Any, where: DataConfig, query: str | None = None, sheet: str | None = None) -> Source:
    """The source of a table: a path, an SQLAlchemy address (with `query`), or a DataFrame. Its items have `frame`.

    query: SQL, or the name of a table. sheet: of a workbook. Raises InputError when there is none.
    """
    pandas()
    if is_frame(data):
        return Source("table", _frame_digest(data), lambda: _items(_of_memory(data)))
    text = str(data)
    if SQL.match(text):
        name = clean(re.split(r"[/\\]", text.partition("?")[0])[-1]).rsplit(".", 1)[0] or "table"
        reading: list[Reading] = []

        def read() -> Reading:
            if not reading:
                reading.append(_of_database(text, query))
            return reading[0]

        return Source(name, _frame_digest(read().frame), lambda: _items(read()))
    path = Path(data).expanduser()
    if isinstance(data, str) and not path.exists() and data in catalog.catalog_names():
        return catalog.open_table(data)
    if not path.is_file():
        raise InputError(f"there is no table {path}" if not path.exists() else f"{path} is a folder, not a table")
    digest = hashlib.sha256(f"{sha256_of(path)} {query} {sheet}".encode()).hexdigest()
    ending = file_blob(path).ending
    if ending in DATABASES:
        return Source(clean(path.stem), digest, lambda: _items(_of_database(f"sqlite:///{path}", query)))
    how = _of_parquet if ending == ".parquet" else _of_text
    if ending in SHEETS:
        return Source(clean(path.stem), digest, lambda: _items(_of_sheet(path, sheet)))
    return Source(clean(path.stem), digest, lambda: _items(how(path)))


def source_of(name: str, digest: str, read: Callable[[], Reading]) -> Source:
    """The source of a table that is read when it is asked for."""
    return Source(name, digest, lambda: _items(read()))


def _items(reading: Reading) -> Items:
    frame = reading.frame
    _check_names(list(frame.columns), reading.origin)
    if frame.shape[1] > MOST_COLUMNS:
        raise InputError(
            f"{reading.origin} has {frame.shape[1]:,} columns; at most {MOST_COLUMNS:,} are learnt: choose some"
        )
    names = Numbered(reading.origin, len(frame))
    return Items(names, lambda i: frame.iloc[i].to_dict(), notices=reading.notices, frame=reading)


def _check_names(names: Sequence[Any], origin: str) -> None:
    """Raise InputError for columns without a name or with the same one."""
    places: dict[str, int] = {}
    for k, name in enumerate(map(str, names), 1):
        if name in places:
            raise InputError(f"columns {places[name]} and {k} of {origin} are both called {name!r}; rename one")
        places[name] = k


# -- text files --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Dialect:
    """How a text file is written. width: cells of a row."""

    encoding: str
    delimiter: str
    skip: bool  # a space after each delimiter
    width: int

    def rows(self, path: Path) -> Iterator[tuple[int, list[str]]]:
        """(number of the line on which it ends, cells) of each row that is not empty. Raises InputError."""
        csv.field_size_limit(2**31 - 1)
        try:
            with file_blob(path).open() as raw, io.TextIOWrapper(raw, self.encoding, newline="") as text:
                reader = csv.reader(text, delimiter=self.delimiter, skipinitialspace=self.skip)
                for row in reader:
                    if reader.line_num == 1 and row:
                        row[0] = row[0].removeprefix("\ufeff")
                    if any(row):
                        yield reader.line_num, row
        except (csv.Error, UnicodeDecodeError, EOFError, OSError) as e:
            raise InputError(f"{path} cannot be read as a table: {e}") from None


def dialect_of(path: Path) -> Dialect:
    """Told from the first rows: the delimiter that gives the most rows of one width. Raises InputError."""
    try:
        head = head_of(file_blob(path), HEAD)
        if not head.strip():
            raise Unreadable("it is empty")
        encoding, _ = detect(head, whole=len(head) < HEAD)
    except Unreadable as e:
        raise InputError(f"{path} cannot be read as a table: {e}") from None
    lines = head.decode(encoding, "ignore").removeprefix("\ufeff").splitlines(keepends=True)[: LOOKED_AT + 1]
    lines = lines[:-1] if len(lines) > 1 and len(head) == HEAD else lines
    best: tuple[float, int, str] = (0.0, 1, DELIMITERS[0])
    for delimiter in DELIMITERS:
        widths = Counter(len(row) for row in csv.reader(lines, delimiter=delimiter, skipinitialspace=True) if row)
        width, times = max(widths.items(), key=lambda e: (e[1] * (e[0] > 1), e[0])) if widths else (1, 0)
        if width > 1 and (times / sum(widths.values()), width) > best[:2]:
            best = (times / sum(widths.values()), width, delimiter)
    _, width, delimiter = best
    spaced = sum(line.count(f"{delimiter} ") for line in lines)
    skip = delimiter != "\t" and spaced > 0 and spaced >= 0.9 * sum(line.count(delimiter) for line in lines)
    return Dialect(encoding, delimiter, skip, width)


def is_header(row: Sequence[str]) -> bool:
    """Names are all there and none is a number."""
    return all(cell.strip() and not _NUMBER.fullmatch(cell.strip()) for cell in row)


_NUMBER = re.compile(r"[-+]?(\d[\d.,]*|\.\d+)([eE][-+]?\d+)?")


def _of_text(path: Path) -> Reading:
    pd = pandas()
    dialect = dialect_of(path)
    rows = dialect.rows(path)
    lost: list[tuple[str, str]] = []
    top, rest = _first(rows, dialect.width, path, lost)
    notices: tuple[str, ...] = ()
    if is_header(top[1]):
        names = [cell.strip() for cell in top[1]]
    else:
        names = [f"column {k}" for k in range(1, dialect.width + 1)]
        notices = (f"{path.name} has no header: its columns are called {names[0]} to {names[-1]}",)
        rest = chain([top], rest)
    pieces, doubled = [], 0
    while piece := list(islice(rest, PIECE)):
        kept = []
        for line, row in piece:
            if row == top[1] and names == [cell.strip() for cell in row]:
                doubled += 1
            elif len(row) != dialect.width:
                lost.append((f"{path.name}:{line}", f"{count(len(row), 'cell')} where the others have {dialect.width}"))
            else:
                kept.append(row)
        columns = zip(*kept, strict=True) if kept else [()] * dialect.width
        pieces.append(pd.DataFrame({k: pd.array(c, dtype="str") for k, c in enumerate(columns)}))
    if doubled:
        notices += (
            f"the header of {path.name} stands {count(doubled, 'more time')} among its rows, which is left out",
        )
    frame = pd.concat(pieces, ignore_index=True) if pieces else pd.DataFrame({k: [] for k in range(dialect.width)})
    frame.columns = names
    return Reading(frame, False, path.name, 1, tuple(lost), notices)


def _first(
    rows: Iterator[tuple[int, list[str]]], width: int, path: Path, lost: list[tuple[str, str]]
) -> tuple[tuple[int, list[str]], Iterable[tuple[int, list[str]]]]:
    """The first row that is as wide as most, and those after it."""
    for line, row in rows:
        if len(row) == width:
            return (line, row), rows
        lost.append((f"{path.name}:{line}", f"{count(len(row), 'cell')} where the others have {width}"))
    raise InputError(f"{path} holds no rows")


# -- tables with types -------------------------------------------------------------------------------------------------


def _of_parquet(path: Path) -> Reading:
    try:
        return _plain(pandas().read_parquet(path), path.name)
    except (OSError, ValueError, KeyError) as e:
        raise InputError(f"{path} is not a readable parquet file: {_short(e)}") from None


def _of_sheet(path: Path, sheet: str | None) -> Reading:
    try:
        return _plain(pandas().read_excel(path, sheet_name=0 if sheet is None else sheet), path.name)
    except ImportError:
        raise InputError("Excel files need: pip install 'genloom[table]'") from None
    except Exception as e:  # openpyxl raises whatever the zip and the XML inside raise
        raise InputError(f"{path} is not a readable workbook: {_short(e)}") from None


def _of_database(address: str, query: str | None) -> Reading:
    """The rows of a query, or of the only table. An address of SQLAlchemy, as in postgresql://host/name."""
    pd = pandas()
    try:
        import sqlalchemy
    except ModuleNotFoundError:
        raise InputError("databases need: pip install 'genloom[table]'") from None
    shown = re.sub(r"//[^@/]*@", "//", address)  # no password in an error
    try:
        engine = sqlalchemy.create_engine(address)
        with engine.connect() as connection:
            tables = sqlalchemy.inspect(connection).get_table_names()
            if query is None and len(tables) != 1:
                raise InputError(
                    f"{shown} holds {len(tables)} tables ({listing(tables)}); choose one, or give a query, by "
                    "--set modality.query=..."
                )
            wanted = tables[0] if query is None else query
            if wanted in tables:
                statement: Any = sqlalchemy.select(
                    sqlalchemy.Table(wanted, sqlalchemy.MetaData(), autoload_with=engine)
                )
            elif re.match(r"\s*(select|with|values)\b", wanted, re.IGNORECASE):
                statement = sqlalchemy.text(wanted)
            else:
                raise InputError(f"there is no table {wanted!r} in {shown}; there are: {listing(tables)}")
            return _plain(pd.read_sql(statement, connection), shown)
    except InputError:
        raise
    except (sqlalchemy.exc.SQLAlchemyError, pd.errors.DatabaseError, ImportError) as e:
        raise InputError(f"{shown} cannot be queried: {_short(e)}") from None


def _of_memory(frame: pd.DataFrame) -> Reading:
    return _plain(frame.reset_index(drop=True), "the table")


def _plain(frame: pd.DataFrame, origin: str) -> Reading:
    """With names that are text. Raises InputError for several levels of names."""
    if frame.columns.nlevels > 1:
        raise InputError(f"{origin} has {frame.columns.nlevels} rows of column names; give it one")
    return Reading(frame.set_axis([str(c) for c in frame.columns], axis=1), True, origin, 0)


def _frame_digest(frame: pd.DataFrame) -> str:
    import pandas as pd

    parts = [f"{name} {kind}" for name, kind in zip(frame.columns, frame.dtypes, strict=True)]
    digest = hashlib.sha256("\n".join(parts).encode())
    digest.update(np.ascontiguousarray(pd.util.hash_pandas_object(_hashable(frame), index=False).to_numpy()).tobytes())
    return digest.hexdigest()


def _hashable(frame: pd.DataFrame) -> pd.DataFrame:
    """Columns of mixed objects as text, which pandas can hash."""
    mixed = [c for c in frame.columns if frame[c].dtype == object]
    return frame.assign(**{c: frame[c].map(repr) for c in mixed}) if mixed else frame


def row_digests(frame: pd.DataFrame) -> Any:
    """uint64 [N, 2] of what each row says: equal rows have equal ones, on every machine."""
    import pandas as pd

    plain = _hashable(frame)
    keys = ("0123456789123456", "genloom rows 002")
    return np.stack([pd.util.hash_pandas_object(plain, index=False, hash_key=k).to_numpy() for k in keys], 1)


def _short(e: Exception) -> str:
    return " ".join(str(e).split())[:200] or type(e).__name__
