"""Which column of a table holds the text, the label and the split; and the items that tables of text give."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from genloom.core.config import unknown
from genloom.core.errors import InputError, Unreadable
from genloom.data.blobs import Blob
from genloom.data.items import SPLIT_NAMES, GivenSplit, clean, count
from genloom.data.records import Rows, Table, as_number, as_text, first_rows, open_table

TEXTS = (
    "text", "content", "contents", "body", "sentence", "document", "article", "paragraph", "paragraphs", "caption",
    "poem", "lyrics", "review", "message", "comment", "story", "abstract", "line",
)  # fmt: skip
LABELS = ("label", "class", "category", "target", "author", "genre", "topic", "intent", "sentiment", "language")
SOURCES = (
    "source", "src", "prompt", "instruction", "question", "query", "request", "input", "headline", "title",
)  # fmt: skip
ANSWERS = ("answer", "response", "reply", "completion", "output", "target", "translation", "summary")
SPLITS = ("split", "subset", "set")
LOOKED_AT = 200  # rows from which the columns are chosen
CLASSES = 1000  # labels at most, unless the column was asked for
EACH = 2  # examples that a label has on average, unless the column was asked for


@dataclass(frozen=True)
class Columns:
    """Names of the columns of text, label, split, properties and source. asked: whether the label column was.
    pair: whether the names of text and source said that they belong together. maybe: columns that the text could follow
    from, but that nobody asked for."""

    text: str
    label: str | None
    split: str | None
    asked: bool
    properties: tuple[str, ...] = ()
    source: str | None = None
    pair: bool = False
    maybe: tuple[str, ...] = ()


@dataclass(frozen=True)
class Asked:
    """Names of columns that a person gave. label, source: "none" for none of them."""

    text: str | None = None
    label: str | None = None
    properties: tuple[str, ...] = ()
    source: str | None = None

    @property
    def any(self) -> bool:
        named = [n for n in (self.label, self.source) if n != "none"]
        return bool(self.text or self.properties or any(named))


@dataclass(frozen=True)
class Listed:
    """A table gone through once. labels, given: [N] of its rows. missing: rows that can be read but have no label.
    properties: [N] of each, NaN where a row has no such number."""

    shelf: Rows
    labels: list[str | None]
    given: list[GivenSplit | None]
    missing: int
    properties: dict[str, list[float]]


def choose(name: str, rows: Sequence[Mapping[str, Any]], asked: Asked) -> Columns:
    """The columns of a table from its first rows. Raises InputError naming the columns when none holds text, and the
    nearest one when the one asked for is not there.
    """
    column, label = asked.text, asked.label
    names = list(dict.fromkeys(str(k) for row in rows for k in row))
    lower = {n.lower(): n for n in reversed(names)}
    wanted_label = None if label is None or label == "none" else find_named(name, label, lower)
    labels = wanted_label or (None if label == "none" else next((lower[n] for n in LABELS if n in lower), None))
    split = next((lower[n] for n in SPLITS if n in lower), None)
    source = find_named(name, asked.source, lower) if asked.source not in (None, "none") else None
    properties = tuple(find_named(name, p, lower) for p in asked.properties)
    if column is not None:
        text = find_named(name, column, lower)
    else:
        lengths = {n: typical_length(rows, n) for n in names if n not in (wanted_label, split, source, *properties)}
        known = next((lower[n] for n in TEXTS if n in lower and lengths.get(lower[n], 0)), None)
        if known is None and any(n in lower for n in SOURCES):
            known = next((lower[n] for n in ANSWERS if n in lower and lengths.get(lower[n], 0)), None)
        others = {n: v for n, v in lengths.items() if v and n != labels}
        if known is None and not others:
            raise InputError(
                f"{name} has no column of text; it has {', '.join(names[:8]) or 'none'}: name one with data.column"
            )
        text = known or max(others, key=lambda n: others[n])
    label = None if labels == text else labels
    taken = (text, label, split, *properties)
    maybe: tuple[str, ...] = ()
    if asked.source is None:
        maybe = tuple(
            lower[n] for n in SOURCES if n in lower and lower[n] not in taken and typical_length(rows, lower[n])
        )
    # An answer alone makes no sense, and a question beside it is no accident. A text beside its title is whole.
    pair = text.lower() in ANSWERS and len(maybe) == 1
    if pair:
        source, maybe = maybe[0], ()
    return Columns(text, label, split, wanted_label is not None, properties, source, pair, maybe)


def find_named(name: str, column: str, lower: Mapping[str, str]) -> str:
    if column.lower() not in lower:
        raise InputError(f"{name}: " + unknown(column, lower.values(), "column"))
    return lower[column.lower()]


def typical_length(rows: Sequence[Mapping[str, Any]], column: str) -> float:
    """Characters of a typical value that is text; 0 where most are numbers or nothing."""
    texts: list[str] = []
    for row in rows:
        try:
            texts.append(as_text(row.get(column), column))
        except Unreadable:
            continue
    words = [t for t in texts if any(c.isalpha() for c in t)]
    return sum(map(len, words)) / len(words) if 2 * len(words) > len(rows) else 0.0


def find_columns(blobs: Sequence[Blob], asked: Asked) -> tuple[Columns, str]:
    """The columns of the first table that can be read, and a sentence that says which. Raises InputError."""
    reason = ""
    for blob in blobs:
        try:
            rows = first_rows(open_table(blob), LOOKED_AT)
        except Unreadable as e:
            reason = reason or f"{blob.name}: {e}"
            continue
        if rows:
            found = choose(blob.name, rows, asked)
            alone = asked.text is not None or len({str(k) for row in rows for k in row}) == 1
            said = [] if alone else [f"the text is in {found.text} (data.column names another column)"]
            if found.pair:
                said.append(
                    f"each {found.text} follows from its {found.source}: the model learns it given that, samples take "
                    "it with --source, and likelihoods are given it (data.source=none trains on the text alone)"
                )
            elif found.maybe:
                which = " or ".join(found.maybe)
                said.append(f"its {which} is left out (data.source={found.maybe[0]} has the texts follow from it)")
            return found, "; ".join(said)
        reason = reason or f"{blob.name}: it has no rows"
    raise InputError(f"no table can be read; the first is {reason}")


def listed(blob: Blob, columns: Columns, table: Table | None = None) -> Listed:
    """One pass over a table, or the one in a file. Raises Unreadable when it cannot be opened."""
    table = table or open_table(blob)
    _only(table, columns)
    numbers: list[int] = []
    labels: list[str | None] = []
    given: list[GivenSplit | None] = []
    numeric: dict[str, list[float]] = {name: [] for name in columns.properties}
    end: str | None = None
    missing = 0
    try:
        for number, row in table.rows():
            numbers.append(number)
            label, side = None, None
            values: Mapping[str, Any] = {}
            if columns.label or columns.split or columns.properties:
                with contextlib.suppress(Unreadable):  # a broken row is named when the texts are read
                    values = table.values(row)
                    label, side = _label(values.get(columns.label or "")), values.get(columns.split or "")
                    missing += label is None
            for name, column in numeric.items():
                column.append(as_number(values.get(name)))
            labels.append(label)
            given.append(SPLIT_NAMES.get(str(side).strip().lower()))
    except Unreadable as e:
        end = str(e)
        labels.append(None)
        given.append(None)
        for column in numeric.values():
            column.append(math.nan)
    shelf = Rows(blob, table, columns.text, np.array(numbers, dtype=np.int32), end)
    shelf.numeric, shelf.origin = columns.properties, columns.source
    return Listed(shelf, labels, given, missing, numeric)


def _only(table: Table, columns: Columns) -> None:
    """Let a table that can read some columns alone do so."""
    if hasattr(table, "names"):
        wanted = (columns.text, columns.label, columns.split, columns.source, *columns.properties)
        table.names = [c for c in wanted if c]


def _label(value: Any) -> str | None:
    """The name of a class; 3.0 is the class 3."""
    if value is None or isinstance(value, list | dict):
        return None
    return clean(str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)) or None


def usable_labels(labels: Sequence[str | None], missing: int, columns: Columns) -> tuple[list[str | None] | None, str]:
    """The labels, or None when the column is none of labels; and a sentence that says so."""
    there = {label for label in labels if label is not None}
    if columns.label is None or not there:
        return None, ""
    few = 2 <= len(there) <= CLASSES and len(labels) >= EACH * len(there) and not missing
    if columns.asked or few:
        return list(labels), "" if columns.asked else f"the labels are in {columns.label} (data.label=none takes none)"
    why = f"{count(missing, 'row')} without one" if missing else f"{count(len(there), 'value')} in it"
    return None, f"{columns.label} is not taken as the label: {why} (data.label={columns.label} takes it)"
