"""Groups of samples beside those of the data, clusters against scikit-learn, and what a run cost."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from genloom.evaluate.cost import Watched, cost_of
from genloom.evaluate.features import EncoderFeatures
from genloom.evaluate.groups import clusters, divided, groups_of


def test_lost_and_amplified_groups_are_told() -> None:
    draw = np.random.default_rng(0)
    real = draw.choice(4, 1000, p=[0.05, 0.15, 0.3, 0.5])
    seen = draw.choice(4, 1000, p=[0.0, 0.45, 0.2, 0.35])
    found = divided(seen, real, ["红", "b", "c", "d"], "classes", "")
    assert [g["name"] for g in found["groups"]] == ["红", "b", "c", "d"] and found["rarest"]["name"] == "红"
    assert [g["state"] for g in found["groups"]] == ["lost", "amplified", "fewer", "fewer"]
    assert len(found["warnings"]) == 2 and found["warnings"][0].startswith("红 is lost: 0.0% of the samples")
    for g in found["groups"]:
        assert g["samples_interval"][0] - 1e-12 <= g["samples"] <= g["samples_interval"][1]
    assert sum(g["data"] for g in found["groups"]) == pytest.approx(1)
    json.dumps(found, allow_nan=False)


def test_real_classes_are_kept_and_a_missing_one_is_lost(digits: Any, classifier: EncoderFeatures) -> None:
    features = {name: classifier(getattr(digits, name).x).numpy() for name in ("train", "test")}
    rows = digits.train.labels != 3
    same = groups_of(features["train"], features["test"], features["train"], classifier, digits)
    less = groups_of(features["train"][rows], features["test"], features["train"], classifier, digits)
    assert same is not None and less is not None
    assert same["kind"] == "classes" and not same["warnings"] and len(same["groups"]) == 10
    assert [g["name"] for g in less["groups"] if g["state"] == "lost"] == ["3"]
    assert groups_of(features["train"][:49], features["test"], features["train"], classifier, digits) is None


def test_without_labels_clusters_are_the_groups(unlabelled: Any, encoder: EncoderFeatures) -> None:
    features = {name: encoder(getattr(unlabelled, name).x).numpy() for name in ("train", "test")}
    same = groups_of(features["train"], features["test"], features["train"], encoder, unlabelled)
    one = groups_of(np.repeat(features["test"][:1], 600, 0), features["test"], features["train"], encoder, unlabelled)
    assert same is not None and one is not None
    assert same["kind"] == "clusters" and len(same["groups"]) == 20 and not same["warnings"]
    assert sum(g["state"] == "amplified" for g in one["groups"]) == 1
    assert sum(g["state"] == "lost" for g in one["groups"]) >= 15


def test_clusters_are_as_tight_as_scikit_learns() -> None:
    draw = np.random.default_rng(0)
    x = np.concatenate([draw.normal(c, 1, (60, 5)) for c in draw.normal(0, 12, (6, 5))]).astype(np.float32)

    def spread(centres: np.ndarray) -> float:
        return float(((x[:, None] - centres) ** 2).sum(2).min(1).sum())

    best = spread(KMeans(6, n_init=5, random_state=0).fit(x).cluster_centers_)
    assert min(spread(clusters(x, 6, seed)) for seed in range(5)) < 1.01 * best
    assert len(clusters(np.ones((30, 2), np.float32), 5, 0)) == 1


def test_cost_is_told_with_its_assumption() -> None:
    manifest = {
        "seconds": 360.0,
        "examples_per_second": 100.0,
        "threads": 2,
        "device": "cpu",
        "parameters": {"a": 5, "b": 7},
    }
    found = cost_of(manifest, {"watts": 15.0}, {"n": 3})
    assert found["training"]["examples"] == 36_000 and found["training"]["parameters"] == 12
    assert found["energy"]["watt_hours"] == pytest.approx(3.0)  # 0.1 h of 2 cores of 15 W
    assert "15 W for each of 2 cores" in found["energy"]["assumption"]
    assert cost_of({**manifest, "device": "cuda"}, {}, None)["energy"]["watt_hours"] == pytest.approx(30.0)
    nothing = cost_of({}, {}, None)
    assert nothing["energy"] is None and nothing["sampling"] is None and set(nothing["training"].values()) == {None}
    json.dumps([found, nothing])


def test_drawing_is_timed_and_kept() -> None:
    class Generator:
        family = torch.nn.Linear(1, 1)

        def sample_tensor(
            self, n: int, *, seed: int = 0, given: object = None, options: object = None
        ) -> tuple[torch.Tensor, None]:
            return torch.full((n,), float(seed)), None

    watched = Watched(Generator())  # type: ignore[arg-type]
    x, labels = watched.sample_tensor(4, seed=3)
    assert labels is None and x is watched.x and x.tolist() == [3.0] * 4
    assert watched.drawing["n"] == 4 and watched.drawing["device"] == "cpu"
    assert watched.drawing["per_second_per_core"] == pytest.approx(
        watched.drawing["per_second"] / torch.get_num_threads(), rel=0.01
    )
