"""Files in folders: which of them are examples, what their folders say, and the source that reads them from disk."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from genloom.core.errors import InputError, Unreadable
from genloom.data.items import SPLIT_NAMES, GivenSplit, Items, Source, clean, count, listing, natural, printable

IGNORED = frozenset(
    {
        "thumbs.db",
        "desktop.ini",
        "source.txt",
        "readme.md",
        "readme.txt",
        "readme",
        "license",
        "license.txt",
        "license.md",
    }
)
RECORD = re.compile(r"provenance-[0-9a-f]+\.json")  # what genloom writes beside its samples
MAX_FILE = 2**30  # bytes of one example's file


def is_ignored(name: str) -> bool:
    """Whether a file's name says that it tells of the data and is not part of it."""
    return name.lower() in IGNORED or RECORD.fullmatch(name) is not None


@dataclass(frozen=True)
class Arrangement:
    """Which of the given paths are examples, in order, and the label and split that their folders give them."""

    kept: tuple[int, ...]
    labels: list[str | None] | None
    given: list[GivenSplit | None] | None
    notices: tuple[str, ...]


def arrange(paths: Sequence[str], extensions: frozenset[str], pattern: str | None = None) -> Arrangement:
    """Read what the folders in `paths` ("/" between parts) say.

    A folder that holds everything is looked through. Folders train and test or validation at the top are splits; the
    first folder below is the label. `pattern`, a regular expression with one group, finds the label of sets laid out
    otherwise. Order: by composed Unicode name, equal on every machine.
    """
    names = [clean(p) for p in paths]
    kept, skipped = _examples(names, extensions)
    kept.sort(key=lambda i: names[i])
    folders = _look_through([tuple(names[i].split("/")[:-1]) for i in kept])
    given, folders = _given_splits(folders)
    if pattern is None:
        labels: list[str | None] = [f[0] if f else None for f in folders]
    else:
        found = [re.search(pattern, names[i]) for i in kept]
        labels = [m.group(1) if m else None for m in found]
    outside = [k for k, label in enumerate(labels) if label is None]
    notices = [_skipped_notice(skipped)] if skipped else []
    if len(set(labels) - {None}) < 2 or 2 * len(outside) > len(labels):
        if len(outside) not in (0, len(labels)):
            notices.append(
                f"folders are not taken as labels: {count(len(outside), 'file')} of {len(labels):,} lie outside them"
            )
        return Arrangement(tuple(kept), None, given, tuple(notices))
    if outside:
        notices.append(
            f"{count(len(outside), 'file')} outside the label folders left out: "
            f"{listing([names[kept[k]] for k in outside], 3)}"
        )
        inside = [k for k, label in enumerate(labels) if label is not None]
        kept, labels = [kept[k] for k in inside], [labels[k] for k in inside]
        given = [given[k] for k in inside] if given else None
    return Arrangement(tuple(kept), labels, given, tuple(notices))


def _examples(names: Sequence[str], extensions: frozenset[str]) -> tuple[list[int], Counter[str]]:
    kept: list[int] = []
    skipped: Counter[str] = Counter()
    for i, name in enumerate(names):
        parts = name.split("/")
        if any(p.startswith(".") or p == "__MACOSX" for p in parts) or is_ignored(parts[-1]):
            continue
        ending = os.path.splitext(parts[-1])[1].lower()
        if ending in extensions:
            kept.append(i)
        else:
            skipped[ending or "without an ending"] += 1
    return kept, skipped


def _skipped_notice(skipped: Counter[str]) -> str:
    kinds = [f"{n:,} {ending}" for ending, n in sorted(skipped.items(), key=lambda e: (-e[1], e[0]))]
    return f"{count(skipped.total(), 'file')} of other kinds skipped: {listing(kinds)}"


def _look_through(folders: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Without the top folders that all have in common."""
    while folders and folders[0] and all(f[:1] == folders[0][:1] for f in folders):
        folders = [f[1:] for f in folders]
    return folders


def _given_splits(folders: list[tuple[str, ...]]) -> tuple[list[GivenSplit | None] | None, list[tuple[str, ...]]]:
    tops = {f[0].lower() if f else "" for f in folders}
    splits = {SPLIT_NAMES.get(t) for t in tops}
    if None in splits or "train" not in splits or len(splits) < 2:
        return None, folders
    return [SPLIT_NAMES[f[0].lower()] for f in folders], [f[1:] for f in folders]


def folder_source(root: Path, extensions: frozenset[str]) -> Source:
    """Every file below `root`. The digest covers names, sizes and times of change, not contents: reading a million
    files to find that nothing changed would take longer than the training. A file changed without either is not
    noticed.
    """
    files = walk(root)

    def load() -> Items:
        found = arrange([relative for relative, _ in files], extensions)
        paths = [root / files[i][0] for i in found.kept]
        if not paths:
            raise InputError(_nothing(root, found.notices, extensions))
        return Items(
            [printable(str(p)) for p in paths],
            lambda i: read_file(paths[i]),
            found.labels,
            found.given,
            None,
            found.notices,
        )

    return Source(clean(root.resolve().name) or "data", folder_digest(root, files), load)


def folder_digest(root: Path, files: Sequence[tuple[str, os.stat_result]]) -> str:
    """Of the names, sizes and times of change of the `files` below `root`."""
    digest = hashlib.sha256(str(root.resolve()).encode("utf-8", "surrogateescape"))
    for relative, info in files:
        digest.update(f"{relative}\0{info.st_size}\0{info.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _nothing(where: Path, notices: Sequence[str], extensions: frozenset[str]) -> str:
    kinds = ", ".join(sorted(extensions, key=natural))
    return f"there are no examples in {where}: no file ends in {kinds}" + (f" ({notices[0]})" if notices else "")


def walk(root: Path) -> list[tuple[str, os.stat_result]]:
    """Regular files below `root` with "/" between parts, sorted; links to folders are followed once."""
    found: list[tuple[str, os.stat_result]] = []
    seen: set[tuple[int, int]] = set()

    def refuse(e: OSError) -> None:
        raise InputError(f"the folder {e.filename} cannot be read: {e.strerror}")

    for folder, subfolders, names in os.walk(root, followlinks=True, onerror=refuse):
        here = os.stat(folder)
        if (here.st_dev, here.st_ino) in seen:
            subfolders.clear()
            continue
        seen.add((here.st_dev, here.st_ino))
        subfolders[:] = sorted(s for s in subfolders if not s.startswith("."))
        for name in names:
            path = os.path.join(folder, name)
            try:
                info = os.stat(path)
            except OSError:
                info = os.lstat(path)  # a broken link: kept, so that it is named among the unreadable
            if stat.S_ISREG(info.st_mode) or stat.S_ISLNK(info.st_mode):
                found.append((os.path.relpath(path, root).replace(os.sep, "/"), info))
    return sorted(found)


def read_file(path: Path) -> bytes:
    """The contents of a file. Raises Unreadable."""
    try:
        size = path.stat().st_size
        if size > MAX_FILE:
            raise Unreadable(f"the file has {size:,} bytes, more than the limit of {MAX_FILE:,}")
        return path.read_bytes()
    except OSError as e:
        raise Unreadable(e.strerror or str(e)) from None
