"""The longest shared passage: equal to trying all, at borders, on degenerate texts."""

from __future__ import annotations

import numpy as np
import pytest

from genloom.metrics.verbatim import Text, suffix_array


def plain(text: list[list[int]], sequence: list[int]) -> int:
    """Length of the longest part of `sequence` that is a part of one document."""
    for length in range(len(sequence), 0, -1):
        parts = {tuple(d[i : i + length]) for d in text for i in range(len(d) - length + 1)}
        if any(tuple(sequence[i : i + length]) in parts for i in range(len(sequence) - length + 1)):
            return length
    return 0


def flat(sequences: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    lengths = [len(s) for s in sequences]
    return np.array([t for s in sequences for t in s], dtype=np.int64), np.cumsum([0, *lengths])


@pytest.mark.parametrize("vocab", [2, 3, 50, 40_000])
@pytest.mark.parametrize("documents", [1, 7])
def test_runs_equal_trying_all(vocab: int, documents: int) -> None:
    draw = np.random.default_rng(vocab + documents)
    few = min(vocab, 4)  # so that there is something to find
    text = [(vocab - 1 - draw.integers(0, few, draw.integers(0, 60))).tolist() for _ in range(documents)]
    samples = [(vocab - 1 - draw.integers(0, few, draw.integers(0, 40))).tolist() for _ in range(30)]
    samples += [text[0], text[-1][3:], [], [vocab - 1]]
    tokens, starts = flat(text)
    found = Text(tokens, vocab, starts).runs(*flat(samples))
    assert found.length.tolist() == [plain(text, s) for s in samples]
    for s, length, start, place in zip(samples, found.length, found.start, found.place, strict=True):
        assert s[start : start + length] == tokens[place : place + length].tolist()
        document = np.searchsorted(starts, place, side="right") - 1
        assert length == 0 or place + length <= starts[document + 1]


@pytest.mark.parametrize("text", [[], [5], [5] * 500, [1, 2] * 300, list(range(200)) * 3])
def test_repetitive_texts(text: list[int]) -> None:
    samples = [[5] * 40, [2, 1] * 30, list(range(50, 170)), [7]]
    found = Text(np.array(text, dtype=np.int64), 256).runs(*flat(samples))
    assert found.length.tolist() == [plain([text], s) for s in samples]


@pytest.mark.parametrize("kind", ["random", "one", "period", "copies"])
@pytest.mark.parametrize("together", [1, 3])
def test_suffixes_are_sorted(kind: str, together: int) -> None:
    draw = np.random.default_rng(0)
    text = {
        "random": draw.integers(1, 4, 200),
        "one": np.ones(100, dtype=np.int64),
        "period": np.tile([1, 3, 2], 50),
        "copies": np.tile(draw.integers(1, 9, 60), 3),
    }[kind].tolist()
    words = np.zeros(len(text), dtype=np.uint64)
    for i in range(len(text)):
        for k in range(together):
            words[i] = words[i] * np.uint64(16) + np.uint64(text[i + k] if i + k < len(text) else 0)
    assert suffix_array(words, together).tolist() == sorted(range(len(text)), key=lambda i: text[i:])


def test_a_copy_is_found_where_it_stands() -> None:
    text = np.random.default_rng(1).integers(0, 65, 20_000)
    samples = [text[700:900].tolist(), [3, *text[15_000:15_050].tolist(), 3]]
    found = Text(text, 65).runs(*flat(samples))
    assert found.length[0] == 200 and found.place[0] == 700 and found.start[0] == 0
    assert 50 <= found.length[1] <= 52 and abs(found.place[1] - 15_000) <= 1
