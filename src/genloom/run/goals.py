"""What samples are optimised for: a score between 0 and 1 of each, from wishes such as "qed" and "logp<5"."""

from __future__ import annotations

import importlib.util
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from genloom.core.config import unknown
from genloom.core.errors import GenloomError, InputError
from genloom.core.modality import HasScores, Score

SCORES = "genloom.scores"  # entry points of other packages: functions of one example
SIMILAR = "similarity"
_BOUND = re.compile(r"\s*([\w.-]+?)\s*(<=|>=|<|>)\s*(\S+)\s*")
_HOLDS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


@dataclass(frozen=True)
class Bound:
    """What must hold of a number, as in logp<5."""

    name: str
    sign: str
    value: float

    def holds(self, x: float) -> bool:
        return bool(_HOLDS[self.sign](x, self.value))

    def __str__(self) -> str:
        return f"{self.name}{self.sign}{self.value:g}"


@dataclass
class Goal:
    """Wishes together. The score of an example is the product of its parts: of a number to maximise how high it lies,
    of a bound 1 where it holds and less the further it is missed, the similarity as it is.

    scale: of numbers without limits, the mean and spread of the first ones measured, which a logistic curve maps to 0
    to 1.
    """

    scores: Mapping[str, Score]
    maximise: tuple[str, ...]
    minimise: tuple[str, ...]
    bounds: tuple[Bound, ...]
    scale: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """All numbers that are measured of an example."""
        return list(dict.fromkeys([*self.maximise, *self.minimise, *(b.name for b in self.bounds)]))

    def measure(self, example: Any) -> dict[str, float]:
        """Every number of `names`. Raises GenloomError naming the score that failed."""
        out = {}
        for name in self.names:
            try:
                out[name] = float(self.scores[name].measure(example))
            except Exception as e:  # of other people's code
                raise GenloomError(f"the score {name} failed on {example!r}: {type(e).__name__}: {e}") from None
        return out

    def fit(self, found: Sequence[Mapping[str, float]]) -> None:
        """Choose the scales from the first numbers measured."""
        for name in self.names:
            values = [f[name] for f in found if math.isfinite(f[name])]
            mean = sum(values) / len(values) if values else 0.0
            spread = math.sqrt(sum((v - mean) ** 2 for v in values) / len(values)) if values else 1.0
            self.scale[name] = mean, spread or 1.0

    def score(self, numbers: Mapping[str, float]) -> float:
        """0 to 1; 0 where a number cannot be told."""
        if not all(math.isfinite(v) for v in numbers.values()):
            return 0.0
        parts = [self._height(n, numbers[n], 1.0) for n in self.maximise]
        parts += [self._height(n, numbers[n], -1.0) for n in self.minimise]
        for bound in self.bounds:
            missed = 0.0 if bound.holds(numbers[bound.name]) else abs(numbers[bound.name] - bound.value)
            holds = bound.holds(numbers[bound.name])
            parts.append(1.0 if holds else 0.5 * math.exp(-missed / self.scale[bound.name][1]))
        return math.prod(parts)

    def _height(self, name: str, value: float, sign: float) -> float:
        low, high = self.scores[name].low, self.scores[name].high
        if math.isfinite(low) and math.isfinite(high):
            share = (value - low) / (high - low)
            return share if sign > 0 else 1 - share
        mean, spread = self.scale[name]
        return 1 / (1 + math.exp(-max(-50.0, min(50.0, sign * (value - mean) / spread))))

    def kept(self, numbers: Mapping[str, float]) -> bool:
        """Whether every bound holds."""
        return all(b.holds(numbers[b.name]) for b in self.bounds)


def goal_of(
    modality: Any,
    maximise: Sequence[str],
    minimise: Sequence[str] = (),
    keep: Sequence[str] = (),
    similar_to: str | None = None,
) -> Goal:
    """The goal that the wishes say. maximise, minimise: names of the modality's scores, of plug-ins, or
    "FILE.py:FUNCTION" of one example. Raises InputError for an unknown name and for a goal that nothing can reach."""
    if not isinstance(modality, HasScores):
        raise InputError(f"{type(modality).__name__.lower()} has no scores to optimise; molecules have")
    if not maximise and not minimise and not similar_to:
        raise InputError("say what to optimise: --maximise, --minimise or --similar-to")
    scores = dict(modality.scores())
    bounds = tuple(_bound(text) for text in keep)
    if similar_to:
        scores[SIMILAR] = Score("similarity to the example given", 0.0, 1.0, modality.similarity(similar_to))
        maximise = [*maximise, SIMILAR]
    for name in [*maximise, *minimise, *(b.name for b in bounds)]:
        if name not in scores:
            scores[name] = _plugin(name, scores)
    both = set(maximise) & set(minimise)
    if both:
        raise InputError(f"{min(both)} cannot be maximised and minimised at once")
    goal = Goal(scores, tuple(maximise), tuple(minimise), bounds)
    _check(goal)
    return goal


def _bound(text: str) -> Bound:
    match = _BOUND.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        return Bound(match[1], match[2], float(match[3]))
    except ValueError:
        raise InputError(f"--keep takes a name, a sign and a number, as in 'logp<5'; got {text!r}") from None


def _check(goal: Goal) -> None:
    """Raise InputError for bounds that no example can keep."""
    for b in goal.bounds:
        low, high = goal.scores[b.name].low, goal.scores[b.name].high
        if not (b.value > low or (b.sign == "<=" and b.value == low)) and b.sign[0] == "<":
            raise InputError(f"nothing can have {b}: {b.name} is never below {low:g}")
        if not (b.value < high or (b.sign == ">=" and b.value == high)) and b.sign[0] == ">":
            raise InputError(f"nothing can have {b}: {b.name} is never above {high:g}")
        for other in goal.bounds:
            if other.name == b.name and b.sign[0] == "<" and other.sign[0] == ">" and other.value >= b.value:
                raise InputError(f"nothing can have both {b} and {other}")


def _plugin(name: str, known: Mapping[str, Score]) -> Score:
    """The score of a file ("FILE.py:FUNCTION") or of an entry point. Raises InputError."""
    path, _, function = name.rpartition(":")
    if path.endswith(".py"):
        return Score(name, -math.inf, math.inf, _from_file(Path(path), function))
    found = {e.name: e for e in entry_points(group=SCORES)}
    if name not in found:
        raise InputError(unknown(name, [*known, *found], "score") + "; FILE.py:FUNCTION takes one of your own")
    return Score(name, -math.inf, math.inf, found[name].load())


def _from_file(path: Path, function: str) -> Callable[[Any], float]:
    spec = importlib.util.spec_from_file_location(path.stem, path) if path.is_file() else None
    if spec is None or spec.loader is None:
        raise InputError(f"there is no file {path} with a score")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as e:
        raise InputError(f"{path} cannot be run: {type(e).__name__}: {e}") from None
    measure: Any = getattr(module, function, None)
    if not callable(measure):
        raise InputError(f"{path} has no function {function}; its score is a function of one example")
    own: Callable[[Any], float] = measure
    return own
