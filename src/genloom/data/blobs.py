"""Files that hold text, wherever they lie: on disk, packed with gzip, in an archive, in memory. Read piece by piece."""

from __future__ import annotations

import gzip
import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from genloom.core.errors import InputError, Unreadable
from genloom.core.files import sha256_of
from genloom.data.archive import MAX_RATIO, RATIO_FROM
from genloom.data.items import printable

BLOCK = 2**20  # bytes read at once
HASHED = 2**28  # bytes up to which a file's digest is of its contents, not of its size and time of change
_DEFLATE = 1100  # deflate packs at most 1032 to 1


@dataclass(frozen=True)
class Blob:
    """name: for people. ending: lower case, with the dot, without that of a packer. open: a new seekable file. most:
    bytes that it may hold. offset: where it lies in its archive.
    """

    name: str
    ending: str
    open: Callable[[], IO[bytes]]
    most: int
    stem: str = ""
    offset: int = 0


def file_blob(path: Path) -> Blob:
    """A file, unpacked on the way if it ends in .gz."""
    name = path.name.lower()
    size = path.stat().st_size if path.is_file() else 0
    if name.endswith(".gz"):
        inner = Path(path.name[:-3])
        most = max(RATIO_FROM, min(_DEFLATE, MAX_RATIO) * size)
        return Blob(
            printable(str(path)), inner.suffix.lower(), lambda: io.BufferedReader(gzip.open(path)), most, inner.stem
        )
    return Blob(printable(str(path)), path.suffix.lower(), lambda: open(path, "rb"), 2**62, path.stem)


def memory_blob(text: str) -> Blob:
    """One text in memory. Raises InputError for lone surrogates."""
    try:
        raw = text.encode()
    except UnicodeEncodeError as e:
        raise InputError(f"the text holds {text[e.start]!r} at character {e.start:,}, which is no character") from None
    return Blob("text", ".txt", lambda: io.BytesIO(raw), 2**62, "text")


def digest_of(path: Path) -> str:
    """Changes with the contents; of a large file, with its size and time of change. Raises InputError."""
    try:
        info = path.stat()
        if info.st_size <= HASHED:
            return sha256_of(path)
        head = f"{path.resolve()}\0{info.st_size}\0{info.st_mtime_ns}"
        return hashlib.sha256(head.encode("utf-8", "surrogateescape")).hexdigest()
    except OSError as e:
        raise InputError(f"{path} cannot be read: {e.strerror or e}") from None


def head_of(blob: Blob, most: int) -> bytes:
    """The first bytes. Raises Unreadable."""
    try:
        with blob.open() as f:
            return f.read(most)
    except Unreadable:
        raise
    except Exception as e:  # gzip, zlib, lzma and the archives have errors of their own
        raise Unreadable(_why(e)) from None


def blocks(blob: Blob, start: int = 0, size: int = BLOCK) -> Iterator[bytes]:
    """The contents from `start` on. Raises Unreadable when it is damaged or holds more than it may."""
    total = start
    try:
        with blob.open() as f:
            f.seek(start)
            while block := f.read(size):
                total += len(block)
                if total > blob.most:
                    raise Unreadable(f"it unpacks to more than {blob.most:,} bytes, out of proportion to its size")
                yield block
    except (Unreadable, GeneratorExit):
        raise
    except Exception as e:
        raise Unreadable(_why(e)) from None


def _why(e: Exception) -> str:
    return (e.strerror if isinstance(e, OSError) and e.strerror else None) or f"damaged: {e}"


class Reader:
    """Pieces of one blob by their places; quick when they are asked for in rising order."""

    def __init__(self, blob: Blob) -> None:
        self.blob = blob
        self._file: IO[bytes] | None = None
        self._start, self._held = 0, b""

    def read(self, start: int, size: int) -> bytes:
        """`size` bytes from `start`. Raises Unreadable when they are not there any more."""
        inside = start - self._start
        if not 0 <= inside <= inside + size <= len(self._held):
            try:
                if self._file is None:
                    self._file = self.blob.open()
                self._file.seek(start)
                self._start, self._held = start, self._file.read(max(size, BLOCK))
            except Exception as e:
                raise Unreadable(_why(e)) from None
            inside = 0
        out = self._held[inside : inside + size]
        if len(out) != size:
            raise Unreadable("it has become shorter")
        return out

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file, self._held = None, b""
