"""Speed of the n-gram figures on 10,000 captions against 10,000 others, and agreement with nltk and sacrebleu.

    python benchmarks/text_metrics.py --data FOLDER

FOLDER (by default texygen in GENLOOM_DATA) holds Texygen's image_coco.txt and test_coco.txt. nltk and sacrebleu, which
take hours for all, score the first captions only; their time for all is extrapolated. Times are CPU seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from records import keep, machine

from genloom.metrics.ngrams import (
    Units,
    bleu,
    distinct,
    length_distance,
    longest_loop,
    numbered,
    repetition,
    self_bleu,
    unseen,
)
from genloom.metrics.verbatim import Text

ORDERS = (2, 3, 4, 5)


def timed(seconds: dict[str, float], name: str, work: Callable[[], Any]) -> Any:
    begin = time.process_time()
    result = work()
    seconds[name] = round(time.process_time() - begin, 3)
    return result


def figures(samples: list[list[str]], references: list[list[str]]) -> dict[str, Any]:
    """All n-gram figures of the samples, with the references as held-out and as training data."""
    seconds: dict[str, float] = {}
    s, r = timed(seconds, "numbering", lambda: numbered(samples, references))
    against = timed(seconds, "bleu", lambda: bleu(s, r))
    among = timed(seconds, "self_bleu", lambda: self_bleu(s))
    variety = timed(seconds, "distinct", lambda: distinct(s))
    repeated = timed(seconds, "repetition", lambda: repetition(s))
    loops = timed(seconds, "longest_loop", lambda: longest_loop(s))
    runs = timed(seconds, "longest_verbatim", lambda: verbatim(s, r))
    new, units = timed(seconds, "novel_words", lambda: unseen(s, np.unique(r.ids)))
    distance = timed(seconds, "length_distance", lambda: length_distance(s.lengths, r.lengths))
    return {
        "seconds": {**seconds, "all": round(sum(seconds.values()), 3)},
        "bleu (mean of sentences)": {n: round(float(against.sentences(n).mean()), 6) for n in ORDERS},
        "bleu (corpus)": {n: round(against.corpus(n), 6) for n in ORDERS},
        "self_bleu (mean of sentences)": {n: round(float(among.sentences(n).mean()), 6) for n in ORDERS},
        "distinct": {n: round(v.value, 6) for n, v in enumerate(variety, 1)},
        "repetition": round(float(repeated.mean()), 6),
        "longest_loop": int(loops.max()),
        "longest_verbatim": {"median": float(np.median(runs)), "most": int(runs.max())},
        "novel_words": round(float(new.sum() / units.sum()), 6),
        "length_distance": round(distance, 6),
    }


def verbatim(samples: Units, train: Units) -> Any:
    vocab = int(max(samples.ids.max(), train.ids.max())) + 1
    return Text(train.ids, vocab, train.starts).runs(samples.ids, samples.starts).length


def beside_nltk(samples: list[list[str]], references: list[list[str]], first: int) -> dict[str, Any]:
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    smooth = SmoothingFunction().method1
    begin = time.process_time()
    theirs = [[sentence_bleu(references, s, [1 / n] * n, smooth) for n in ORDERS] for s in samples[:first]]
    spent = time.process_time() - begin
    ours = bleu(*numbered(samples[:first], references))
    apart = max(float(np.abs(ours.sentences(n) - np.array(theirs)[:, i]).max()) for i, n in enumerate(ORDERS))
    others = [references[k] for k in range(min(first, len(references)))]
    pairs = self_bleu(*numbered(others))
    self_apart = max(
        abs(sentence_bleu(others[:i] + others[i + 1 :], s, [1 / n] * n, smooth) - pairs.sentences(n)[i])
        for i, s in enumerate(others)
        for n in ORDERS
    )
    return {
        "samples": first,
        "references": len(references),
        "largest difference": apart,
        "largest difference, self-BLEU": self_apart,
        "seconds": round(spent, 2),
        "seconds for all, extrapolated": round(spent / first * len(samples)),
    }


def beside_sacrebleu(samples: list[list[str]], references: list[list[str]], first: int) -> dict[str, Any]:
    from sacrebleu.metrics import BLEU

    ours, apart = bleu(*numbered(samples[:first], references)), 0.0
    lines = [" ".join(s) for s in samples[:first]]
    streams = [[" ".join(r)] * first for r in references]
    begin = time.process_time()
    for n in ORDERS:
        judge = BLEU(tokenize="none", smooth_method="none", max_ngram_order=n, force=True)
        apart = max(apart, abs(judge.corpus_score(lines, streams).score / 100 - ours.corpus(n)))
    spent = time.process_time() - begin
    return {
        "samples": first,
        "references": len(references),
        "largest difference": apart,
        "seconds": round(spent, 2),
        "seconds for all, extrapolated": round(spent / first * len(samples)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("GENLOOM_DATA", ".")) / "texygen")
    parser.add_argument("--first", type=int, default=20, help="captions that nltk and sacrebleu score")
    arguments = parser.parse_args()
    if not (arguments.data / "image_coco.txt").is_file():
        sys.exit(f"{arguments.data} has no image_coco.txt; say where Texygen's captions are with --data")
    samples, references = (
        [line.split() for line in (arguments.data / name).read_text("utf-8").splitlines()]
        for name in ("image_coco.txt", "test_coco.txt")
    )
    document = {
        "samples": len(samples),
        "references": len(references),
        **figures(samples, references),
        "nltk": beside_nltk(samples, references, arguments.first),
        "sacrebleu": beside_sacrebleu(samples, references, arguments.first),
        "command": "python benchmarks/text_metrics.py --data texygen",
        **machine("nltk", "sacrebleu"),
    }
    print(json.dumps(document, indent=2))
    print(keep("text_metrics", document))


if __name__ == "__main__":
    main()
