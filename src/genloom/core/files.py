"""Writing files so that a crash, a full disk or a signal never leaves half of one."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from genloom.core.errors import GenloomError

Finish = Callable[[Path, bytes], bytes]  # what a file's bytes pass through just before they are written


def as_is(path: Path, data: bytes) -> bytes:
    """Changes nothing."""
    return data


def write_atomic(path: Path, data: bytes) -> str:
    """Write to a temporary neighbour, fsync, rename, fsync the folder. Returns the sha256 of `data`.

    Raises GenloomError when the disk is full or the folder cannot be written; `path` then still holds what it held.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as e:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise GenloomError(_reason(e, path)) from None
    return hashlib.sha256(data).hexdigest()


def _reason(e: OSError, path: Path) -> str:
    if e.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"the disk is full: {path.name} could not be written to {path.parent}; "
            "free some space and go on with --resume"
        )
    return f"{path} could not be written: {e.strerror or e}"


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut, where the system allows to open folders."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_json(path: Path, data: Any) -> str:
    return write_atomic(path, (json.dumps(data, ensure_ascii=False, indent=2) + "\n").encode())


def sha256_of(path: Path) -> str:
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def cache_root() -> Path:
    """$GENLOOM_CACHE, or the user's cache folder for genloom."""
    given = os.environ.get("GENLOOM_CACHE")
    if given:
        return Path(given).expanduser()
    import pooch

    return Path(pooch.os_cache("genloom"))
