"""Which scripts and languages text is in, and signs in it that come from an accident."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

# First code points of runs of one script (Unicode's blocks, those of a script joined), and its name.
_RUNS = (
    (0x0000, ""), (0x0041, "Latin"), (0x005B, ""), (0x0061, "Latin"), (0x007B, ""), (0x00AA, "Latin"), (0x00AB, ""),
    (0x00BA, "Latin"), (0x00BB, ""), (0x00C0, "Latin"), (0x00D7, ""), (0x00D8, "Latin"), (0x00F7, ""),
    (0x00F8, "Latin"), (0x02B0, ""), (0x0370, "Greek"), (0x0400, "Cyrillic"), (0x0530, "Armenian"),
    (0x0590, "Hebrew"), (0x0600, "Arabic"), (0x0700, "Syriac"), (0x0750, "Arabic"), (0x0780, "Thaana"),
    (0x07C0, "other"), (0x0870, "Arabic"), (0x0900, "Devanagari"), (0x0980, "Bengali"), (0x0A00, "Gurmukhi"),
    (0x0A80, "Gujarati"), (0x0B00, "Odia"), (0x0B80, "Tamil"), (0x0C00, "Telugu"), (0x0C80, "Kannada"),
    (0x0D00, "Malayalam"), (0x0D80, "Sinhala"), (0x0E00, "Thai"), (0x0E80, "Lao"), (0x0F00, "Tibetan"),
    (0x1000, "Burmese"), (0x10A0, "Georgian"), (0x1100, "Hangul"), (0x1200, "Ethiopic"), (0x13A0, "other"),
    (0x1780, "Khmer"), (0x1800, "Mongolian"), (0x18B0, "other"), (0x1C80, "Cyrillic"), (0x1C90, "Georgian"),
    (0x1CC0, "other"), (0x1D00, "Latin"), (0x1DC0, ""), (0x1E00, "Latin"), (0x1F00, "Greek"), (0x2000, ""),
    (0x2C00, "other"), (0x2C60, "Latin"), (0x2C80, "other"), (0x2DE0, "Cyrillic"), (0x2E00, ""), (0x2E80, "Chinese"),
    (0x2FF0, ""), (0x3005, "Chinese"), (0x3008, ""), (0x3040, "kana"), (0x3100, "Chinese"), (0x3130, "Hangul"),
    (0x3190, ""), (0x31F0, "kana"), (0x3200, ""), (0x3400, "Chinese"), (0x4DC0, ""), (0x4E00, "Chinese"),
    (0xA000, "other"), (0xA640, "Cyrillic"), (0xA6A0, "other"), (0xA720, "Latin"), (0xA800, "other"),
    (0xA8E0, "Devanagari"), (0xA900, "other"), (0xAC00, "Hangul"), (0xD7B0, "other"), (0xE000, "private"),
    (0xF900, "Chinese"), (0xFB00, "Latin"), (0xFB13, "other"), (0xFB1D, "Hebrew"), (0xFB50, "Arabic"), (0xFE00, ""),
    (0xFE70, "Arabic"), (0xFEFF, ""), (0xFF21, "Latin"), (0xFF3B, ""), (0xFF41, "Latin"), (0xFF5B, ""),
    (0xFF66, "kana"), (0xFFA0, "Hangul"), (0xFFE0, ""), (0x10000, "other"), (0x1D000, ""), (0x1DF00, "Latin"),
    (0x1E000, "other"), (0x1F000, "emoji"), (0x1FB00, ""), (0x20000, "Chinese"), (0x323B0, "other"), (0xE0000, ""),
    (0xF0000, "private"),
)  # fmt: skip
_STARTS = np.array([start for start, _ in _RUNS], np.uint32)
NAMES = tuple(sorted({name for _, name in _RUNS}))  # "" is spaces, digits and signs, which belong to no script
_NUMBER = np.array([NAMES.index(name) for _, name in _RUNS], np.int64)

# Of control characters only tab, newlines and form feeds have a place in text.
CONTROLS = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\u200b\ufffe\uffff]")
REPLACED = "\ufffd"
_LATIN = re.compile(
    "[\u00c2-\u00f4][\u0080-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013-\u203a\u20ac\u2122]{1,3}"
)
_DOUBLY = "锟斤拷"  # two U+FFFD of UTF-8 read as GBK


def scripts(text: str) -> NDArray[np.int64]:
    """[len(NAMES)] characters of the text in each script."""
    if text.isascii():
        out = np.zeros(len(NAMES), np.int64)
        points = np.frombuffer(text.encode(), np.uint8) | 32
        out[NAMES.index("Latin")] = letters = int(((points >= 97) & (points <= 122)).sum())
        out[NAMES.index("")] = len(text) - letters
        return out
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    return np.bincount(_NUMBER[np.searchsorted(_STARTS, points, "right") - 1], minlength=len(NAMES))


def language(text: str) -> str:
    """A guess at the language of a text; "unknown" where there is none. Needs the package charset-normalizer for
    scripts that several languages share."""
    found = dict(zip(NAMES, scripts(text).tolist(), strict=True))
    letters = sum(n for name, n in found.items() if name)
    if not letters:
        return "unknown"
    most = max((name for name in NAMES if name), key=lambda name: found[name])
    if found["Chinese"] + found["kana"] > 0.5 * letters:
        return "Japanese" if found["kana"] > 0.1 * letters else "Chinese"
    if most == "Hangul":
        return "Korean"
    if most not in ("Latin", "Cyrillic", "Arabic", "Devanagari"):
        return most
    try:
        from charset_normalizer import from_bytes
    except ModuleNotFoundError:
        return "unknown"
    best = from_bytes(text.encode("utf-8", "replace"), cp_isolation=["utf-8"]).best()
    return best.language if best is not None and best.language != "Unknown" else "unknown"


def garbled(text: str) -> str | None:
    """The first passage that was written in UTF-8 and read as Windows-1252, or as GBK after it had been broken; None if
    there is none."""
    if text.isascii():
        return None
    if _DOUBLY in text:
        return _DOUBLY
    for m in _LATIN.finditer(text):
        try:
            m[0].encode("cp1252").decode("utf-8")
        except UnicodeError:
            continue
        return m[0]
    return None
