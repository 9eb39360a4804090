"""n-gram figures: equal to nltk, to sacrebleu and to plain loops; known answers."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from genloom.metrics.ngrams import (
    bleu,
    distinct,
    length_distance,
    longest_loop,
    numbered,
    repetition,
    self_bleu,
    unseen,
)


def sentences(n: int, seed: int, vocab: int = 12, longest: int = 14) -> list[list[str]]:
    """Some are empty, some are copies, most repeat units."""
    draw = np.random.default_rng(seed)
    out = [[f"w{int(w)}" for w in draw.zipf(1.6, draw.integers(0, longest)) % vocab] for _ in range(n)]
    return [*out[: n // 2], *out[: n // 10], *out[n // 2 : n - n // 10]]


def grams(units: list[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(units[i : i + n]) for i in range(len(units) - n + 1))


def plain_bleu(hypothesis: list[str], references: list[list[str]], order: int) -> float:
    """Sentence BLEU by the formula, smoothed by 0.1 matches."""
    precisions = []
    for n in range(1, order + 1):
        own, most = grams(hypothesis, n), Counter()
        for r in references:
            most |= grams(r, n)
        precisions.append(Fraction(sum((own & most).values()), max(1, sum(own.values()))))
    if not precisions[0]:
        return 0.0
    closest = min((abs(len(r) - len(hypothesis)), len(r)) for r in references)[1]
    totals = [max(1, len(hypothesis) - n + 1) for n in range(1, order + 1)]
    logs = [math.log(p or 0.1 / t) for p, t in zip(precisions, totals, strict=True)]
    return math.exp(sum(logs) / order + min(0.0, 1 - closest / len(hypothesis)))


SAMPLES, REFERENCES = sentences(60, 0), sentences(80, 1)


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_bleu_of_sentences_follows_the_formula(order: int) -> None:
    found = bleu(*numbered(SAMPLES, REFERENCES)).sentences(order)
    assert found == pytest.approx([plain_bleu(s, REFERENCES, order) for s in SAMPLES])
    assert 0.2 < found.mean() < 0.99


@pytest.mark.parametrize("order", [2, 3, 4, 5])
def test_self_bleu_equals_all_pairs(order: int) -> None:
    found = self_bleu(*numbered(SAMPLES)).sentences(order)
    wanted = [plain_bleu(s, SAMPLES[:i] + SAMPLES[i + 1 :], order) for i, s in enumerate(SAMPLES)]
    assert found == pytest.approx(wanted)


@pytest.mark.parametrize("order", [2, 3, 4, 5])
def test_bleu_agrees_with_nltk(order: int) -> None:
    nltk = pytest.importorskip("nltk.translate.bleu_score")
    weights = [1 / order] * order
    smooth = nltk.SmoothingFunction().method1
    statistics = bleu(*numbered(SAMPLES, REFERENCES))
    wanted = [nltk.sentence_bleu(REFERENCES, s, weights, smooth) for s in SAMPLES]
    assert statistics.sentences(order) == pytest.approx(wanted, abs=1e-9)
    long = [s for s in SAMPLES if len(s) >= order]  # nltk counts n-grams in shorter ones that are not there
    whole = nltk.corpus_bleu([REFERENCES] * len(long), long, weights)
    assert bleu(*numbered(long, REFERENCES)).corpus(order) == pytest.approx(whole, abs=1e-9)


@pytest.mark.parametrize("order", [2, 3, 4, 5])
def test_bleu_agrees_with_sacrebleu(order: int) -> None:
    metrics = pytest.importorskip("sacrebleu.metrics")
    judge = metrics.BLEU(tokenize="none", smooth_method="none", max_ngram_order=order, force=True)
    lines = [" ".join(s) for s in SAMPLES]
    streams = [[" ".join(r)] * len(SAMPLES) for r in REFERENCES]
    found = bleu(*numbered(SAMPLES, REFERENCES)).corpus(order)
    assert 100 * found == pytest.approx(judge.corpus_score(lines, streams).score, abs=1e-4)


def test_bleu_of_nothing_in_common_and_of_copies() -> None:
    samples, references = numbered([["x", "y"], [], ["a", "b", "c"]], [["a", "b", "c"], ["b"]])
    found = bleu(samples, references, 3)
    assert found.sentences(2).tolist() == pytest.approx([0, 0, 1])
    assert found.corpus(3) > 0 and bleu(samples[:1], references, 2).corpus(2) == 0
    assert self_bleu(*numbered([["a", "b", "c"]] * 3)).sentences(2) == pytest.approx(1)
    with pytest.raises(ValueError, match="reference"):
        bleu(samples, samples[:0])
    with pytest.raises(ValueError, match="two samples"):
        self_bleu(samples[:1])


def test_the_shorter_of_two_references_as_near_counts() -> None:
    lines = [["a"] * n for n in (2, 4, 9)]
    samples, references = numbered([["a"] * 3, ["a"] * 12, ["a"]], lines)
    assert bleu(samples, references).closest.tolist() == [2, 9, 2]
    (among,) = numbered([["a"] * n for n in (2, 4, 6, 6, 1)])
    assert self_bleu(among).closest.tolist() == [1, 2, 6, 6, 2]


def test_distinct_and_repetition_by_counting() -> None:
    (samples,) = numbered(SAMPLES)
    for n, share in enumerate(distinct(samples), 1):
        every = [g for s in SAMPLES for g in grams(s, n).elements()]
        assert share.value == pytest.approx(len(set(every)) / len(every))
        without = []
        for block in range(20):
            kept = [s for i, s in enumerate(SAMPLES) if i * 20 // len(SAMPLES) != block]
            left = [g for s in kept for g in grams(s, n).elements()]
            without.append(len(set(left)) / len(left))
        assert share.error == pytest.approx(math.sqrt(19 * np.var(without)))
    for n in (1, 3):
        wanted = [1 - len(grams(s, n)) / grams(s, n).total() if grams(s, n) else 0 for s in SAMPLES]
        assert repetition(samples, n) == pytest.approx(wanted)
    assert math.isnan(distinct(*numbered([["a"], ["b"]]))[2].value)


def plain_loop(units: list[str], period: int) -> int:
    best = 0
    for p in range(1, period + 1):
        for i in range(len(units)):
            k = i
            while k + p < len(units) and units[k] == units[k + p]:
                k += 1
            if k - i >= p:
                best = max(best, k - i + p)
    return best


def test_loops_by_trying_all() -> None:
    known = ["and so and so and so", "a a a a b", "a b c a b", "x", "", "b c c a b a b a c"]
    (samples,) = numbered([line.split() for line in known])
    assert longest_loop(samples).tolist() == [6, 4, 0, 0, 0, 5]
    (samples,) = numbered(SAMPLES)
    assert longest_loop(samples, 5).tolist() == [plain_loop(s, 5) for s in SAMPLES]


def test_units_never_seen() -> None:
    samples, train = numbered([["the", "cat", "blorp"], [], ["blorp", "blorp"]], [["the", "cat"]])
    new, all_of_them = unseen(samples, np.unique(train.ids))
    assert new.tolist() == [1, 0, 2] and all_of_them.tolist() == [3, 0, 2]


def test_length_distance_equals_scipy() -> None:
    draw = np.random.default_rng(0)
    for n, m in ((1, 1), (5, 9), (300, 40)):
        a, b = draw.integers(0, 30, n), draw.integers(5, 60, m)
        assert length_distance(a, b) == pytest.approx(wasserstein_distance(a, b))
    assert length_distance(a, a) == 0
    with pytest.raises(ValueError, match="at least one"):
        length_distance(a, a[:0])


def test_slices_are_sequences_of_their_own() -> None:
    (samples,) = numbered(SAMPLES)
    part, (alone,) = samples[10:20], numbered(SAMPLES[10:20])
    assert part.lengths.tolist() == alone.lengths.tolist()
    assert self_bleu(part).sentences(3) == pytest.approx(self_bleu(alone).sentences(3))
