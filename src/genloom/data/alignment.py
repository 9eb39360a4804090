"""Rows of alignments of proteins as tokens: every column first, then what stands between the columns.

A row is written as in a3m (HH-suite): capitals and "-" are the columns, small letters insertions. As tokens a column is
a residue or a gap, marked where an insertion follows it; the insertions come after all columns, in order, each with an
end (one before the first column last). So the place of a token in its sequence is its column, which is what a profile
of a family knows, and nothing is lost.

Shapes: `B` rows, `t` tokens so far, `V` vocabulary.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence

import torch
from torch import Tensor

from genloom.data.fasta import RESIDUES
from genloom.data.vocabulary import BOS, EOS, FIRST

COLUMN = RESIDUES + "X-"
INSERTED = RESIDUES.lower() + "x"
MARKED = FIRST + len(COLUMN)  # a column with an insertion behind it
BETWEEN = MARKED + len(COLUMN)  # residues of insertions
END = BETWEEN + len(INSERTED)  # of an insertion
SIZE = END + 1
_COLUMN = re.compile(r"([A-Z-])([a-z]*)")


def bare(row: str) -> str:
    """The sequence of a row."""
    return row.replace("-", "").upper()


def columns_of(row: str) -> str:
    """A row without its insertions."""
    return "".join(c for c in row if not c.islower())


def encode(row: str) -> list[int]:
    """The tokens of a row, without bos and eos."""
    out, between = list[int](), list[str]()
    for letter, inserted in _COLUMN.findall(row):
        out.append((MARKED if inserted else FIRST) + COLUMN.index(letter))
        between += [inserted] if inserted else []
    first = re.match(r"[a-z]*", row)
    between += [first[0]] if first and first[0] else []
    for inserted in between:
        out += [*(BETWEEN + INSERTED.index(c) for c in inserted), END]
    return out


def decode(ids: Iterable[int]) -> str:
    """The row of tokens, whatever they are: an insertion that is missing is empty."""
    columns, between = list[tuple[str, bool]](), [""]
    for i in ids:
        if FIRST <= i < BETWEEN:
            columns.append((COLUMN[(i - FIRST) % len(COLUMN)], i >= MARKED))
        elif BETWEEN <= i < END:
            between[-1] += INSERTED[i - BETWEEN]
        elif i == END:
            between.append("")
    rest = iter(between)
    body = "".join(letter + (next(rest, "") if marked else "") for letter, marked in columns)
    return next(rest, "") + body


def consensus(rows: Iterable[str]) -> list[str]:
    """Of the rows with each number of columns the most frequent residue of every column."""
    groups: dict[int, list[str]] = defaultdict(list)
    for row in rows:
        columns = columns_of(row)
        groups[len(columns)].append(columns)
    out = []
    for length in sorted(groups):
        counts = [Counter(c for c in column if c in RESIDUES) for column in zip(*groups[length], strict=True)]
        out.append("".join(max(sorted(c), key=c.__getitem__) if c else "X" for c in counts))
    return out


def laid(sequence: str, places: Sequence[int | None], columns: int) -> str:
    """A sequence as a row. places: the column of each residue, None of an insertion."""
    row, between, at = ["-"] * columns, [""] * (columns + 1), 0
    for letter, place in zip(sequence, places, strict=True):
        if place is None:
            between[at] += letter.lower()
        else:
            row[place], at = letter, place + 1
    return between[0] + "".join(c + b for c, b in zip(row, between[1:], strict=True))


class Rows:
    """The grammar of rows: as many columns as an alignment of the training data has, with a residue among them, then
    the insertions that they announce, and an end. None of its residues is unknown."""

    def __init__(self, lengths: Collection[int]) -> None:
        self.ends, self.longest = torch.tensor(sorted(lengths)), max(lengths)
        ids = torch.arange(SIZE)
        self.column, self.marked = (ids >= FIRST) & (ids < BETWEEN), (ids >= MARKED) & (ids < BETWEEN)
        self.residue = self.column & ((ids - FIRST) % len(COLUMN) < len(RESIDUES))
        self.columns = self.residue | (ids == FIRST + len(COLUMN) - 1) | (ids == BETWEEN - 1)
        self.inserted = (ids >= BETWEEN) & (ids < END - 1)

    def allowed(self, tokens: Tensor) -> Tensor:
        x = tokens.cpu()
        width, owed = self.column[x].sum(1), self.marked[x].sum(1) - (x == END).sum(1)
        open_ = self.inserted[x[:, -1]]
        begun = open_ | (x == END).any(1)
        whole = (width[:, None] == self.ends).any(1)
        inside = ~begun & (width < self.longest)
        out = inside[:, None] & self.columns
        out |= ((begun | whole) & ((owed > 0) | open_))[:, None] & self.inserted
        out[:, END] = open_
        out[:, EOS] = whole & (owed == 0) & ~open_ & self.residue[x].any(1)
        last = inside & (width == self.longest - 1) & ~self.residue[x].any(1)
        out[last] &= self.residue
        out[:, BOS] = False
        return out.to(tokens.device)

    def finished(self, tokens: Tensor) -> None:
        return None
