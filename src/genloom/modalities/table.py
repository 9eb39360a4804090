"""Tables as rows: numbers, categories, dates; identifiers made anew and free text left out.

An example is a dict of one row's values; many are a pandas DataFrame with the columns, types and formats of the data.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genloom.core.config import DataConfig, Settings, setting, unknown
from genloom.core.errors import InputError, Unreadable
from genloom.core.files import Finish, as_is, write_atomic
from genloom.core.finding import Fact, Finding
from genloom.core.modality import Fingerprint, Modality
from genloom.core.spec import Row
from genloom.data import encoding
from genloom.data.anew import FreeText, Identifier
from genloom.data.cells import KINDS, MOST_LEVELS, Kind, is_missing, kind_of
from genloom.data.codecs import Category, Codec, Number
from genloom.data.constraints import Constraint, parsed
from genloom.data.frames import DATABASES, SHEETS, TEXTS, Reading, open_frame, pandas
from genloom.data.items import Source, count, listing
from genloom.data.table_looks import looked
from genloom.data.together import dependent
from genloom.data.written import text_table, to_text

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 16  # rows
CODECS: dict[str, Any] = {"number": Number, "category": Category, "identifier": Identifier, "text": FreeText}


class TableConfig(Settings):
    """How a table is read and what is kept."""

    target: str | None = setting(None, "Column that people tell from the others; it is learnt last and best.")
    kinds: dict[str, Kind] = setting(
        {}, "Kinds of columns where the one found is wrong: number, category, date, identifier, text."
    )
    constraints: tuple[str, ...] = setting(
        (), "Rules that every row keeps, as in [start<end, unique(email), fixed(city,country)]."
    )
    dependent: bool = setting(True, "Columns that follow from another one, such as a code from a name, always do.")
    levels: int = setting(MOST_LEVELS, "Most levels of a category; rarer ones are not learnt.", unit="levels", ge=2)
    query: str | None = setting(None, "Of a database: the SQL query, or the table's name.")
    sheet: str | None = setting(None, "Of a workbook: the sheet; the first if none.")
    formulas: bool = setting(False, "Write cells that a spreadsheet would run, such as =cmd, as they are.")


class Table(Modality[dict[str, Any]]):
    """Rows as float32 [S], an entry each span."""

    Config = TableConfig
    forms = (Row,)
    shows_text = True
    extensions = TEXTS | SHEETS | DATABASES

    def __init__(
        self,
        config: TableConfig,
        columns: Sequence[str],
        codecs: Sequence[Codec],
        anew: Sequence[Identifier | FreeText],
        notices: tuple[str, ...] = (),
    ) -> None:
        """columns: in the order of the data. codecs: of those that are learnt, the target's last. anew: the others."""
        self.config: TableConfig = config
        self.columns, self.codecs, self.anew, self.notices = tuple(columns), tuple(codecs), tuple(anew), notices
        self.constraints: tuple[Constraint, ...] = parsed(config.constraints, self.columns)
        spans = tuple(span for codec in codecs for span in codec.spans)
        self.spec: Row = Row(spans, spans[-1].name if config.target else None)

    # -- reading -----------------------------------------------------------------------------------------------------

    @classmethod
    def open(cls, data: Any, config: Settings, where: DataConfig) -> Source:
        assert isinstance(config, TableConfig)
        return open_frame(data, where, config.query, config.sheet)

    @classmethod
    def read(cls, raw: Any, config: Settings) -> dict[str, Any]:
        """A row: a mapping, or the bytes of a CSV file with a header and one row. Raises Unreadable."""
        if isinstance(raw, Mapping):
            return {str(k): v for k, v in raw.items()}
        if not isinstance(raw, str | bytes):
            raise Unreadable(f"not a row but {type(raw).__name__}")
        text = encoding.decode(raw) if isinstance(raw, bytes) else raw
        rows = [row for row in csv.reader(io.StringIO(text.replace("\0", ""))) if row]
        if len(rows) != 2 or len(rows[0]) != len(rows[1]):
            raise Unreadable("not a header and one row of as many cells")
        return dict(zip(rows[0], rows[1], strict=True))

    @classmethod
    def fingerprint(cls, example: Mapping[str, Any]) -> Fingerprint:
        text = "\x1f".join(f"{k}={v}" for k, v in example.items())
        return Fingerprint(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest())

    @classmethod
    def fit(cls, config: Settings, train: Iterable[Mapping[str, Any]]) -> Self:
        frame = pandas().DataFrame(list(train))
        typed = not all(isinstance(v, str) for v in frame.to_numpy().ravel())
        return cls.fit_frame(config, Reading(frame if typed else frame.astype("str"), typed, "the rows"))

    @classmethod
    def fit_frame(cls, config: Settings, reading: Reading, train: NDArray[np.int64] | None = None) -> Self:
        """As `fit`, of a whole table. train: its rows of the training split. Raises InputError for a table from which
        nothing can be learnt, or settings that name what is not there."""
        assert isinstance(config, TableConfig)
        frame, typed = reading.frame, reading.typed
        train = np.arange(len(frame)) if train is None else train
        columns, notices = list(map(str, frame.columns)), []
        for name in [*config.kinds, *([config.target] if config.target else [])]:
            if name not in columns:
                raise InputError(unknown(name, columns, "column"))
        kinds: dict[str, Kind] = {c: config.kinds.get(c) or kind_of(frame[c], typed) for c in columns}
        anew: list[Identifier | FreeText] = []
        for c in columns:
            if kinds[c] == "identifier":
                anew.append(Identifier.fit(frame[c], typed))
            elif kinds[c] == "text":
                anew.append(FreeText(c, str(frame[c].dtype)))
        notices += _of_anew(kinds)
        sets = [c.columns for c in parsed(config.constraints, columns) if c.rule == "fixed"]
        groups = dependent(frame, kinds, sets, train, config.dependent)
        notices += [f"{listing(g[1:])} always follows from {g[0]}: learnt together" for g in groups if g not in sets]
        codecs: list[Codec] = []
        for c in columns:
            group = next((g for g in groups if c in g), (c,))
            if kinds[c] in ("identifier", "text") or (len(group) > 1 and c != group[0]):
                continue
            if len(group) == 1 and kinds[c] in ("number", "date"):
                number, said = Number.fit(frame[c], typed, train, kinds[c] == "date")
                codecs.append(number)
                notices += said
            else:
                numbers = [name for name in group if kinds[name] == "number" and len(group) > 1]
                category = Category.fit(frame, group, typed, train, config.levels, numbers)
                codecs.append(category)
                notices += _of_levels(category, len(train))
        if not codecs:
            raise InputError(
                f"{reading.origin} has nothing to learn: {count(len(columns), 'column')} of identifiers and free text; "
                "say what they are by --kinds"
            )
        if any(a.column == config.target for a in anew):
            raise InputError(f"the target {config.target} is not learnt: it is {kinds[str(config.target)]}")
        codecs.sort(key=lambda codec: config.target in codec.columns)
        return cls(config, columns, codecs, anew, tuple(notices))

    @classmethod
    def continued(cls, config: Settings, train: Iterable[Any], state: Mapping[str, Any]) -> Self:
        """The table of another's state: rows that it cannot tell are left out."""
        return cls.from_state(dict(state))

    @classmethod
    def looked(cls, config: Any, table: Any) -> tuple[list[Fact], list[Finding]]:
        assert isinstance(config, TableConfig) and isinstance(table, Reading)
        return looked(table, config.kinds)

    # -- rows --------------------------------------------------------------------------------------------------------

    def encode_frame(self, frame: pd.DataFrame) -> NDArray[np.float32]:
        """[N, S]; rows with a value that the training data lack have an entry that is -1 (of a number, -inf). Raises
        InputError for columns that are not there."""
        for c in self.columns:
            if c not in frame.columns:
                raise InputError(f"the table has no column {c!r}; it has {listing(list(map(str, frame.columns)))}")
        return np.concatenate([codec.encode(frame) for codec in self.codecs], 1).astype(np.float32)

    def understood(self, frame: pd.DataFrame, typed: bool) -> pd.DataFrame:
        """Columns of a table that may lack some, cells that say nothing as missing."""
        return frame.assign(**{c: frame[c].mask(is_missing(frame[c], typed)) for c in frame.columns})

    def given(self, frame: pd.DataFrame, sole: bool = False) -> tuple[Tensor, Tensor]:
        """Of rows with holes, the encoded entries [N, S] and bool alike, True where they are given. sole: columns that
        are learnt together only where those that are there leave one combination, else as the most frequent one.
        Raises InputError naming the row of a value that is not known."""
        known, mask = [], []
        for codec in self.codecs:
            entries, there = codec.given(frame, sole)
            known.append(entries)
            mask.append(np.repeat(there[:, None], len(codec.spans), 1))
        entries = np.concatenate(known, 1).astype(np.float32)
        return torch.from_numpy(entries), torch.from_numpy(np.concatenate(mask, 1))

    def encode(self, example: Mapping[str, Any]) -> Tensor:
        return torch.from_numpy(self.encode_frame(self._frame([example]))[0])

    def _frame(self, examples: Any) -> pd.DataFrame:
        pd = pandas()
        return examples if isinstance(examples, pd.DataFrame) else pd.DataFrame(list(examples), columns=self.columns)

    def decode(self, x: Tensor) -> dict[str, Any]:
        """The row of one encoded example."""
        row = self.decode_all(x[None]).iloc[0]
        return {str(k): v for k, v in row.items()}

    def decode_all(self, x: Tensor, first: int = 0) -> Any:
        """A DataFrame of a batch [N, S]. first: the number of its first row among all that are made."""
        entries, made, at = x.detach().cpu().numpy().astype(np.float64), {}, 0
        for codec in self.codecs:
            width = len(codec.spans)
            made.update(codec.decode(entries[:, at : at + width]))
            at += width
        for column in self.anew:
            made[column.column] = column.made(first, len(entries), 0)
        return pandas().DataFrame({c: made[c] for c in self.columns})

    @property
    def target(self) -> str | None:
        return self.config.target

    def plain(self, x: Tensor) -> pd.DataFrame:
        """Rows [N, S] without what is made anew: numbers and dates (in seconds) as float64, NaN where one is missing,
        all others as text."""
        entries, out, at = x.detach().cpu().numpy().astype(np.float64), {}, 0
        for codec in self.codecs:
            part = entries[:, at : at + len(codec.spans)]
            at += len(codec.spans)
            if isinstance(codec, Number):
                out[codec.column] = codec.values(part)[0]
                continue
            for name, values in codec.decode(part).items():
                series = pandas().Series(values)
                out[name] = np.where(series.isna(), "", series.astype(str)).astype(object)
        return pandas().DataFrame({c: out[c] for c in self.columns if c in out})

    def kept(self, frame: pd.DataFrame) -> NDArray[np.bool_]:
        """[N] rows that keep all constraints."""
        out = np.ones(len(frame), bool)
        for constraint in self.constraints:
            out &= ~constraint.broken(frame)
        return out

    # -- what people look at -----------------------------------------------------------------------------------------

    def write(self, examples: Any, folder: Path, names: Sequence[str], finish: Finish = as_is) -> list[Path]:
        """All rows in one CSV file, called as the first is."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{names[0]}.csv"
        data = to_text(self.as_text(self._frame(examples)), ",", True, self.config.formulas)
        write_atomic(path, finish(path, data))
        return [path]

    def as_text(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The cells as a text file has them: decimal places and words for what is missing as in the data."""
        out = {}
        for codec in self.codecs:
            for c in codec.columns:
                out[c] = text_table(frame[c], codec)
        for column in self.anew:
            out[column.column] = text_table(frame[column.column], column)
        return pandas().DataFrame({c: out[c] for c in self.columns})

    def show(self, examples: Any, columns: int | None = None) -> str:
        """The first rows, aligned."""
        frame = self.as_text(self._frame(examples).head(SHOWN))
        return f"{frame.to_string(index=False, max_colwidth=24)}\n"

    # -- state -------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        return {
            "config": self.config.model_dump(mode="json"),
            "columns": list(self.columns),
            "codecs": [codec.state() for codec in self.codecs],
            "anew": [column.state() for column in self.anew],
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        codecs, anew = ([CODECS[s["codec"]].from_state(s) for s in state[n]] for n in ("codecs", "anew"))
        return cls(TableConfig(**state["config"]), state["columns"], codecs, anew)


def _of_anew(kinds: Mapping[str, Kind]) -> list[str]:
    out = []
    made, empty = ([c for c, k in kinds.items() if k == kind] for kind in ("identifier", "text"))
    if made:
        out.append(f"identifiers, made anew and not learnt: {listing(made)} (--kinds says otherwise)")
    if empty:
        out.append(f"free text, left empty and not learnt: {listing(empty)} (--kinds says otherwise)")
    return out


def _of_levels(category: Category, n: int) -> list[str]:
    out = []
    if len(category.levels) == 1:
        level = category.levels[0]
        what = "is missing everywhere" if level == (None,) else "has one value everywhere"
        out.append(f"{category.name} {what}: written as it is, nothing is learnt of it")
    elif len(category.levels) > n / 2 and n >= 100:
        out.append(f"{category.name} has {len(category.levels):,} levels in {n:,} rows: most are seen once or twice")
    return out


__all__ = ["KINDS", "Table", "TableConfig"]
