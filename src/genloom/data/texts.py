"""Text as a data set: which files, lines, rows or pieces are the examples, with their labels and splits.

A unit is what one example is: a `line` of a file, a whole `document` (a file, a row of a table), or a piece of a
`stream`, one long text whose first part trains and whose last parts are held out.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import statistics
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from genloom.core.errors import InputError, Unreadable
from genloom.data import columns, passages
from genloom.data.archive import TAR_ENDINGS, ZIP_ENDINGS, is_archive, members_of, stem
from genloom.data.arrays import as_array, label_names, pair
from genloom.data.blobs import Blob, digest_of, file_blob, head_of, memory_blob
from genloom.data.columns import Asked
from genloom.data.items import GivenSplit, Items, Located, Numbered, Source, clean, count, printable, tops
from genloom.data.records import ENDINGS, Rows
from genloom.data.titles import titled
from genloom.data.tree import MAX_FILE, arrange, folder_digest, walk

SHORT = 300  # characters of a typical line up to which a file of lines holds one example a line
FEW = 10  # lines or files below which they are not examples of their own
LONG = 2**16  # bytes of a typical file from which a few files are long texts
LISTS, LISTED = 100, 100  # files at most that are lists of lines, and the lines that a typical one then has


@dataclass(frozen=True)
class Wishes:
    """How text shall be read. unit: "auto" chooses. columns: as in DataConfig. first_line: what a text follows from is
    its first line. validation, test: shares of a stream that are held out. task: as in DataConfig.
    """

    extensions: frozenset[str]
    unit: str = "auto"
    columns: Asked = field(default_factory=Asked)
    first_line: bool = False
    validation: float = 0.05
    test: float = 0.05
    task: str | None = None


class Shelf(Protocol):
    """N texts of one file."""

    name: str

    def __len__(self) -> int: ...

    def read(self, k: int) -> Any:
        """Text, or the bytes of a document. Raises Unreadable."""
        ...

    def numbers(self) -> NDArray[np.int32]:
        """[N] what to call each within the file, as a line's number; -1 for the file itself."""
        ...

    def close(self) -> None:
        """Give the file back; it is opened again when something is read."""
        ...


class Document:
    """A file that is one example."""

    def __init__(self, blob: Blob) -> None:
        self.blob, self.name = blob, blob.name

    def __len__(self) -> int:
        return 1

    def read(self, k: int) -> bytes:
        most = min(MAX_FILE, self.blob.most)
        raw = head_of(self.blob, most + 1)
        if len(raw) > most:
            raise Unreadable(f"the file has more than the limit of {most:,} bytes; read it with modality.unit=stream")
        return raw

    def numbers(self) -> NDArray[np.int32]:
        return np.full(1, -1, np.int32)

    def close(self) -> None:
        pass


class Unusable:
    """A file that cannot be read: one item with the reason."""

    def __init__(self, name: str, reason: str) -> None:
        self.name, self.reason = name, reason

    def __len__(self) -> int:
        return 1

    def read(self, k: int) -> Any:
        raise Unreadable(self.reason)

    def numbers(self) -> NDArray[np.int32]:
        return np.full(1, -1, np.int32)

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class Placed:
    """A file with the label and split that its folder gives it."""

    blob: Blob
    label: str | None = None
    given: GivenSplit | None = None


# -- opening ---------------------------------------------------------------------------------------------------


def path_source(path: Path, wishes: Wishes) -> Source:
    """A file of text, plain or packed with gzip, a folder or an archive of them. Raises InputError."""
    if path.is_dir():
        files = walk(path)

        def below() -> Items:
            found = arrange([relative for relative, _ in files], wishes.extensions)
            placed = _placed([file_blob(path / files[i][0]) for i in found.kept], found.labels, found.given)
            return _items(str(path), placed, wishes, found.notices)

        return Source(clean(path.resolve().name) or "data", folder_digest(path, files), below)
    name = path.name.lower()
    known = os.path.splitext(name.removesuffix(".gz"))[1] in wishes.extensions
    if name.endswith((*ZIP_ENDINGS, *TAR_ENDINGS)) or (not known and is_archive(path)):
        return Source(stem(path), digest_of(path), lambda: archive_items(path, wishes))
    blob = file_blob(path)
    return Source(clean(blob.stem) or "data", digest_of(path), lambda: _items(blob.name, [Placed(blob)], wishes, ()))


def archive_items(path: Path, wishes: Wishes, pattern: str | None = None) -> Items:
    """Items of the text in an archive. pattern: a regular expression that the names of its files must have."""
    import re

    members = [m for m in members_of(path) if pattern is None or re.search(pattern, m.name)]
    found = arrange([m.name for m in members], wishes.extensions)
    blobs = []
    for i in found.kept:
        m = members[i]
        inner = Path(m.name)
        name = f"{printable(str(path))}!{printable(m.name)}"
        blobs.append(Blob(name, inner.suffix.lower(), m.open, max(m.size, 1), inner.stem, m.offset))
    return _items(str(path), _placed(blobs, found.labels, found.given), wishes, found.notices)


def memory_source(text: str, wishes: Wishes) -> Source:
    """One text in memory: lines, or a stream."""
    blob = memory_blob(text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Source("text", digest, lambda: _items("the text", [Placed(blob)], wishes, ()))


def list_source(data: Any, wishes: Wishes) -> Source:
    """A list of texts, a list of pairs (text, label), or a pair (texts, labels). Raises InputError."""
    x, y = pair(data)
    if not isinstance(x, list):
        x = as_array(x).tolist() if getattr(x, "ndim", 0) == 1 else list(x)
    if wishes.task is not None:
        from genloom.data.tasks import as_rows

        return _rows_source(as_rows(data, wishes.task), wishes)
    if y is None and x and all(isinstance(e, dict) for e in x):
        return _rows_source(x, wishes)
    wrong = next((i for i, e in enumerate(x) if not isinstance(e, str)), None)
    if wrong is not None:
        raise InputError(f"item {wrong} of the list is {type(x[wrong]).__name__}, not text")
    if wishes.unit == "stream":
        return memory_source("\n".join(x), wishes)
    labels = None if y is None else label_names(y, len(x), "the list")
    digest = hashlib.sha256(repr((x, labels)).encode("utf-8", "surrogatepass")).hexdigest()
    unit = {"unit": "line" if wishes.unit == "line" else "document"}
    return Source("texts", digest, lambda: Items(Numbered("texts", len(x)), lambda i: x[i], labels, chosen=unit))


def _rows_source(rows: list[dict[str, Any]], wishes: Wishes) -> Source:
    """A list of dictionaries in memory, read as JSON lines are."""
    try:
        lines = "".join(json.dumps(row) + "\n" for row in rows)
    except (TypeError, ValueError) as e:
        raise InputError(f"the dictionaries of the list must hold text and numbers: {e}") from None
    blob = replace(memory_blob(lines), ending=".jsonl", name="the list")
    digest = hashlib.sha256(lines.encode()).hexdigest()
    return Source("texts", digest, lambda: _items(blob.name, [Placed(blob)], wishes, ()))


def files_source(name: str, digest: str, parts: Sequence[tuple[Path, GivenSplit | None]], wishes: Wishes) -> Source:
    """Known files with their splits."""
    placed = [Placed(file_blob(path), None, given) for path, given in parts]
    return Source(name, digest, lambda: _items(name, placed, wishes, ()))


def _placed(
    blobs: Sequence[Blob], labels: Sequence[str | None] | None, given: Sequence[GivenSplit | None] | None
) -> list[Placed]:
    n = len(blobs)
    splits = given or tops([b.stem for b in blobs]) or [None] * n
    return [Placed(*p) for p in zip(blobs, labels or [None] * n, splits, strict=True)]


# -- the unit --------------------------------------------------------------------------------------------------


def _items(name: str, placed: Sequence[Placed], wishes: Wishes, notices: Sequence[str]) -> Items:
    if wishes.task is not None:
        from genloom.data.tasks import task_items

        return task_items(name, placed, wishes, notices)
    items = _untitled(name, placed, wishes, notices)
    return titled(items, name) if wishes.first_line else items


def _untitled(name: str, placed: Sequence[Placed], wishes: Wishes, notices: Sequence[str]) -> Items:
    if not placed:
        kinds = ", ".join(sorted(wishes.extensions))
        raise InputError(
            f"there is no text in {name}: no file ends in {kinds}" + (f" ({notices[0]})" if notices else "")
        )
    tables = [p for p in placed if p.blob.ending in ENDINGS]
    if tables and (len(tables) == len(placed) or (wishes.unit == "auto" and 2 * len(tables) > len(placed))):
        return _table_items(name, tables, wishes, [*notices, *_left_out(len(placed) - len(tables), "text")])
    if wishes.columns.any:
        raise InputError(
            "data.column, data.label, data.properties and data.source are for tables (.csv, .jsonl, ...); "
            f"{name} is plain text"
        )
    notices = [*notices, *_left_out(len(tables), "table")]
    placed = [p for p in placed if p.blob.ending not in ENDINGS]
    unit, why = (wishes.unit, "") if wishes.unit != "auto" else choose_unit(placed)
    notices = [*notices, why] if why else list(notices)
    if unit == "stream":
        return _stream(placed, wishes, notices)
    labelled = any(p.label is not None for p in placed)
    by_file = unit == "line" and len(placed) > 1 and not labelled and not any(p.given for p in placed)
    if by_file:
        notices.append(f"the names of the {len(placed)} files are the labels of their lines")
    shelves: list[Shelf] = [_shelf(p.blob, unit) for p in placed]
    marks = [clean(p.blob.stem) if by_file else p.label for p in placed]
    labels = spread(marks, shelves) if labelled or by_file else None
    given = spread([p.given for p in placed], shelves) if any(p.given for p in placed) else None
    return shelved(shelves, labels, given, notices, unit, [p.blob.offset for p in placed])


def _left_out(n: int, kind: str) -> list[str]:
    return [f"{count(n, kind)} beside the others left out"] if n else []


def _table_items(name: str, placed: Sequence[Placed], wishes: Wishes, notices: list[str]) -> Items:
    """Rows of tables: the label and split that a row has, else those of its file."""
    if wishes.unit == "stream":
        raise InputError(
            f"the rows of {name} are examples of their own; modality.unit=stream is for plain text (.txt, .md)"
        )
    chosen, notice = columns.find_columns([p.blob for p in placed], wishes.columns)
    shelves: list[Shelf] = []
    labels: list[str | None] = []
    given: list[GivenSplit | None] = []
    rows: list[Rows] = []
    numeric: dict[str, list[float]] = {name: [] for name in chosen.properties}
    missing = 0
    for p in placed:
        try:
            table = columns.listed(p.blob, chosen)
        except Unreadable as e:
            shelves.append(Unusable(p.blob.name, str(e)))
            labels, given = [*labels, None], [*given, p.given]
            for values in numeric.values():
                values.append(math.nan)
            continue
        shelves.append(table.shelf)
        labels += table.labels
        given += [side or p.given for side in table.given]
        rows.append(table.shelf)
        for property_, values in numeric.items():
            values += table.properties[property_]
        missing += table.missing
    own, why = columns.usable_labels(labels, missing, chosen)
    for shelf in rows:
        shelf.needed = chosen.label if own is not None else None
    if own is None and any(p.label for p in placed):
        own = spread([p.label for p in placed], shelves)
    notices = [*notices, *(n for n in (notice, why) if n)]
    order = [p.blob.offset for p in placed]
    items = shelved(shelves, own, given if any(given) else None, notices, "document", order, chosen.source is not None)
    return replace(items, properties=numeric)


T = TypeVar("T")


def spread(values: Sequence[T], shelves: Sequence[Shelf]) -> list[T]:
    """The value of each shelf for each of its texts."""
    return [value for value, shelf in zip(values, shelves, strict=True) for _ in range(len(shelf))]


def _shelf(blob: Blob, unit: str) -> Shelf:
    if unit == "document":
        return Document(blob)
    try:
        return passages.lines(blob)
    except Unreadable as e:
        return Unusable(blob.name, str(e))


def shelved(
    shelves: Sequence[Shelf], labels: Sequence[str | None] | None, given: Sequence[GivenSplit | None] | None,
    notices: Sequence[str], unit: str, offsets: Sequence[int] = (), sources: bool = False,
) -> Items:  # fmt: skip
    """Items of all shelves, one after the other. offsets: where they lie in an archive. sources: whether the shelves
    say what their texts follow from."""
    starts = [0, *accumulate(len(s) for s in shelves)]
    last: list[Shelf] = []

    def at(i: int) -> tuple[Any, int]:
        part = bisect_right(starts, i) - 1
        if last and last[0] is not shelves[part]:
            last.pop().close()
        last[:] = [shelves[part]]
        return shelves[part], i - starts[part]

    def read(i: int) -> Any:
        shelf, k = at(i)
        return shelf.read(k)

    def source(i: int) -> Any:
        shelf, k = at(i)
        return shelf.source(k)

    part = np.repeat(np.arange(len(shelves), dtype=np.int32), np.diff(starts))
    order = None
    if any(offsets) and list(offsets) != sorted(offsets):
        order = np.lexsort((np.arange(starts[-1]), np.asarray(offsets, dtype=np.int64)[part]))
    where = Located([s.name for s in shelves], part, np.concatenate([s.numbers() for s in shelves]))
    encodings = Counter(s.encoding for s in shelves if isinstance(s, passages.Spans))
    return Items(
        where, read, labels, given, order, tuple(notices), {"unit": unit}, unit == "stream",
        source=source if sources else None, encodings=encodings,
    )  # fmt: skip


def choose_unit(placed: Sequence[Placed]) -> tuple[str, str]:
    """line, document or stream for files of text, and the sentence that says so."""
    change = "modality.unit=line, document or stream changes it"
    first = next((p.blob for p in placed if p.given == "train"), placed[0].blob)
    name = Path(first.name.split("!")[-1]).name
    single = len(placed) == 1 or (all(p.given for p in placed) and tops([p.blob.stem for p in placed]) is not None)
    if single:
        try:
            head = passages.sample(first)
        except Unreadable:
            return "document", ""
        if is_list(head):
            return "line", f"{name} is a list: every line is an example; {change}"
        return "stream", f"{name} is one long text, held out at its end; {change}"
    heads = []
    for p in sorted(placed[: LISTS + 1], key=lambda p: p.blob.offset):
        try:
            heads.append(passages.sample(p.blob, LONG))
        except Unreadable:
            continue
    if not heads:
        return "document", ""
    many = statistics.median(h.count("\n") for h in heads) >= LISTED
    if many and len(placed) <= LISTS and all(is_list(h) for h in heads):
        return "line", f"the {len(placed)} files are lists: every line is an example; {change}"
    if len(placed) < FEW and statistics.median(len(h.encode()) for h in heads) >= LONG // 2:
        return "stream", f"the {len(placed)} files are long texts, each held out at its end; {change}"
    return "document", ""


def is_list(head: str) -> bool:
    """Whether text is many lines with nothing between them, so that each is an example: names, captions, formulas.

    Not so: blank lines between paragraphs or verses, lines broken at a width, indented paragraphs, few or long lines.
    """
    lines = [line.removesuffix("\r") for line in head.split("\n")[: -1 if "\n" in head else None]]
    while lines and not lines[-1].strip():
        lines.pop()
    full = [line for line in lines if line.strip()]
    if len(full) < FEW or len(full) < 0.99 * len(lines):
        return False
    lengths = sorted(map(len, full))
    if statistics.median(lengths) > SHORT:
        return False
    wide = lengths[int(0.95 * len(lengths))]
    broken = wide >= 40 and sum(n >= 0.85 * wide for n in lengths) > 0.6 * len(lengths)
    wrapped = broken and len(set(lengths)) > 3 and sum(n > 1.1 * wide for n in lengths) < 0.01 * len(lengths)
    indented = sum(line[:1] in " \t\u3000" for line in full) > 0.3 * len(full)
    return not wrapped and not indented


# -- streams ---------------------------------------------------------------------------------------------------


def _stream(placed: Sequence[Placed], wishes: Wishes, notices: Sequence[str]) -> Items:
    """Pieces of each file; of a file without a split, the first part trains, then validation, then test."""
    shelves: list[Shelf] = []
    labels: list[str | None] = []
    given: list[GivenSplit | None] = []
    have = {p.given for p in placed}
    for p in placed:
        try:
            spans = passages.pieces(p.blob)
        except Unreadable as e:
            shelves.append(Unusable(p.blob.name, str(e)))
            labels.append(p.label)
            given.append(p.given or "train")
            continue
        if p.given in (None, "train"):
            spans, sides = _divided(
                spans, 0.0 if "validation" in have else wishes.validation, 0.0 if "test" in have else wishes.test
            )
        else:
            sides = [p.given] * len(spans)
        shelves.append(spans)
        labels += [clean(p.label or "") or None] * len(spans)
        given += sides
    return shelved(shelves, labels if any(labels) else None, given, notices, "stream", [p.blob.offset for p in placed])


def _divided(spans: passages.Spans, validation: float, test: float) -> tuple[passages.Spans, list[GivenSplit | None]]:
    """Train on the first int((1 - validation - test) N) characters of N, as published divisions of streams do."""
    n = int(spans.characters.sum())
    ends = [int((1 - validation - test) * n + 1e-6), int((1 - test) * n + 1e-6)]
    cut, (first, second) = spans.cut(ends)
    order: list[tuple[int, GivenSplit]] = [(first, "train"), (second, "validation"), (len(cut), "test")]
    sides: list[GivenSplit | None] = []
    for end, side in order:
        sides += [side] * (end - len(sides))
    return cut, sides
