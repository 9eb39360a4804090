"""Columns of a table that always follow from another one, such as a code from a name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genloom.data.cells import is_missing, is_text

if TYPE_CHECKING:
    import pandas as pd

MOST_COLUMNS, MOST_LEVELS = 200, 1000  # among which it is looked for
ROWS_EACH, ROWS_OFTEN = 20, 20  # rows of each level on average, and of two levels at least, for it to be no chance
GLANCE = 2000  # rows that rule out most pairs
_WHOLE = re.compile(r"0|-?[1-9]\d{0,14}")

Codes = NDArray[np.int64]


def dependent(
    frame: pd.DataFrame, kinds: Mapping[str, str], sets: Sequence[tuple[str, ...]], train: Codes, look: bool
) -> list[tuple[str, ...]]:
    """Groups of columns that are learnt as one category: `sets`, which people asked for, and where `look`, each column
    with those that follow from it in every row. The first of a group is what the others follow from."""
    groups = [tuple(s) for s in sets]
    if not look:
        return groups
    taken = {c for group in groups for c in group}
    codes: dict[str, Codes] = {}
    sizes: dict[str, int] = {}
    for c in frame.columns:
        if kinds[c] not in ("category", "number") or c in taken or len(codes) == MOST_COLUMNS:
            continue
        if kinds[c] == "number" and is_text(frame[c]) and not _plain(frame[c]):
            continue  # its decimal places would be lost
        own, size = _codes(frame[c])
        times = np.sort(np.bincount(own[train], minlength=size))
        if 2 <= size <= min(MOST_LEVELS, len(train) / ROWS_EACH) and times[-2] >= ROWS_OFTEN:
            codes[c], sizes[c] = own, size
    order = sorted(codes, key=lambda c: -sizes[c])  # stable: of two that follow from each other, the first leads
    follows: dict[str, list[str]] = {}
    done: set[str] = set()
    for leader in order:
        if leader in done:
            continue
        for c in order:
            if c != leader and c not in done and c not in follows and _decides(codes[leader], codes[c], sizes[leader]):
                follows.setdefault(leader, []).append(c)
                done.add(c)
    return groups + [(leader, *others) for leader, others in follows.items()]


def _plain(series: pd.Series) -> bool:
    """Whether cells of text are whole numbers as they are usually written, or missing."""
    there = series[~is_missing(series, False)].unique()
    return all(_WHOLE.fullmatch(str(v)) for v in there)


def _codes(series: pd.Series) -> tuple[Codes, int]:
    import pandas as pd

    codes, found = pd.factorize(series.map(str) if series.dtype == object else series, use_na_sentinel=False)
    return codes.astype(np.int64), len(found)


def _decides(a: Codes, b: Codes, size: int) -> bool:
    """Whether each of a's levels, `size` of them, goes with one level of b."""
    width = int(b.max()) + 1
    glance = a[:GLANCE] * width + b[:GLANCE]
    if len(np.unique(glance)) > len(np.unique(a[:GLANCE])):
        return False
    return len(np.unique(a * width + b)) == size
