"""Forest: each column of a table drawn from boosted trees given the columns before it.

Sequential synthesis (Reiter 2005, "Using CART to generate partially synthetic public use microdata"), with each
conditional distribution by nested dichotomies of boosted trees (nets/dichotomies.py) in place of one tree, whose leaves
would hand out values of the training rows. Needs no steps: it is fitted in one go. What is given of a row is honoured
by particles (Gordon, Salmond and Smith 1993): rows that began in many ways are kept by how likely they make it.

Shapes: `N` rows, `S` spans, `K` particles.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from genloom.core.batch import Batch, Condition, ConditionSpec
from genloom.core.config import Settings, setting
from genloom.core.device import device_of
from genloom.core.family import Clock, Family, Update
from genloom.core.optim import OptimiserConfig
from genloom.core.rng import Rng, derive
from genloom.core.spec import Row
from genloom.nets.dichotomies import BoostConfig, Dichotomies
from genloom.nets.levels import Levels, alike_order

BUFFERS = ("questions", "shares", "values", "ranks", "models", "ends", "sequence")
WIDE = 255  # levels up to which a category is one to the trees; the levels of wider ones are numbers in their order


@final
class Forest(Family):
    """Boosted trees, column by column."""

    class Config(Settings):
        """Settings of the forest."""

        boost: BoostConfig = BoostConfig()
        target: BoostConfig = BoostConfig(trees=250, rate=0.07, leaves=20)
        bins: int = setting(64, "Bins of a number that takes many values.", ge=2, le=1024)

    class Options(Settings):
        """Settings of one call to sample."""

        particles: int = setting(32, "Ways to begin each row of which parts are given.", ge=1)

    accepts = (Row,)
    conditions = frozenset({"known"})
    exact = True

    def __init__(self, spec: Row, config: Forest.Config, condition: ConditionSpec) -> None:
        super().__init__()
        self.spec: Row = spec
        self.config, self.condition = config, condition
        self.sequence: Tensor
        self.ends: Tensor
        for name in BUFFERS:
            self.register_buffer(name, torch.zeros(0))
        self._parts: list[tuple[int, Levels, Dichotomies]] = []  # of each span in the order in which they are drawn

    def players(self) -> dict[str, nn.Module]:
        """None: nothing is moved by gradients."""
        return {}

    def optimisers(self) -> dict[str, OptimiserConfig]:
        return {}

    def unpromised(self) -> str:
        return "it is fitted on all rows at once, without noise"

    def updates(self, batch: Batch, clock: Clock, rng: Rng) -> Iterator[Update]:
        return iter(())

    # -- fitting -------------------------------------------------------------------------------------------------------

    def settle(self, data: Iterable[Batch], rng: Rng) -> None:
        """Fit every column given those before it, the target last."""
        x = torch.cat([batch.x for batch in data]).cpu().numpy().astype(np.float64)
        self._parts = []
        ranked = self._ranked(x)
        for step, (at, levels) in enumerate(ranked):
            before = [self._seen(x[:, i], own, self.spec.spans[i].head) for i, own in ranked[:step]]
            given = np.stack(before, 1) if before else np.zeros((len(x), 0))
            rows = self._rows_of(at, x)
            last = self.spec.target is not None and self.spec.spans[at].name == self.spec.target
            model = Dichotomies.fit(
                given[rows], levels.codes(x[rows, at]), len(levels), self._categories(ranked[:step]),
                self.config.target if last else self.config.boost, torch.get_num_threads(),
                derive(rng.seed, "forest", at) % 2**31,
            )  # fmt: skip
            self._parts.append((at, levels, model))
        self._keep()

    def _ranked(self, x: NDArray[np.float64]) -> list[tuple[int, Levels]]:
        """The spans in the order in which they are drawn, each with its levels: few levels first, the target last, a
        gate right before its number."""
        levels = []
        for i, span in enumerate(self.spec.spans):
            rows = self._rows_of(i, x)
            if span.head == "category":
                levels.append(Levels.of_category(alike_order(x, i, self.spec), span.levels))
            else:
                levels.append(Levels.of_numbers(x[rows, i], self.config.bins))
        gates = self.spec.gates()

        def key(i: int) -> tuple[bool, int, int, bool]:
            own = gates[i] if gates[i] >= 0 else i
            numbers = [k for k, gate in enumerate(gates) if gate == own]
            last = self.spec.target is not None and self.spec.target in {
                self.spec.spans[k].name for k in (own, *numbers)
            }
            size = max(len(levels[k]) for k in (own, *numbers))
            return last, size, own, own != i

        return [(i, levels[i]) for i in sorted(range(len(self.spec.spans)), key=key)]

    def _rows_of(self, at: int, x: NDArray[np.float64]) -> NDArray[np.bool_]:
        """[N] rows in which a span counts."""
        gate = self.spec.gates()[at]
        return np.ones(len(x), bool) if gate < 0 else x[:, gate] == 0

    @staticmethod
    def _seen(column: NDArray[np.float64], levels: Levels, head: str) -> NDArray[np.float64]:
        """How the trees see a column: numbers as they are, categories by their place in the order."""
        return levels.codes(column).astype(np.float64) if head == "category" else column

    def _categories(self, ranked: list[tuple[int, Levels]]) -> list[int]:
        return [
            k for k, (i, own) in enumerate(ranked) if self.spec.spans[i].head == "category" and 2 < len(own) <= WIDE
        ]

    # -- sampling ------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def sample(self, n: int, condition: Condition, rng: Rng, options: Forest.Options) -> Tensor:
        """[n, S]. known, mask [n, S]: entries that a row has, the others drawn given them. Ways to begin are weighed as
        soon as all that is known is drawn; the rest follows from the one that is chosen."""
        x, spans = np.zeros((n, self.spec.width)), self.spec.width
        if condition.known is None or condition.mask is None or not bool(condition.mask.any()):
            self._draw(x, range(spans), rng.fork("row"))
            return torch.from_numpy(x.astype(np.float32)).to(device_of(self))
        known, mask = condition.known.double().cpu().numpy(), condition.mask.cpu().numpy()
        until, first = self._reach(mask)
        ways, weights = [], []
        for k in range(1 if first else options.particles):
            ways.append(x.copy())
            weights.append(self._draw(ways[-1], range(until), rng.fork("row", k), known, mask))
        logs = np.stack(weights, 1)
        shares = np.exp(logs - logs.max(1, keepdims=True)).cumsum(1)
        choice = (shares < rng.uniform_rows("choice", n)[:, None] * shares[:, -1:]).sum(1)
        x = np.stack(ways)[np.minimum(choice, len(ways) - 1), np.arange(n)]
        self._draw(x, range(until, spans), rng.fork("rest"))
        return torch.from_numpy(x.astype(np.float32)).to(device_of(self))

    def price(self, mask: Tensor, options: Forest.Options) -> float:
        """Its questions, as a multiple of those of a row of which nothing is known."""
        until, first = self._reach(mask.cpu().numpy())
        questions = np.log2([len(levels) + 1 for _, levels, _ in self.parts()])
        begun = float(questions[:until].sum() / questions.sum())
        return 1.0 if first else options.particles * begun + 1 - begun

    def _reach(self, mask: NDArray[np.bool_]) -> tuple[int, bool]:
        """After how many spans all that is known [n, S] of any row is drawn, and whether it comes before the rest of
        every row, so that there is nothing to choose between."""
        ordered = mask[:, [at for at, _, _ in self.parts()]]
        return int(np.flatnonzero(ordered.any(0))[-1]) + 1, bool((ordered[:, :-1] >= ordered[:, 1:]).all())

    def _draw(
        self, x: NDArray[np.float64], steps: range, rng: Rng, known: NDArray[np.float64] | None = None,
        mask: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float64]:  # fmt: skip
        """Put the spans of `steps`, in the order in which they are drawn, into x [n, S], given those before them.
        Returns [n] the log-probability of what is known of them."""
        n, weight = len(x), np.zeros(len(x))
        given = np.zeros((n, self.spec.width))
        for step, (at, levels, model) in enumerate(self.parts()[: steps.stop]):
            if step >= steps.start:
                rows = np.flatnonzero(self._rows_of(at, x))
                own = given[rows, :step]
                codes, left = model.draw(own, rng.uniform_rows(f"span {at}", n)[rows])
                x[rows, at] = levels.values_at(codes, left)
                if known is not None and mask is not None and mask[:, at].any():
                    fixed = mask[rows, at]
                    weight[rows[fixed]] += model.log_probability(own[fixed], levels.codes(known[rows[fixed], at]))
                    x[:, at] = np.where(mask[:, at], known[:, at], x[:, at])
            given[:, step] = self._seen(x[:, at], levels, self.spec.spans[at].head)
        return weight

    def nll(self, batch: Batch, rng: Rng) -> Tensor:
        """[B] nats of each row, its numbers as the bins that they fall in."""
        x = batch.x.double().cpu().numpy()
        out, given = np.zeros(len(x)), np.zeros((len(x), self.spec.width))
        for step, (at, levels, model) in enumerate(self.parts()):
            rows = np.flatnonzero(self._rows_of(at, x))
            out[rows] -= model.log_probability(given[rows, :step], levels.codes(x[rows, at]))
            given[:, step] = self._seen(x[:, at], levels, self.spec.spans[at].head)
        return torch.from_numpy(out.astype(np.float32)).to(device_of(self))

    # -- keeping -------------------------------------------------------------------------------------------------------

    def _keep(self) -> None:
        """Put what was fitted into buffers: all spans' one after the other, where each ends in `ends` [S, 5]."""
        rows: dict[str, list[NDArray[Any]]] = {
            name: [] for name in ("questions", "shares", "values", "ranks", "models")
        }
        ends = []
        for _, levels, model in self._parts:
            values, ranks = levels.arrays()
            parts = (model.questions.reshape(-1), model.shares, values, ranks, model.packed())
            for own, part in zip(rows.values(), parts, strict=True):
                own.append(np.asarray(part))
            ends.append([sum(map(len, rows[name])) for name in rows])
        for name, arrays in rows.items():
            self.register_buffer(name, torch.from_numpy(np.concatenate(arrays).copy()))
        self.register_buffer("ends", torch.tensor(ends, dtype=torch.int64))
        self.register_buffer("sequence", torch.tensor([at for at, _, _ in self._parts], dtype=torch.int64))

    def parts(self) -> list[tuple[int, Levels, Dichotomies]]:
        """(place of the span, its levels, its distribution) in the order in which they are drawn."""
        if self._parts or not len(self.sequence):
            return self._parts
        starts = torch.cat([torch.zeros(1, 5, dtype=torch.int64), self.ends[:-1]])
        for at, start, end in zip(self.sequence.tolist(), starts.tolist(), self.ends.tolist(), strict=True):
            q, shares, values, ranks, models = (
                self.get_buffer(name)[a:b].cpu().numpy() for name, a, b in zip(BUFFERS, start, end, strict=False)
            )
            levels = Levels.from_arrays(values, ranks)
            self._parts.append((at, levels, Dichotomies.unpacked(q.reshape(-1, 6), shares, models)))
        return self._parts

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """The buffers have the sizes of what was fitted."""
        for name in BUFFERS:
            if prefix + name in state_dict:
                self.register_buffer(name, torch.empty_like(state_dict[prefix + name]))
        self._parts = []
        super()._load_from_state_dict(state_dict, prefix, *rest)
