"""Nearness to references, against numbers worked out by hand."""

import math

import numpy as np
import pytest

from genloom.data.units import units
from genloom.metrics.references import rouge_scores, tokenizer_for, translation_scores

UNITS = units().findall
OUT = ["the cat sat on the mat", "a dog runs", "birds sing in the tree"]
REF = ["the cat sat on a mat", "a dog runs", "the birds sing in trees"]


def test_bleu_is_the_geometric_mean_of_precisions() -> None:
    found = translation_scores(OUT, REF)["bleu"]
    # Matches and totals of runs of 1 to 4 words over the three sentences; lengths 14 and 14.
    precisions = [(5 + 3 + 4) / 14, (3 + 2 + 2) / 11, (2 + 1 + 1) / 8, (1 + 0 + 0) / 5]
    assert found.value == pytest.approx(100 * math.exp(np.mean(np.log(precisions))))
    assert found.sentences[1] == pytest.approx(100) and "tok:13a" in found.signature and found.error > 0


def test_ter_counts_edits_and_chrf_rewards_endings() -> None:
    scores = translation_scores(OUT, REF)
    # One word changed of 6; none of 3; of the third "the" is moved and one word changed, of 5.
    assert scores["ter"].value == pytest.approx(100 * (1 + 0 + 2) / 14)
    assert scores["chrf"].sentences[1] == pytest.approx(100)
    assert (
        translation_scores(["trees"], ["tree"])["chrf"].value > 50 > translation_scores(["x"], ["tree"])["chrf"].value
    )


def test_rouge_is_the_f1_of_words_and_of_the_longest_subsequence() -> None:
    scores = rouge_scores(["police kill the gunman"], ["police killed the gunman today"], UNITS)
    assert scores["rouge_1"].value == pytest.approx(2 * 1 * 0.8 / 1.8)  # stemmed: kill, killed
    assert scores["rouge_2"].value == pytest.approx(2 * 1 * 0.75 / 1.75)
    assert rouge_scores(["b a"], ["a b"], UNITS)["rouge_l"].value == pytest.approx(0.5)


def test_chinese_is_measured_by_characters() -> None:
    assert (
        tokenizer_for(["我愛你"]) == "zh" and tokenizer_for(["これは猫です"]) == "char" and tokenizer_for(REF) == "13a"
    )
    scores = rouge_scores(["我愛貓"], ["我愛狗"], UNITS)
    assert scores["rouge_1"].value == pytest.approx(2 / 3) and "words" in scores["rouge_1"].signature
    assert "tok:zh" in translation_scores(["我愛貓咪們"], ["我愛狗狗們"])["bleu"].signature


def test_the_interval_shrinks_with_the_number_of_sentences() -> None:
    which = np.random.Generator(np.random.PCG64(0)).integers(3, size=900)
    few, many = (translation_scores([OUT[i] for i in w], [REF[i] for i in w]) for w in (which[:100], which))
    for name in ("bleu", "chrf", "ter"):
        assert many[name].error == pytest.approx(few[name].error / 3, rel=0.5)
