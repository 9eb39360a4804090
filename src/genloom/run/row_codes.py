"""Rows of a table through a latent space: what a person gives as codes, and rows encoded and decoded again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from genloom.core.device import device_of
from genloom.core.errors import InputError
from genloom.data.items import clean
from genloom.run.rows import cells_of, table_of

if TYPE_CHECKING:
    import pandas as pd

    from genloom.modalities.table import Table
    from genloom.run.trained import Run

BATCH = 4096  # rows encoded or decoded at a time


def encoded_rows(run: Run, rows: Any, notify: Callable[[str], None] = lambda _: None) -> Tensor:
    """[N, S] rows (a path, a DataFrame, or mappings of columns to values) as the model takes them. Raises InputError
    naming the row and the column of what it does not know."""
    table = table_of(run)
    return _encoded(table, given_cells(table, rows, notify))


def given_cells(table: Table, rows: Any, notify: Callable[[str], None]) -> pd.DataFrame:
    """The columns that the model knows, as they are given; what says nothing is missing."""
    import pandas as pd

    if isinstance(rows, Sequence) and not isinstance(rows, str):
        rows = pd.DataFrame([dict(row) for row in rows])
    frame = cells_of(table, rows, notify)
    for codec in table.codecs:
        for c in codec.columns:
            if c not in frame.columns:
                raise InputError(
                    f"the column {c!r} is not there, and a row is encoded whole; fill it in first by `genloom sample "
                    "RUN --fill FILE`"
                )
    return frame


def _encoded(table: Table, frame: pd.DataFrame) -> Tensor:
    parts = [codec.complete(frame) for codec in table.codecs]
    for codec, x in zip(table.codecs, parts, strict=True):
        open_ = np.flatnonzero(~np.isfinite(x).all(1))
        if len(open_):
            gone = next(c for c in codec.columns if frame[c].isna().iloc[open_[0]])
            raise InputError(
                f"row {open_[0] + 1} has no {clean(gone)}, and no training row lacked it; fill it in first by `genloom "
                "sample RUN --fill FILE`"
            )
    return torch.from_numpy(np.concatenate(parts, 1).astype(np.float32))


@torch.no_grad()
def codes_of(run: Run, x: Tensor) -> Tensor:
    """[N, D] codes of rows [N, S], on the CPU. Raises InputError for a model without a latent space."""
    family, device = run.latent(), device_of(run.family)
    return torch.cat([family.encode(part.to(device)).float().cpu() for part in x.split(BATCH)])


@torch.no_grad()
def rows_of(run: Run, codes: Tensor) -> pd.DataFrame:
    """The rows of codes [N, D]."""
    family, device = run.latent(), device_of(run.family)
    x = torch.cat([family.decode(part.to(device)).cpu() for part in codes.split(BATCH)])
    frame: pd.DataFrame = table_of(run).decode_all(x)
    return frame


def reconstructed_rows(run: Run, rows: Any, notify: Callable[[str], None] = lambda _: None) -> pd.DataFrame:
    """Each row encoded and decoded again. Columns that are not learnt, such as identifiers, stay where they are given,
    so that rows can be told apart. Raises InputError as `encoded_rows`."""
    table = table_of(run)
    frame = given_cells(table, rows, notify)
    made = rows_of(run, codes_of(run, _encoded(table, frame)))
    return made.assign(**{a.column: frame[a.column] for a in table.anew if a.column in frame.columns})
