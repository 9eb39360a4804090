"""Copying of token sequences: planted documents and passages are found, held-out text is not called a copy."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from evaluate.languages import CHARACTERS, Bigram, Letters, Prepared, sequences
from genloom.core.batch import ConditionSpec
from genloom.core.rng import Rng
from genloom.evaluate.audit_sequences import audit_sequences, stretches
from genloom.evaluate.passages import contents
from genloom.metrics.verbatim import Text


def texts(n: int, seed: int) -> list[str]:
    """Lines of random words: few longer passages are shared by chance."""
    draw = np.random.default_rng(seed)
    letters = list("abcdefghijklmnopqrstuvwxyz")
    words = np.array(["".join(np.random.default_rng(i).choice(letters, 2 + i % 5)) for i in range(300)])
    return [" ".join(draw.choice(words, 8)) + "." for _ in range(n)]


@pytest.fixture(scope="module")
def lines() -> Prepared:
    train, held = texts(800, 0), texts(500, 1)
    modality = Letters(False, 2 + max(map(len, train + held)))
    parts = (sequences(modality, p) for p in (train, held[:100], held[100:]))
    return Prepared("行", "lines", modality, ConditionSpec(), *parts)


@pytest.fixture(scope="module")
def book() -> Prepared:
    modality = Letters(True, 200)
    parts = (sequences(modality, ["\n".join(texts(n, seed))]) for n, seed in ((800, 0), (100, 1), (300, 2)))
    return Prepared("книга", "book", modality, ConditionSpec(), *parts)


def rows(data: Prepared, examples: list[str]) -> torch.Tensor:
    s = sequences(data.modality, examples)
    return s.batch(np.arange(len(s))).x


def changed(line: str, places: tuple[int, ...]) -> str:
    return "".join("春" if i in places else c for i, c in enumerate(line))


def test_new_lines_are_no_copies(lines: Prepared) -> None:
    found = audit_sequences(rows(lines, texts(500, 3)), lines)
    assert found["verdict"] == "none" and found["interval"][0] == 0 and found["exact"]["count"] == 0
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.2])
def test_planted_lines_are_found_at_their_rate(lines: Prepared, share: float) -> None:
    copies = round(1000 * share)
    samples = [*texts(800, 0)[:copies], *texts(1000 - copies, 3)]
    found = audit_sequences(rows(lines, samples), lines)
    assert found["verdict"] == ("copying" if share == 0.2 else "some")
    assert found["exact"]["count"] == copies
    assert found["interval"][0] <= share <= found["interval"][1]


def test_lines_with_slips_are_found_as_nearly_verbatim(lines: Prepared) -> None:
    samples = [*(changed(t, (9, 19, 29)) for t in texts(800, 0)[:50]), *texts(450, 3)]
    found = audit_sequences(rows(lines, samples), lines)
    assert found["verdict"] in ("some", "copying") and found["exact"]["count"] == 0
    assert found["interval"][0] <= 0.1 <= found["interval"][1]
    near = next(m for m in found["measures"] if m["space"] == "near-verbatim")
    assert near["interval"][0] > 0


def test_short_lines_that_repeat_by_chance_are_no_copies() -> None:
    """Words of one letter or two: a perfect generator hits training and held-out words alike; a split that keeps
    repetitions on one side has no held-out word among the training words."""
    letters = CHARACTERS[2:28]
    every = [a + b for a in letters for b in letters]
    draw = np.random.default_rng(0)
    order = draw.permutation(every).tolist()
    modality = Letters(False, 4)
    data = Prepared(
        "词", "words", modality, ConditionSpec(), *(sequences(modality, p) for p in (order[:400], [], order[400:]))
    )
    found = audit_sequences(rows(data, draw.choice(every, 600).tolist()), data)
    assert found["exact"]["count"] > 200 and found["verdict"] == "none"


def test_streams_are_compared_in_pieces(book: Prepared) -> None:
    def cut(text: str, n: int) -> torch.Tensor:
        return rows(book, [text[i * 200 : (i + 1) * 200] for i in range(n)])

    new, old = "\n".join(texts(400, 3)), "\n".join(texts(800, 0))
    assert audit_sequences(cut(new, 60), book)["verdict"] == "none"
    copied = audit_sequences(cut(old, 60), book)
    assert copied["verdict"] == "copying" and copied["rate"] > 0.9
    mixed = audit_sequences(torch.cat([cut(old, 12), cut(new, 48)]), book)
    assert mixed["verdict"] in ("some", "copying") and mixed["interval"][0] <= 0.2 <= mixed["interval"][1]


def test_stretches_go_on_past_slips_and_stop_at_documents() -> None:
    modality = Letters(False, 60)
    source = contents(sequences(modality, ["abcdefghijklmnop qrstu", "vwxyz abc"]))
    ask = contents(sequences(modality, ["abcde.ghijklmnop.qrs..", "zzvwxyz abcd", "zzzz"]))
    text = Text(source.tokens, modality.spec.vocab, source.starts)
    runs = text.runs(ask.tokens, ask.starts)
    assert runs.length.tolist() == [10, 9, 1]
    assert stretches(ask, runs, source).tolist() == [15, 9, 1]  # five outweigh a slip, three do not


def test_a_collapse_and_too_little_text_are_told(lines: Prepared, book: Prepared) -> None:
    same = audit_sequences(rows(lines, texts(1, 9) * 100), lines)
    assert same["verdict"] == "not tested" and "only 1 of 100 samples" in same["sentence"]
    few = audit_sequences(rows(lines, texts(5, 9)), lines)
    assert few["verdict"] == "not tested" and "5 samples are too few" in few["reason"]
    empty = sequences(lines.modality, [])
    nothing = audit_sequences(rows(lines, texts(50, 9)), replace(lines, validation=empty, test=empty))
    assert nothing["verdict"] == "not tested" and "no held-out examples" in nothing["reason"]


def test_the_membership_attack_takes_likelihoods_of_tokens(lines: Prepared, book: Prepared) -> None:
    class Likely(Bigram):
        def nll(self, batch: Any, rng: Rng) -> torch.Tensor:
            return self.surprise(batch.x).sum(1)

    for data, samples in ((lines, texts(60, 3)), (book, ["\n".join(texts(9, k))[:200] for k in range(60)])):
        found = audit_sequences(rows(data, samples), data, family=Likely(data))
        assert 0.3 < found["membership"]["auc"] < 0.7, data.name
        low, high = found["membership"]["interval"]
        assert low < found["membership"]["auc"] < high
