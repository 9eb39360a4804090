"""Does the generator copy its training data? What all kinds of data have in common: the verdict and its grounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genloom.core.batch import Batch
from genloom.core.device import device_of
from genloom.core.family import Family, HasLikelihood
from genloom.core.rng import Rng
from genloom.metrics.copying import Excess, Rank, excess, rank_test, separation
from genloom.metrics.intervals import wilson_interval

LEAST = 20  # samples, held-out and training examples without which nothing can be told
SHOWN = 8  # pairs
SOME, MOST = 0.05, 0.10  # p-value below which copying is told, and surely copied share from which it is the rule
ATTACKED = 256  # examples of each side in the membership attack

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Measure:
    """What one notion of nearness says."""

    space: str
    excess: Excess
    rank: Rank

    @classmethod
    def of(
        cls, space: str, samples: Scores, held_out: Scores, control: Scores | None, ratio: float, tries: int
    ) -> Measure:
        return cls(space, excess(samples, held_out, control, ratio, tries=tries), rank_test(samples, held_out))

    @classmethod
    def equal(
        cls, samples: NDArray[np.bool_], held_out: NDArray[np.bool_], control: NDArray[np.bool_], ratio: float
    ) -> Measure:
        """Of equality alone: arrays that are False where an example equals a training example (control: a held-out
        one). It is asked first, so it pays nothing for the comparisons that follow."""
        scores = [v.astype(np.float64) for v in (samples, held_out, control)]
        found = excess(scores[0], scores[1], scores[2], ratio, quantiles=(0.0,))
        return cls("equality", found, rank_test(scores[0], scores[1]))

    def to_json(self) -> dict[str, Any]:
        found, rank = asdict(self.excess), self.rank
        found["interval"] = list(self.excess.interval)
        return {
            "space": self.space,
            **found,
            "nearer": round(rank.share, 4),
            "z": round(rank.z, 2),
            "rank_p_value": rank.p_value,
        }


@dataclass(frozen=True)
class Pair:
    """A sample beside the training example it is nearest to. sample: its row among the samples; training: its index in
    the training split, origin: where that came from. distance: in the space; relative: to the distance of the k-th
    nearest training example. exact: nothing differs."""

    sample: int
    training: int
    origin: str
    space: str
    distance: float
    relative: float
    exact: bool


def not_tested(reason: str) -> dict[str, Any]:
    """The JSON of an audit that could not be made. reason: a clause such as "nothing is held out"."""
    return {
        "verdict": "not tested",
        "reason": reason,
        "rate": None,
        "interval": None,
        "p_value": None,
        "sentence": f"Copying was not tested: {reason}.",
        "compared": {},
        "exact": None,
        "measures": [],
        "membership": None,
        "pairs": [],
    }


def too_few(samples: int, training: int, held_out: int) -> str:
    """Why nothing can be told from so few, or an empty text."""
    if not held_out:
        return "the data has no held-out examples to tell copying from likeness; prepare it with data.test above 0"
    for n, what in ((training, "training examples"), (held_out, "held-out examples"), (samples, "samples")):
        if n < LEAST:
            return f"{n} {what} are too few, at least {LEAST} are needed"
    return ""


def conclude(
    measures: Sequence[Measure],
    exact: int,
    n: int,
    distinct: int,
    compared: dict[str, Any],
    pairs: Sequence[dict[str, Any]],
    membership: dict[str, Any] | None,
) -> dict[str, Any]:
    """The JSON of an audit of n samples, of which `distinct` differ from each other and `exact` equal a training
    example. The rate is that of the space in which copying is most certain.

    "copying": surely a tenth or more are copies. "some": surely more than none (p below 0.05 over all comparisons).
    """
    sure = wilson_interval(exact / n, n)
    equal = {"count": exact, "share": exact / n, "interval": list(sure)}
    base = {"compared": compared, "exact": equal, "membership": membership, "pairs": list(pairs)}
    collapsed = f"only {distinct:,} of {n:,} samples differ from each other" if distinct < n / 2 else ""
    if not measures:
        reason = f"{collapsed}, too few to compare"
        if exact < n / 2:
            return {**not_tested(reason), **base}
        sentence = f"This model copies: {exact:,} of {n:,} samples equal a training example, and {collapsed}."
        found = {"verdict": "copying", "reason": reason, "rate": exact / n, "interval": list(sure), "p_value": None}
        return {**found, "sentence": sentence, "measures": [], **base}
    head = max(measures, key=lambda m: (m.excess.interval[0], -m.excess.p_value)).excess
    low, high = head.interval
    certain = low > 0 and head.p_value < SOME
    verdict = "none" if not certain else "copying" if low >= MOST else "some"
    share = f"{_percent(head.rate)} (95% interval {_percent(low)} to {_percent(high)})"
    sentence = {
        "none": "No copying found: samples are no nearer to training examples than held-out examples are; at most "
        f"{_percent(high)} are nearer than those explain",
        "some": f"Some copying: {share} of the samples are nearer to a training example than held-out data explains",
        "copying": f"This model copies: {share} of the samples are nearer to a training example than held-out data "
        "explains",
    }[verdict]
    if exact:
        sentence += f"; {exact:,} of {n:,} equal one"
    if collapsed:
        sentence += f"; {collapsed}"
    return {
        "verdict": verdict,
        "reason": collapsed,
        "rate": head.rate,
        "interval": [low, high],
        "p_value": head.p_value,
        "sentence": sentence + ".",
        "measures": [m.to_json() for m in measures],
        **base,
    }


def _percent(share: float) -> str:
    return f"{share:.1%}" if share < 0.1 else f"{share:.0%}"


# -- membership ------------------------------------------------------------------------------


def losses(family: Family, batches: Sequence[Batch]) -> Scores:
    """[N] nats of each example of the batches, or of each of its tokens where x is a row of tokens."""
    assert isinstance(family, HasLikelihood)
    device = device_of(family)
    out = []
    with torch.no_grad():
        for batch in batches:
            nats = family.nll(batch.to(device), Rng(0, device=device)).double().cpu()
            tokens = (batch.x != family.spec.pad).sum(1) if hasattr(family.spec, "pad") else torch.ones(len(batch.x))
            out.append((nats / tokens.clamp(min=1)).numpy())
    return np.concatenate(out)


def membership(family: Family, train: Sequence[Batch], held_out: Sequence[Batch]) -> dict[str, Any] | None:
    """How well a threshold on the loss tells training examples from held-out ones: the area under the curve, 0.5 when
    not at all. None for families without a likelihood, or where it is not finite."""
    if not isinstance(family, HasLikelihood):
        return None
    mine, theirs = losses(family, train), losses(family, held_out)
    if min(len(mine), len(theirs)) < LEAST or not (np.isfinite(mine).all() and np.isfinite(theirs).all()):
        return None
    value, interval = separation(mine, theirs)
    return {"auc": value, "interval": list(interval), "training": len(mine), "held_out": len(theirs)}
