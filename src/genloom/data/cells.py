"""What the cells of a table's column mean: its kind, found from the values, and the values as numbers.

Kinds: number, category (also true and false), date, identifier, text. Cells of text files and columns with types of
their own go the same way; a column comes back with the type, the decimal places and the date format that it had.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from genloom.data.items import count, listing

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["number", "category", "date", "identifier", "text"]
KINDS: tuple[Kind, ...] = ("number", "category", "date", "identifier", "text")
MISSING = frozenset({"", "na", "n/a", "#n/a", "<na>", "nan", "null", "none", "nil"})
ODD = 0.05  # share of cells that may be something else than numbers (dates) in a column of these
MOST_LEVELS = 50_000
LONG, DISTINCT = 40, 0.5  # mean characters and share of different values from which cells with spaces are free text
FORMATS = (
    "%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d-%m-%Y", "%Y%m%d", "%d.%m.%y", "%m/%d/%y",
    "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M",
    "%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S", "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M", "%Y年%m月%d日", "%d %b %Y", "%b %d, %Y",
)  # fmt: skip
_DATE_LIKE = re.compile(r"\d.*[-./:年 ].*\d|\d{8}")
_ID_NAME = re.compile(r"(^|[_\s.-])(id|uuid|guid|key|nr|no|number|编号|號|号)$", re.IGNORECASE)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Cells:
    """A column as it was understood.

    numbers: float64 [N], of dates their seconds since 1970, NaN where there is none. texts: [N] what is there instead
    (None where there is a number). shape: how numbers are written.
    """

    numbers: Floats
    texts: NDArray[np.object_]
    shape: dict[str, Any]
    notices: tuple[str, ...] = ()


def is_text(series: pd.Series) -> bool:
    import pandas as pd

    return pd.api.types.is_string_dtype(series.dtype) or series.dtype == object


def is_missing(series: pd.Series, typed: bool) -> NDArray[np.bool_]:
    """[N] True where a cell says nothing: empty, NA, null, ... in text files."""
    gone = series.isna().to_numpy()
    if typed or not is_text(series):
        return gone
    return gone | series.str.strip().str.lower().isin(MISSING).to_numpy()


def kind_of(series: pd.Series, typed: bool) -> Kind:
    """The kind of a column by its values."""
    import pandas as pd

    kinds = pd.api.types
    if kinds.is_bool_dtype(series.dtype) or isinstance(series.dtype, pd.CategoricalDtype):
        return "category"
    if kinds.is_datetime64_any_dtype(series.dtype):
        return "date"
    there = series[~is_missing(series, typed)]
    distinct = there.nunique() if not there.map(_unhashable).any() else len(there)
    if kinds.is_numeric_dtype(series.dtype):
        return _of_numbers(series.name, there.to_numpy(np.float64, na_value=np.nan), distinct)
    if not len(there):
        return "category"
    texts = there.astype(str)
    few = texts.iloc[:: max(1, len(texts) // 2000)]
    numeric = pd.to_numeric(few, errors="coerce").notna().mean()
    if numeric >= 1 - ODD and not _codes(few):
        return _of_numbers(series.name, pd.to_numeric(texts, errors="coerce").dropna().to_numpy(np.float64), distinct)
    if formats_of(few)[1] >= 1 - ODD:
        return "date"
    size = texts.str.len().mean()
    spaced = texts.str.contains(r"\s", regex=True).mean() > 0.5
    if (size > LONG and spaced and distinct > DISTINCT * len(there)) or size > 4 * LONG:
        return "text"
    if len(there) >= 20 and distinct >= 0.99 * len(there) and not spaced:
        return "identifier"
    if distinct > max(MOST_LEVELS, 0.9 * len(there) if len(there) >= 100 else MOST_LEVELS):
        return "text" if spaced else "identifier"
    return "category"


def _unhashable(value: Any) -> bool:
    return isinstance(value, list | dict | set | np.ndarray)


def _codes(texts: pd.Series) -> bool:
    """Whether numbers are written as codes are: with leading zeros."""
    return bool(texts.str.fullmatch(r"0\d+").mean() > ODD)


def _of_numbers(name: Any, values: Floats, distinct: int) -> Kind:
    whole = len(values) > 0 and bool(np.equal(np.mod(values, 1), 0).all())
    if whole and len(values) >= 20 and distinct == len(values):
        ordered = np.sort(values)
        if _ID_NAME.search(str(name)) or bool((np.diff(ordered) == 1).all()):
            return "identifier"
    return "category" if distinct <= 2 else "number"


# -- numbers -----------------------------------------------------------------------------------------------------------


def numbers_of(series: pd.Series, typed: bool, shape: dict[str, Any] | None = None) -> Cells:
    """A column of numbers. shape: as another part of the column had it; else it is found."""
    import pandas as pd

    gone = is_missing(series, typed)
    if not is_text(series):
        values = series.to_numpy(np.float64, na_value=np.nan)
        odd = ~np.isfinite(values) & ~gone
        texts = np.full(len(values), None, object)
        texts[gone], texts[odd] = "", np.where(values[odd] > 0, "inf", "-inf")
        values = np.where(np.isfinite(values), values, np.nan)
        whole = bool(np.equal(np.mod(values[~np.isnan(values)], 1), 0).all())
        found = {"decimals": 0 if whole else _places_of(values), "fixed": False}
        return Cells(values, texts, shape or found)
    plain = series.astype(str).str.strip()
    values = pd.to_numeric(plain.where(~gone), errors="coerce").to_numpy(np.float64, na_value=np.nan)
    values = np.where(np.isfinite(values), values, np.nan)
    texts = plain.where(~gone, plain if not typed else "").to_numpy(object)
    texts[~np.isnan(values)] = None
    if shape is None:
        places = plain[~np.isnan(values)].str.extract(r"\.(\d+)$")[0].str.len().fillna(0).to_numpy(np.int64)
        exponent = bool(plain[~np.isnan(values)].str.contains("[eE]", regex=True).any())
        most = int(places.max()) if len(places) else 0
        fixed = most > 0 and bool((places == most).mean() > 0.95)
        shape = {"decimals": None if exponent else most, "fixed": fixed}
    odd = np.isnan(values) & ~gone
    notices: tuple[str, ...] = ()
    if odd.any():
        shown = [f"{str(texts[i])[:30]!r} in row {i + 1:,}" for i in np.flatnonzero(odd)[:3]]
        notices = (
            f"{count(int(odd.sum()), 'cell')} of {series.name} {'is' if odd.sum() == 1 else 'are'} no number "
            f"({listing(shown)}): learnt as special values of it",
        )
    return Cells(values, texts, shape, notices)


def _places_of(values: Floats) -> int | None:
    """Decimal places that all the numbers have; None where they are more than 9."""
    some = values[~np.isnan(values)][:5000]
    for places in range(1, 10):
        if np.allclose(some, np.round(some, places), rtol=1e-13, atol=0):
            return places
    return None


# -- dates -------------------------------------------------------------------------------------------------------------


def formats_of(texts: pd.Series) -> tuple[list[str], float]:
    """The formats that dates are written in, the most usual first (two at most), and the share of cells they read."""
    import pandas as pd

    if not len(texts) or texts.str.contains(_DATE_LIKE.pattern, regex=True).mean() < 1 - ODD:
        return [], 0.0
    found: list[str] = []
    left = texts
    for _ in range(2):
        if not len(left):
            break
        read = {f: pd.to_datetime(left, format=f, errors="coerce").notna() for f in FORMATS}
        best = max(read, key=lambda f: read[f].mean())
        if not read[best].any():
            break
        found.append(best)
        left = left[~read[best]]
    return found, 1 - len(left) / len(texts)


def dates_of(series: pd.Series, typed: bool, shape: dict[str, Any] | None = None) -> Cells:
    """A column of dates as seconds. shape: as another part of the column had it; else it is found."""
    import pandas as pd

    gone = is_missing(series, typed)
    texts = np.full(len(series), None, object)
    notices: tuple[str, ...] = ()
    if pd.api.types.is_datetime64_any_dtype(series.dtype):
        zone = getattr(series.dtype, "tz", None)
        plain = series.dt.tz_convert("UTC").dt.tz_localize(None) if zone is not None else series
        stamps = plain
        shape = shape or {"formats": [], "zone": None if zone is None else str(zone)}
    else:
        written = series.astype(str).str.strip()
        formats = formats_of(written[~gone])[0] if shape is None else shape["formats"]
        shape = shape or {"formats": formats, "zone": None}
        stamps = pd.Series(pd.NaT, index=series.index, dtype="datetime64[ns]")
        others = np.zeros(0, np.int64)  # rows in another format than the usual one
        for k, form in enumerate(formats):
            read = pd.to_datetime(written.where(~gone & stamps.isna().to_numpy()), format=form, errors="coerce")
            read = read.dt.tz_localize(None) if getattr(read.dtype, "tz", None) is not None else read
            others = np.flatnonzero(read.notna().to_numpy()) if k else others
            stamps = stamps.fillna(read.astype("datetime64[ns]"))
        notices = _of_formats(series.name, formats, written, others)
        odd = stamps.isna().to_numpy()
        texts[odd] = np.where(gone[odd] & typed, "", written[odd])
    texts[gone & typed] = ""
    seconds = stamps.astype("datetime64[ns]").astype("int64").to_numpy() / 1e9
    seconds = np.where(stamps.isna().to_numpy(), np.nan, seconds)
    if "unit" not in shape:
        known = seconds[~np.isnan(seconds)]
        unit = next((u for u in (86400.0, 60.0, 1.0) if np.equal(np.mod(known, u), 0).all()), 1e-9)
        shape = {**shape, "unit": unit}
    return Cells(seconds, texts, shape, notices)


def _of_formats(name: Any, formats: Sequence[str], written: pd.Series, second: NDArray[np.int64]) -> tuple[str, ...]:
    out = []
    if len(second):
        shown = [f"{written.iloc[i]!r} in row {i + 1:,}" for i in second[:3]]
        out.append(
            f"{count(len(second), 'date')} of {name} {'is' if len(second) == 1 else 'are'} written as {formats[1]} "
            f"({listing(shown)}), the others as {formats[0]}: all are written as {formats[0]}"
        )
    swapped = {"%d/%m/%Y": "%m/%d/%Y", "%m/%d/%Y": "%d/%m/%Y"}
    if formats and formats[0] in swapped and not len(second):
        import pandas as pd

        other = pd.to_datetime(written, format=swapped[formats[0]], errors="coerce").notna().mean()
        if other >= 1 - ODD:
            out.append(f"the dates of {name} are read as {formats[0]}, but {swapped[formats[0]]} fits them as well")
    return tuple(out)
