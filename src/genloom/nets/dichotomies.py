"""Distribution of one column given others, as a tree of yes-or-no questions that boosted trees answer.

Nested dichotomies (Fox 1997, "Applied regression analysis"; Frank and Kramer 2004, "Ensembles of nested dichotomies"):
the levels, in an order in which neighbours are alike, are halved again and again, and each halving is a classifier. A
number is its own level where it takes few values, else the level is one of equally filled bins, as in McCarter 2024,
"Unmasking trees for tabular data". So a column of any kind and of 50,000 levels costs a logarithm of these.

Shapes: `N` rows, `P` columns given, `L` levels.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genloom.core.boosting import lightgbm
from genloom.core.config import Settings, setting

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
BOOSTED, SHARE, TABLE = 0, 1, 2  # how a question is answered: by trees, by one number, at once for all levels left
FULL = 8_000  # rows from which a classifier has all of its trees; all rows where there are fewer
MANY = 2_000  # rows from which an answer is worth more than one thread
BINNED = 200_000  # rows from which LightGBM finds bins (bin_construct_sample_cnt)
TINY = 1e-12


class BoostConfig(Settings):
    """Settings of the classifiers."""

    trees: int = setting(40, "Trees of a classifier with many rows.", ge=1)
    rate: float = setting(0.1, "Learning rate of boosting.", gt=0)
    leaves: int = setting(15, "Leaves of a tree.", ge=2)
    least: int = setting(
        20,
        "Fewest rows of a leaf: fewer copy more. In tables of under 1,000 rows a fiftieth of them.",
        unit="rows",
        ge=1,
    )
    side: int = setting(
        50, "Rows on the smaller side from which a question has a classifier; of under 1,000 rows a twentieth.",
        unit="rows", ge=1,
    )  # fmt: skip
    depth: int = setting(8, "Questions after one another that have classifiers.", ge=1)
    rows: int = setting(200_000, "Most rows that a classifier learns from.", unit="rows", ge=100, le=200_000)


@dataclass
class Dichotomies:
    """questions: int64 [Q, 6]: low, split and high level (the answer no is low to split), how it is answered, and where
    that stands in `shares` or `models`, and 0. shares: float64. models: LightGBM's own text."""

    questions: Codes
    shares: Floats
    models: list[str]
    _boosters: dict[int, Any] = field(default_factory=dict)
    _places: dict[tuple[int, int], int] = field(default_factory=dict)

    @classmethod
    def fit(
        cls,
        given: Floats,
        codes: Codes,
        levels: int,
        categories: list[int],
        config: BoostConfig,
        threads: int,
        seed: int,
    ) -> Dichotomies:
        """Of codes [N] in [0, levels) given [N, P]. categories: which of the P are."""
        return _Fit(given, codes, categories, config, threads, seed).run(levels)

    # -- asking --------------------------------------------------------------------------------------------------------

    def draw(self, given: Floats, u: Floats) -> tuple[Codes, Floats]:
        """[N] codes given [N, P], by the inverse of the distribution function at u [N] in (0, 1), and what is left of
        u: uniform again."""
        out, left = np.zeros(len(u), np.int64), u.copy()
        todo = [(0, np.arange(len(u)))] if len(self.questions) else []
        while todo:
            q, rows = todo.pop()
            low, split, high, how, at, _ = self.questions[q]
            if how == TABLE:
                edges = self._edges(at, high - low)
                place = np.minimum(np.searchsorted(edges, left[rows], side="right") - 1, high - low - 1)
                width = np.maximum(edges[place + 1] - edges[place], TINY)
                out[rows], left[rows] = low + place, (left[rows] - edges[place]) / width
                continue
            no = 1 - self._yes(how, at, given[rows])
            down = left[rows] < no
            left[rows] = np.where(down, left[rows] / np.maximum(no, TINY), (left[rows] - no) / np.maximum(1 - no, TINY))
            for side, (a, b) in ((rows[down], (low, split)), (rows[~down], (split, high))):
                if not len(side):
                    continue
                if b - a == 1:
                    out[side] = a
                else:
                    todo.append((self._place(int(a), int(b)), side))
        return out, np.clip(left, 0, 1)

    def log_probability(self, given: Floats, codes: Codes) -> Floats:
        """[N] of codes [N] given [N, P], in nats."""
        out = np.zeros(len(codes))
        todo = [(0, np.arange(len(codes)))] if len(self.questions) else []
        while todo:
            q, rows = todo.pop()
            low, split, high, how, at, _ = self.questions[q]
            if how == TABLE:
                shares = np.diff(self._edges(at, high - low))
                out[rows] += np.log(np.maximum(shares[codes[rows] - low], TINY))
                continue
            yes, above = self._yes(how, at, given[rows]), codes[rows] >= split
            out[rows] += np.log(np.maximum(np.where(above, yes, 1 - yes), TINY))
            for side, (a, b) in ((rows[~above], (low, split)), (rows[above], (split, high))):
                if len(side) and b - a > 1:
                    todo.append((self._place(int(a), int(b)), side))
        return out

    def _yes(self, how: int, at: int, given: Floats) -> Floats:
        if how == SHARE:
            return np.full(len(given), self.shares[at])
        if at not in self._boosters:
            self._boosters[at] = lightgbm().Booster(model_str=self.models[at])
        threads = torch.get_num_threads() if len(given) >= MANY else 1
        answered: Floats = self._boosters[at].predict(given, num_threads=threads)
        return answered

    def _edges(self, at: int, levels: int) -> Floats:
        shares = self.shares[at : at + levels]
        return np.concatenate([[0.0], np.cumsum(shares)]) / shares.sum()

    def _place(self, low: int, high: int) -> int:
        if not self._places:
            self._places = {(int(q[0]), int(q[2])): i for i, q in enumerate(self.questions)}
        return self._places[low, high]

    # -- keeping -------------------------------------------------------------------------------------------------------

    def packed(self) -> NDArray[np.uint8]:
        """The models as bytes."""
        return np.frombuffer(zlib.compress("\0".join(self.models).encode(), 6), np.uint8)

    @classmethod
    def unpacked(cls, questions: Codes, shares: Floats, packed: NDArray[np.uint8]) -> Dichotomies:
        text = zlib.decompress(packed.tobytes()).decode()
        return cls(questions, shares, text.split("\0") if text else [])


class _Fit:
    """One pass down the levels."""

    def __init__(
        self, given: Floats, codes: Codes, categories: list[int], config: BoostConfig, threads: int, seed: int
    ) -> None:
        self.codes, self.config, self.threads, self.seed = codes, config, threads, seed
        self.given, self.categories = given, categories
        least = min(config.least, max(5, len(codes) // 50))
        self.side = min(config.side, max(10, len(codes) // 20))
        self.questions: list[tuple[int, ...]] = []
        self.shares: list[float] = []
        self.models: list[str] = []
        self.params = {
            "objective": "binary", "learning_rate": config.rate, "num_leaves": config.leaves,
            "min_data_in_leaf": least, "lambda_l2": 1.0, "feature_pre_filter": False, "verbose": -1,
            "num_threads": threads, "seed": seed, "deterministic": True, "force_row_wise": True,
        }  # fmt: skip
        # Bins that LightGBM finds from a part of the rows can hold categories that it then fails on, so these are found
        # once only where it looks at all rows.
        whole = given.shape[1] > 0 and len(given) <= BINNED
        self.data: Any = self._dataset(slice(None), np.zeros(len(given), np.float32)) if whole else None

    def _dataset(self, rows: Codes | slice, labels: NDArray[np.float32]) -> Any:
        data = lightgbm().Dataset(
            self.given[rows], labels, categorical_feature=self.categories, params=self.params
        )  # fmt: skip
        return data.construct()

    def run(self, levels: int) -> Dichotomies:
        todo = [(np.arange(len(self.codes)), 0, levels, 0)] if levels > 1 else []
        while todo:
            rows, low, high, depth = todo.pop()
            todo += list(self._halved(rows, low, high, depth))
        questions = np.array(self.questions, np.int64).reshape(-1, 6)
        return Dichotomies(questions, np.array(self.shares, np.float64), self.models)

    def _halved(self, rows: Codes, low: int, high: int, depth: int) -> Iterator[tuple[Codes, int, int, int]]:
        """Ask whether a row's level is in the upper half of low to high; yields what is to be asked then."""
        times = np.bincount(self.codes[rows] - low, minlength=high - low)
        split = 1 + int(np.argmin(np.abs(2 * np.cumsum(times)[:-1] - len(rows))))
        above = self.codes[rows] >= low + split
        smaller = min(int(above.sum()), len(rows) - int(above.sum()))
        alone = not self.given.shape[1]
        if alone or smaller < self.side or depth >= self.config.depth:
            if alone or len(rows) < 4 * self.side or depth >= self.config.depth:
                self.questions.append((low, low, high, TABLE, len(self.shares), 0))
                self.shares += np.maximum(times, TINY).astype(float).tolist()
                return
            self.questions.append((low, low + split, high, SHARE, len(self.shares), 0))
            self.shares.append(float(above.mean()))
        else:
            self.questions.append((low, low + split, high, BOOSTED, len(self.models), 0))
            self.models.append(self._classifier(rows, above))
        for part, a, b in ((rows[~above], low, low + split), (rows[above], low + split, high)):
            if b - a > 1:
                yield part, a, b, depth + 1

    def _classifier(self, rows: Codes, above: NDArray[np.bool_]) -> str:
        if len(rows) > self.config.rows:
            some = np.random.Generator(np.random.PCG64(self.seed)).permutation(len(rows))[: self.config.rows]
            some.sort()
            rows, above = rows[some], above[some]
        full = min(FULL, len(self.codes))
        trees = max(5, round(self.config.trees * min(1.0, (len(rows) / full) ** 0.5)))
        labels = above.astype(np.float32)
        if self.data is None:
            data = self._dataset(rows, labels)
        else:
            data = self.data.subset(rows).construct()
            data.set_label(labels)
        text: str = lightgbm().train(self.params, data, trees).model_to_string()
        return text.partition("\nparameters:")[0] + "\n"
