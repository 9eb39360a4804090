"""Numbers of a text: those that samples can be asked for, and those that it can be optimised for. Others are functions
of people's own (`--maximise FILE.py:FUNCTION`)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

from genloom.core.errors import InputError
from genloom.core.modality import Score
from genloom.data.units import units


def words(text: str) -> list[str]:
    """In small letters; single characters of scripts written without spaces; no signs."""
    return [u.casefold() for u in units().findall(text) if u[0].isalnum()]


def distinct(text: str) -> float:
    found = words(text)
    return len(set(found)) / len(found) if found else math.nan


def _words(text: str) -> int:
    return sum(unit[0].isalnum() for unit in units().findall(text))


MEASURES: dict[str, Callable[[str], int]] = {
    "characters": len,
    "words": _words,
    "lines": lambda text: sum(bool(line.strip()) for line in text.split("\n")),
}
SCORES = {
    "words": Score("Number of words (characters of Chinese).", 0.0, math.inf, lambda text: float(_words(text))),
    "distinct": Score("Share of the words that are different ones.", 0.0, 1.0, distinct),
}


def likeness(text: str) -> Callable[[str], float]:
    """F1 of the words in common with `text`, each as often as it occurs. Raises InputError where it has none."""
    wanted = Counter(words(text))
    if not wanted:
        raise InputError(f"--similar-to needs words, got {text!r}")

    def measure(other: str) -> float:
        found = Counter(words(other))
        return 2 * sum((wanted & found).values()) / (sum(wanted.values()) + sum(found.values()))

    return measure
