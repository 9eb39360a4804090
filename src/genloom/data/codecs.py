"""How a column of a table becomes entries of a Row and comes back.

A number is one numeric entry near the standard normal, by the distribution function of the training values; values that
stand out (missing, a text among numbers, a spike such as 0) are levels of a category before it, which gates it. A
category is its level's number. Columns that always go together are one category of combinations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from genloom.core.config import unknown
from genloom.core.errors import InputError
from genloom.core.spec import Span
from genloom.data.cells import MISSING, Cells, dates_of, is_missing, numbers_of

if TYPE_CHECKING:
    import pandas as pd

SPIKE, MOST_SPIKES = 0.1, 4  # share of the numbers from which a value is a spike, and how many at most
KNOTS = 1001  # of a distribution function
SNAPPED, OFTEN = 256, 5  # different values, and rows of each on average, up to which no other values are made

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]


class Codec(Protocol):
    """Columns of a table as `spans` of a Row."""

    @property
    def columns(self) -> tuple[str, ...]: ...

    @property
    def spans(self) -> tuple[Span, ...]: ...

    def encode(self, frame: pd.DataFrame) -> Floats:
        """[N, spans]; -1 where a category has a level that is not known."""
        ...

    def given(self, frame: pd.DataFrame, sole: bool) -> tuple[Floats, NDArray[np.bool_]]:
        """[N, spans] of rows with holes, 0 where there is one, and where there is none, [N]. sole: of several levels
        that go with what is there none is given, else the most frequent. Raises InputError."""
        ...

    def complete(self, frame: pd.DataFrame) -> Floats:
        """[N, spans] of rows in which a missing cell is a value like others; -inf where no training row lacked one.
        Raises InputError as `given`."""
        ...

    def decode(self, x: Floats) -> dict[str, Any]:
        """The columns of [N, spans], as arrays that a DataFrame takes."""
        ...

    def state(self) -> dict[str, Any]: ...


# -- numbers and dates -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Number:
    """Numbers, or with `shape["formats"]` dates. specials: what may stand in place of an ordinary number: texts ("" is
    missing) and spikes. knots: [2, K] values and their normal scores. low, high: of the training rows. dtype: the
    column's; "" of cells of a text file."""

    column: str
    dtype: str
    shape: Mapping[str, Any]
    specials: tuple[str | float, ...]
    knots: tuple[tuple[float, ...], tuple[float, ...]]
    low: float
    high: float
    snapped: bool

    @classmethod
    def fit(cls, series: pd.Series, typed: bool, train: Codes, date: bool) -> tuple[Number, tuple[str, ...]]:
        """And what must be said of it. train: the rows that the distribution is of."""
        cells = (dates_of if date else numbers_of)(series, typed)
        texts = sorted({str(t) for t in cells.texts if t is not None})
        values = cells.numbers[train]
        values = values[~np.isnan(values)]
        distinct, times = np.unique(values, return_counts=True)
        spikes: list[float] = []
        if len(distinct) > 2 * MOST_SPIKES:
            order = np.argsort(-times, kind="stable")[:MOST_SPIKES]
            spikes = [float(distinct[i]) for i in order if times[i] >= SPIKE * len(values)]
            keep = ~np.isin(distinct, spikes)
            distinct, times = distinct[keep], times[keep]
        low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)
        snapped = 0 < len(distinct) <= SNAPPED and times.mean() >= OFTEN
        dtype = str(series.dtype) if typed else ""
        return cls(
            str(series.name), dtype, cells.shape, (*texts, *spikes), _knots(distinct, times), low, high, bool(snapped)
        ), cells.notices

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def date(self) -> bool:
        return "formats" in self.shape

    @property
    def spans(self) -> tuple[Span, ...]:
        own = Span(self.column, "numeric", 0, f"{self.column} is" if self.specials else None)
        gate = Span(f"{self.column} is", "category", len(self.specials) + 1)
        return (gate, own) if self.specials else (own,)

    def cells(self, series: pd.Series) -> Cells:
        return (dates_of if self.date else numbers_of)(series, bool(self.dtype), dict(self.shape))

    def encode(self, frame: pd.DataFrame) -> Floats:
        cells = self.cells(frame[self.column])
        score = np.interp(cells.numbers, *self.knots) if len(self.knots[0]) else np.zeros(len(frame))
        if not self.specials:
            return np.where(np.isnan(score), -np.inf, score)[:, None]  # a missing value where none was known
        kind = np.zeros(len(frame))
        for k, special in enumerate(self.specials, 1):
            kind[cells.texts == special if isinstance(special, str) else cells.numbers == special] = k
        kind[np.isnan(cells.numbers) & (kind == 0)] = -1
        return np.stack([kind, np.where(kind == 0, score, 0.0)], 1)

    def given(self, frame: pd.DataFrame, sole: bool) -> tuple[Floats, NDArray[np.bool_]]:
        if self.column not in frame.columns:
            return np.zeros((len(frame), len(self.spans))), np.zeros(len(frame), bool)
        there = frame[self.column].notna().to_numpy()
        x = self.encode(frame)
        wrong = np.flatnonzero(there & ((x[:, 0] == -1 if self.specials else False) | ~np.isfinite(x).all(1)))
        if len(wrong):
            raise InputError(f"{frame[self.column].iloc[wrong[0]]!r} in row {wrong[0] + 1} is no {self.column}")
        return np.where(there[:, None], x, 0.0), there

    def complete(self, frame: pd.DataFrame) -> Floats:
        x, there = self.given(frame, sole=False)
        silent = [k for k, s in enumerate(self.specials, 1) if isinstance(s, str) and s.lower() in MISSING]
        x[~there, 0] = silent[0] if silent else -np.inf
        return x

    @property
    def missing(self) -> str:
        """What a text file has where nothing is known."""
        return next((s for s in self.specials if isinstance(s, str) and s.lower() in MISSING), "")

    def values(self, x: Floats) -> tuple[Floats, NDArray[np.object_]]:
        """Numbers [N], NaN where there is a text, and the texts, "" where something is missing."""
        kind = x[:, 0].astype(np.int64) if self.specials else np.zeros(len(x), np.int64)
        out = np.full(len(x), np.nan)
        texts = np.full(len(x), None, object)
        rows = kind == 0
        out[rows] = self._ordinary(x[rows, -1])
        for k, special in enumerate(self.specials, 1):
            (texts if isinstance(special, str) else out)[kind == k] = special
        return out, texts

    def _ordinary(self, score: Floats) -> Floats:
        values, scores = (np.array(k) for k in self.knots)
        if not len(values):
            return np.zeros(len(score))
        if self.snapped:
            return values[np.searchsorted((scores[1:] + scores[:-1]) / 2, score)]
        out = np.interp(score, scores, values)
        if self.date:
            out = np.round(out / self.shape["unit"]) * self.shape["unit"]
        elif self.shape["decimals"] is not None:
            out = np.round(out, self.shape["decimals"])
        return np.clip(out, self.low, self.high)

    def decode(self, x: Floats) -> dict[str, Any]:
        import pandas as pd

        numbers, texts = self.values(x)
        return {self.column: self._dated(numbers, texts) if self.date else self._typed(pd.Series(numbers), texts)}

    def _typed(self, numbers: pd.Series, texts: NDArray[np.object_]) -> Any:
        import pandas as pd

        named = np.array([isinstance(t, str) and t != "" and t.lower() not in MISSING for t in texts], bool)
        if not self.dtype:
            if named.any() or any(isinstance(s, str) and s.lower() not in MISSING for s in self.specials):
                return self._written(numbers, texts)
            whole = self.shape["decimals"] == 0
            missing = any(isinstance(s, str) for s in self.specials)
            return numbers.astype(("Int64" if missing else "int64") if whole else "float64")
        if self.dtype in ("object", "str", "string"):
            return self._written(numbers, texts).astype(self.dtype)
        infinite = np.isin(texts, ("inf", "-inf"))
        values = numbers.where(~infinite, pd.Series(texts).where(infinite).map({"inf": np.inf, "-inf": -np.inf}))
        return values.astype(self.dtype)

    def _written(self, numbers: pd.Series, texts: NDArray[np.object_]) -> pd.Series:
        import pandas as pd

        return pd.Series(self.written(numbers.to_numpy(), texts), dtype=object).replace({"": None}).astype("str")

    def written(self, numbers: Floats, texts: NDArray[np.object_]) -> list[str]:
        """Cells as a text file has them: decimal places, date formats and words for what is missing kept."""
        if self.date:
            import pandas as pd

            form = (self.shape["formats"] or ["%Y-%m-%d %H:%M:%S"])[0]
            stamps = pd.Series(pd.to_datetime(np.nan_to_num(numbers) * 1e9, unit="ns"))
            shown = stamps.dt.strftime(form).to_list()
        else:
            places, fixed = self.shape["decimals"], self.shape["fixed"]
            if places == 0 or fixed:
                shown = [f"{v:.{places}f}" for v in np.nan_to_num(numbers)]
            else:
                shown = [repr(int(v) if v == int(v) else v) for v in np.nan_to_num(numbers).tolist()]
        return [s if t is None else t for s, t in zip(shown, texts, strict=True)]

    def _dated(self, seconds: Floats, texts: NDArray[np.object_]) -> Any:
        import pandas as pd

        if not self.dtype.startswith("datetime64"):
            column = pd.Series(self.written(seconds, texts), dtype=object).replace({"": None})
            return column.astype(self.dtype or "str")
        stamps = pd.Series(pd.to_datetime(seconds * 1e9, unit="ns"))
        zone = self.shape["zone"]
        return (stamps if zone is None else stamps.dt.tz_localize("UTC").dt.tz_convert(zone)).astype(self.dtype)

    def state(self) -> dict[str, Any]:
        return {
            "codec": "number", "column": self.column, "dtype": self.dtype, "shape": dict(self.shape),
            "specials": list(self.specials), "knots": [list(k) for k in self.knots], "low": self.low,
            "high": self.high, "snapped": self.snapped,
        }  # fmt: skip

    @classmethod
    def from_state(cls, s: Mapping[str, Any]) -> Number:
        knots = (tuple(s["knots"][0]), tuple(s["knots"][1]))
        own = (s["column"], s["dtype"], s["shape"], tuple(s["specials"]), knots, s["low"], s["high"], s["snapped"])
        return cls(*own)


def _knots(distinct: Floats, times: Codes) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Values and the normal scores of the middles of their steps in the distribution function."""
    if not len(distinct):
        return (), ()
    scores = ndtri((np.cumsum(times) - times / 2) / times.sum())
    if len(distinct) > KNOTS:
        places = np.unique(np.searchsorted(np.cumsum(times), np.linspace(0, 1, KNOTS) * times.sum(), side="left"))
        places = np.unique(np.clip(places, 0, len(distinct) - 1))
        distinct, scores = distinct[places], scores[places]
    return tuple(distinct.tolist()), tuple(scores.tolist())


# -- categories --------------------------------------------------------------------------------------------------------


def plain_level(value: Any) -> Any:
    """A value of a category as JSON has it; None where there is none."""
    if isinstance(value, str):
        return value
    if value is None or value != value:  # NaN
        return None
    if hasattr(value, "item"):
        value = value.item()
    return value if isinstance(value, bool | int | float) else str(value)


@dataclass(frozen=True)
class Category:
    """One column, or several that are one category of the combinations that were seen. levels: a tuple of values for
    each, the most frequent first. dtypes: of the columns, with the categories and their order where they have them."""

    columns: tuple[str, ...]
    dtypes: tuple[Mapping[str, Any], ...]
    levels: tuple[tuple[Any, ...], ...]

    @classmethod
    def fit(
        cls,
        frame: pd.DataFrame,
        columns: Sequence[str],
        typed: bool,
        train: Codes,
        most: int,
        numbers: Sequence[str] = (),
    ) -> Category:
        """Levels of all rows, so that held-out rows can be told; their order is that of the training rows. Beyond
        `most`, the rarest are not learnt. numbers: columns whose cells of text are whole numbers."""
        import pandas as pd

        dtypes = tuple(_dtype(frame[c], typed, c in numbers) for c in columns)
        codes, found = pd.factorize(_keys(frame, columns, dtypes))
        times = np.bincount(codes[train], minlength=len(found))
        order = np.argsort(-times, kind="stable")[:most]
        levels = tuple(_values(found[i]) for i in order)
        return cls(tuple(columns), dtypes, levels)

    @property
    def name(self) -> str:
        return " + ".join(self.columns)

    def missing(self, column: str) -> str:
        """What a text file has where nothing is known."""
        return str(self.dtypes[self.columns.index(column)].get("missing", ""))

    @property
    def spans(self) -> tuple[Span, ...]:
        return (Span(self.name, "category", len(self.levels)),)

    def encode(self, frame: pd.DataFrame) -> Floats:
        import pandas as pd

        index = pd.Index([_key(v) for v in self.levels], dtype=object)
        return index.get_indexer(_keys(frame, self.columns, self.dtypes)).astype(np.float64)[:, None]

    def given(self, frame: pd.DataFrame, sole: bool) -> tuple[Floats, NDArray[np.bool_]]:
        there, out = np.zeros(len(frame), bool), np.zeros((len(frame), 1))
        columns = [k for k, c in enumerate(self.columns) if c in frame.columns]
        fits: dict[tuple[str, ...], list[int]] = {}
        if not columns:
            return out, there
        names = [self.columns[k] for k in columns]
        rows = list(zip(*(_texts(frame[c]) for c in names), strict=True))
        for row in set(rows):
            fits[row] = [
                i for i, level in enumerate(self.levels)
                if all(t is None or t == _shown(level[k]) for t, k in zip(row, columns, strict=True))
            ]  # fmt: skip
        for i, row in enumerate(rows):
            if all(t is None for t in row):
                continue
            if not fits[row]:
                raise InputError(self._strange(row, columns, i + 1))
            there[i], out[i, 0] = len(fits[row]) == 1 or not sole, fits[row][0]
        return out, there

    def _strange(self, row: tuple[str | None, ...], columns: Sequence[int], number: int) -> str:
        """What is wrong with cells that fit no level."""
        for text, k in zip(row, columns, strict=True):
            known = dict.fromkeys(_shown(level[k]) for level in self.levels)
            if text is not None and text not in known:
                return unknown(text, [t for t in known if t], f"level of {self.columns[k]} (row {number})")
        told = [f"{self.columns[k]}={t}" for t, k in zip(row, columns, strict=True) if t is not None]
        return f"no training row has {' with '.join(told)} (row {number})"

    def complete(self, frame: pd.DataFrame) -> Floats:
        self.given(frame, sole=False)
        places: dict[tuple[str, ...], int] = {}
        for i, level in enumerate(self.levels):
            places.setdefault(tuple(map(_shown, level)), i)
        rows = zip(*([t or "" for t in _texts(frame[c])] for c in self.columns), strict=True)
        return np.array([places.get(row, -np.inf) for row in rows], np.float64)[:, None]

    def decode(self, x: Floats) -> dict[str, Any]:
        codes = x[:, 0].astype(np.int64)
        return {
            c: _restored(np.array([level[k] for level in self.levels] + [None], object)[codes], self.dtypes[k])
            for k, c in enumerate(self.columns)
        }

    def state(self) -> dict[str, Any]:
        return {
            "codec": "category", "columns": list(self.columns), "dtypes": [dict(d) for d in self.dtypes],
            "levels": [list(v) for v in self.levels],
        }  # fmt: skip

    @classmethod
    def from_state(cls, s: Mapping[str, Any]) -> Category:
        return cls(tuple(s["columns"]), tuple(s["dtypes"]), tuple(tuple(v) for v in s["levels"]))


def _keys(frame: pd.DataFrame, columns: Sequence[str], dtypes: Sequence[Mapping[str, Any]]) -> NDArray[np.object_]:
    """[N] one text for each row's values, which tells 1, "1" and true apart."""
    parts = []
    for c, about in zip(columns, dtypes, strict=True):
        cells = frame[c]
        codes, found = _factorised(cells.mask(is_missing(cells, False)) if "missing" in about else cells)
        parts.append(np.array([*(_key((plain_level(v),)) for v in found), _key((None,))], object)[codes])
    if len(parts) == 1:
        return parts[0]
    return np.array(["\x1f".join(row) for row in zip(*parts, strict=True)], object)


def _factorised(series: pd.Series) -> tuple[Codes, Sequence[Any]]:
    import pandas as pd

    try:
        codes, found = pd.factorize(series, use_na_sentinel=True)
    except TypeError:  # lists and the like
        codes, found = pd.factorize(series.map(str), use_na_sentinel=True)
    return np.where(codes < 0, len(found), codes), list(found)


def _shown(value: Any) -> str:
    return "" if value is None else str(value)


def _texts(series: pd.Series) -> list[str | None]:
    """Cells as text; None where there is none."""
    gone = series.isna().to_numpy()
    return [None if g else str(plain_level(v)) for v, g in zip(series.tolist(), gone, strict=True)]


_TYPES = {"b": bool, "i": int, "f": float, "s": str}


def _key(values: tuple[Any, ...]) -> str:
    return "\x1f".join(
        "n" if v is None else f"s{v}" if isinstance(v, str) else f"{type(v).__name__[0]}{v!r}" for v in values
    )


def _values(key: str) -> tuple[Any, ...]:
    """The values of which `_key` made a key."""
    out: list[Any] = []
    for part in str(key).split("\x1f"):
        kind, text = part[0], part[1:]
        out.append(None if kind == "n" else text == "True" if kind == "b" else _TYPES[kind](text))
    return tuple(out)


def _dtype(series: pd.Series, typed: bool, number: bool) -> dict[str, Any]:
    import pandas as pd

    kind = series.dtype
    if isinstance(kind, pd.CategoricalDtype):
        inner = str(kind.categories.dtype)
        values = [plain_level(v) for v in kind.categories]
        return {"dtype": "category", "categories": values, "ordered": bool(kind.ordered), "inner": inner}
    if typed:
        return {"dtype": str(kind)}
    silent = series[is_missing(series, False)]
    kept = ("Int64" if len(silent) else "int64") if number else "str"
    return {"dtype": kept, "missing": str(silent.mode().iloc[0]) if len(silent) else ""}


def _restored(values: NDArray[np.object_], about: Mapping[str, Any]) -> Any:
    import pandas as pd

    column = pd.Series(values, dtype=object)
    if "missing" in about and about["dtype"] != "str":
        column = pd.to_numeric(column)
    if about["dtype"] != "category":
        return column.astype(about["dtype"])
    categories = pd.Index(about["categories"]).astype(about["inner"])
    return pd.Series(pd.Categorical(column, categories=categories, ordered=about["ordered"]))
