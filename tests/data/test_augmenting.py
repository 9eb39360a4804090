"""Texts changed at random: how much, what stays, where synonyms come from, and that only sources change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import genloom
from genloom.core.config import DataConfig
from genloom.core.errors import InputError
from genloom.core.rng import Rng
from genloom.data.augmenting import AugmentConfig, augmented, changed
from genloom.data.thesaurus import open_thesaurus
from genloom.inspection.preview import augmented as preview
from texts import put, ready

TEXT = "The quick brown fox, it jumps over the lazy dog."


def draws(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def test_words_are_left_out_in_the_share_that_is_set_and_never_all() -> None:
    every = [changed(TEXT, AugmentConfig(drop=0.3), draws(s)) for s in range(300)]
    kept = [sum(any(c.isalpha() for c in w) for w in text.split()) for text in every]
    assert np.mean(kept) == pytest.approx(10 * 0.7, abs=0.3)
    assert all(changed("one two", AugmentConfig(drop=0.99), draws(s)) in ("one", "two") for s in range(20))
    assert "  " not in "".join(changed(TEXT, AugmentConfig(drop=0.5), draws(s)) for s in range(50))
    assert changed("?!", AugmentConfig(drop=0.5), draws()) == "?!"


def test_swapped_words_are_the_same_words_and_signs_stay() -> None:
    out = changed(TEXT, AugmentConfig(swap=0.4), draws(1))
    letters = lambda t: sorted("".join(c for c in t if c not in ",.").split())  # noqa: E731
    assert out != TEXT and letters(out) == letters(TEXT) and out.endswith(".") and out.count(",") == 1
    assert sorted(changed("我愛你們", AugmentConfig(swap=0.9), draws(1))) == sorted("我愛你們")


def test_synonyms_come_from_a_file_and_keep_capitals(tmp_path: Path) -> None:
    path = put(tmp_path / "words.txt", "quick\tfast, swift\nThe,that\nalone\n")
    out = changed(TEXT, AugmentConfig(synonyms=1.0, thesaurus=str(path)), draws())
    assert out.startswith("That ") and out.split()[1] in ("fast", "swift") and out.endswith("over that lazy dog.")
    with pytest.raises(InputError, match="no line with a word and a synonym"):
        open_thesaurus(str(put(tmp_path / "none.txt", "a\nb\n")))
    with pytest.raises(InputError, match="did you mean 'wordnet'"):
        open_thesaurus("wordnett")
    with pytest.raises(InputError, match="gives no thesaurus: it must be a run"):
        open_thesaurus(str(tmp_path))


def test_wordnet_that_is_not_installed_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import nltk

    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    with pytest.raises(InputError, match=r"WordNet is not installed .*give a file with"):
        open_thesaurus("wordnet")


def test_synonyms_of_wordnet_are_single_words_other_than_the_word(monkeypatch: pytest.MonkeyPatch) -> None:
    import nltk.corpus

    class Synset:
        def __init__(self, *names: str) -> None:
            self.names = names

        def lemma_names(self) -> list[str]:
            return list(self.names)

    class Wordnet:
        @staticmethod
        def synsets(word: str) -> list[Synset]:
            return [Synset("dog", "domestic_dog", "Canis"), Synset("hound", "canis")] if word == "dog" else []

    monkeypatch.setattr(nltk.corpus, "wordnet", Wordnet)
    find = open_thesaurus("wordnet")
    assert find("dog") == ["canis", "hound"] and not find("table")


def test_sources_alone_change_and_a_seed_fixes_how() -> None:
    pairs = [(f"the {a} dog runs to the {b} hill", f"{a}{b}") for a in "abcdef" for b in "uvwxyz"]
    config = DataConfig(task="translate", validation=0, test=0)
    p = ready(pairs, config, augment={"drop": 0.3, "noise": 0.1})
    batch, change = p.train.batch(np.arange(9)), augmented(p, None)
    one, two, other = (change(batch, Rng(3, step=s)) for s in (5, 5, 6))
    assert torch.equal(one.x, batch.x)
    assert one.condition.source is not None and two.condition.source is not None and batch.condition.source is not None
    assert torch.equal(one.condition.source, two.condition.source)
    assert other.condition.source is not None and not torch.equal(one.condition.source, other.condition.source)
    assert one.condition.source.shape[1] <= batch.condition.source.shape[1]
    shown = preview(p, 2, 0)
    assert isinstance(shown, str) and shown.count("  ~ ") == 6 and shown.count("  → ") == 2
    with pytest.raises(InputError, match=r"none is set. Set modality.augment.swap=0.1"):
        preview(ready(pairs, config), 2, 0)


def test_texts_read_in_windows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"modality\.augment changes the sources of pairs, or whole texts"):
        genloom.train(
            [f"text {i}" for i in range(30)], model="autoregressive", steps=1, out=tmp_path / "r",
            settings={"modality.augment.noise": 0.1, "modality.unit": "line"},
        )  # fmt: skip
    assert not (tmp_path / "r").exists()
