"""Quality figures of samples, each between what real data gets and what no skill gets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from genloom.core.spec import Grid, Row, Tokens
from genloom.evaluate import sequences
from genloom.evaluate.audit_grids import Keep
from genloom.evaluate.audit_rows import audited
from genloom.evaluate.completion import completed
from genloom.evaluate.contracts import Data, FeatureSpace, Generator, Remembers
from genloom.evaluate.cost import Watched
from genloom.evaluate.diversity import diversity_of
from genloom.evaluate.evaluation import Evaluation
from genloom.evaluate.features import features_for
from genloom.evaluate.grids import as_written, judge_grids
from genloom.evaluate.rows import judge_rows
from genloom.evaluate.sequences import evaluate_sequences, judge_sequences
from genloom.evaluate.shared import Joined, default_number, reference_split
from genloom.evaluate.tasks import with_task

__all__ = ["Joined", "as_written", "default_number", "evaluate_samples", "judge", "reference_split", "usual_number"]


def evaluate_samples(
    generator: Generator,
    data: Data,
    *,
    n: int | None = None,
    seed: int = 0,
    space: FeatureSpace | None = None,
    notify: Callable[[str], None] = lambda _: None,
    keep: Keep = lambda _: None,
) -> Evaluation:
    """Draw n samples from a generator and judge them, look for copies of the training data, count groups, and time
    it. n None: `usual_number`. space: the features to judge in, by default those of the data. keep: given the worst
    pairs (sample, training example) of a grid, to be shown.

    Of sequences also the likelihood of held-out data, where the family can tell it. Rows of tables need no features.
    """
    spec = data.modality.spec
    generator = watched = Watched(generator)
    if isinstance(spec, Row):
        notify("drawing rows and measuring")
        generator.sample_tensor(n if n is not None else usual_number(data), seed=seed)
        assert watched.x is not None
        return audited(judge_rows(watched.x, data, seed=seed), watched, data, seed=seed, keep=keep)
    space = space if space is not None else features_for(data, notify=notify)
    if isinstance(spec, Tokens):
        evaluation = evaluate_sequences(generator, data, space, n=n, seed=seed, notify=notify)
        notify("looking for copies of the training data")
        evaluation = completed(evaluation, watched, data, space, seed=seed, keep=keep)
        if data.condition.source is not None and data.condition.source.task:
            return with_task(evaluation, watched.generator, data, seed=seed, notify=notify)
        return replace(evaluation, diversity=diversity_of(watched.generator, data, seed=seed, notify=notify))
    count = n if n is not None else usual_number(data)
    notify(f"drawing {count} samples")
    x, labels = generator.sample_tensor(count, seed=seed)
    honoured = "label" in generator.family.honours()
    notify("measuring")
    evaluation = judge(x, labels if honoured else None, data, space, seed=seed)
    notify("looking for copies of the training data")
    evaluation = completed(evaluation, watched, data, space, seed=seed, keep=keep)
    if isinstance(space, Remembers):
        space.save()
    return evaluation


def usual_number(data: Data) -> int:
    """Samples to judge where nobody says: as many as the data can be compared with, at most 5,000."""
    if isinstance(data.modality.spec, Tokens):
        return sequences.usual_number(data, data.modality.spec)
    return default_number(len(data.train), len(reference_split(data)[0]))


def judge(x: Tensor, labels: Tensor | None, data: Data, space: FeatureSpace, *, seed: int = 0) -> Evaluation:
    """The figures of samples x [N, ...] as the spec says, asked for with labels [N] (None: without a class).

    The reference is the test split, with the validation split where that alone is too small; where nothing is held out,
    figures that need a reference say so. Raises InputError when x does not have the spec's form or is not finite.
    """
    spec = data.modality.spec
    if isinstance(spec, Grid):
        return judge_grids(x, labels, data, space, seed=seed)
    if isinstance(spec, Tokens):
        return judge_sequences(x, data, space, seed=seed)
    return judge_rows(x, data, seed=seed)
