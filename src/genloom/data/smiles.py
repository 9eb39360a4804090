"""The files that hold molecules: lists of SMILES, tables with such a column, SDF. Needs no RDKit."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from genloom.core.config import DataConfig
from genloom.core.errors import InputError, Unreadable
from genloom.data import passages
from genloom.data.blobs import Blob, blocks, digest_of, file_blob, head_of
from genloom.data.columns import Asked
from genloom.data.encoding import HEAD, detect
from genloom.data.items import Items, Source, clean
from genloom.data.records import open_table
from genloom.data.sources import found, is_text, open_text
from genloom.data.texts import Shelf, Unusable, Wishes, shelved, spread
from genloom.data.tree import arrange, folder_digest, walk

LISTS = frozenset({".smi", ".smiles", ".ism", ".can"})
STRUCTURES = frozenset({".sdf", ".sd", ".mol"})
TABLES = frozenset({".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet"})
COLUMNS = ("smiles", "canonical_smiles", "isomeric_smiles", "smile", "structure_smiles", "mol_smiles")

# What a SMILES is made of; and what a word or a number does not have.
_FORM = re.compile(r"(?:\[[^\[\]\s]{1,16}\]|Br|Cl|[BCNOPSFI]|[bcnops]|[()=#$:/\\.+\-@%\d*~])+")
_SIGNS = re.compile(r"[()=#\[\]]|[bcnops]\d|[CNOS]{3}")


def looks_like_smiles(lines: Iterable[str]) -> bool:
    """Whether lines (with names or not) are SMILES, by their signs alone."""
    words = [line.split(None, 1)[0] for line in lines if line.strip() and not line.startswith("#")][:60]
    if len(words) < 5:
        return False
    right = [w for w in words if _FORM.fullmatch(w)]
    return len(right) >= 0.9 * len(words) and sum(bool(_SIGNS.search(w)) for w in right) >= 0.8 * len(words)


def recognised(name: str, head: bytes) -> bool:
    """Whether a file of text called `name` that begins with `head` holds molecules: a table with a column of SMILES by
    its name, or lines that are SMILES."""
    text = head.decode("utf-8-sig", "replace")
    lines = text.splitlines()[: -1 if len(head) >= HEAD else None]
    ending = Path(name.lower().removesuffix(".gz")).suffix
    if ending in (".csv", ".tsv"):
        top = lines[0] if lines else ""
        cells = next(csv.reader([top], delimiter="\t" if ending == ".tsv" else max(",;\t|", key=top.count)), [])
        return any(c.strip().lower() in COLUMNS for c in cells)
    return ending in ("", ".txt", ".text") and looks_like_smiles(lines)


# -- opening ---------------------------------------------------------------------------------------------------


def open_molecules(data: Any, extensions: frozenset[str], where: DataConfig) -> Source:
    """The source of molecules in `data`: a file or folder of SMILES or SDF, a table, a name of the catalog, a list of
    SMILES. Raises InputError."""
    asked = Asked(where.column, where.label, where.properties, where.source or "none")
    wishes = Wishes(extensions, "line", asked)
    if isinstance(data, str | Path) and not is_text(data):
        path = found(data)
        if path is not None and path.is_dir():
            return _folder_source(path, extensions)
        if path is not None and path.is_file():
            blob = file_blob(path)
            if blob.ending in STRUCTURES:
                name = clean(blob.stem) or "data"
                return Source(name, digest_of(path), lambda: _plain(shelved([_shelf(blob)], None, None, (), "line")))
            if blob.ending in TABLES and where.column is None:
                wishes = replace(wishes, columns=replace(asked, text=_column(blob)))
    source = open_text(data, wishes)
    return replace(source, load=lambda: _plain(source.load()))


def _plain(items: Items) -> Items:
    """Without the settings that are those of text."""
    return replace(items, chosen={})


def _column(blob: Blob) -> str | None:
    """The column of SMILES of a table by its name; None where there is none. Raises InputError for no table."""
    try:
        table = open_table(blob)
        rows = [table.values(row) for _, (_, row) in zip(range(20), table.rows(), strict=False)]
    except Unreadable as e:
        raise InputError(f"{blob.name}: {e}") from None
    names = {str(k).strip().lower(): str(k) for row in rows for k in row}
    return next((names[c] for c in COLUMNS if c in names), None)


def _folder_source(path: Path, extensions: frozenset[str]) -> Source:
    """Every list of SMILES and every SDF below a folder, in which folders may be labels or splits."""
    files = walk(path)

    def load() -> Items:
        arranged = arrange([relative for relative, _ in files], extensions - TABLES)
        if not arranged.kept:
            kinds = ", ".join(sorted(extensions - TABLES))
            raise InputError(f"there are no molecules in {path}: no file ends in {kinds}")
        shelves = [_shelf(file_blob(path / files[i][0])) for i in arranged.kept]
        labels = None if arranged.labels is None else spread(arranged.labels, shelves)
        given = None if arranged.given is None else spread(arranged.given, shelves)
        return _plain(shelved(shelves, labels, given, arranged.notices, "line"))

    return Source(clean(path.resolve().name) or "data", folder_digest(path, files), load)


def _shelf(blob: Blob) -> Shelf:
    try:
        return structures(blob) if blob.ending in STRUCTURES else passages.lines(blob)
    except Unreadable as e:
        return Unusable(blob.name, str(e))


def structures(blob: Blob) -> passages.Spans:
    """The records of an SDF file, which "$$$$" ends; only their places are kept. Raises Unreadable."""
    head = head_of(blob, HEAD)
    if not head.strip():
        raise Unreadable("it is empty")
    encoding, _ = detect(head, whole=len(head) < HEAD)
    starts, sizes = [], []
    begin = 0
    for end in _ends(blob):
        starts.append(begin)
        sizes.append(end - begin)
        begin = end
    return passages.Spans(blob, encoding, np.array(starts, np.int64), np.array(sizes, np.int64))


def _ends(blob: Blob) -> Iterator[int]:
    """Where each record ends, behind its "$$$$" line; the end of the file, if something stands behind the last."""
    at, rest = 0, b""
    for block in blocks(blob):
        data = rest + block
        used = 0
        while (found_at := data.find(b"$$$$", used)) >= 0:
            line = data.find(b"\n", found_at)
            if line < 0:
                break
            used = line + 1
            yield at + used
        at, rest = at + used, data[used:]
    if rest.strip():
        yield at + len(rest)
