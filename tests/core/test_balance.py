"""Rows drawn by their levels: as often as the logarithm of their counts says."""

from __future__ import annotations

import numpy as np
import torch

from examples import Memory
from genloom.core.balance import Balance
from genloom.core.feed import Feed


def codes() -> np.ndarray:
    draw = np.random.Generator(np.random.PCG64(0))
    rare = (draw.random(1000) < 0.01).astype(np.int64)
    return np.stack([rare, draw.integers(0, 4, 1000)], 1)


def test_levels_come_as_the_logarithm_of_their_counts_has_it() -> None:
    table = codes()
    rows, columns = Balance(table).draw(40_000, np.random.Generator(np.random.PCG64(1)))
    assert abs(np.mean(columns == 0) - 0.5) < 0.01
    counts = np.bincount(table[:, 0])
    wanted = np.log1p(counts) / np.log1p(counts).sum()
    found = np.bincount(table[rows[columns == 0], 0]) / np.sum(columns == 0)
    assert counts[1] < 20 and np.abs(found - wanted).max() < 0.02
    among = rows[(columns == 0) & (table[rows, 0] == 1)]  # every row that has a level as often as any other
    assert set(among) == set(np.flatnonzero(table[:, 0] == 1))


def test_a_level_that_no_row_has_is_never_drawn() -> None:
    table = np.array([[0], [3], [3]])
    rows, _ = Balance(table).draw(200, np.random.Generator(np.random.PCG64(0)))
    assert set(rows) == {0, 1, 2}


def test_a_batch_says_what_each_row_was_drawn_for_and_depends_on_its_position_alone() -> None:
    x = torch.from_numpy(np.concatenate([np.zeros((1000, 1)), codes()], 1)).float()
    feed = Feed(Memory(x), 0, balanced=(1, 2))
    batch = feed.take(64, 32)
    feed.close()
    mask, known = batch.condition.mask, batch.condition.known
    assert mask is not None and known is not None and torch.equal(known, batch.x)
    assert torch.equal(mask.sum(1), torch.ones(32, dtype=torch.long)) and not bool(mask[:, 0].any())
    again = Feed(Memory(x), 0, balanced=(1, 2))
    assert torch.equal(again.take(64, 32).x, batch.x) and not torch.equal(again.take(96, 32).x, batch.x)
    again.close()
