"""Synonyms: of WordNet, of a file, or the nearest words by the embeddings of a run."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from genloom.core.config import unknown
from genloom.core.errors import InputError
from genloom.data.vocabulary import FIRST, KINDS

Thesaurus = Callable[[str], Sequence[str]]  # of a word in small letters
MOST = 5  # synonyms of a word
EMBEDDINGS = "model.inputs.token.weight"


def open_thesaurus(name: str) -> Thesaurus:
    """wordnet, a file (a word and its synonyms on each line, divided by tabs or commas), or the folder of a run. Raises
    InputError."""
    path = Path(name)
    if name == "wordnet" and not path.exists():
        return _wordnet()
    if path.is_dir():
        return _nearest(path)
    if not path.is_file():
        raise InputError(f"modality.augment.thesaurus: {unknown(name, ['wordnet'], 'thesaurus or file')}")
    return _file(path)


def _wordnet() -> Thesaurus:
    try:
        from nltk.corpus import wordnet

        wordnet.synsets("word")
    except (ModuleNotFoundError, LookupError):
        raise InputError(
            "WordNet is not installed (python -m nltk.downloader wordnet); give a file with "
            "modality.augment.thesaurus=FILE: a word and its synonyms on each line, divided by tabs"
        ) from None

    def find(word: str) -> list[str]:
        names = [n for s in wordnet.synsets(word)[:3] for n in s.lemma_names() if "_" not in n and n.lower() != word]
        return list(dict.fromkeys(n.lower() for n in names))[:MOST]

    return find


def _file(path: Path) -> Thesaurus:
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as e:
        raise InputError(f"the thesaurus {path} cannot be read: {getattr(e, 'strerror', None) or e}") from None
    known: dict[str, list[str]] = {}
    for line in lines:
        word, *others = [w.strip() for w in re.split(r"[\t,;]", line) if w.strip()] or [""]
        if others:
            known.setdefault(word.lower(), []).extend(others)
    if not known:
        raise InputError(f"the thesaurus {path} has no line with a word and a synonym, divided by a tab")
    return lambda word: known.get(word, ())


def _nearest(folder: Path) -> Thesaurus:
    """The nearest words by cosine, among tokens that are whole words."""
    from safetensors import SafetensorError, safe_open

    try:
        state = json.loads((folder / "modality.json").read_text("utf-8"))["modality"]["vocabulary"]
        vocabulary = KINDS[state["kind"]].from_state(state["state"])
        with safe_open(folder / "model.safetensors", "np") as weights:
            table = weights.get_tensor(EMBEDDINGS)
    except (OSError, ValueError, KeyError, SafetensorError) as e:
        raise InputError(
            f"{folder} gives no thesaurus: it must be a run of the model autoregressive on text ({type(e).__name__})"
        ) from None
    words: dict[str, int] = {}
    for i in range(FIRST, min(vocabulary.size, len(table))):
        text = vocabulary.decode(np.array([i]))
        if text.startswith(" ") and len(text) > 2 and text[1:].isalpha():
            words.setdefault(text[1:].lower(), i)
    if len(words) < 2:
        raise InputError(f"the tokens of {folder} are no words; take a run with modality.tokenizer=bpe")
    names, rows = list(words), table[list(words.values())].astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True) + 1e-9
    place = {name: k for k, name in enumerate(names)}

    def find(word: str) -> list[str]:
        if word not in place:
            return []
        near = np.argsort(-(rows @ rows[place[word]]), kind="stable")[1 : MOST + 1]
        return [names[k] for k in near.tolist()]

    return find
