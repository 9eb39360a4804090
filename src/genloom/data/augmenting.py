"""Texts changed at random, so that a model sees each in more than one form: words left out, exchanged or replaced by
synonyms (EDA, Wei & Zou 2019), tokens replaced by others (Xie et al. 2017).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genloom.core.batch import Batch
from genloom.core.config import Settings, setting
from genloom.core.errors import InputError
from genloom.core.rng import Rng, derive
from genloom.data.thesaurus import Thesaurus, open_thesaurus
from genloom.data.units import units
from genloom.data.vocabulary import BOS, EOS, FIRST, PAD, Vocabulary


class AugmentConfig(Settings):
    """How sources (of pairs), or whole texts, are changed each time they are seen; 0: not."""

    swap: float = setting(0.0, "Share of words that change places with the next one.", unit="share", ge=0, le=1)
    drop: float = setting(0.0, "Share of words that are left out.", unit="share", ge=0, lt=1)
    synonyms: float = setting(0.0, "Share of words replaced by a synonym.", unit="share", ge=0, le=1)
    noise: float = setting(0.0, "Share of tokens replaced by any other.", unit="share", ge=0, lt=1)
    thesaurus: str = setting(
        "wordnet",
        "Where synonyms come from: wordnet (English; where its data are installed), a file with a word and its "
        "synonyms on each line, or a run, of whose embeddings the nearest words are taken.",
    )

    @property
    def active(self) -> bool:
        return any((self.swap, self.drop, self.synonyms, self.noise))

    @property
    def words(self) -> bool:
        """Whether words change, and not single tokens only."""
        return any((self.swap, self.drop, self.synonyms))


@cache
def _open(name: str) -> Thesaurus:
    return open_thesaurus(name)


def changed(text: str, config: AugmentConfig, draw: np.random.Generator) -> str:
    """The text with words changed. Signs and what stands between words stay where they are; a text keeps at least one
    word. Raises InputError where the thesaurus is not there."""
    spans = [m.span() for m in units().finditer(text) if text[m.start()].isalnum()]
    if not spans:
        return text
    words: list[str | None] = [text[a:b] for a, b in spans]
    between = [text[a:b] for a, b in zip([0, *(e for _, e in spans)], [*(b for b, _ in spans), len(text)], strict=True)]
    if config.synonyms:
        words = _replaced(words, _open(config.thesaurus), config.synonyms, draw)
    if config.swap:
        for i in np.flatnonzero(draw.random(len(words) - 1) < config.swap).tolist() if len(words) > 1 else []:
            words[i], words[i + 1] = words[i + 1], words[i]
    if config.drop:
        out = draw.random(len(words)) < config.drop
        if out.all():
            out[draw.integers(len(words))] = False
        words = [None if gone else w for w, gone in zip(words, out.tolist(), strict=True)]
    joined = between[0]
    for word, after in zip(words, between[1:], strict=True):
        joined = joined + word + after if word is not None else _closed(joined, after)
    return joined.strip()


def changed_ids(x: Tensor, config: AugmentConfig, vocabulary: Vocabulary, rng: Rng) -> Tensor:
    """Rows x [B, T] of texts or sources (bos where it stood, contents, eos, pad) with their contents changed; none is
    longer than T."""
    if not config.active:
        return x
    draw, rows = np.random.Generator(np.random.PCG64(derive(rng.seed, "words", rng.step))), []
    for row in x.numpy():
        begun = row[:1][row[:1] == BOS]
        ids = row[(row != PAD) & (row != BOS) & (row != EOS)]
        if config.words:
            ids = vocabulary.encode(changed(vocabulary.decode(ids), config, draw))
        ids = np.where(draw.random(len(ids)) < config.noise, draw.integers(FIRST, vocabulary.size, len(ids)), ids)
        rows.append(torch.from_numpy(np.concatenate([begun, ids[: x.shape[1] - 1 - len(begun)], [EOS]])))
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)


def _closed(before: str, after: str) -> str:
    """What stands around a word that is left out, with one space where there were two."""
    return before + (after.lstrip() if not before or before[-1].isspace() else after)


def _replaced(
    words: Sequence[str | None], thesaurus: Thesaurus, share: float, draw: np.random.Generator
) -> list[str | None]:
    out = list(words)
    for i in np.flatnonzero(draw.random(len(out)) < share).tolist():
        word = out[i]
        others = thesaurus(str(word).lower())
        if others:
            chosen = others[int(draw.integers(len(others)))]
            out[i] = chosen.capitalize() if str(word)[0].isupper() else chosen
    return out


def check(config: AugmentConfig, windowed: bool) -> None:
    """Raise InputError for what cannot be changed. windowed: texts are read in windows that go across their ends."""
    if windowed and config.active:
        raise InputError(
            "modality.augment changes the sources of pairs, or whole texts; this model reads texts without sources in "
            "windows across their ends: leave it out"
        )
    if config.synonyms:
        _open(config.thesaurus)


def augmented(prepared: Any, window: object) -> Callable[[Batch, Rng], Batch]:
    """What changes a batch of prepared data before it is trained on: its sources where it has them, else the examples.
    window: as Family.window. Raises InputError for what cannot be changed."""
    modality, source = prepared.modality, prepared.source
    asked = getattr(modality.config, "augment", None)
    if isinstance(asked, AugmentConfig):
        check(asked, windowed=source is None and window is not None)
    if source is None:
        return lambda batch, rng: batch.with_x(modality.augment(batch.x, rng))

    def change(batch: Batch, rng: Rng) -> Batch:
        if batch.condition.source is None:
            return batch
        return replace(batch, condition=replace(batch.condition, source=source.augment(batch.condition.source, rng)))

    return change
