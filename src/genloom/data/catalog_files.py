"""Getting the files of named data sets: each with its known digest, from $GENLOOM_DATA, the cache, or a download.

Light at import: the command line lists and completes the names of sets.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from genloom.core.errors import GenloomError, InputError
from genloom.core.files import cache_root
from genloom.data.items import Source

if TYPE_CHECKING:
    from genloom.data.texts import Wishes

GITHUB = "https://raw.githubusercontent.com"


@dataclass(frozen=True)
class Remote:
    """One file of a set. digest: "sha256:..." or "md5:..."; size in bytes; url: "" where it cannot be downloaded."""

    name: str
    digest: str
    size: int
    url: str = ""


@dataclass(frozen=True)
class Entry:
    """A named set. examples and classes as the whole set has them; home: where it is described. open, texts or table:
    how its files are read. folder: below $GENLOOM_DATA, if it is not called like the set.
    """

    name: str
    what: str
    licence: str
    home: str
    examples: int
    files: tuple[Remote, ...]
    open: Callable[[Entry, frozenset[str]], Source] | None = None
    classes: tuple[str, ...] = ()
    modality: str = "image"
    note: str = ""
    texts: Callable[[Entry, Wishes], Source] | None = None
    table: Callable[[Entry], Source] | None = None
    folder: str = ""


def at(base: str, table: str) -> tuple[Remote, ...]:
    """The files that lie below one address; `table` has a line "digest size name" for each.

    base: "" where the files cannot be downloaded.
    """
    rows = [line.split() for line in table.strip().splitlines()]
    return tuple(Remote(name, digest, int(size), base and base + name) for digest, size, name in rows)


def local(entry: Entry, file: Remote) -> Path | None:
    """The file where it lies already, after its digest was checked. Raises InputError when it differs."""
    for folder in folders(entry):
        path = folder / file.name
        if path.is_file():
            kind, _, expected = file.digest.partition(":")
            with open(path, "rb") as f:
                found = hashlib.file_digest(f, kind).hexdigest()
            if found != expected:
                raise InputError(
                    f"{path} is not the known file of {entry.name} (its {kind} is {found}, not {expected}); remove "
                    "or replace it"
                )
            return path
    return None


def folders(entry: Entry) -> list[Path]:
    own = os.environ.get("GENLOOM_DATA")
    names = dict.fromkeys([entry.name, entry.folder or entry.name])
    return [*(Path(own).expanduser() / n for n in names if own), cache_root() / "catalog" / entry.name]


def fetch(entry: Entry, file: Remote) -> Path:
    """The file's path, downloaded if it is not there."""
    found = local(entry, file)
    if found is not None:
        return found
    place = f"put {file.name} into the folder {entry.folder or entry.name} of $GENLOOM_DATA"
    if not file.url:
        raise InputError(f"{entry.name} cannot be downloaded ({entry.note}); {place}")
    import pooch

    pooch.get_logger().setLevel("WARNING")
    try:
        return Path(pooch.retrieve(file.url, file.digest, file.name, folders(entry)[-1]))
    except ValueError as e:  # the digest differs
        raise GenloomError(
            f"{file.url} is not the known file of {entry.name}: {' '.join(str(e).split())[:200]}"
        ) from None
    except OSError as e:  # every error of requests is one
        reason = str(e) if len(str(e)) < 100 else type(e).__name__
        raise GenloomError(
            f"{entry.name} is not on this machine and {file.url} cannot be downloaded ({reason}); go online or {place}"
        ) from None


def known_digest(entry: Entry) -> str:
    return hashlib.sha256("\n".join(f"{f.name} {f.digest}" for f in entry.files).encode()).hexdigest()
