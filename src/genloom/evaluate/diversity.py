"""Quality against diversity of models of sequences: BLEU against self-BLEU from tame temperatures to wild.

A single temperature compares nothing: a lower one always buys quality with diversity. The curve does, and shows a
family's `contrasts`, such as what an adversarial training began from, beside the model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from genloom.core.modality import Modality, Sequential
from genloom.core.rng import derive
from genloom.core.spec import Tokens
from genloom.evaluate.contracts import Data, Generator
from genloom.evaluate.passages import drawn, from_rows, held_out, tokens_of, units_of
from genloom.metrics.intervals import mean_error
from genloom.metrics.ngrams import bleu, numbered, self_bleu
from genloom.metrics.tradeoff import Curve, advantage

TEMPERATURES = (0.5, 0.7, 0.85, 1.0, 1.15, 1.3)
ORDERS = (2, 3, 4, 5)
SAMPLES, LEAST, REFERENCES = 500, 50, 5_000  # samples a point, fewest, held-out examples
MOST_TOKENS = 60_000  # of a point
MODEL = "the model"


@dataclass(frozen=True)
class Point:
    """One temperature (None: real data). bleu, error, self_bleu: one value for each of ORDERS; error: standard."""

    temperature: float | None
    bleu: tuple[float, ...]
    error: tuple[float, ...]
    self_bleu: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "temperature": self.temperature,
            "bleu": [round(v, 5) for v in self.bleu],
            "bleu_error": [round(v, 5) for v in self.error],
            "self_bleu": [round(v, 5) for v in self.self_bleu],
        }


def diversity_of(
    generator: Generator, data: Data, *, seed: int = 0, notify: Callable[[str], None] = lambda _: None
) -> dict[str, Any] | None:
    """The curves as JSON; None for what has no temperature, and for streams and long documents, whose sampling would
    take too long.

    Keys: orders, temperatures, n (samples a point), references, curves [{name, points}], real (training examples in
    place of samples), comparisons [{name, order, difference, error}] of the model with each contrast, and sentence,
    which says plainly which is better.
    """
    spec, modality = data.modality.spec, data.modality
    if not isinstance(spec, Tokens) or spec.stream or not isinstance(modality, Sequential):
        return None
    if "temperature" not in generator.family.Options.model_fields:
        return None
    held, _ = held_out(data, spec)
    train = tokens_of(data.train, spec)
    mean = max(1, train.total // max(1, len(train)))
    n = min(SAMPLES, MOST_TOKENS // mean, len(train))
    if n < LEAST:
        return None
    references = units_of(drawn(held, REFERENCES, derive(seed, "reference")), modality)
    real = units_of(drawn(train, n, derive(seed, "diversity")), modality)
    curves: dict[str, list[Point]] = {}
    for name, options in {MODEL: {}, **generator.family.contrasts}.items():
        notify(f"quality against diversity of {name}: {n} samples at each of {len(TEMPERATURES)} temperatures")
        curves[name] = sweep(generator, spec, modality, references, n, options=options, seed=seed)
    comparisons = [
        {"name": name, **compared}
        for name, points in curves.items()
        if name != MODEL
        for compared in compare(curves[MODEL], points)
    ]
    return {
        "orders": list(ORDERS),
        "temperatures": list(TEMPERATURES),
        "n": n,
        "references": len(references),
        "curves": [{"name": name, "points": [p.to_json() for p in points]} for name, points in curves.items()],
        "real": point(None, real, references).to_json(),
        "comparisons": comparisons,
        "sentence": " ".join(verdict(name, comparisons) for name in curves if name != MODEL),
    }


def sweep(
    generator: Generator,
    spec: Tokens,
    modality: Modality[Any],
    references: Sequence[Sequence[str]],
    n: int,
    *,
    options: Any = None,
    seed: int = 0,
    temperatures: Iterable[float] = TEMPERATURES,
) -> list[Point]:
    """A point at each temperature, of n samples with the options given, against the units of references."""
    points = []
    for temperature in temperatures:
        chosen = {**(options or {}), "temperature": temperature}
        x, _ = generator.sample_tensor(n, seed=derive(seed, "diversity") % 2**31, options=chosen)
        points.append(point(temperature, units_of(from_rows(x, spec), modality), references))
    return points


def point(temperature: float | None, own: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> Point:
    """BLEU of samples against references as one set, and self-BLEU against one another; means over the samples."""
    mine, real = numbered(own, references)
    against, among = bleu(mine, real), self_bleu(mine)
    scores = [against.sentences(order) for order in ORDERS]
    return Point(
        temperature,
        tuple(float(s.mean()) for s in scores),
        tuple(mean_error(s) for s in scores),
        tuple(float(among.sentences(order).mean()) for order in ORDERS),
    )


def curve(points: Sequence[Point], order: int) -> Curve:
    k = ORDERS.index(order)
    return Curve(*(np.array([getattr(p, key)[k] for p in points]) for key in ("self_bleu", "bleu", "error")))


def compare(own: Sequence[Point], other: Sequence[Point]) -> list[dict[str, Any]]:
    """For each order how much higher BLEU is at equal self-BLEU, and its standard error; None: nothing in common."""
    out = []
    for order in ORDERS:
        found = advantage(curve(own, order), curve(other, order))
        difference, error = (None, None) if found is None else (round(found[0], 5), round(found[1], 5))
        out.append({"order": order, "difference": difference, "error": error})
    return out


def verdict(name: str, comparisons: Sequence[dict[str, Any]]) -> str:
    """One sentence on whether the model beats a contrast: by more than two standard errors, or not at all."""
    mine = [c for c in comparisons if c["name"] == name and c["difference"] is not None]
    if not mine:
        return f"At no diversity can the model be compared with {name}: their self-BLEU has no range in common."
    said = ", ".join(f"BLEU-{c['order']} {c['difference']:+.3f}" for c in mine)
    signs = [0 if abs(c["difference"]) < 2 * c["error"] else math.copysign(1, c["difference"]) for c in mine]
    if all(s > 0 for s in signs):
        return f"At equal diversity the model is better than {name}: {said}."
    if all(s < 0 for s in signs):
        return f"At equal diversity the model is worse than {name}: {said}."
    if not any(signs):
        return f"At equal diversity the model is no better than {name}, the differences are within the noise: {said}."
    what = "better in some figures and worse in others" if min(signs) < 0 < max(signs) else "better in some figures"
    what = what if max(signs) > 0 else "worse in some figures"
    return f"At equal diversity the model is {what}, beside {name}: {said}."
