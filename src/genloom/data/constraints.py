"""Rules that every row of a table keeps: one column below another, no value twice, fixed combinations of columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genloom.core.config import unknown
from genloom.core.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

_ORDER = re.compile(r"(.+?)\s*(<=|>=|<|>)\s*(.+)")
_SET = re.compile(r"(unique|fixed)\s*\(([^()]+)\)", re.IGNORECASE)
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Constraint:
    """rule: "<", "<=", "unique" or "fixed". columns: of "<" and "<=" the lower one first."""

    text: str
    rule: str
    columns: tuple[str, ...]

    def broken(self, frame: pd.DataFrame) -> Mask:
        """[N] rows that do not keep it; of "unique" those that repeat an earlier one. Missing values break nothing."""
        if self.rule == "unique":
            return frame.duplicated(list(self.columns)).to_numpy()
        if self.rule == "fixed":
            return np.zeros(len(frame), bool)  # kept by construction
        low, high = (_ordered(frame[c]) for c in self.columns)
        with np.errstate(invalid="ignore"):
            return low >= high if self.rule == "<" else low > high


def _ordered(series: pd.Series) -> NDArray[np.float64]:
    """A column as numbers that are in the order of its values; NaN where there is none."""
    import pandas as pd

    from genloom.data.cells import dates_of, kind_of, numbers_of

    if pd.api.types.is_datetime64_any_dtype(series.dtype) or kind_of(series, False) == "date":
        return dates_of(series, False).numbers
    return numbers_of(series, False).numbers


def parsed(texts: Sequence[str], columns: Sequence[str]) -> tuple[Constraint, ...]:
    """Constraints as people write them: a<b, a<=b, unique(a), unique(a, b), fixed(a, b). Raises InputError."""
    out = []
    for text in texts:
        together, order = _SET.fullmatch(text.strip()), _ORDER.fullmatch(text.strip())
        if together is not None:
            rule, names = together[1].lower(), tuple(n.strip() for n in together[2].split(","))
        elif order is not None:
            rule, names = order[2][0].replace(">", "<") + order[2][1:], (order[1].strip(), order[3].strip())
            names = names[::-1] if order[2][0] == ">" else names
        else:
            raise InputError(f"{text!r} is no constraint; write a<b, a<=b, unique(a,b) or fixed(a,b)")
        for name in names:
            if name not in columns:
                raise InputError(unknown(name, columns, "column"))
        if rule == "fixed" and len(names) < 2:
            raise InputError(f"{text!r} needs at least two columns")
        out.append(Constraint(text.strip(), rule, names))
    return tuple(out)
