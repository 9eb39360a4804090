"""Rows of alignments as tokens: nothing is lost, columns come first, and whatever the grammar allows is a row."""

from __future__ import annotations

import random

import torch

from genloom.data import alignment
from genloom.data.alignment import BETWEEN, END, FIRST, MARKED, Rows
from genloom.data.fasta import RESIDUES, is_alignment
from genloom.data.vocabulary import BOS, EOS


def row(columns: int, draw: random.Random) -> str:
    between = ["".join(draw.choices(RESIDUES.lower(), k=draw.choice([0, 0, 0, 1, 4]))) for _ in range(columns + 1)]
    letters = draw.choices(RESIDUES + "X----", k=columns)
    return between[0] + "".join(a + b for a, b in zip(letters, between[1:], strict=True))


def test_tokens_are_the_columns_then_the_insertions() -> None:
    ids = alignment.encode("M-kvAgC")
    assert [i < BETWEEN for i in ids] == [True] * 4 + [False] * 5 and ids.count(END) == 2
    assert [i >= MARKED for i in ids[:4]] == [False, True, True, False]
    draw = random.Random(0)
    for _ in range(200):
        text = row(12, draw)
        assert alignment.decode(alignment.encode(text)) == text
        assert len(alignment.columns_of(text)) == 12
        assert alignment.bare(text) == "".join(c for c in text.upper() if c != "-")
    for _ in range(200):  # whatever tokens there are, a row comes of them
        alignment.decode(draw.choices(range(alignment.SIZE), k=20))


def test_a_sequence_is_laid_along_its_alignment() -> None:
    assert alignment.consensus(["MK-A", "MKkVA", "MR-G", "AC", "A-"]) == ["AC", "MKVA"]
    assert alignment.laid("GMKWWA", [None, 0, 1, None, None, 3], 4) == "gMKww-A"


def test_the_grammar_allows_rows_and_nothing_else() -> None:
    guide, draw = Rows({6, 9}), random.Random(1)
    for columns in (6, 9):
        for _ in range(50):
            text = row(columns, draw).replace("X", "A").lstrip(RESIDUES.lower())
            if not alignment.bare(text) or (text[0] == "-" and not alignment.columns_of(text).strip("-")):
                continue
            x = torch.tensor([BOS, *alignment.encode(text), EOS])
            for k in range(1, len(x)):
                assert guide.allowed(x[None, :k])[0, x[k]], (text, k)
    for _ in range(100):
        ids = [BOS]
        while ids[-1] != EOS and len(ids) < 200:
            may = torch.nonzero(guide.allowed(torch.tensor([ids]))[0]).flatten().tolist()
            assert may, ids
            ids.append(END if END in may and draw.random() < 0.5 else draw.choice(may))
        text = alignment.decode(ids)
        assert ids[-1] == EOS and len(alignment.columns_of(text)) in (6, 9)
        assert alignment.encode(text) == ids[1:-1] and alignment.bare(text) and "X" not in text.upper()
    assert not guide.allowed(torch.tensor([[BOS, FIRST]]))[0, [EOS, BOS, END]].any()


def test_an_alignment_is_told_from_sequences() -> None:
    assert is_alignment([("a", "MK-A"), ("b", "MKccVA")])
    assert not is_alignment([("a", "MKVA"), ("b", "MKVG")])  # nothing says that these are columns
    assert not is_alignment([("a", "MK-A"), ("b", "MKV")])
