"""A CSV (or TSV) of paths and labels."""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Sequence
from pathlib import Path

from genloom.core.config import unknown
from genloom.core.errors import InputError, Unreadable
from genloom.data.items import SPLIT_NAMES, GivenSplit, Items, Source, clean, printable
from genloom.data.records import as_number
from genloom.data.tree import read_file

PATHS = ("path", "file", "image", "filename", "filepath", "file_name")
LABELS = ("label", "class", "category", "target")
SPLITS = ("split", "subset", "set")


def holds_paths(path: Path, head: bytes, extensions: frozenset[str]) -> bool:
    """Whether the first row of a table that begins with `head` names a file: one that is there, or has one of the
    endings.
    """
    lines = head.decode("utf-8-sig", "replace").split("\n", 2)
    delimiter = max(",;\t", key=lines[0].count)
    rows = list(csv.reader([line.rstrip("\r") for line in lines[:2]], delimiter=delimiter))
    if not rows:
        return False
    header = [c.strip().lower() for c in rows[0]]
    where = next((header.index(n) for n in PATHS if n in header), None)
    if where is None:
        return len(header) == 2 and (path.parent / rows[0][0].strip()).is_file()
    named = rows[1][where].strip() if len(rows) > 1 and len(rows[1]) > where else "."
    return Path(named).suffix.lower() in extensions or (path.parent / named).is_file()


def table_source(path: Path, properties: Sequence[str] = ()) -> Source:
    """Rows of path and, if there is such a column, label and split. Paths are relative to the table. properties: names
    of columns of numbers; a row without one cannot be read.

    The digest covers the table and the names, sizes and times of change of its files. Raises InputError when it has no
    path column.
    """
    rows = _rows(path)
    numeric = _numbers(path, rows, properties)
    columns, rows = _columns(path, rows)
    where, label, split = columns
    files = [path.parent / row[where].strip() for row in rows]
    digest = hashlib.sha256(repr((str(path.resolve()), columns, rows)).encode("utf-8", "surrogateescape"))
    for file in files:
        try:
            info = file.stat()
            digest.update(f"{info.st_size}\0{info.st_mtime_ns}\n".encode())
        except OSError:
            digest.update(b"missing\n")

    def load() -> Items:
        if not files:
            raise InputError(f"the table {path} has no rows with examples")
        labels = None if label is None else [clean(row[label]) or None for row in rows]
        if labels and None in labels:
            raise InputError(
                f"row {labels.index(None) + 2} of {path} has no label; give every row one, or leave the column out"
            )
        given = None if split is None else [_split(path, n, row[split]) for n, row in enumerate(rows)]

        def read(i: int) -> bytes:
            for name, values in numeric.items():
                if math.isnan(values[i]):
                    raise Unreadable(f"row {i + 2} of {path.name} has no number in {name}")
            return read_file(files[i])

        return Items([printable(str(f)) for f in files], read, labels, given, properties=numeric)

    return Source(clean(path.stem) or "data", digest.hexdigest(), load)


def _numbers(path: Path, rows: Sequence[Sequence[str]], names: Sequence[str]) -> dict[str, list[float]]:
    """The numbers in the columns `names` below the header; NaN where there is none."""
    header = [c.strip() for c in rows[0]] if rows else []
    lower = {c.lower(): i for i, c in enumerate(header)}
    for name in names:
        if name.lower() not in lower:
            raise InputError(f"{path}: " + unknown(name, header, "column"))
    at = [lower[n.lower()] for n in names]
    return {header[i]: [as_number(row[i] if i < len(row) else None) for row in rows[1:]] for i in at}


def _rows(path: Path) -> list[list[str]]:
    try:
        text = path.read_text("utf-8-sig")
    except OSError as e:
        raise InputError(f"the table {path} cannot be read: {e.strerror or e}") from None
    except UnicodeDecodeError:
        raise InputError(f"the table {path} is not UTF-8 text; save it as CSV UTF-8") from None
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    try:
        return [row for row in csv.reader(text.splitlines(), delimiter=delimiter) if any(c.strip() for c in row)]
    except csv.Error as e:
        raise InputError(f"the table {path} is not CSV: {e}") from None


def _columns(path: Path, rows: list[list[str]]) -> tuple[tuple[int, int | None, int | None], list[list[str]]]:
    """Places of path, label and split, and the rows below the header."""
    if not rows:
        raise InputError(f"the table {path} is empty; it needs a column path and may have a column label")
    header = [c.strip().lower() for c in rows[0]]

    def place(names: tuple[str, ...]) -> int | None:
        return next((header.index(n) for n in names if n in header), None)

    where, body = place(PATHS), rows[1:]
    if where is not None:
        found = (where, place(LABELS), place(SPLITS))
    elif len(header) == 2 and (path.parent / rows[0][0].strip()).is_file():
        found, body = (0, 1, None), rows
    else:
        raise InputError(
            f"the table {path} has the columns {', '.join(rows[0][:8])}; name one of them path, and the one of "
            "labels label"
        )
    needed = 1 + max(c for c in found if c is not None)
    short = next((n for n, row in enumerate(body) if len(row) < needed), None)
    if short is not None:
        raise InputError(f"row {short + 2} of {path} has {len(body[short])} columns where {needed} are needed")
    return found, body


def _split(path: Path, row: int, text: str) -> GivenSplit | None:
    if not text.strip():
        return None
    split = SPLIT_NAMES.get(text.strip().lower())
    if split is None:
        raise InputError(f"row {row + 2} of {path} has the split {text!r}; use train, validation or test")
    return split
