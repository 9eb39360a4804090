"""Columns that are not learnt: identifiers are made anew, free text is left empty.

New identifiers are written as the old ones are and differ from each other whatever their number; counted ones go on
after the largest.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genloom.core.rng import derive

if TYPE_CHECKING:
    import pandas as pd

DIGITS, LOWER, UPPER = "0123456789", "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
HEX = "0123456789abcdef"


@dataclass(frozen=True)
class Identifier:
    """One column. places: of each character those that may stand there; a counted identifier is `before`, a number of
    `width` digits at least (0: as many as it has) that goes on after `last`, and `after`."""

    column: str
    dtype: str
    places: tuple[str, ...] = ()
    before: str = ""
    after: str = ""
    width: int = 0
    last: int | None = None

    @classmethod
    def fit(cls, series: pd.Series, typed: bool) -> Identifier:
        dtype = str(series.dtype) if typed else "str"
        texts = [_plain(v) for v in series.dropna().tolist()]
        if not texts:
            return cls(str(series.name), dtype, last=0)
        counted = _counted(texts)
        if counted is not None:
            before, after, width, last = counted
            return cls(str(series.name), dtype, (), before, after, width, last)
        size = Counter(map(len, texts)).most_common(1)[0][0]
        columns = zip(*(t for t in texts if len(t) == size), strict=True)
        return cls(str(series.name), dtype, tuple(_alphabet(set(c)) for c in columns))

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def made(self, offset: int, n: int, seed: int) -> Any:
        """The identifiers of rows offset to offset + n."""
        import pandas as pd

        if self.last is not None:
            numbers = [self.last + 1 + offset + i for i in range(n)]
            if not (self.before or self.after or self.width) and _is_number(self.dtype):
                return pd.Series(numbers).astype(self.dtype)
            texts = [f"{self.before}{k:0{self.width}d}{self.after}" for k in numbers]
        else:
            texts = self._mixed(np.arange(offset, offset + n), seed)
        return pd.Series(texts, dtype=object).astype("str" if _is_number(self.dtype) else self.dtype)

    def _mixed(self, rows: NDArray[np.int64], seed: int) -> list[str]:
        """Row i is the number a i + b modulo how many there are, with a prime to that: all different."""
        room = 1
        for alphabet in self.places:
            room *= len(alphabet)
        room = max(room, int(rows[-1]) + 1)
        a, b = derive(seed, "step", self.column) % room, derive(seed, "start", self.column) % room
        while math.gcd(a, room) != 1:
            a += 1
        out = []
        for i in rows.tolist():
            number, characters = (a * i + b) % room, []
            for alphabet in reversed(self.places):
                number, place = divmod(number, len(alphabet))
                characters.append(alphabet[place])
            out.append("".join(reversed(characters)) + (f"-{number}" if number else ""))
        return out

    def state(self) -> dict[str, Any]:
        return {
            "codec": "identifier", "column": self.column, "dtype": self.dtype, "places": list(self.places),
            "before": self.before, "after": self.after, "width": self.width, "last": self.last,
        }  # fmt: skip

    @classmethod
    def from_state(cls, s: Mapping[str, Any]) -> Identifier:
        own = (s["before"], s["after"], s["width"], s["last"])
        return cls(s["column"], s["dtype"], tuple(s["places"]), *own)


def _plain(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value == int(value) else str(value)


def _is_number(dtype: str) -> bool:
    return dtype.lower().startswith(("int", "uint", "float"))


def _counted(texts: list[str]) -> tuple[str, str, int, int] | None:
    """(before, after, width, largest number) where all are one text, a number and one text; None else."""
    found = [re.fullmatch(r"(.*?)(\d{1,15})(\D*)", t) for t in texts]
    if not all(found):
        return None
    parts = [m.groups() for m in found if m is not None]
    before, after = {p[0] for p in parts}, {p[2] for p in parts}
    if len(before) != 1 or len(after) != 1:
        return None
    widths = {len(p[1]) for p in parts}
    width = widths.pop() if len(widths) == 1 and any(p[1].startswith("0") for p in parts) else 0
    return before.pop(), after.pop(), width, max(int(p[1]) for p in parts)


def _alphabet(seen: set[str]) -> str:
    """What may stand where these characters were seen: themselves where it is one or a sign, else their kind."""
    if len(seen) == 1:
        return next(iter(seen))
    for kind in (DIGITS, HEX, LOWER, HEX.upper(), UPPER):
        if seen <= set(kind):
            return kind
    return "".join(sorted(seen))


@dataclass(frozen=True)
class FreeText:
    """One column that is left empty."""

    column: str
    dtype: str

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def made(self, offset: int, n: int, seed: int) -> Any:
        import pandas as pd

        return pd.Series([None] * n, dtype=object).astype(self.dtype)

    def state(self) -> dict[str, Any]:
        return {"codec": "text", "column": self.column, "dtype": self.dtype}

    @classmethod
    def from_state(cls, s: Mapping[str, Any]) -> FreeText:
        return cls(s["column"], s["dtype"])
