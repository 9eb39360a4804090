"""Near duplicates of texts against the exact similarity of every pair."""

import random
from itertools import combinations

from genloom.metrics import shingles
from genloom.metrics.shingles import Sketches, passages, plain_points

WORDS = ["river", "stone", "winter", "garden", "letter", "window", "mountain", "silver", "candle", "harbour", "forest"]


def likeness(a: str, b: str) -> float:
    """Jaccard similarity of the sets of passages, cut from the text itself."""
    x, y = ({t[i : i + 5] for i in range(len(t) - 4)} for t in (a, b))
    return len(x & y) / len(x | y)


def test_pairs_are_those_with_a_high_similarity() -> None:
    rng = random.Random(1)
    texts = [" ".join(rng.choices(WORDS, k=60)) for _ in range(40)]
    for k in range(0, 20):
        words = texts[k].split()
        for _ in range(k % 10):
            words[rng.randrange(60)] = rng.choice(WORDS)
        texts.append(" ".join(words))
    sketches = Sketches()
    for i, text in enumerate(texts):
        sketches.add(i, text)
    found = {tuple(p) for p in sketches.pairs()[0].tolist()}
    exact = {pair: likeness(texts[pair[0]], texts[pair[1]]) for pair in combinations(range(len(texts)), 2)}
    assert {p for p, v in exact.items() if v > 0.93} <= found
    assert all(exact[p] > 0.65 for p in found)
    assert len(found) >= 5


def test_case_spaces_and_signs_do_not_count_and_short_texts_are_passed_over() -> None:
    sketches = Sketches()
    for i, text in enumerate(["The  quick, brown FOX jumps over it!", "the quick brown fox jumps over it", "ab", "AB"]):
        sketches.add(i, text)
    assert sketches.pairs()[0].tolist() == [[0, 1]]


def test_chinese_is_compared_by_pairs_of_characters() -> None:
    sketches = Sketches()
    sketches.add(0, "床前明月光疑是地上霜舉頭望明月低頭思故鄉")
    sketches.add(1, "床前明月光，疑是地上霜。舉頭望明月，低頭思家鄉。")
    sketches.add(2, "白日依山盡黃河入海流欲窮千里目更上一層樓")
    assert sketches.pairs(0.7)[0].tolist() == [[0, 1]]


def test_the_number_of_texts_is_limited(monkeypatch) -> None:
    monkeypatch.setattr(shingles, "MOST_TEXTS", 3)
    sketches = Sketches()
    for i in range(5):
        sketches.add(i, "the same text of some length")
    assert sketches.full
    assert sketches.pairs()[0].tolist() == [[0, 1], [0, 2], [1, 2]]


def test_passages_of_a_text_are_as_many_as_it_has_places() -> None:
    points, length = plain_points("Hello, hello world")
    hashes = passages(points, length).tolist()
    plain = "hello hello world"
    assert length == 5
    assert len(hashes) == len(plain) - 4
    assert [hashes.index(h) for h in hashes] == [plain.index(plain[i : i + 5]) for i in range(len(plain) - 4)]
