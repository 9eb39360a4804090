"""What the feed gives depends on (seed, position) alone, and every token comes once an epoch."""

from __future__ import annotations

import itertools
from contextlib import closing

import numpy as np
import torch

from examples import Documents, digits
from genloom.core.feed import Feed, Window


def stream(n: int = 1000) -> Documents:
    return Documents([torch.arange(n)])


def test_examples_come_once_an_epoch_across_batches() -> None:
    data, _, _ = digits(10)
    with closing(Feed(data, 3)) as feed:
        seen = np.concatenate([feed.indices(p, 4) for p in range(0, 40, 4)])
    for epoch in range(4):
        assert sorted(seen[10 * epoch : 10 * epoch + 10]) == list(range(10))
    assert list(seen[:10]) != list(seen[10:20])


def test_windows_cover_every_token_once_an_epoch() -> None:
    with closing(Feed(stream(), 5, window=Window(9))) as feed:
        assert feed.rows == 111  # 999 predictions in windows of 9
        for epoch in range(3):
            starts = feed.starts(epoch * feed.rows, feed.rows, Window(9))
            predicted = (starts[:, None] + 1 + np.arange(9)).ravel()
            inside = predicted[predicted < 1000]
            # The windows go round: one may be cut off by the end, and as much is left out at the beginning.
            assert len(np.unique(inside)) == len(inside) >= 1000 - 1 - 9
        assert len({feed.starts(e * feed.rows, feed.rows, Window(9)).min() for e in range(9)}) > 3  # cut elsewhere


def test_contiguous_rows_go_on_where_they_ended() -> None:
    window = Window(7, contiguous=True)
    with closing(Feed(stream(), 5, window=window)) as feed:
        steps = feed.rows // 6
        batches = [feed.starts(6 * i, 6, window) for i in range(steps)]
        for one, two in itertools.pairwise(batches):
            assert np.array_equal((one + 7) % 999, two)
        flat = np.concatenate(batches)
        assert len(np.unique(flat)) == len(flat)
        assert not np.array_equal(feed.starts(6 * steps, 6, window), batches[0])  # the next epoch begins elsewhere


def test_batches_are_a_function_of_seed_and_position() -> None:
    for window in (Window(9), Window(9, contiguous=True)):
        with closing(Feed(stream(), 1, window=window)) as a, closing(Feed(stream(), 1, window=window)) as b:
            straight = [a.take(p, 4) for p in range(0, 40, 4)]
            for p in (36, 0, 20):  # in any order, without what came before
                again = b.take(p, 4)
                assert torch.equal(again.x, straight[p // 4].x) and torch.equal(again.index, straight[p // 4].index)
        with closing(Feed(stream(), 2, window=window)) as c:
            assert not torch.equal(c.take(0, 4).x, straight[0].x)


def test_a_window_longer_than_the_text_works() -> None:
    with closing(Feed(stream(5), 0, window=Window(64))) as feed:
        batch = feed.take(0, 3)
        assert batch.x.shape == (3, 65) and int(batch.x.max()) <= 4


class Lengths(Documents):
    """Documents that say how long they and their sources are."""

    @property
    def sizes(self) -> np.ndarray:
        own = np.array([len(d) for d in self.documents])
        return np.stack([own, own // 2], 1)


def test_batches_of_a_number_of_tokens_hold_like_lengths_and_every_example_once_an_epoch() -> None:
    draw = np.random.Generator(np.random.PCG64(0))
    data = Lengths([torch.arange(1, 1 + n) for n in draw.integers(2, 40, size=300).tolist()])
    with closing(Feed(data, 3, tokens=120)) as feed, closing(Feed(data, 3, tokens=120)) as again:
        position, seen, padding, total = 0, [], 0, 0
        while position < 600:
            batch = feed.take(position, 7)
            own = (batch.x != 0).sum(1)
            assert len(batch) * (int(own.max()) + int(own.max()) // 2) <= 120
            padding, total = padding + int((batch.x == 0).sum()), total + batch.x.numel()
            assert batch.index is not None
            seen += batch.index.tolist()
            position += len(batch)
        assert (
            position == 600
            and sorted(seen[:300]) == sorted(seen[300:]) == list(range(300))
            and seen[:300] != seen[300:]
        )
        assert padding < 0.1 * total
        at = len(feed.take(0, 7))
        assert torch.equal(again.take(at, 7).x, feed.take(at, 7).x)  # without what came before
