"""Rows of text: JSON lines, JSON lists, CSV, TSV and parquet, one after the other; only a JSON list is held whole."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from genloom.core.errors import InputError, Unreadable
from genloom.data.blobs import Blob, head_of
from genloom.data.encoding import HEAD, detect

ENDINGS = frozenset({".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet"})
MAX_JSON = 2**28  # bytes of a JSON list
_SINGLE = "text"  # the column of rows that are a text and nothing else


class Table(Protocol):
    """One file of rows."""

    first: int  # number of the first row, for people
    unit: str  # what they call it

    def rows(self) -> Iterator[tuple[int, Any]]:
        """(number, row as it lies in the file). Raises Unreadable when it cannot go on."""
        ...

    def values(self, row: Any) -> Mapping[str, Any]:
        """Its values by column. Raises Unreadable with the reason."""
        ...


def open_table(blob: Blob, names: Callable[[Sequence[str]], bool] | None = None) -> Table:
    """The table in a file with one of ENDINGS. names: as in Csv. Raises Unreadable, and InputError without the package
    it needs."""
    if blob.ending == ".parquet":
        return Parquet(blob)
    encoding, _ = _encoding(blob)
    if blob.ending == ".json":
        return JsonList(blob, encoding)
    if blob.ending in (".jsonl", ".ndjson"):
        return JsonLines(blob, encoding)
    return Csv(blob, encoding, names)


def _encoding(blob: Blob) -> tuple[str, int]:
    head = head_of(blob, HEAD)
    if not head.strip():
        raise Unreadable("it is empty")
    return detect(head, whole=len(head) < HEAD)


def _lines(blob: Blob, encoding: str, newline: str) -> Iterator[str]:
    """Lines of text, a byte order mark at the start dropped. Raises Unreadable."""
    total = 0
    try:
        with blob.open() as file, io.TextIOWrapper(file, encoding, newline=newline) as text:
            for n, line in enumerate(text):
                total += len(line)
                if total > blob.most:
                    raise Unreadable(f"it unpacks to more than {blob.most:,} bytes, out of proportion to its size")
                yield line.removeprefix("\ufeff") if n == 0 else line
    except (Unreadable, GeneratorExit):
        raise
    except UnicodeDecodeError as e:
        raise Unreadable(
            f"not text in one known encoding: a byte does not fit {encoding.upper()} ({e.reason})"
        ) from None
    except Exception as e:  # gzip and the archives have errors of their own
        raise Unreadable(f"damaged: {e}") from None


class JsonLines:
    """A JSON value on each line: an object with the columns as fields, or a text."""

    first, unit = 1, "line"

    def __init__(self, blob: Blob, encoding: str) -> None:
        self.blob, self.encoding = blob, encoding

    def rows(self) -> Iterator[tuple[int, Any]]:
        for n, line in enumerate(_lines(self.blob, self.encoding, "\n"), 1):
            if line.strip():
                yield n, line

    def values(self, row: Any) -> Mapping[str, Any]:
        try:
            return _fields(json.loads(row))
        except ValueError as e:
            raise Unreadable(f"not JSON: {e}") from None
        except RecursionError:
            raise Unreadable("not JSON: it is nested too deep") from None


class JsonList:
    """One JSON list of objects or texts, or an object that holds one. Read whole."""

    first, unit = 1, "item"

    def __init__(self, blob: Blob, encoding: str) -> None:
        self.blob, self.encoding = blob, encoding

    def rows(self) -> Iterator[tuple[int, Any]]:
        raw = head_of(self.blob, MAX_JSON + 1)
        if len(raw) > MAX_JSON:
            raise Unreadable(f"a JSON list of more than {MAX_JSON:,} bytes; save it as JSON lines (.jsonl)")
        try:
            data = json.loads(raw.decode(self.encoding).removeprefix("\ufeff"))
        except (ValueError, RecursionError) as e:
            raise Unreadable(f"not JSON: {e}") from None
        if isinstance(data, dict):
            data = next((v for v in data.values() if isinstance(v, list) and v), None)
        if not isinstance(data, list):
            raise Unreadable("it holds no list of examples")
        yield from enumerate(data, 1)

    def values(self, row: Any) -> Mapping[str, Any]:
        return _fields(row)


def _fields(value: Any) -> Mapping[str, Any]:
    if isinstance(value, dict):
        return value
    if isinstance(value, str):
        return {_SINGLE: value}
    raise Unreadable(f"neither an object nor text but {type(value).__name__}")


class Csv:
    """A table with a header; without one, the columns are called 1, 2, ..."""

    unit = "row"

    def __init__(self, blob: Blob, encoding: str, names: Callable[[Sequence[str]], bool] | None = None) -> None:
        """names: whether a first row holds the columns' names, in place of guessing from its form. Fields between tabs
        are then read as they are: text that begins with a quotation mark is no quoted field."""
        self.blob, self.encoding, self.named = blob, encoding, names is not None
        csv.field_size_limit(2**31 - 1)
        head = next(_lines(blob, encoding, ""), "")
        self.delimiter = "\t" if blob.ending == ".tsv" else max(",;\t|", key=head.count)
        top = next(self._records(), [])
        self.header = (names or _is_header)(top)
        self.columns = [c.strip() for c in top] if self.header else [str(k + 1) for k in range(len(top))]
        self.first = 2 if self.header else 1

    def _records(self) -> Iterator[list[str]]:
        if self.named and self.delimiter == "\t":
            for line in _lines(self.blob, self.encoding, "\n"):
                yield [_unquoted(field) for field in line.rstrip("\r\n").split("\t")]
            return
        try:
            yield from csv.reader(_lines(self.blob, self.encoding, ""), delimiter=self.delimiter)
        except csv.Error as e:
            raise Unreadable(f"not CSV: {e}") from None

    def rows(self) -> Iterator[tuple[int, Any]]:
        for n, row in enumerate(islice(self._records(), 1 if self.header else 0, None), self.first):
            if any(c.strip() for c in row):
                yield n, row

    def values(self, row: Any) -> Mapping[str, Any]:
        if len(row) > len(self.columns):
            raise Unreadable(f"{len(row)} columns where the first row has {len(self.columns)}")
        return dict(zip(self.columns, row, strict=False))


def _unquoted(field: str) -> str:
    """A field without the quotes that spreadsheets put around it, in which a quotation mark stands twice."""
    inside = field[1:-1]
    quoted = len(field) > 1 and field[0] == field[-1] == '"' and '"' not in inside.replace('""', "")
    return inside.replace('""', '"') if quoted and '"' in inside else field


def _is_header(row: Sequence[str]) -> bool:
    """Names are short, all there, different and no numbers."""
    cells = [c.strip() for c in row]
    return len(set(cells)) == len(cells) and all(0 < len(c) <= 64 and not _is_number(c) for c in cells)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


class Parquet:
    """A parquet file, a thousand rows at a time."""

    first, unit = 1, "row"

    def __init__(self, blob: Blob) -> None:
        try:
            import pyarrow.parquet as parquet
        except ModuleNotFoundError:
            raise InputError("parquet files need: pip install 'genloom[text]'") from None
        self.blob, self._open = blob, parquet.ParquetFile
        self.names: list[str] | None = None

    def rows(self) -> Iterator[tuple[int, Any]]:
        try:
            with self.blob.open() as file:
                table = self._open(file)
                known = set(table.schema_arrow.names)
                columns = None if self.names is None else [n for n in self.names if n in known]
                n = 0
                for batch in table.iter_batches(1024, columns=columns):
                    for row in batch.to_pylist():
                        n += 1
                        yield n, row
        except GeneratorExit:
            raise
        except Exception as e:  # pyarrow has a tree of errors
            raise Unreadable(f"not a readable parquet file: {' '.join(str(e).split())[:200]}") from None

    def values(self, row: Any) -> Mapping[str, Any]:
        return dict(row)


# -- one column of a table as texts ----------------------------------------------------------------------------


def as_text(value: Any, column: str) -> str:
    """The text in a value; a list of texts, as the lines of a poem, is joined by newlines. Raises Unreadable."""
    if isinstance(value, list) and value and all(isinstance(v, str) for v in value):
        return "\n".join(value)
    if isinstance(value, str):
        return value
    what = "nothing" if value is None or value == [] else type(value).__name__
    raise Unreadable(f"there is {what} instead of text in {column}")


def as_number(value: Any) -> float:
    """The number in a value; NaN where there is none."""
    try:
        number = math.nan if value is None else float(value)
    except (TypeError, ValueError):
        return math.nan
    return number if math.isfinite(number) else math.nan


class Rows:
    """A shelf: the texts in one column of a table. entries: the number of each row. end: why it broke off, as one
    more. needed: a column that must not be empty. numeric: columns that must be numbers. origin: the column of what
    each text follows from. paired: whether a row needs both; of a list of texts the first is then taken.
    """

    def __init__(
        self, blob: Blob, table: Table, column: str, entries: NDArray[np.int32], end: str | None = None
    ) -> None:
        self.name, self.table, self.column, self.entries, self.end = blob.name, table, column, entries, end
        self.needed: str | None = None
        self.numeric: tuple[str, ...] = ()
        self.origin: str | None = None
        self.paired = False
        self._last: tuple[int, Mapping[str, Any]] | None = None
        self._rows: Iterator[tuple[int, Any]] | None = None
        self._next = 0

    def __len__(self) -> int:
        return len(self.entries) + (self.end is not None)

    def read(self, k: int) -> str:
        """The text of row k. Raises Unreadable. Quick when asked for in rising order."""
        values = self.values(k)
        if self.needed is not None and values.get(self.needed) in (None, ""):
            raise Unreadable(f"there is no label in {self.needed}")
        for name in self.numeric:
            if math.isnan(as_number(values.get(name))):
                value = values.get(name)
                shown = "nothing" if value in (None, "") else repr(value)[:40]
                raise Unreadable(f"there is {shown} instead of a number in {name}")
        if self.origin is not None:
            self._source(values)
        return self._text(values)

    def source(self, k: int) -> str:
        """What the text of row k follows from; nothing where that is missing. Raises Unreadable."""
        return self._source(self.values(k))

    def _text(self, values: Mapping[str, Any]) -> str:
        value = values.get(self.column)
        if not self.paired:
            return as_text(value, self.column)
        text = as_text(value[0] if isinstance(value, list) and value else value, self.column)
        if not text.strip():
            raise Unreadable(f"the side {self.column} is empty")
        return text

    def _source(self, values: Mapping[str, Any]) -> str:
        assert self.origin is not None
        value = values.get(self.origin)
        if self.paired and (value in (None, "", []) or not as_text(value, self.origin).strip()):
            raise Unreadable(f"the side {self.origin} is empty")
        return "" if value in (None, "", []) else as_text(value, self.origin)

    def values(self, k: int) -> Mapping[str, Any]:
        """The values of row k. Raises Unreadable. Quick when asked for in rising order."""
        if self._last is not None and self._last[0] == k:
            return self._last[1]
        if k == len(self.entries):
            raise Unreadable(self.end or "")
        if self._rows is None or k < self._next:
            self._rows, self._next = self.table.rows(), 0
        row = next(islice(self._rows, k - self._next, None), None)
        self._next = k + 1
        if row is None:
            raise Unreadable("it is not there any more")
        values = self.table.values(row[1])
        self._last = (k, values)
        return values

    def numbers(self) -> NDArray[np.int32]:
        return self.entries if self.end is None else np.append(self.entries, np.int32(-1))

    def close(self) -> None:
        self._rows, self._next, self._last = None, 0, None


def first_rows(table: Table, most: int) -> list[Mapping[str, Any]]:
    """Values of the first rows that can be read. Raises Unreadable when there are none because the file is damaged."""
    found: list[Mapping[str, Any]] = []
    for _, row in islice(table.rows(), most):
        try:
            found.append(table.values(row))
        except Unreadable:
            continue
    return found
