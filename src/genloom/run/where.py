"""What rows of a table are asked for in words: sex=Female,age>60."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genloom.core.config import unknown
from genloom.core.errors import InputError
from genloom.data.cells import FORMATS
from genloom.data.codecs import Category, Codec, Number
from genloom.data.items import listing
from genloom.modalities.table import Table

if TYPE_CHECKING:
    import pandas as pd

_TERM = re.compile(r"\s*(.+?)\s*(!=|<=|>=|==|=|<|>)\s*(.*?)\s*", re.DOTALL)
_PARTS = re.compile(r"((?:[^,\"]|\"[^\"]*\")+)")


@dataclass(frozen=True)
class Term:
    """One condition. sign: "=", "!=", "<", "<=", ">", ">=". values: of a category its levels, any of which will do;
    else one number (of a date its seconds)."""

    column: str
    sign: str
    values: tuple[Any, ...]
    number: Number | None = None

    def holds(self, frame: pd.DataFrame) -> NDArray[np.bool_]:
        """[N] rows that meet it; what is missing meets nothing but a missing value."""
        if self.number is None:
            met = np.isin(_texts(frame[self.column]), [str(v) for v in self.values])
            return ~met if self.sign == "!=" else met
        own, wanted = self.number.cells(frame[self.column]).numbers, self.values[0]
        with np.errstate(invalid="ignore"):
            compared = {
                "=": own == wanted, "!=": own != wanted, "<": own < wanted, "<=": own <= wanted, ">": own > wanted,
                ">=": own >= wanted,
            }  # fmt: skip
        return compared[self.sign]


def _texts(series: pd.Series) -> NDArray[np.str_]:
    gone = series.isna().to_numpy()
    return np.array(["" if g else str(v) for v, g in zip(series.tolist(), gone, strict=True)], dtype=str)


def terms_of(where: str | Mapping[str, Any], table: Table) -> tuple[Term, ...]:
    """Conditions joined by commas, as in 'sex=Female,age>60', or a mapping of columns to values. A category takes
    several levels with |. Raises InputError naming the nearest column or level, and for what no row can have."""
    if isinstance(where, Mapping):
        asked = {str(c): v if isinstance(v, list | tuple) else [v] for c, v in where.items()}
        parts = [(c, "=", "|".join(map(str, values))) for c, values in asked.items()]
    else:
        found = [(_TERM.fullmatch(p), p) for p in _PARTS.findall(where) if p.strip()]
        bad = next((p for m, p in found if m is None), None)
        if bad is not None or not found:
            raise InputError(f"{(bad or where)!r} is no condition; write them as in sex=Female,age>60")
        parts = [(m[1].strip('"'), "=" if m[2] == "==" else m[2], m[3].strip('"')) for m, _ in found if m is not None]
    return tuple(_term(column, sign, text, table) for column, sign, text in parts)


def _term(column: str, sign: str, text: str, table: Table) -> Term:
    if column not in table.columns:
        raise InputError(unknown(column, table.columns, "column"))
    codec: Codec | None = next((c for c in table.codecs if column in c.columns), None)
    if isinstance(codec, Number):
        return _of_number(codec, sign, text)
    if not isinstance(codec, Category):
        raise InputError(f"{column} is not learnt, so rows cannot be asked for by it")
    own = codec.columns.index(column)
    levels = {"" if level[own] is None else str(level[own]): level[own] for level in codec.levels}
    if sign not in ("=", "!="):
        numbers = {k: v for k, v in levels.items() if isinstance(v, int | float) and not isinstance(v, bool)}
        if not numbers:
            raise InputError(f"{column} is a category: ask for it by = or !=, not {sign}")
        wanted = _number(column, text)
        signs = {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal}
        met = tuple(v for v in numbers.values() if signs[sign](v, wanted))
        if not met:
            raise InputError(f"no row can have {column}{sign}{text}: it is one of {listing(sorted(numbers))}")
        return Term(column, "=", met)
    values = tuple(v.strip() for v in text.split("|")) if text not in levels else (text,)
    for value in values:
        if value not in levels:
            raise InputError(unknown(value, [k for k in levels if k], f"level of {column}"))
    return Term(column, sign, tuple("" if levels[v] is None else levels[v] for v in values))


def _of_number(codec: Number, sign: str, text: str) -> Term:
    column = codec.column
    wanted = _seconds(column, text) if codec.date else _number(column, text)
    low, high = codec.low, codec.high
    never = {
        "=": not low <= wanted <= high, "<": wanted <= low, "<=": wanted < low, ">": wanted >= high,
        ">=": wanted > high,
    }  # fmt: skip
    if never.get(sign):
        ends = codec.written(np.array([low, high]), np.array([None, None], object))
        raise InputError(f"no row can have {column}{sign}{text}: in the data it goes from {ends[0]} to {ends[1]}")
    return Term(column, sign, (wanted,), codec)


def _number(column: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{column} is a number, so it cannot be compared with {text!r}") from None


def _seconds(column: str, text: str) -> float:
    import pandas as pd

    for form in FORMATS:
        stamp = pd.to_datetime(text, format=form, errors="coerce")
        if not pd.isna(stamp):
            return float(stamp.timestamp())
    raise InputError(f"{column} is a date, so it cannot be compared with {text!r}; write it as in 2024-01-31")


def known_of(terms: Sequence[Term], table: Table) -> dict[str, Any]:
    """The columns that the terms fix to one value, with it: they can be given to a model that takes what is known."""
    out: dict[str, Any] = {}
    for term in terms:
        if term.sign == "=" and len(term.values) == 1:
            out[term.column] = term.values[0]
    return out
