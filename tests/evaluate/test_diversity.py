"""Quality against diversity: the curves of a generator and its contrasts, what is said of them, how they are drawn."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from evaluate.languages import Bigram, Prepared, documents, stream
from genloom.core.config import Settings, setting
from genloom.evaluate.diversity import MODEL, compare, diversity_of, point, verdict
from genloom.evaluate.tradeoff import drawn_curves


class Heated(Bigram):
    """A bigram model with a temperature, and a contrast that forgets what it learned."""

    class Options(Settings):
        temperature: float = setting(1.0, "Below 1 tamer.", ge=0)
        noise: float = setting(0.0, "Share of uniform draws.", ge=0, le=1)

    contrasts = {"half noise": {"noise": 0.5}}  # noqa: RUF012


@dataclass
class Drawing:
    family: Heated

    def sample_tensor(
        self, n: int, *, seed: int = 0, given: object = None, options: object = None
    ) -> tuple[Tensor, None]:
        f, asked = self.family, Heated.Options(**(options or {}))
        p = (f.log_p / asked.temperature).softmax(1)
        p = (1 - asked.noise) * p + asked.noise / len(p)
        generator = torch.Generator().manual_seed(seed)
        x = torch.full((n, 1), f.spec.bos)
        while x.shape[1] < f.spec.length:
            x = torch.cat([x, torch.multinomial(p[x[:, -1]], 1, generator=generator)], 1)
        ended = ((x == f.spec.eos).cumsum(1) - (x == f.spec.eos).long()) > 0
        return torch.where(ended, f.spec.pad, x), None


@pytest.fixture(scope="module")
def lines() -> Prepared:
    return documents(400, 200)


def test_curves_of_the_model_and_its_contrast(lines: Prepared) -> None:
    found = diversity_of(Drawing(Heated(lines)), lines, seed=1)
    assert found is not None and json.loads(json.dumps(found, allow_nan=False)) == found
    assert [c["name"] for c in found["curves"]] == [MODEL, "half noise"]
    points = found["curves"][0]["points"]
    assert [p["temperature"] for p in points] == found["temperatures"]
    # Colder: nearer to held-out examples, and nearer to one another.
    assert points[0]["bleu"][0] > points[-1]["bleu"][0] and points[0]["self_bleu"][0] > points[-1]["self_bleu"][0]
    assert found["real"]["bleu"][2] > points[-1]["bleu"][2]
    assert [c["order"] for c in found["comparisons"]] == [2, 3, 4, 5]
    assert "half noise" in found["sentence"]
    assert len(drawn_curves(found)) == 4 and "temperature 0.7" in drawn_curves(found)[0]
    assert found == diversity_of(Drawing(Heated(lines)), lines, seed=1)


def test_what_has_no_curve(lines: Prepared) -> None:
    assert diversity_of(Drawing(Bigram(lines)), lines) is None  # type: ignore[arg-type]
    book = stream(200, 60)
    assert diversity_of(Drawing(Heated(book)), book) is None


def test_damaged_curves_are_not_drawn(lines: Prepared) -> None:
    assert drawn_curves(None) == [] and drawn_curves({"orders": [2], "curves": [{"name": "x"}]}) == []


SAME = [["a", "b", "c"], ["b", "c", "d"], ["c", "d", "a"], ["d", "a", "b"]]


def test_a_model_beside_itself_is_no_better() -> None:
    points = [point(t, own, SAME) for t, own in ((0.5, SAME[:2] * 2), (1.0, SAME))]
    assert all(c["difference"] in (0.0, None) for c in compare(points, points))


@pytest.mark.parametrize(
    ("differences", "said"),
    [
        ((0.1, 0.1), "better than it"),
        ((-0.1, -0.1), "worse than it"),
        ((0.01, -0.01), "within the noise"),
        ((0.1, 0.0), "better in some figures, beside"),
        ((0.0, -0.1), "worse in some figures, beside"),
        ((0.1, -0.1), "better in some figures and worse in others"),
        ((None, None), "no range in common"),
    ],
)
def test_the_verdict_is_plain(differences: tuple[float | None, ...], said: str) -> None:
    found = [{"name": "it", "order": k, "difference": d, "error": 0.01} for k, d in enumerate(differences, 2)]
    assert said in verdict("it", found)
