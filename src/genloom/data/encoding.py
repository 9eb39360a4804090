"""Which encoding bytes are text in. Nothing is replaced: bytes that no known encoding fits are no text.

Newlines, combining marks and everything else are kept as they are; only a byte order mark at the start is dropped.
"""

from __future__ import annotations

import codecs
import re

import numpy as np

from genloom.core.errors import InputError, Unreadable

HEAD = 2**20  # bytes looked at to tell the encoding
BINARY = 0.05  # share of control characters from which data is no text
_MARKS = (  # the longer mark of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Encodings without a state, so that a file can be read from any character on.
_CANDIDATES = [
    "gb18030", "big5", "cp932", "euc_jp", "euc_kr", "cp1252", "cp1250", "cp1251", "koi8_r", "cp1253", "cp1254",
    "cp1255", "cp1256", "cp874",
]  # fmt: skip
_FREQUENT = np.array([0x0A, 0x20, 0x3000, 0x3001, 0x3002, 0xFF0C, 0x7684, 0x306E], np.uint16)
_WESTERN = frozenset("éèêëàâçîïôûùüöäßñœáíóúÉÀÇÜÖÄÑ¿¡«»‘’“”–—…°€£")
_KINDS = (
    (b"\x89PNG", "a PNG picture"), (b"\xff\xd8\xff", "a JPEG picture"), (b"GIF8", "a GIF picture"),
    (b"PK\x03\x04", "a zip archive"), (b"\x1f\x8b", "a gzip file"), (b"%PDF-", "a PDF file"), (b"\x7fELF", "a program"),
    (b"Rar!", "a rar archive"), (b"7z\xbc\xaf", "a 7z archive"),
    (b"{\\rtf", "an RTF file"), (b"\xd0\xcf\x11\xe0", "an Office file"), (b"SQLite format 3", "a database"),
)  # fmt: skip
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")


def mark(head: bytes) -> tuple[str, int] | None:
    """(encoding, length of the mark) when `head` begins with a byte order mark."""
    return next(((name, len(m)) for m, name in _MARKS if head.startswith(m)), None)


def refuse_binary(head: bytes) -> None:
    """Raise Unreadable for the beginning of a file of a known kind that is not text."""
    kind = next((what for magic, what in _KINDS if head.startswith(magic)), None)
    if kind is not None:
        raise Unreadable(f"not text: it is {kind}")


def refuse_controls(text: str) -> None:
    """Raise Unreadable for text with so many control characters that it was no text."""
    if len(_CONTROLS.findall(text)) > BINARY * len(text):
        raise Unreadable("not text: it holds binary data")


def decode(raw: bytes) -> str:
    """The text in the bytes of a whole file. Raises Unreadable when they are no text in a known encoding."""
    encoding, start = detect(raw, whole=True)
    text = raw[start:].decode(encoding)
    refuse_controls(text)
    return text


def detect(head: bytes, whole: bool = False) -> tuple[str, int]:
    """(encoding, bytes of the mark before the text). head: the beginning, or the whole when `whole`.

    A mark decides; else UTF-16 if signs are where it has them; else UTF-8 if that fits; else the likeliest of the East
    Asian and 8-bit encodings in which every byte has a meaning. Raises Unreadable.
    """
    refuse_binary(head)
    marked = mark(head)
    if marked is not None:
        encoding, start = marked
        if not fits(head[start:], encoding, whole):
            raise Unreadable(f"it is marked as {encoding.upper()} but is not")
        return encoding, start
    wide = _wide(head)
    if wide is not None and fits(head, wide, whole):
        return wide, 0
    if fits(head, "utf-8", whole):
        return "utf-8", 0
    if b"\0" in head:
        raise Unreadable("not text: it holds binary data")
    return _likeliest(head, whole), 0


def fits(raw: bytes, encoding: str, whole: bool = True) -> bool:
    """Whether every byte has a meaning; a character cut off at the end is allowed unless `whole`."""
    try:
        codecs.getincrementaldecoder(encoding)().decode(raw, whole)
    except UnicodeDecodeError:
        return False
    return True


def _wide(head: bytes) -> str | None:
    """UTF-16 without a mark: of pairs of bytes, spaces, newlines and the commonest Chinese signs are many in one order
    and rare in the other. Only where there are zeros, which no other encoding has.
    """
    if b"\0" not in head:
        return None
    found = {}
    for name, kind in (("utf-16-le", "<u2"), ("utf-16-be", ">u2")):
        units = np.frombuffer(head[: len(head) // 2 * 2], kind)
        found[name] = int(np.isin(units, _FREQUENT).sum())
    best = max(found, key=lambda n: found[n])
    return best if found[best] > max(len(head) // 400, 4 * min(found.values())) else None


def _likeliest(head: bytes, whole: bool) -> str:
    possible = [c for c in _CANDIDATES if fits(head, c, whole)]
    if not possible:
        raise Unreadable(f"not text in a known encoding (neither UTF-8 nor {', '.join(_CANDIDATES[:6])}, ...)")
    try:
        from charset_normalizer import from_bytes
    except ModuleNotFoundError:
        raise InputError("text in other encodings than UTF-8 needs: pip install 'genloom[text]'") from None
    sample = head[:65536]
    best = from_bytes(sample, cp_isolation=possible).best()
    found = best.encoding if best is not None and best.encoding in possible else possible[0]
    if found == "cp1250" and "cp1252" in possible:  # most letters are in the same places of both
        other = [c for c in sample.decode("cp1252", "ignore") if c > "\x7f"]
        if sum(c in _WESTERN for c in other) >= 0.8 * len(other):
            return "cp1252"
    return found
