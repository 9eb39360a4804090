"""Files of variants to be scored: FASTA, tables and lists, with what was measured of each where they say it.

A mutation is written as in A23T: the residue (or character) of the wild type, its place from 1, the new one; several
with ":" or "," between.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from genloom.core.errors import InputError, Unreadable
from genloom.data import encoding, fasta
from genloom.data.items import listing

SEQUENCES = ("mutated_sequence", "sequence", "smiles", "text", "example")
MUTANTS = ("mutant", "mutation", "mutations", "variant")
NAMES = (*MUTANTS, "name", "id")
MEASURED = ("dms_score", "measured", "fitness", "effect", "activity", "score")
TABLES = {".csv": ",", ".tsv": "\t"}
_MUTATION = re.compile(r"([^\W\d_])(\d+)([^\W\d_])")


@dataclass(frozen=True)
class Variant:
    """raw: what a modality reads. measured: nan where the file does not say."""

    name: str
    raw: str
    measured: float = math.nan


def read_variants(path: Path, wild: str | None, column: str | None = None) -> list[Variant]:
    """The variants in a file. wild: the wild type, which columns of mutations alone need. column: of what was measured
    in a table; one of MEASURED if none. Raises InputError."""
    try:
        text = encoding.decode(path.read_bytes())
    except (OSError, Unreadable) as e:
        raise InputError(f"the variants {path} cannot be read: {getattr(e, 'strerror', None) or e}") from None
    ending = path.suffix.lower()
    if ending in TABLES:
        out = _of_table(text, TABLES[ending], path, wild, column)
    elif column is not None:
        raise InputError(f"--measured names a column of a table, and {path} is none")
    elif text.lstrip("\ufeff \n").startswith(">"):
        try:
            out = [_of_title(title, letters) for title, letters in fasta.records(text)]
        except Unreadable as e:
            raise InputError(f"{path}: {e}") from None
    else:
        out = [Variant(str(i), line) for i, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not out:
        raise InputError(f"there are no variants in {path}")
    return out


def _of_title(title: str, letters: str) -> Variant:
    """A title such as "7|TEM-1_A23T|0.81": the last part is what was measured, if it is a number."""
    parts = [p.strip() for p in title.split("|")]
    number = _number(parts[-1]) if len(parts) > 1 else math.nan
    names = parts[:-1] if not math.isnan(number) else parts
    name = next((p for p in reversed(names) if not p.isdigit()), title)
    return Variant(name.split(None, 1)[0] if name else title, letters, number)


def _of_table(text: str, delimiter: str, path: Path, wild: str | None, column: str | None) -> list[Variant]:
    rows = list(csv.DictReader(io.StringIO(text), delimiter=delimiter))
    columns = [c for c in (rows[0] if rows else {}) if c]
    known = {c.strip().lower(): c for c in columns}

    def pick(names: Sequence[str]) -> str | None:
        return next((known[n] for n in names if n in known), None)

    sequence, mutant, name, measured = pick(SEQUENCES), pick(MUTANTS), pick(NAMES), column or pick(MEASURED)
    if measured is not None and measured not in columns:
        raise InputError(f"{path} has no column {measured}; it has {listing(columns, 8)}")
    if sequence is None and mutant is None:
        raise InputError(
            f"{path} has neither a column of sequences ({listing(SEQUENCES, 5)}) nor one of mutations "
            f"({listing(MUTANTS, 4)}); it has {listing(columns, 8)}"
        )
    if sequence is None and wild is None:
        raise InputError(f"{path} names mutations only; give the sequence they are of with --wild-type")
    out = []
    for i, row in enumerate(rows, 1):
        raw = row[sequence] or "" if sequence is not None else ""
        if sequence is None:
            assert mutant is not None and wild is not None
            raw = mutated(wild, row[mutant] or "", f"row {i} of {path}")
        label = (row[name] if name is not None else None) or str(i)
        out.append(Variant(label, raw, _number(row[measured]) if measured is not None else math.nan))
    return out


def mutated(wild: str, mutations: str, where: str) -> str:
    """The wild type with mutations made. Raises InputError for one that does not fit it."""
    out = list(wild)
    for part in filter(None, re.split(r"[:,;\s]+", mutations)):
        match = _MUTATION.fullmatch(part)
        if match is None:
            raise InputError(f"{where}: {part!r} is no mutation; write it as in A23T")
        old, place, new = match[1], int(match[2]), match[3]
        if not 1 <= place <= len(out) or wild[place - 1] != old:
            there = f"{wild[place - 1]!r} stands there" if 1 <= place <= len(out) else f"it has {len(out)} places"
            raise InputError(f"{where}: {part} does not fit the wild type: {there}")
        out[place - 1] = new
    return "".join(out)


def _number(value: str | None) -> float:
    try:
        return float(value) if value else math.nan
    except ValueError:
        return math.nan
