"""Which modality data is, told from names and a few bytes before anything is read."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from genloom.core.discover import module, names, only_class
from genloom.core.errors import InputError, Unreadable
from genloom.core.modality import Modality, Recognises
from genloom.data import catalog
from genloom.data.archive import TAR_ENDINGS, ZIP_ENDINGS, each_member, is_archive
from genloom.data.arrays import is_idx, pair
from genloom.data.blobs import Blob, file_blob, head_of
from genloom.data.frames import SQL, is_frame, is_tabular
from genloom.data.passages import sample
from genloom.data.sources import found, is_text
from genloom.data.table import holds_paths
from genloom.data.tree import is_ignored

MODALITIES = "genloom.modalities"
LOOKED_AT = 2000  # files of a folder or archive
HEADS = 8  # files of plain text whose beginnings are read
_TABLES = (".csv", ".tsv")
_SHARED = frozenset({"", ".txt", ".text", ".json", *_TABLES})  # endings that say little


def modality_class(name: str) -> type[Modality[Any]]:
    """The modality called `name`. Raises InputError naming the nearest one."""
    return only_class(module(MODALITIES, name, "modality"), Modality)  # type: ignore[type-abstract]


def find_kind(data: Any) -> str:
    """The name of the modality that `data` is: that of the catalog, of most files by their endings, or of what a list
    holds. Reads names and at most the head of one table. Raises InputError for a path that is not there.
    """
    if not isinstance(data, str | Path):
        return _of_memory(data)
    if SQL.match(str(data)):
        return "table"
    if is_text(data):
        return "text"
    path = found(data)
    if path is None:
        return catalog.modality_of(str(data))
    name = path.name.lower()
    if path.is_dir():
        return _of_files(_below(path))
    if name.endswith((".npy", ".npz")) or is_idx(path):
        return "image"
    if name.endswith((*ZIP_ENDINGS, *TAR_ENDINGS)):
        return _of_files(_inside(path))
    special = _recognised(path)
    if special is not None:
        return special
    if name.removesuffix(".gz").endswith(_TABLES):
        return "image" if _lists_files(path) else "table" if is_tabular(path) else "text"
    if path.is_file() and is_tabular(path):
        return "table"
    plain = name.removesuffix(".gz")
    if any(os.path.splitext(plain)[1] in modality_class(n).extensions for n in names(MODALITIES)):
        return _of_names([plain])
    return _of_contents(path)


def _of_memory(data: Any) -> str:
    if is_frame(data):
        return "table"
    if data is None or isinstance(data, dict | set | int | float | bytes):
        return "image"  # whose source says what is wrong
    x, _ = pair(data)
    first = next(iter(x), None) if isinstance(x, list) or getattr(x, "ndim", 0) == 1 else None
    if isinstance(first, dict):
        return "text"
    if not isinstance(first, str):
        return "image"
    heads = [(str(i), str(e)[: 2**14].encode("utf-8", "replace")) for i, e in enumerate(list(x)[:HEADS])]
    return _voted(heads) or "text"


def _recognised(path: Path) -> str | None:
    """The modality that knows a file of text by what it says; None where none does."""
    if os.path.splitext(path.name.lower().removesuffix(".gz"))[1] not in _SHARED:
        return None
    return _voted(_heads([file_blob(path)]))


def _heads(files: Iterable[Blob]) -> list[tuple[str, bytes]]:
    """Names and beginnings of the files that can be read."""
    out = []
    for blob in files:
        with contextlib.suppress(Unreadable, OSError):
            out.append((blob.name.replace("\\", "/").rsplit("/", 1)[-1], head_of(blob, 2**16)))
    return out


def _voted(heads: Sequence[tuple[str, bytes]]) -> str | None:
    """The modality that recognises most of the files, if more than half of them."""
    for name in names(MODALITIES):
        cls: Any = modality_class(name)
        if isinstance(cls, Recognises) and 2 * sum(cls.recognises(*head) for head in heads) > len(heads):
            return name
    return None


def _lists_files(path: Path) -> bool:
    """Whether a table names image files, which are then the examples."""
    try:
        return holds_paths(path, head_of(file_blob(path), 2**16), modality_class("image").extensions)
    except (Unreadable, ValueError):
        return False


def _of_contents(path: Path) -> str:
    """Of a file whose ending says nothing."""
    if not path.is_file():
        return "image"
    if is_archive(path):
        return _of_files(_inside(path))
    try:
        return "text" if sample(file_blob(path), 2**16).strip() else "image"
    except (Unreadable, InputError):
        return "image"


def _below(root: Path) -> list[Blob]:
    files = (Path(folder) / name for folder, _, inside in os.walk(root, followlinks=False) for name in inside)
    return [file_blob(path) for path in itertools.islice(files, LOOKED_AT)]


def _inside(archive: Path) -> list[Blob]:
    members = itertools.islice(each_member(archive), LOOKED_AT)
    return [Blob(m.name, os.path.splitext(m.name)[1].lower(), m.open, 2**62, "", m.offset) for m in members]


def _of_files(files: Sequence[Blob]) -> str:
    """The modality with most files; of plain text, the one that recognises most of a few of them."""
    kind = _of_names(blob.name for blob in files)
    if kind != "text":
        return kind
    plain = [b for b in files if b.ending in _SHARED and not is_ignored(b.name.rsplit("/", 1)[-1])]
    step = max(1, len(plain) // HEADS)
    return _voted(_heads(plain[::step][:HEADS])) or kind


def _of_names(files: Iterable[str]) -> str:
    """The modality with most files; of several with as many, the first by name. Tables of a few files beside others
    describe these and do not count. Endings of plain text count for text alone.
    """
    endings = Counter(
        os.path.splitext(name.rsplit("/", 1)[-1])[1].lower()
        for name in files
        if not is_ignored(name.rsplit("/", 1)[-1])
    )
    known = names(MODALITIES)
    own = {n: modality_class(n).extensions - (frozenset() if n in ("text", "image") else _SHARED) for n in known}
    counts = {n: sum(endings[e] for e in own[n]) for n in known}
    best = max(known, key=lambda n: counts[n])
    return best if counts[best] else "image" if "image" in known else known[0]
