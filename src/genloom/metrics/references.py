"""How near texts are to the references they should be: BLEU, chrF and TER by sacrebleu, ROUGE by rouge-score.

Shapes: `N` texts, each with one reference.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genloom.core.errors import InputError
from genloom.metrics.intervals import mean_error
from genloom.metrics.scripts import NAMES, scripts

Floats = NDArray[np.float64]
BLOCKS = 20  # of sentences that are left out in turn for an interval
ROUGE = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeL"}


@dataclass(frozen=True)
class Nearness:
    """A figure of N texts: of all together, its standard error, that of each text, and what it was computed with."""

    value: float
    error: float
    sentences: Floats
    signature: str


def tokenizer_for(references: Sequence[str]) -> str:
    """How sacrebleu divides text for BLEU: characters of Chinese ("zh") and Japanese ("char"), else "13a"."""
    found = dict(zip(NAMES, scripts("".join(references)).tolist(), strict=True))
    kana = found["kana"]
    if 3 * (kana + found["Chinese"]) < sum(found.values()):
        return "13a"
    return "char" if kana else "zh"


def translation_scores(texts: Sequence[str], references: Sequence[str]) -> dict[str, Nearness]:
    """bleu (Papineni et al. 2002), chrf (chrF2, Popović 2015) and ter (Snover et al. 2006), all of 100.

    Raises InputError without the package.
    """
    try:
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF
        from sacrebleu.metrics.ter import TER
    except ModuleNotFoundError:
        raise InputError("BLEU, chrF and TER need: pip install 'genloom[text]'") from None
    tokenize = tokenizer_for(references)
    cjk = tokenize != "13a"
    made: dict[str, tuple[Any, Any]] = {
        "bleu": (BLEU(tokenize=tokenize), BLEU(tokenize=tokenize, effective_order=True)),
        "chrf": (CHRF(), CHRF()),
        "ter": (TER(asian_support=cjk, normalized=cjk), TER(asian_support=cjk, normalized=cjk)),
    }
    out = {}
    for name, (corpus, single) in made.items():
        found = [single.sentence_score(t, [r]) for t, r in zip(texts, references, strict=True)]
        value = float(corpus.corpus_score(list(texts), [list(references)]).score)
        if name == "ter":
            error = _ratio_error([s.num_edits for s in found], [s.ref_length for s in found])
        else:
            error = _block_error(corpus, texts, references)
        out[name] = Nearness(value, error, np.array([s.score for s in found]), str(corpus.get_signature()))
    return out


def rouge_scores(
    texts: Sequence[str], references: Sequence[str], units: Callable[[str], list[str]]
) -> dict[str, Nearness]:
    """rouge_1, rouge_2, rouge_l (Lin 2004): mean F1 of single words, pairs of words, the longest common subsequence;
    shares. English words are stemmed; other languages are divided by `units`.

    Raises InputError without the package.
    """
    try:
        from importlib.metadata import version

        from rouge_score.rouge_scorer import RougeScorer
    except ModuleNotFoundError:
        raise InputError("ROUGE needs: pip install 'genloom[text]'") from None
    english = _english(references)
    scorer = RougeScorer(list(ROUGE.values()), use_stemmer=True) if english else RougeScorer(
        list(ROUGE.values()), tokenizer=_Units(units)
    )  # fmt: skip
    found = [scorer.score(r, t) for t, r in zip(texts, references, strict=True)]
    signature = f"rouge-score {version('rouge-score')}, {'stemmed words' if english else 'words'}, F1"
    out = {}
    for name, key in ROUGE.items():
        scores = np.array([s[key].fmeasure for s in found])
        out[name] = Nearness(float(scores.mean()), mean_error(scores) if len(scores) > 1 else 0.0, scores, signature)
    return out


class _Units:
    """The tokenizer of rouge-score for scripts that it would pass over."""

    def __init__(self, units: Callable[[str], list[str]]) -> None:
        self.units = units

    def tokenize(self, text: str) -> list[str]:
        return [u.casefold() for u in self.units(text) if u[0].isalnum()]


def _english(references: Sequence[str]) -> bool:
    """Whether nearly all letters are those of English, which is all that the package's own tokenizer keeps."""
    letters = [c for r in references for c in r if c.isalpha()]
    return sum(c.isascii() for c in letters) > 0.995 * len(letters)


def _block_error(metric: Any, texts: Sequence[str], references: Sequence[str]) -> float:
    """Standard error of a corpus score by leaving out one of 20 blocks of sentences at a time (Kuensch 1989)."""
    blocks = min(BLOCKS, len(texts))
    if blocks < 2:
        return 0.0
    values = []
    for b in range(blocks):
        keep = [i for i in range(len(texts)) if i % blocks != b]
        values.append(float(metric.corpus_score([texts[i] for i in keep], [[references[i] for i in keep]]).score))
    spread = np.square(np.array(values) - np.mean(values)).sum()
    return float(math.sqrt((blocks - 1) / blocks * spread))


def _ratio_error(above: Sequence[float], below: Sequence[float]) -> float:
    """Standard error of 100 * sum(above) / sum(below), linearised."""
    a, b = np.asarray(above, np.float64), np.asarray(below, np.float64)
    if len(a) < 2 or not b.sum():
        return 0.0
    rest = a - a.sum() / b.sum() * b
    return float(100 * math.sqrt(len(a) / (len(a) - 1) * (rest**2).sum()) / b.sum())
