"""Units in which texts are counted: words, and characters of scripts that are written without spaces."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

# Scripts written without spaces between words: Thai, Lao, Tibetan, Burmese, Khmer, Japanese, Chinese.
_UNSPACED = (
    "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)


@cache
def units() -> re.Pattern[str]:
    """A character of an unspaced script, a word, or a sign, each with the marks that combine with it."""
    marks = _marks()
    word = f"[^\\W{_UNSPACED}]"
    return re.compile(
        f"[{_UNSPACED}][{marks}]*|(?:{word}[{marks}]*)+(?:['’](?:{word}[{marks}]*)+)*|[^\\w\\s][{marks}]*(?:(?<=\u200d)[^\\w\\s][{marks}]*)*"
    )


def _marks() -> str:
    """The combining marks, joiners and variation selectors as ranges of a regular expression."""
    ranges: list[list[int]] = []
    for point in [*range(0x300, 0x20000), *range(0xE0100, 0xE01F0)]:
        if unicodedata.category(chr(point))[0] == "M" or point in (0x200C, 0x200D):
            if ranges and ranges[-1][1] == point - 1:
                ranges[-1][1] = point
            else:
                ranges.append([point, point])
    return "".join(f"\\U{a:08x}-\\U{b:08x}" for a, b in ranges)


def is_cjk(character: str) -> bool:
    """Whether it is a Chinese character."""
    return "\u3400" <= character <= "\u9fff" or "\U00020000" <= character <= "\U0003ffff"
