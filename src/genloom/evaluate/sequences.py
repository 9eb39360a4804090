"""Quality figures of token sequences: likelihood, n-grams, copying, lengths, and distances in learnt features."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from genloom.core.errors import InputError
from genloom.core.modality import Modality, Sequential
from genloom.core.rng import derive
from genloom.core.spec import Tokens, check_batch
from genloom.data.sequences import Sequences
from genloom.evaluate.contracts import Data, FeatureSpace, Generator
from genloom.evaluate.copying import Training, most_alike
from genloom.evaluate.evaluation import Evaluation, Figure, Measured, figure_of
from genloom.evaluate.features import features_of
from genloom.evaluate.kinds import SEQUENCE_KINDS
from genloom.evaluate.likelihoods import Likelihoods, likelihoods
from genloom.evaluate.own import OwnSides, of_sequences, own_figures
from genloom.evaluate.passages import (
    contents,
    drawn,
    from_rows,
    held_out,
    known_units,
    pieces,
    tokens_of,
    units_of,
)
from genloom.evaluate.shared import (
    LEAST_TEST,
    MOST_REFERENCE,
    MOST_SAMPLES,
    NOTHING_HELD,
    default_number,
    describe,
    distances,
    notices_on,
    too_small,
)
from genloom.metrics.intervals import block_jackknife, mean_error, normal_interval
from genloom.metrics.ngrams import (
    Share,
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

STREAM_SAMPLES = 128  # samples of a stream, of usually 1,024 tokens each
MOST_TOKENS = 500_000  # tokens of all samples together, unless more are asked for
LEAST_PIECES = 20  # pieces that a held-out stream is cut into at least
FEATURE_PIECE = 128  # tokens of a stream that have features together
SELF_ORDER, REPEATED = 4, 4
COUNTED = "counts of units: words of spaced scripts, else characters"
SEARCHED = "all passages of the training data"


def evaluate_sequences(
    generator: Generator, data: Data, space: FeatureSpace, *, n: int | None, seed: int, notify: Callable[[str], None]
) -> Evaluation:
    """Draw n samples and judge them, and the model's likelihood of held-out data. n None: as many as `usual_number`."""
    spec = data.modality.spec
    assert isinstance(spec, Tokens)
    count = n if n is not None else usual_number(data, spec)
    scored = likelihoods(generator.family, data, notify)
    notify(f"drawing {count} samples")
    x, _ = generator.sample_tensor(count, seed=seed)
    notify("measuring")
    return judge_sequences(x, data, space, seed=seed, scored=scored)


def usual_number(data: Data, spec: Tokens) -> int:
    """Samples to judge: of a stream as many as the held-out text would make, at most 128; of documents as many as are
    held out (500 to 5,000, at most as many as train), but at most 500,000 tokens."""
    held, _ = held_out(data, spec)
    if spec.stream:
        return max(16, min(STREAM_SAMPLES, held.total // spec.length))
    train = tokens_of(data.train, spec)
    mean = max(1, train.total // max(1, len(train)))
    return max(2, min(default_number(len(train), len(held)), MOST_SAMPLES, max(LEAST_TEST, MOST_TOKENS // mean)))


def judge_sequences(
    x: Tensor, data: Data, space: FeatureSpace, *, seed: int = 0, scored: Likelihoods | None = None
) -> Evaluation:
    """The figures of samples x [N, T] as the spec says. The reference is what is held out; of a stream it and the
    samples are cut into pieces of equal length. scored: figures that go before the others.

    Where nothing is held out, figures that need a reference say so. Raises InputError when x does not have the spec's
    form.
    """
    begin = time.perf_counter()
    spec, modality = data.modality.spec, data.modality
    assert isinstance(spec, Tokens)
    check_batch(replace(spec, length=max(spec.length, x.shape[-1])), x)
    if not isinstance(modality, Sequential) or not len(x) or bool((x < 0).any() or (x >= spec.vocab).any()):
        raise InputError(f"samples to judge must be at least one sequence of tokens in 0 to {spec.vocab - 1}")
    held, splits = held_out(data, spec)
    train, samples = tokens_of(data.train, spec), from_rows(x, spec)
    if spec.stream:
        size = max(1, min(int(samples.lengths.max()), (held.total or train.total) // LEAST_PIECES))
        held, samples, real = pieces(held, size), pieces(samples, size), pieces(train, size)
    else:
        real = train
    if not len(samples):
        raise InputError("the samples are empty; there is nothing to judge")
    n = len(samples)
    reference = drawn(held, MOST_REFERENCE, derive(seed, "reference"))
    sides = {
        "samples": samples,
        "ceiling": drawn(real, n, derive(seed, "ceiling")),
        "floor": baseline(train, samples, seed),
        "held": drawn(held, n, derive(seed, "held")),
    }
    own_sides = OwnSides(
        **{name: of_sequences(s, modality) for name, s in sides.items()},
        reference=of_sequences(reference, modality), training=of_sequences(train, modality),
    )  # fmt: skip
    judged = _Judged.of(sides, reference, train, modality, space, seed)
    measured = {name: judged.measure(name) for name in sides}
    figures = list(scored.figures) if scored else []
    figures += [f for name in SEQUENCE_KINDS if (f := judged.figure(name, measured)) is not None]
    figures += own_figures(modality, own_sides)
    notices = notices_on(data, splits, len(reference), len(sides["ceiling"]), n)
    if spec.stream:
        few = [f"{len(reference)} held-out pieces are few: the figures are rough"] if len(reference) < 50 else []
        notices = few if splits else notices
    loop = int(longest_loop(judged.units["samples"]).max())
    return Evaluation(
        tuple(figures),
        data={"name": data.name, "digest": data.digest},
        features=describe(space),
        samples={"n": n, "seed": seed, "longest_loop": loop},
        reference={
            "splits": list(splits),
            "n": len(reference),
            "what": f"held-out pieces of {size:,} tokens" if spec.stream else "held-out examples",
            "real": "training data in place of samples, in the same number; for copying and novelty held-out data",
        },
        baseline="single tokens drawn in the proportions of the training split, lengths as in it; for likelihoods "
        "Kneser-Ney counts",
        notices=(*(scored.notices if scored else ()), *notices, *judged.training.notices),
        seconds=round(time.perf_counter() - begin, 2),
        passages=most_alike(samples, judged.training, modality),
    )


def baseline(train: Sequences, like: Sequences, seed: int) -> Sequences:
    """As many sequences as in `like`, of tokens drawn independently in the training split's proportions; documents of
    lengths drawn from it, pieces of a stream of the length of those in `like`."""
    spec = train.spec
    inside = contents(train)
    draw = np.random.Generator(np.random.PCG64(derive(seed, "floor")))
    lengths = like.lengths if spec.stream else inside.lengths[draw.integers(len(inside), size=len(like))]
    tokens = np.asarray(inside.tokens[draw.integers(max(1, inside.total), size=int(lengths.sum()))], dtype=np.int64)
    starts = np.cumsum([0, *lengths], dtype=np.int64)
    if not spec.stream:
        tokens = np.insert(tokens, np.repeat(starts[1:], 1), spec.eos)
        starts = starts + np.arange(len(starts))
        tokens = np.insert(tokens, starts[:-1], spec.bos)
        starts = starts + np.arange(len(starts))
    return Sequences(spec, tokens, starts, None, list)


@dataclass(frozen=True)
class _Judged:
    """What the figures are made of, each for every side."""

    units: dict[str, Units]
    known: Any  # numbers of the units of the training split
    features: dict[str, Any]
    sequences: dict[str, Sequences]
    training: Training
    width: int
    space: FeatureSpace
    documents: bool

    @classmethod
    def of(
        cls,
        sides: dict[str, Sequences],
        reference: Sequences,
        train: Sequences,
        modality: Modality[Any],
        space: FeatureSpace,
        seed: int,
    ) -> _Judged:
        every = {**sides, "reference": reference}
        spoken = [units_of(s, modality) for s in every.values()]
        *numbers, known = numbered(*spoken, [sorted(known_units(train, modality))])
        features = {name: _features(s, space, seed) for name, s in every.items() if name != "held"}
        return cls(
            dict(zip(every, numbers, strict=True)),
            known.ids,
            features,
            every,
            Training.of(train, modality),
            space.width,
            space,
            not train.spec.stream,
        )

    def measure(self, side: str) -> dict[str, Measured]:
        """All figures of one side; the slow intervals of samples only."""
        units, reference, own = self.units[side], self.units["reference"], side == "samples"
        out: dict[str, Measured] = {}
        if side in ("samples", "floor", "held") and len(units):
            out |= self._against_training(side)
        if side == "held":
            return out
        if len(reference):
            scores = bleu(units, reference)
            for order in range(2, 6):
                out[f"bleu_{order}"] = _mean(scores.sentences(order), 1.0)
        if len(units) > 1:
            out["self_bleu"] = _mean(self_bleu(units, SELF_ORDER).sentences(SELF_ORDER), 1.0)
        for order, share in enumerate(distinct(units), 1):
            if not math.isnan(share.value):
                out[f"distinct_{order}"] = _share(share)
        out["repetition"] = _mean(repetition(units, REPEATED), 1.0)
        if self.documents and len(reference):
            a, b = units.lengths.astype(np.float64), reference.lengths.astype(np.float64)
            error = block_jackknife(length_distance, a, b) if own and min(len(a), len(b)) > 1 else 0.0
            value = length_distance(a, b)
            out["length_distance"] = value, normal_interval(value, error, low=0)
        features, real = self.features[side], self.features["reference"]
        able = [f for f in ("frechet", "kernel") if not too_small(f, len(features), len(real), self.width)]
        return out | distances(features, real, able, own)

    def _against_training(self, side: str) -> dict[str, Measured]:
        lengths = self.training.longest(self.sequences[side])
        new, every = unseen(self.units[side], self.known)
        value = float(new.sum() / max(1, every.sum()))
        error = math.sqrt(float(((new - value * every) ** 2).sum())) / max(1, int(every.sum()))
        return {
            "longest_verbatim": _median(lengths),
            "longest_verbatim_most": (float(lengths.max()), None),
            "novel_words": (value, normal_interval(value, error, low=0, high=1)),
        }

    def figure(self, name: str, measured: dict[str, dict[str, Measured]]) -> Figure | None:
        """The figure of the samples between those of the references; None for one that does not apply."""
        copying = name in ("longest_verbatim", "longest_verbatim_most", "novel_words")
        own, floor = measured["samples"].get(name), measured["floor"].get(name)
        real = measured["held" if copying else "ceiling"].get(name)
        n, reference, what = len(self.units["samples"]), len(self.units["reference"]), COUNTED
        unit = note = ""
        if name in ("frechet", "kernel"):
            n, reference, what = len(self.features["samples"]), len(self.features["reference"]), self.space.name
            note = too_small(name, n, reference, self.width)
        elif own is None:
            if reference or not (name.startswith("bleu") or (name == "length_distance" and self.documents)):
                return None
            note = NOTHING_HELD
        elif name.startswith("longest"):
            what, unit, reference = SEARCHED, self.training.unit, self.training.examples
            note = "" if name.endswith("verbatim") else "no interval: the longest of more samples is longer"
            note = note or ("" if real else f"no ceiling: {NOTHING_HELD}")
        elif name == "novel_words":
            reference, note = self.training.examples, "" if real else f"no ceiling: {NOTHING_HELD}"
        elif name.startswith("bleu"):
            note = "" if name != "bleu_2" else "mean of the samples; a run of a length that never matches counts 0.1"
        return figure_of(name, own, real, floor, (n, reference), what, note, unit)


def _features(s: Sequences, space: FeatureSpace, seed: int) -> Any:
    """[N, D] features of documents, or of pieces of a stream of at most 128 tokens."""
    if s.spec.stream:
        s = pieces(s, min(FEATURE_PIECE, int(s.lengths.min(initial=FEATURE_PIECE))))
    values, _ = features_of(space, s, limit=len(s), seed=derive(seed, "features"))
    return values.numpy()


def _mean(values: Any, high: float) -> Measured:
    value = float(values.mean())
    error = mean_error(values) if len(values) > 1 else 0.0
    return value, normal_interval(value, error, low=0, high=high)


def _share(share: Share) -> Measured:
    return share.value, normal_interval(share.value, share.error, low=0, high=1)


def _median(values: Any) -> Measured:
    """Median of values [N] with the interval that order statistics give (binomial, normal approximation)."""
    ordered, n = np.sort(values), len(values)
    reach = 1.96 * math.sqrt(n) / 2
    low, high = max(0, math.floor(n / 2 - reach)), min(n - 1, math.ceil(n / 2 + reach))
    return float(np.median(ordered)), (float(ordered[low]), float(ordered[high]))
