"""Which pieces of music data holds: MIDI and ABC files, tunes in ABC collections, sets of chorales in JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from genloom.core.errors import InputError, Unreadable
from genloom.data.abc import tunes
from genloom.data.blobs import digest_of
from genloom.data.items import SPLIT_NAMES, GivenSplit, Items, Source
from genloom.data.sources import found, open_source

MOST_JSON = 200_000_000
KEYS = "key"  # the value of data.label that asks for keys as classes


def is_chorales(head: bytes) -> bool:
    """Whether JSON begins as chorales do: {"train": [[[74, 70, 65, 58], ..., lists of lists of numbers by split."""
    text = head.lstrip(b"\xef\xbb\xbf \r\n\t")
    if not text.startswith(b"{"):
        return False
    name, _, rest = text[1:].lstrip().partition(b":")
    inside = rest.translate(None, b" \r\n\t")
    return name.strip().strip(b'"').decode("utf-8", "replace").lower() in SPLIT_NAMES and inside.startswith(b"[[[")


def open_scores(data: Any, extensions: frozenset[str]) -> Source:
    """The source of `data`: a folder, archive or file of MIDI or ABC, chorales in JSON, a named set, a list of pieces.
    A collection of ABC tunes is as many items. Raises InputError."""
    if isinstance(data, str | Path):
        path = found(data)
        if path is not None and path.is_file() and path.suffix.lower() == ".json":
            return chorales(path.name, path, digest_of(path))
    if isinstance(data, list) and data and isinstance(data[0], list | np.ndarray):
        pieces = [np.asarray(piece) for piece in data]
        return _rows("pieces", [(f"pieces[{i}]", None, piece) for i, piece in enumerate(pieces)], "memory")
    return with_tunes(open_source(data, extensions))


def chorales(name: str, path: Path, digest: str) -> Source:
    """A JSON object of splits, each a list of pieces, each a list of steps (sixteenths) with a pitch for every voice;
    numbers below 1 are silence. Raises InputError when it is something else."""

    def load() -> Items:
        if path.stat().st_size > MOST_JSON:
            raise InputError(f"{path} has more than {MOST_JSON:,} bytes")
        try:
            splits = json.loads(path.read_bytes())
            rows: list[tuple[str, GivenSplit | None, Any]] = [
                (f"{path.name}:{split}[{i}]", SPLIT_NAMES[split.lower()], piece)
                for split, pieces in splits.items()
                for i, piece in enumerate(pieces)
            ]
        except (ValueError, KeyError, AttributeError, TypeError) as e:
            raise InputError(
                f"{path} is no set of chorales ({type(e).__name__}: {str(e)[:80]}): it must be a JSON object with "
                "train, valid and test, each a list of pieces, each a list of steps of equally many pitches"
            ) from None
        return _items(rows)

    return Source(name, digest, load)


def _items(rows: Sequence[tuple[str, GivenSplit | None, Any]]) -> Items:
    given = [split for _, split, _ in rows]
    return Items([name for name, _, _ in rows], lambda i: rows[i][2], given=given if any(given) else None)


def _rows(name: str, rows: Sequence[tuple[str, GivenSplit | None, Any]], digest: str) -> Source:
    import hashlib

    seen = hashlib.sha256(digest.encode())
    for _, _, piece in rows:
        seen.update(np.ascontiguousarray(piece).tobytes())
    return Source(name, seen.hexdigest(), lambda: _items(rows))


def with_tunes(source: Source) -> Source:
    """A source whose ABC files of several tunes are as many items; the other items are as they were."""

    def load() -> Items:
        items = source.load()
        places: list[tuple[int, int]] = []  # item, tune (-1: the item itself)
        for i, origin in enumerate(items.origins):
            many = len(_tunes(items, i)) if origin.lower().endswith(".abc") else 1
            places += [(i, k) for k in range(many)] if many > 1 else [(i, -1)]
        if all(k < 0 for _, k in places):
            return items
        last: dict[int, list[str]] = {}

        def read(j: int) -> Any:
            i, k = places[j]
            if k < 0:
                return items.read(i)
            if i not in last:
                last.clear()
                last[i] = _tunes(items, i)
            return last[i][k].encode()

        return replace(
            items, read=read, order=None,
            origins=[items.origins[i] if k < 0 else f"{items.origins[i]}:{k + 1}" for i, k in places],
            labels=None if items.labels is None else [items.label(i) for i, _ in places],
            given=None if items.given is None else [items.split(i) for i, _ in places],
        )  # fmt: skip

    return replace(source, load=load)


def _tunes(items: Items, i: int) -> list[str]:
    try:
        raw = items.read(i)
    except Unreadable:
        return []
    return tunes(raw.decode("utf-8", "replace")) if isinstance(raw, bytes) else []


def with_keys(source: Source, key_of: Callable[[Any], str]) -> Source:
    """The source with the key of each piece as its label."""

    def load() -> Items:
        items = source.load()
        labels: list[str | None] = []
        for i in range(len(items)):
            try:
                labels.append(key_of(items.read(i)))
            except Unreadable:
                labels.append(None)
        return replace(items, labels=labels)

    return replace(source, digest=source.digest + KEYS, load=load)
