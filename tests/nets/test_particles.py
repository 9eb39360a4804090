"""Gaps that foresee what follows: the filter's draws against the posterior counted out, rows that depend on themselves
alone."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from genloom.core.batch import Condition
from genloom.core.rng import Rng
from genloom.nets.decoding import Filters, Start
from genloom.nets.particles import fill

PAD, EOS, BOS = 0, 1, 2
TABLE = torch.tensor(
    [
        # pad eos bos  a    b    c
        [1.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        [1.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.8, 0.1, 0.1],
        [0.0, 0.1, 0.0, 0.7, 0.19, 0.01],
        [0.0, 0.1, 0.0, 0.3, 0.3, 0.3],
        [0.0, 0.1, 0.0, 0.05, 0.05, 0.8],
    ]
)


@dataclass
class Last:
    """What a Markov chain remembers: the newest token."""

    token: Tensor

    def branch(self, which: Tensor, sources: Tensor | None) -> Last:
        return Last(self.token[which])


class Chain:
    """p(x_t | x_t-1) of TABLE. limit: tokens after which it has to be read anew."""

    vocab = len(TABLE)

    def __init__(self, limit: int | None = None) -> None:
        self.limit, self.seen = limit, 0

    def eval(self) -> None:
        return None

    def begin(self, rows: int, capacity: int, condition: Condition = Condition()) -> Last:  # noqa: B008
        self.seen = 0
        return Last(torch.zeros(rows, dtype=torch.long))

    def last(self, x: Tensor, state: Last) -> Tensor:
        self.seen += x.shape[1]
        assert self.limit is None or self.seen <= self.limit
        state.token = x[:, -1]
        return TABLE[state.token].log()


def filled(
    n: int, known: dict[int, int], drafts: int, most: int = 5, limit: int | None = None, offset: int = 0
) -> Tensor:
    tokens = torch.full((n, most + 1), PAD)
    tokens[:, 0] = BOS
    given = torch.zeros(n, most + 1, dtype=torch.bool)
    given[:, 0] = True
    for place, token in known.items():
        tokens[:, place], given[:, place] = token, True
    rng = Rng(7, offset=offset)
    uniform = rng.uniform_each("token", n, drafts * most).view(n, drafts, most)
    chances = rng.uniform_each("draft", n, most + 1)
    return fill(Chain(limit), Start(tokens, given), uniform, chances, Filters(), eos=EOS, pad=PAD)  # type: ignore[arg-type]


def posterior(known: dict[int, int], most: int) -> dict[tuple[int, ...], float]:
    """Of every whole sequence, by counting all out."""
    p = dict[tuple[int, ...], float]()
    for middle in itertools.product(range(6), repeat=most):
        if all(middle[k - 1] == t for k, t in known.items()):
            chain = (BOS, *middle)
            p[middle] = float(torch.stack([TABLE[a, b] for a, b in itertools.pairwise(chain)]).prod())
    total = sum(p.values())
    return {k: v / total for k, v in p.items() if v}


def test_gaps_are_drawn_from_the_posterior() -> None:
    known = {4: 5}  # c in the fourth place, which a chain that begins with a seldom reaches
    wanted = posterior(known, 4)
    found = filled(4000, known, 128, most=4)
    assert bool((found[:, 3] == 5).all())
    for column, token in itertools.product(range(3), (3, 4, 5)):
        p = sum(v for k, v in wanted.items() if k[column] == token)
        share = float((found[:, column] == token).float().mean())
        assert share == pytest.approx(p, abs=0.04), (column, token)
    # Drawn forward alone, two of three pieces before the c are what usually follows a.
    forward = filled(4000, known, 1, most=4)
    assert float((forward[:, 2] == 3).float().mean()) > 0.5 > 3 * float((found[:, 2] == 3).float().mean())


def test_a_row_depends_on_its_own_numbers_alone() -> None:
    known = {3: 4, 5: 5}
    every = filled(40, known, 16)
    for k in (0, 17, 39):
        assert torch.equal(filled(1, known, 16, offset=k), every[k : k + 1])
    assert len({tuple(row) for row in every.tolist()}) > 5


def test_a_known_end_is_kept_and_padding_follows_it() -> None:
    found = filled(20, {2: 4, 4: EOS}, 16, most=6)
    assert bool((found[:, 1] == 4).all())
    for row in found.tolist():
        end = row.index(EOS)
        assert end <= 3 and row[end + 1 :] == [PAD] * (5 - end)


def test_models_with_a_limit_go_on_past_it() -> None:
    assert bool((filled(10, {5: 5}, 8, limit=3) >= EOS).any())
    assert torch.equal(filled(10, {5: 5}, 8, limit=3), filled(10, {5: 5}, 8))  # a chain needs the newest token alone


def test_what_the_model_rules_out_leaves_no_row_undecided() -> None:
    found = filled(5, {1: 3, 2: BOS, 3: 4}, 8)
    assert found[:, :3].tolist() == [[3, BOS, 4]] * 5
