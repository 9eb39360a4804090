"""Pairs of texts for a task: what is translated and into what, documents and their summaries, conversations.

Tables with two columns, whose names or order say which is which; of conversations each reply is an example
(data/dialogues.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from genloom.core.errors import InputError, Unreadable
from genloom.data import columns
from genloom.data.columns import SPLITS, Asked, Columns, find_named, typical_length
from genloom.data.dialogues import Talks, conversation_column
from genloom.data.items import GivenSplit, Items
from genloom.data.records import ENDINGS, Table, first_rows, open_table
from genloom.data.texts import Placed, Shelf, Unusable, Wishes, shelved, spread

CODES = (
    "ar", "bg", "bn", "ca", "cs", "da", "de", "el", "en", "es", "et", "fa", "fi", "fr", "ga", "he", "hi", "hr", "hu",
    "id", "it", "ja", "ko", "lt", "lv", "mk", "ms", "nb", "nl", "no", "pl", "pt", "ro", "ru", "sk", "sl", "sr", "sv",
    "sw", "ta", "th", "tr", "uk", "ur", "vi", "zh",
)  # fmt: skip
NAMES = (
    "english", "german", "french", "spanish", "italian", "portuguese", "dutch", "russian", "polish", "czech", "turkish",
    "arabic", "hebrew", "hindi", "chinese", "japanese", "korean", "vietnamese", "thai", "swedish", "danish",
    "norwegian", "finnish", "greek", "hungarian", "romanian", "ukrainian",
)  # fmt: skip
IDENTIFIER = re.compile(r"[a-z]+(_[a-z0-9]+)+")


def is_language(name: str) -> bool:
    """Whether a column is called by a language: de, de-AT, German."""
    return name.lower() in NAMES or re.split("[-_]", name.lower())[0] in CODES


@dataclass(frozen=True)
class Sides:
    """How the two sides of a task are called, likelier names first, and how that is said in a sentence."""

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    said: str  # with the names of source and target


SIDES = {
    "translate": Sides(
        ("source", "src", "original", "input", "text", "sentence", "from"),
        ("target", "tgt", "trg", "translation", "translated", "output", "reference", "to"),
        "{} is translated into {}",
    ),
    "summarise": Sides(
        ("document", "article", "source", "text", "body", "content", "abstract", "paper", "story", "dialogue", "input"),
        ("summary", "summaries", "tldr", "highlights", "headline", "target", "abstract", "title", "output"),
        "{} is summarised by {}",
    ),
}


def as_rows(data: Any, task: str) -> list[dict[str, Any]]:
    """Data in memory as rows of a table: a list of dictionaries, of pairs (source, target), or of conversations."""
    rows = []
    for i, entry in enumerate(data if isinstance(data, list | tuple) else []):
        if isinstance(entry, dict):
            rows.append(entry)
        elif task == "chat" and isinstance(entry, list | tuple):
            rows.append({"messages": list(entry)})
        elif isinstance(entry, list | tuple) and len(entry) == 2:
            rows.append({"source": entry[0], "target": entry[1]})
        else:
            wanted = "a list of messages" if task == "chat" else "a pair (source, target)"
            raise InputError(f"item {i} of the list is {type(entry).__name__}, not {wanted} or a dictionary")
    if not rows:
        raise InputError(f"the task {task} takes a list of pairs or dictionaries, or a file; got {type(data).__name__}")
    return rows


def task_items(name: str, placed: Sequence[Placed], wishes: Wishes, notices: Sequence[str]) -> Items:
    """The items of tables for `wishes.task`. Raises InputError when no table holds what the task needs."""
    assert wishes.task is not None
    tables = [_as_table(p) for p in placed]
    known = [p for p in tables if p.blob.ending in ENDINGS]
    if not known:
        needs = "conversations, as JSON lines with messages" if wishes.task == "chat" else "two columns of text"
        raise InputError(
            f"{name} holds no table; the task {wishes.task} needs {needs} (.tsv, .csv, .jsonl, .json or .parquet)"
        )
    if wishes.unit not in ("auto", "document"):
        raise InputError(f"the task {wishes.task} has rows as its examples; leave modality.unit={wishes.unit} out")
    chosen, said = _found(known, wishes)
    shelves: list[Shelf] = []
    given: list[GivenSplit | None] = []
    for p in known:
        try:
            listed = columns.listed(p.blob, chosen, _opened(p, wishes))
        except Unreadable as e:
            shelves.append(Unusable(p.blob.name, str(e)))
            given.append(p.given)
            continue
        sides = [side or p.given for side in listed.given]
        listed.shelf.paired = True
        if wishes.task == "chat":
            talks = Talks(listed.shelf)
            shelves.append(talks)
            given += [sides[k] for k in talks.rows.tolist()]
        else:
            shelves.append(listed.shelf)
            given += sides
    left = [f"{len(placed) - len(known)} files beside the tables left out"] if len(known) < len(placed) else []
    order = [p.blob.offset for p in known]
    items = shelved(
        shelves, None, given if any(given) else None, [*notices, *left, *said], "document", order, sources=True
    )
    if wishes.task != "chat":
        return items
    starts = spread(list(range(len(shelves))), shelves)
    first = {part: i for i, part in reversed(list(enumerate(starts)))}

    def whole(i: int) -> Any:
        shelf: Any = shelves[starts[i]]
        return shelf.whole(i - first[starts[i]])

    return replace(items, whole=whole)


def _as_table(p: Placed) -> Placed:
    """A file of plain text whose lines are fields between tabs is a table."""
    return replace(p, blob=replace(p.blob, ending=".tsv")) if p.blob.ending in (".txt", ".text") else p


def _opened(p: Placed, wishes: Wishes) -> Table:
    """The table in a file. Fields between tabs often come without names, and text there is not quoted."""
    return open_table(p.blob, (lambda top: _names_sides(top, wishes.columns)) if p.blob.ending == ".tsv" else None)


def _found(placed: Sequence[Placed], wishes: Wishes) -> tuple[Columns, list[str]]:
    """The columns of the first table that can be read, and what to say of them."""
    reason = ""
    for p in placed:
        try:
            rows = first_rows(_opened(p, wishes), columns.LOOKED_AT)
        except Unreadable as e:
            reason = reason or f"{p.blob.name}: {e}"
            continue
        if not rows:
            reason = reason or f"{p.blob.name}: it has no rows"
            continue
        if wishes.task == "chat":
            return conversation_column(p.blob.name, rows, wishes.columns), []
        found = choose_sides(p.blob.name, rows, wishes.columns, str(wishes.task))
        said = SIDES[str(wishes.task)].said.format(found.source, found.text)
        return found, [f"{said} (data.source and data.column name other columns)"]
    raise InputError(f"no table can be read; the first is {reason}")


def _names_sides(top: Sequence[str], asked: Asked) -> bool:
    """Whether the first row of a table holds names: most of them are known, or one was asked for."""
    known = {n for sides in SIDES.values() for n in (*sides.sources, *sides.targets)} | set(SPLITS) | {"messages"}
    wanted = {n.lower() for n in (asked.text, asked.source) if n}
    cells = [c.strip().lower() for c in top]
    if len(set(cells)) < len(cells):
        return False
    named = sum(c in known or is_language(c) or bool(IDENTIFIER.fullmatch(c)) for c in cells)
    return bool(wanted & set(cells)) or 2 * named > len(cells)


def choose_sides(name: str, rows: Sequence[Mapping[str, Any]], asked: Asked, task: str) -> Columns:
    """Which column is the source and which the target. Raises InputError naming the columns there are."""
    names = list(dict.fromkeys(str(k) for row in rows for k in row))
    lower = {n.lower(): n for n in reversed(names)}
    texts = [n for n in names if typical_length(rows, n)]
    split = next((lower[n] for n in SPLITS if n in lower), None)
    sides, free = SIDES[task], [n for n in texts if n != split]
    target = find_named(name, asked.text, lower) if asked.text else None
    source = find_named(name, asked.source, lower) if asked.source not in (None, "none") else None
    languages = [n for n in free if is_language(n)]
    if task == "translate" and target is None and source is None and len(languages) == 2:
        source, target = languages

    def first(wanted: Sequence[str], other: str | None) -> str | None:
        return next((lower[n] for n in wanted if lower.get(n) in free and lower[n] != other), None)

    target = target or first(sides.targets, source)
    source = source or first(sides.sources, target)
    rest = [n for n in free if n not in (source, target)]
    if source is None and target is None and len(rest) == 2:
        by_length = sorted(rest, key=lambda n: -typical_length(rows, n)) if task == "summarise" else rest
        source, target = by_length
    elif len(rest) == 1:
        source, target = source or rest[0], target or rest[0]
    if source is None or target is None or source == target:
        raise InputError(
            f"{name} has the columns {', '.join(names[:8]) or 'none'}; say which is the source and which the target: "
            "--set data.source=NAME --set data.column=NAME"
        )
    return Columns(target, None, split, False, asked.properties, source, pair=True)
