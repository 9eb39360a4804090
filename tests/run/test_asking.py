"""What samples are asked for where nobody asks: the properties of training examples."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import torch

import genloom
from genloom.core.batch import ConditionSpec, Property
from genloom.run.asking import asked_for

HONOURED = frozenset({"label", "properties"})
SPEC = ConditionSpec(
    ("a", "b"), (3, 1), (Property("x", 0.0, 1.0, 0.0, 9.0), Property("y", 0.0, 2.0, 0.0, 9.0)), None,
    ((0, (0.0, 0.5)), (0, (1.0, None)), (0, (2.0, -0.5)), (1, (9.0, 9.0))),
)  # fmt: skip


def asked(
    n: int, labels: list[int] | None, seed: int | None = 3, properties: dict[str, float] | None = None
) -> torch.Tensor:
    own = None if labels is None else torch.tensor(labels)
    found = asked_for(SPEC, HONOURED, None, n, properties, None, print, own, seed).properties
    assert found is not None
    return found


def test_what_is_not_asked_for_is_as_often_as_in_the_data() -> None:
    rows = asked(40, None)
    assert all(9 <= n <= 11 for n in Counter(rows[:, 0].tolist()).values())
    pairs = {(x, None if y != y else y) for x, y in rows.tolist()}
    assert pairs == {(0.0, 0.5), (1.0, None), (2.0, -0.5), (9.0, 9.0)}  # as whole rows
    labels = [0, 1, 1, 0, 0, 0]
    assert [x == 9.0 for x in asked(6, labels)[:, 0].tolist()] == [label == 1 for label in labels]


def test_each_sample_has_its_own_whatever_their_number() -> None:
    torch.testing.assert_close(asked(5, None), asked(50, None)[:5], equal_nan=True)
    assert not torch.allclose(asked(20, None, 1)[:, 0], asked(20, None, 2)[:, 0])


def test_what_is_asked_for_is_not_changed() -> None:
    given = asked(3, None, properties={"y": 4.0})
    assert given[:, 1].tolist() == [2.0] * 3 and bool(given[:, 0].isnan().all())
    assert asked_for(SPEC, HONOURED, None, 3, None, None, print).properties is None
    assert asked_for(SPEC, frozenset({"label"}), None, 3, None, None, print, None, 3).properties is None


def test_a_trained_model_is_asked_for_them(tmp_path: Path) -> None:
    settings = {
        "family.width": 8, "family.hidden": 8, "family.depth": 1, "family.ngrams": 2, "family.ngram_rows": 64,
        "train.grids": 0, "train.validate_times": 0, "modality.properties": ["characters"],
    }  # fmt: skip
    texts = [("ab " * k).strip() for k in range(1, 41)]
    run = genloom.train(texts, model="autoregressive", steps=2, out=tmp_path / "r", settings=settings)
    seen = list[torch.Tensor | None]()
    own = run.family.sample

    def sample(n, condition, rng, options, guide=None):  # type: ignore[no-untyped-def]
        seen.append(condition.properties)
        return own(n, condition, rng, options, guide)

    run.family.sample = sample  # type: ignore[method-assign]
    run.sample(20, seed=1, options={"max_tokens": 2})
    assert seen[0] is not None and 10 < len(set(seen[0][:, 0].tolist())) <= 20
    assert set(seen[0][:, 0].tolist()) <= {torch.tensor(v[0]).item() for _, v in run.condition.typical}
