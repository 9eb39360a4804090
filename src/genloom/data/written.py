"""Tables as files: cells as text, and files that grow piece by piece in constant memory."""

from __future__ import annotations

import contextlib
import io
import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from genloom.core.errors import GenloomError, InputError
from genloom.core.files import sync_folder
from genloom.data.anew import FreeText, Identifier
from genloom.data.cells import is_text
from genloom.data.codecs import Category, Codec, Number

if TYPE_CHECKING:
    import pandas as pd

ENDINGS = (".csv", ".tsv", ".parquet", ".xlsx")
MOST_SHEET = 1_048_575  # rows of a sheet below its header
_RUNS = r"[=+\-@\t\r]."  # what a spreadsheet takes as a formula (OWASP, "CSV injection")
_NUMBER = r"[-+]?(\d[\d.,]*|\.\d+)([eE][-+]?\d+)?%?"
_LAWLESS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")  # not allowed in XML


def text_table(series: pd.Series, codec: Codec | Identifier | FreeText) -> list[str]:
    """A column's cells as a text file has them."""
    gone = series.isna().to_numpy()
    if isinstance(codec, Number):
        missing = codec.missing
        if str(series.dtype) in ("str", "string", "object"):
            return [missing if g else str(v) for v, g in zip(series.tolist(), gone, strict=True)]
        cells = codec.cells(series)
        return codec.written(cells.numbers, np.where(gone, missing, cells.texts))
    missing = codec.missing(str(series.name)) if isinstance(codec, Category) else ""
    return [missing if g else str(v) for v, g in zip(series.tolist(), gone, strict=True)]


def harmless(frame: pd.DataFrame) -> pd.DataFrame:
    """With an apostrophe before each cell that a spreadsheet would run."""
    mended = {}
    for c in frame.columns:
        cells = frame[c].astype(object) if frame[c].dtype == "category" else frame[c]
        if not is_text(cells):
            continue
        runs = cells.str.match(_RUNS, na=False) & ~cells.str.fullmatch(_NUMBER, na=True)
        if runs.any():
            mended[c] = cells.mask(runs, "'" + cells.astype(str))
    return frame.assign(**mended)


def _names(frame: pd.DataFrame) -> list[str]:
    """Names of the columns, as cells are made harmless."""
    return list(harmless(frame.columns.to_frame(index=False, name="name"))["name"])


def to_text(frame: pd.DataFrame, delimiter: str, header: bool, formulas: bool) -> bytes:
    """Cells of text as CSV. formulas: leave those of spreadsheets as they are."""
    out = io.StringIO()
    shown, names = (frame, list(frame.columns)) if formulas else (harmless(frame), _names(frame))
    shown.to_csv(out, sep=delimiter, index=False, header=names if header else False, lineterminator="\n")
    return out.getvalue().encode("utf-8", "surrogatepass")


class TableFile:
    """A table that is written piece by piece; it has its name when it is whole. Use as a context manager.

    facts: put into the file where its format has a place for it. formulas: leave cells that spreadsheets run.
    """

    def __init__(self, path: Path, formulas: bool = False, facts: dict[str, str] | None = None) -> None:
        self.path, self.ending, self.formulas, self.facts = path, path.suffix.lower(), formulas, facts or {}
        if self.ending not in ENDINGS:
            raise InputError(f"{path.name} cannot be written: tables are {', '.join(ENDINGS)} files")
        self.rows = 0
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        self._writer: Any = None
        self._file: Any = None
        self._book: Any = None  # of a workbook

    @property
    def takes_text(self) -> bool:
        """Whether cells are given as text, as `text_table` makes them; else with their types."""
        return self.ending in (".csv", ".tsv")

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self._temporary, "wb")
        except OSError as e:
            raise InputError(f"{self.path} cannot be written: {e.strerror or e}") from None
        return self

    def add(self, frame: pd.DataFrame) -> None:
        """Raises GenloomError when the disk is full, InputError when a sheet is."""
        self.rows += len(frame)
        if self.ending == ".xlsx" and self.rows > MOST_SHEET:
            raise InputError(f"a sheet holds {MOST_SHEET:,} rows; write {self.path.stem}.csv or .parquet")
        try:
            if self.takes_text:
                delimiter = "\t" if self.ending == ".tsv" else ","
                self._file.write(to_text(frame, delimiter, self.rows == len(frame), self.formulas))
            elif self.ending == ".parquet":
                self._parquet(frame)
            else:
                self._sheet(frame if self.formulas else harmless(frame))
        except OSError as e:
            raise GenloomError(f"{self.path} could not be written: {e.strerror or e}; free some space") from None

    def _sheet(self, frame: pd.DataFrame) -> None:
        """Rows of a workbook that keeps none of them in memory."""
        from openpyxl import Workbook

        if self._book is None:
            self._book = Workbook(write_only=True)
            names = list(frame.columns) if self.formulas else _names(frame)
            self._book.create_sheet("rows").append([_LAWLESS.sub("", name) for name in names])
        for row in zip(*(_for_sheet(frame[c]) for c in frame.columns), strict=True):
            self._book.active.append(row)

    def _parquet(self, frame: pd.DataFrame) -> None:
        import pyarrow
        import pyarrow.parquet as parquet

        if self._writer is None:
            table = pyarrow.Table.from_pandas(frame, preserve_index=False)
            schema = table.schema.with_metadata({**(table.schema.metadata or {}), **self.facts})
            self._writer = parquet.ParquetWriter(self._file, schema)
        self._writer.write_table(pyarrow.Table.from_pandas(frame, schema=self._writer.schema, preserve_index=False))

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            if kind is None and self._book is not None:
                self._book.save(self._file)
            if self._writer is not None:
                self._writer.close()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            if kind is None:
                os.replace(self._temporary, self.path)
                sync_folder(self.path.parent)
        except OSError as e:
            if kind is None:
                raise GenloomError(f"{self.path} could not be written: {e.strerror or e}; free some space") from None
        finally:
            with contextlib.suppress(OSError):
                self._temporary.unlink(missing_ok=True)


def _for_sheet(series: pd.Series) -> list[Any]:
    """Cells as a sheet takes them: None where there is none; text without control characters, dates with a zone and
    infinite numbers, which sheets do not have, as text."""
    if getattr(series.dtype, "tz", None) is not None:
        series = series.dt.strftime("%Y-%m-%d %H:%M:%S%z")
    cells = series.astype(object).where(series.notna(), None).tolist()
    return [_LAWLESS.sub("", v) if isinstance(v, str) else str(v) if v in (math.inf, -math.inf) else v for v in cells]
