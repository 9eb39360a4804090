"""Lines and pieces of one text file by their places in it: only places are kept in memory, never the text."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from genloom.core.errors import Unreadable
from genloom.data.blobs import BLOCK, Blob, Reader, blocks, head_of
from genloom.data.encoding import HEAD, detect, refuse_controls

PIECE = 2**16  # bytes of a stream's piece, about
MAX_LINE = 2**26

Ints = NDArray[np.int64]


class Spans:
    """N pieces of a blob. starts, sizes: [N] in bytes. numbers: [N] of lines, from 1. characters: [N] of pieces of a
    stream.
    """

    def __init__(
        self,
        blob: Blob,
        encoding: str,
        starts: Ints,
        sizes: NDArray[np.int64] | NDArray[np.int32],
        numbers: NDArray[np.int32] | None = None,
        characters: Ints | None = None,
    ) -> None:
        self.blob, self.encoding, self.starts, self.sizes = blob, encoding, starts, sizes
        self.name, self._numbers = blob.name, numbers
        self.characters = np.zeros(0, np.int64) if characters is None else characters
        self._reader = Reader(blob)

    def __len__(self) -> int:
        return len(self.starts)

    def read(self, k: int) -> str:
        """The text of piece k. Raises Unreadable when the file has changed."""
        raw = self._reader.read(int(self.starts[k]), int(self.sizes[k]))
        try:
            return raw.decode(self.encoding)
        except UnicodeDecodeError:
            raise Unreadable("it changed while it was being read") from None

    def numbers(self) -> NDArray[np.int32]:
        return np.arange(1, len(self) + 1, dtype=np.int32) if self._numbers is None else self._numbers

    def close(self) -> None:
        self._reader.close()

    def cut(self, places: list[int]) -> tuple[Spans, list[int]]:
        """The same text with a piece beginning at each character of `places`, and the piece that begins there.

        In encodings that write a character in several ways the next beginning of a piece may be taken instead.
        """
        starts, sizes, characters = self.starts.tolist(), self.sizes.tolist(), self.characters.tolist()
        found: list[int] = []
        for place in sorted(places):
            ends = np.cumsum(characters)
            k = int(np.searchsorted(ends, place, "right"))
            inside = place - (int(ends[k - 1]) if k else 0)
            if k < len(starts) and inside:
                raw = self._reader.read(starts[k], sizes[k])
                text = raw.decode(self.encoding)
                left = len(text[:inside].encode(self.encoding))
                if raw[left:].decode(self.encoding, "replace") == text[inside:]:
                    starts.insert(k + 1, starts[k] + left)
                    sizes[k : k + 1] = [left, sizes[k] - left]
                    characters[k : k + 1] = [inside, characters[k] - inside]
                k += 1
            found.append(k)
        return Spans(self.blob, self.encoding, _ints(starts), _ints(sizes), None, _ints(characters)), found


def _ints(values: list[int]) -> Ints:
    return np.array(values, dtype=np.int64)


def lines(blob: Blob) -> Spans:
    """The lines that are not blank, without their ends (LF or CRLF; nothing else ends a line). Raises Unreadable."""
    return _indexed(blob, _lines)


def pieces(blob: Blob) -> Spans:
    """All of the text in pieces of about PIECE bytes, cut after a newline where there is one. Raises Unreadable."""
    return _indexed(blob, _pieces)


def sample(blob: Blob, most: int = HEAD) -> str:
    """The beginning of the text. Raises Unreadable."""
    head = head_of(blob, most)
    encoding, start = detect(head, whole=len(head) < most)
    text = codecs.getincrementaldecoder(encoding)().decode(head[start:])
    refuse_controls(text)
    return text


# -- one pass over the file ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Chunk:
    """Some of the text in whole characters: its bytes, what they say, and where they begin."""

    raw: bytes
    text: str
    at: int


def _indexed(blob: Blob, index) -> Spans:  # type: ignore[no-untyped-def]
    """`index` of the text in the encoding that its beginning is in; tried again with another one when a later byte does
    not fit it.
    """
    head = head_of(blob, HEAD)
    if not head.strip(b" \t\r\n\0"):
        raise Unreadable("it is empty")
    encoding, start = detect(head, whole=len(head) < HEAD)
    try:
        return index(blob, encoding, start)
    except UnicodeDecodeError as e:
        if start or encoding != "utf-8":
            _misfit(encoding, e)
        part = next(blocks(blob, e.start - e.start % BLOCK))
        other, _ = detect(part[part.find(b"\n") + 1 :])
        if other == "utf-8":
            _misfit(encoding, e)
        try:
            return index(blob, other, 0)
        except UnicodeDecodeError:
            _misfit(encoding, e)


def _misfit(encoding: str, e: UnicodeDecodeError) -> NoReturn:
    raise Unreadable(
        f"not text in one known encoding: byte {e.start:,} does not fit {encoding.upper()}, in which it begins"
    )


def _chunks(blob: Blob, encoding: str, start: int, size: int) -> Iterator[_Chunk]:
    decoder = codecs.getincrementaldecoder(encoding)()
    at, waiting = start, b""
    for block in blocks(blob, start, size):
        data = waiting + block
        try:
            text = decoder.decode(block)
        except UnicodeDecodeError as e:
            raise UnicodeDecodeError(encoding, b"", at + e.start, at + e.end, e.reason) from None
        waiting = decoder.getstate()[0]
        raw = data[: len(data) - len(waiting)]
        if at == start:
            refuse_controls(text)
        yield _Chunk(raw, text, at)
        at += len(raw)
    if waiting:
        raise UnicodeDecodeError(encoding, b"", at, at + len(waiting), "cut off")


_WIDTHS = {"utf-16-le": "<u2", "utf-16-be": ">u2", "utf-32-le": "<u4", "utf-32-be": ">u4"}
_BLANK = re.compile(r"\s*\Z")


def _lines(blob: Blob, encoding: str, start: int) -> Spans:
    """A newline is the byte 10 in every encoding here that is not UTF-16 or UTF-32."""
    kind = np.dtype(_WIDTHS.get(encoding, "u1"))
    starts, sizes, numbers = [], [], []
    number, head, before = 1, "", b""
    for chunk in _ended(blob, encoding, start):
        if len(before) > MAX_LINE:
            raise Unreadable(f"line {number:,} has more than {MAX_LINE:,} bytes; read it with modality.unit=stream")
        raw = before + chunk.raw
        origin = chunk.at - len(before)
        ends = np.flatnonzero(np.frombuffer(raw, kind) == 10).astype(np.int64) * kind.itemsize
        parts = (head + chunk.text).split("\n")
        first = np.concatenate([[0], ends + kind.itemsize])[: len(ends)]
        carriage = np.array([p.endswith("\r") for p in parts[:-1]], dtype=bool)
        keep = np.array([not _BLANK.match(p) for p in parts[:-1]], dtype=bool)
        starts.append(origin + first[keep])
        sizes.append((ends - first - kind.itemsize * carriage)[keep].astype(np.int32))
        numbers.append((number + np.flatnonzero(keep)).astype(np.int32))
        number += len(ends)
        begin = int(ends[-1]) + kind.itemsize if len(ends) else 0
        head, before = parts[-1], raw[begin:]
    return Spans(blob, encoding, np.concatenate(starts), np.concatenate(sizes), np.concatenate(numbers))


def _ended(blob: Blob, encoding: str, start: int) -> Iterator[_Chunk]:
    """The chunks and a last newline, so that the last line ends like the others."""
    at = start
    for chunk in _chunks(blob, encoding, start, BLOCK):
        yield chunk
        at = chunk.at + len(chunk.raw)
    yield _Chunk("\n".encode(encoding), "\n", at)


def _pieces(blob: Blob, encoding: str, start: int) -> Spans:
    starts, sizes, characters = [], [], []

    def add(at: int, size: int, length: int) -> None:
        if size:
            starts.append(at)
            sizes.append(size)
            characters.append(length)

    at, size, text = start, 0, ""
    for chunk in _chunks(blob, encoding, start, PIECE):
        size, text = size + len(chunk.raw), text + chunk.text
        cut = text.rfind("\n") + 1
        if not cut and size < PIECE // 2:
            continue
        rest = _width(chunk, text[cut:], encoding) if cut else 0
        add(at, size - rest, cut or len(text))
        at, size, text = at + size - rest, rest, text[cut:] if cut else ""
    add(at, size, len(text))
    return Spans(blob, encoding, _ints(starts), _ints(sizes), None, _ints(characters))


def _width(chunk: _Chunk, rest: str, encoding: str) -> int:
    """Bytes of `rest`, the end of the chunk after its last newline."""
    if encoding in _WIDTHS:
        return len(rest.encode(encoding))
    return len(chunk.raw) - 1 - chunk.raw.rfind(b"\n")
