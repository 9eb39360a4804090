"""Tables as files: cells as text, and files that grow piece by piece in constant memory."""

from __future__ import annotations

import contextlib
import io
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from genloom.core.errors import GenloomError, InputError
from genloom.core.files import sync_folder
from genloom.data.anew import FreeText, Identifier
from genloom.data.codecs import Category, Codec, Number

if TYPE_CHECKING:
    import pandas as pd

ENDINGS = (".csv", ".tsv", ".parquet", ".xlsx")
MOST_SHEET = 1_048_575  # rows of a sheet below its header
_RUNS = re.compile(r"[=+\-@\t\r].")  # what a spreadsheet takes as a formula (OWASP, "CSV injection")
_NUMBER = re.compile(r"[-+]?(\d[\d.,]*|\.\d+)([eE][-+]?\d+)?%?")


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

    def mended(cell: Any) -> Any:
        runs = isinstance(cell, str) and _RUNS.match(cell) and not _NUMBER.fullmatch(cell)
        return f"'{cell}" if runs else cell

    return frame.map(mended)


def to_text(frame: pd.DataFrame, delimiter: str, header: bool, formulas: bool) -> bytes:
    """Cells of text as CSV. formulas: leave those of spreadsheets as they are."""
    out = io.StringIO()
    shown = frame if formulas else harmless(frame)
    names = list(frame.columns) if formulas else list(harmless(frame.columns.to_frame())[0])
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
        self._pieces: list[pd.DataFrame] = []

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
                self._pieces.append(frame if self.formulas else harmless(frame))
        except OSError as e:
            raise GenloomError(f"{self.path} could not be written: {e.strerror or e}; free some space") from None

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
            if kind is None and self._pieces:
                import pandas as pd

                pd.concat(self._pieces).to_excel(self._file, index=False)
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
