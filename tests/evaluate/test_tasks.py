"""Figures of a task: what no skill answers, and the extremes."""

import numpy as np

from genloom.evaluate.tasks import extremes, first_sentence
from genloom.metrics.references import Nearness


def test_the_first_sentence_ends_at_a_stop_or_a_line() -> None:
    assert first_sentence("We show 3.5 things. Then more.") == "We show 3.5 things."
    assert first_sentence('\n\nA line without an end\nand "more."') == "A line without an end"
    assert first_sentence("今天很好。明天也好。") == "今天很好。"
    assert first_sentence("") == ""


def test_worst_and_best_stand_with_their_own_sources() -> None:
    scores = Nearness(50.0, 0.0, np.array([40.0, 90.0, 10.0, 60.0]), "")
    found = extremes(["s0", "s1", "s2", "s3"], ["r0", "r1", "r2", "r3"], ["o0", "o1", "o2", "o3"], scores)
    assert [r["source"] for r in found["worst"]] == ["s2", "s0"]
    assert found["best"][0] == {"source": "s1", "reference": "r1", "output": "o1", "chrf": 90.0}
