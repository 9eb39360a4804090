"""Translations, summaries and replies beside what people wrote for the same sources."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genloom.core.batch import Condition
from genloom.core.modality import Sequential
from genloom.core.rng import derive
from genloom.core.spec import Tokens
from genloom.core.tasks import decoding
from genloom.data.sequences import Sequences
from genloom.evaluate.contracts import Data, Generator
from genloom.evaluate.evaluation import Evaluation, Figure, Measured, figure_of
from genloom.evaluate.passages import decoded, held_out, tokens_of
from genloom.evaluate.shared import NOTHING_HELD
from genloom.metrics.intervals import normal_interval
from genloom.metrics.references import Nearness, rouge_scores, translation_scores

MOST = 1000  # sources that are followed
SHOWN = 8  # of the best and of the worst, each
NAMES = ("bleu", "chrf", "ter", "rouge_1", "rouge_2", "rouge_l")
FLOORS = {
    "translate": "the source itself, as it is",
    "summarise": "the first sentence of the document",
    "chat": "the reply to something else, drawn from the training data",
}


def with_task(
    evaluation: Evaluation, generator: Generator, data: Data, *, seed: int, notify: Callable[[str], None]
) -> Evaluation:
    """The evaluation with the figures of the task before the others, and its best and worst outputs.

    Of the first 1,000 held-out sources, decoded as the task is (core/tasks.py). The floor is a trivial answer; there is
    no ceiling, as each source has one reference only.
    """
    source, spec = data.condition.source, data.modality.spec
    assert source is not None and isinstance(spec, Tokens) and data.source is not None
    assert isinstance(data.modality, Sequential)
    held, splits = held_out(data, spec)
    n = min(MOST, len(held))
    if n < 2 or held.conditions is None:
        empty = [figure_of(name, None, None, None, (0, 0), "", NOTHING_HELD) for name in NAMES]
        return replace(evaluation, figures=(*empty, *evaluation.figures))
    sources = held.conditions.sources(np.arange(n))
    assert sources is not None
    references = [str(decoded(held, data.modality, i)) for i in range(n)]
    texts = [str(data.source.decode(s)) for s in sources]
    options = decoding(source.task)
    notify(f"following {n} held-out sources ({', '.join(f'{k}={v:g}' for k, v in options.items())})")
    begin = time.perf_counter()
    outputs = follow(generator, data, sources, options, seed)
    seconds = time.perf_counter() - begin
    plain = trivial(source.task, texts, tokens_of(data.train, spec), data, seed)
    units = data.modality.units
    scored = {**translation_scores(outputs, references), **rouge_scores(outputs, references, units)}
    floor = {**translation_scores(plain, references), **rouge_scores(plain, references, units)}
    figures = [_figure(name, scored[name], floor[name], n, FLOORS[source.task]) for name in NAMES]
    return replace(
        evaluation,
        figures=(*figures, *evaluation.figures),
        task={
            "name": source.task, "n": n, "splits": list(splits), "options": options, "baseline": FLOORS[source.task],
            "signatures": {k: v.signature for k, v in scored.items()},
            "seconds": round(seconds, 2), "per_second": round(n / max(seconds, 1e-9), 1),
            **extremes(texts, references, outputs, scored["chrf"]),
        },
    )  # fmt: skip


def follow(generator: Generator, data: Data, sources: Tensor, options: dict[str, Any], seed: int) -> list[str]:
    """What follows from each source [n, S]; those of like length are decoded together."""
    spec = data.condition.source
    assert spec is not None
    lengths = (sources != spec.pad).sum(1)
    order = torch.argsort(lengths, stable=True)
    out = [""] * len(sources)
    x, _ = generator.sample_tensor(len(sources), seed=seed, given=Condition(source=sources[order]), options=options)
    for i, row in zip(order.tolist(), x, strict=True):
        out[i] = str(data.modality.decode(row))
    return out


def trivial(task: str, sources: Sequence[str], train: Sequences, data: Data, seed: int) -> list[str]:
    """What no skill answers to each source: FLOORS."""
    if task == "translate":
        return list(sources)
    if task == "summarise":
        return [first_sentence(s) for s in sources]
    rows = np.random.Generator(np.random.PCG64(derive(seed, "replies"))).integers(len(train), size=len(sources))
    return [str(decoded(train, data.modality, i)) for i in rows.tolist()]


def first_sentence(text: str) -> str:
    """Up to the end of the first line or sentence, whichever comes first."""
    line = next((part for part in text.splitlines() if part.strip()), "").strip()
    ended = re.match(r".*?(?:[.!?]['\")\]]*(?=\s)|[。！？])", line)
    return ended[0] if ended else line


def extremes(
    sources: Sequence[str], references: Sequence[str], outputs: Sequence[str], scored: Nearness
) -> dict[str, list[dict[str, Any]]]:
    """The outputs nearest to and furthest from their references, with these and their sources."""
    order = np.argsort(scored.sentences, kind="stable")

    def rows(which: Sequence[int]) -> list[dict[str, Any]]:
        return [
            {"source": sources[i], "reference": references[i], "output": outputs[i],
             "chrf": round(float(scored.sentences[i]), 1)}
            for i in which
        ]  # fmt: skip

    most = min(SHOWN, len(order) // 2)
    return {"worst": rows(order[:most].tolist()), "best": rows(order[::-1][:most].tolist())}


def _figure(name: str, own: Nearness, floor: Nearness, n: int, what: str) -> Figure:
    high = 1.0 if name.startswith("rouge") else 100.0

    def measured(s: Nearness) -> Measured:
        return s.value, normal_interval(s.value, s.error, low=0, high=float("inf") if name == "ter" else high)

    return figure_of(name, measured(own), None, measured(floor), (n, n), own.signature, f"no skill is {what}")
