"""Figures of tables, on plain frames: columns of float64 are numbers (NaN where one is missing), all others text.

Shapes and trends are those of SDMetrics (column shapes: complement of the Kolmogorov-Smirnov or total variation
distance; pair trends: similarity of correlations or of contingency tables, numbers in ten bins). The classifier
two-sample test: Lopez-Paz and Oquab 2017. Alpha-precision and beta-recall: Alaa et al. 2022, "How faithful is your
synthetic data?", eq. 5 to 8. Usefulness: Esteban et al. 2017 (train on synthetic, test on real).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genloom.core.boosting import lightgbm
from genloom.metrics.copying import separation

if TYPE_CHECKING:
    import pandas as pd

FOLDS, TREES = 3, 100
SHOWN_LEVELS = 30  # of a category that have a feature of their own; the others share one
MOST_PAIRS = 1_000
CORRELATED, ASSOCIATED = 0.5, 0.3  # Pearson's correlation and Cramer's V from which a pair has to do with each other

Floats = NDArray[np.float64]
Interval = tuple[float, float]


def is_number(series: pd.Series) -> bool:
    return series.dtype == np.float64


# -- shapes and trends -------------------------------------------------------------------------------------------------


def column_shapes(real: pd.DataFrame, made: pd.DataFrame) -> dict[str, float]:
    """Of each column, 1 less how far the distributions are apart; numbers without the missing ones."""
    from scipy.stats import ks_2samp

    out = {}
    for name in real.columns:
        a, b = real[name], made[name]
        if is_number(a):
            a, b = a.dropna(), b.dropna()
            out[name] = float(1 - ks_2samp(a, b).statistic) if len(a) and len(b) else float("nan")
        else:
            shares = [s.value_counts(normalize=True) for s in (a, b)]
            out[name] = float(1 - shares[0].subtract(shares[1], fill_value=0).abs().sum() / 2)
    return out


def pair_trends(real: pd.DataFrame, made: pd.DataFrame, seed: int = 0) -> dict[tuple[str, str], float]:
    """Of each pair of columns that have to do with each other among real rows (as SDMetrics says it; of all where none
    have), how alike that is, 0 to 1. Of many pairs a part."""
    pairs = list(combinations(real.columns, 2))
    if len(pairs) > MOST_PAIRS:
        order = np.random.Generator(np.random.PCG64(seed)).permutation(len(pairs))[:MOST_PAIRS]
        pairs = [pairs[i] for i in sorted(order)]
    bins = [_binned(frame) for frame in (real, made)]
    every, strong = {}, set()
    for a, b in pairs:
        if is_number(real[a]) and is_number(real[b]):
            one, two = correlation(real, a, b), correlation(made, a, b)
            every[a, b], strength = 1 - abs(one - two) / 2, abs(one) / CORRELATED
        else:
            shares = [frame.groupby([a, b], observed=True).size() / len(frame) for frame in bins]
            every[a, b] = float(1 - shares[0].subtract(shares[1], fill_value=0).abs().sum() / 2)
            strength = _cramer(shares[0].unstack(fill_value=0).to_numpy() * len(real)) / ASSOCIATED
        if strength > 1:
            strong.add((a, b))
    return {pair: every[pair] for pair in pairs if pair in strong} if strong else every


def _cramer(counts: NDArray[np.float64]) -> float:
    """Cramer's V of a contingency table."""
    from scipy.stats.contingency import association

    return float(association(np.round(counts).astype(np.int64), "cramer")) if min(counts.shape) > 1 else 0.0


def correlation(frame: pd.DataFrame, a: str, b: str) -> float:
    """Pearson's; NaN for a constant."""
    both = frame[[a, b]].dropna()
    if len(both) < 2 or both.std().min() == 0:
        return float("nan")
    return float(np.corrcoef(both[a], both[b])[0, 1])


def _binned(frame: pd.DataFrame) -> pd.DataFrame:
    """Numbers in ten bins between the smallest and the largest, each frame by its own, as SDMetrics does."""
    out = {}
    for name in frame.columns:
        column = frame[name]
        if is_number(column) and column.notna().any():
            edges = np.histogram_bin_edges(column.dropna())
            out[name] = np.digitize(column, edges)
        else:
            out[name] = column
    return type(frame)(out)


# -- classifiers -------------------------------------------------------------------------------------------------------


def _features(frames: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    """Frames for boosted trees: text as categories that all share."""
    import pandas as pd

    out = [frame.copy() for frame in frames]
    for name in frames[0].columns:
        if not is_number(frames[0][name]):
            levels = pd.concat([frame[name] for frame in frames]).value_counts().index[:250]
            for frame in out:
                frame[name] = pd.Categorical(frame[name], categories=levels)
    return out


def _boosted(kind: str, **settings: Any) -> Any:
    package = lightgbm()
    cls = package.LGBMRegressor if kind == "number" else package.LGBMClassifier
    return cls(n_estimators=TREES, num_leaves=31, n_jobs=1, verbose=-1, random_state=0, **settings)


@dataclass(frozen=True)
class Told:
    """How well a classifier tells samples from real rows: area under the curve, 0.5 when not at all. gains: what each
    column had to do with it, in all 1."""

    area: float
    interval: Interval
    gains: dict[str, float]


def told_apart(real: pd.DataFrame, made: pd.DataFrame, seed: int = 0) -> Told:
    """By boosted trees on equal numbers of both, each row judged by a classifier that did not see it."""
    import pandas as pd

    n = min(len(real), len(made))
    draw = np.random.Generator(np.random.PCG64(seed))
    sides = [f.iloc[draw.permutation(len(f))[:n]] for f in (made, real)]
    x = pd.concat(_features(sides), ignore_index=True)
    y = np.repeat([1, 0], n)
    fold = np.concatenate([draw.permutation(n) % FOLDS for _ in range(2)])
    scores, gains = np.zeros(2 * n), np.zeros(x.shape[1])
    for k in range(FOLDS):
        model = _boosted("category").fit(x[fold != k], y[fold != k])
        scores[fold == k] = model.predict_proba(x[fold == k])[:, 1]
        gains += model.booster_.feature_importance("gain")
    area, interval = separation(-scores[:n], -scores[n:])
    total = max(gains.sum(), 1e-12)
    return Told(area, interval, {c: float(g / total) for c, g in zip(x.columns, gains, strict=True)})


@dataclass(frozen=True)
class Useful:
    """How well models that learnt from rows predict the target of real ones: the area under the curve of a category (of
    several levels the mean of each against the rest), the explained share of the variance of a number."""

    trees: float
    trees_interval: Interval
    linear: float


def usefulness(learnt: pd.DataFrame, real: pd.DataFrame, target: str) -> Useful | None:
    """Train on `learnt`, test on `real`; None where the target has one level in either, or is missing everywhere."""
    frames = [f[f[target].notna()] if is_number(f[target]) else f for f in (learnt, real)]
    if min(map(len, frames)) < 20:
        return None
    a, b = _features([f.drop(columns=target) for f in frames])
    own, theirs = (f[target] for f in frames)
    if is_number(own):
        y = own.to_numpy()
        guesses = [_boosted("number").fit(a, y).predict(b), _linear(a, b, y, True)[:, 0]]
        explained = [1 - _errors(theirs.to_numpy(), g) / max(theirs.var(ddof=0), 1e-12) for g in guesses]
        error = float(explained[0].std() / len(theirs) ** 0.5)
        value = float(explained[0].mean())
        return Useful(value, (value - 1.96 * error, value + 1.96 * error), float(explained[1].mean()))
    levels = sorted(set(own) & set(theirs))
    if len(levels) < 2 or len(set(own)) < 2:
        return None
    order = sorted(set(own))
    y = np.searchsorted(order, own.to_numpy(dtype=object).astype(str))
    found = []
    for probabilities in (_boosted("category").fit(a, y).predict_proba(b), _linear(a, b, y, False)):
        wanted = levels[1:] if len(levels) == 2 else levels
        areas = []
        for level in wanted:
            score, true = -probabilities[:, order.index(level)], (theirs == level).to_numpy()
            areas.append(separation(score[true], score[~true]))
        found.append(areas)
    trees = float(np.mean([area for area, _ in found[0]]))
    half = float(np.mean([(high - low) / 2 for _, (low, high) in found[0]])) / len(found[0]) ** 0.5
    linear = float(np.mean([area for area, _ in found[1]]))
    return Useful(trees, (max(0.0, trees - half), min(1.0, trees + half)), linear)


def _errors(true: Floats, guess: Floats) -> Floats:
    return (true - guess) ** 2


def _linear(a: pd.DataFrame, b: pd.DataFrame, y: Floats, number: bool) -> Floats:
    """Predictions [M, 1], or probabilities [M, K], of a linear model for b that learnt y from a."""
    from sklearn.linear_model import LogisticRegression, Ridge

    space = Space.fit(a)
    if number:
        guess: Floats = Ridge(1.0).fit(space(a), y).predict(space(b))
        return guess[:, None]
    probabilities: Floats = LogisticRegression(max_iter=300).fit(space(a), y).predict_proba(space(b))
    return probabilities


# -- distances ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Space:
    """Rows as points: numbers in deviations from their mean (missing: the mean, and a feature of its own), categories
    as one of their most frequent levels, where two rows that differ are 1 apart. numbers: name, mean, deviation."""

    numbers: tuple[tuple[str, float, float], ...]
    levels: tuple[tuple[str, tuple[str, ...]], ...]

    @classmethod
    def fit(cls, frame: pd.DataFrame) -> Space:
        numbers, levels = [], []
        for name in frame.columns:
            column = frame[name]
            if is_number(column):
                deviation = float(column.std()) if column.notna().sum() > 1 else 0.0
                mean = float(column.mean()) if column.notna().any() else 0.0
                numbers.append((str(name), mean, deviation or 1.0))
            else:
                shown = column.astype(str).value_counts().index[:SHOWN_LEVELS]
                levels.append((str(name), tuple(map(str, shown))))
        return cls(tuple(numbers), tuple(levels))

    def __call__(self, frame: pd.DataFrame) -> NDArray[np.float32]:
        """[N, D]."""
        parts = []
        for name, mean, deviation in self.numbers:
            values = frame[name].to_numpy(np.float64)
            gone = np.isnan(values)
            parts += [np.where(gone, 0.0, (values - mean) / deviation)[:, None], gone[:, None]]
        for name, levels in self.levels:
            texts = frame[name].astype(str).to_numpy(dtype=object)
            parts.append((texts[:, None] == np.array(levels, object)[None]) / np.sqrt(2))
        return np.concatenate([np.asarray(p, np.float32) for p in parts], 1)


def alpha_beta(real: NDArray[np.float32], made: NDArray[np.float32], steps: int = 30) -> tuple[float, float]:
    """(alpha-precision, beta-recall) of points made [N, D] against real [M, D], each 1 less the mean distance of its
    curve from the diagonal, as a share of the most it can be: 1 is perfect."""
    from genloom.metrics.neighbours import nearest

    alphas = np.linspace(0, 1, steps)
    centre, own = real.mean(0), made.mean(0)
    out = np.linalg.norm(real - centre, axis=1)
    inside = np.linalg.norm(made - centre, axis=1)
    precision = np.array([(inside <= r).mean() for r in np.quantile(out, alphas)])
    near = nearest(real, made)
    reach = nearest(real, real, 2).distance[:, 1]
    spread = np.linalg.norm(made - own, axis=1)
    hit, where = near.distance[:, 0] <= reach, spread[near.index[:, 0]]
    recall = np.array([(hit & (where <= r)).mean() for r in np.quantile(spread, alphas)])
    return tuple(float(1 - np.abs(alphas - c).sum() / alphas.sum()) for c in (precision, recall))  # type: ignore[return-value]


def rare_levels(train: pd.DataFrame, made: pd.DataFrame, least: int = 5, most: float = 0.01) -> tuple[int, int]:
    """(found, all): levels of categories with at least `least` training rows and at most a share `most` of them that
    are among the samples, and how many there are."""
    found = every = 0
    for name in train.columns:
        if is_number(train[name]):
            continue
        times = train[name].value_counts()
        rare = times.index[(times >= least) & (times <= most * len(train))]
        every += len(rare)
        found += len(set(rare) & set(made[name].unique()))
    return found, every


def disclosed(
    made: NDArray[np.float32], known: NDArray[np.float32], levels: NDArray[np.object_], true: NDArray[np.object_]
) -> NDArray[np.bool_]:
    """[M] whether the level of a secret column of people whose other columns are known [M, D] is that of the nearest
    made row [N, D], whose levels are `levels` [N]."""
    from genloom.metrics.neighbours import nearest

    return np.asarray(levels[nearest(known, made).index[:, 0]] == true)
