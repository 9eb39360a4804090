"""REINFORCE on text: the advantage by hand, and a model that moves towards what is rewarded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import genloom
from genloom.core.errors import InputError
from genloom.data.wording import likeness
from genloom.run.goals import goal_of
from genloom.run.optimise import Pace, advantage, optimise
from texts import SMALL_TRANSFORMER, THREE_COLOURS


def test_the_baseline_of_a_sample_is_the_mean_of_the_others() -> None:
    rewards = torch.tensor([1.0, 2.0, 6.0])
    torch.testing.assert_close(advantage(rewards), torch.tensor([1.0 - 4.0, 2.0 - 3.5, 6.0 - 1.5]))
    assert float(advantage(torch.ones(1))) == 0


def test_likeness_is_the_f1_of_words() -> None:
    measure = likeness("Red, red blue")
    assert measure("red blue blue green") == pytest.approx(2 * 2 / 7) and measure("x") == 0 and measure("") == 0
    with pytest.raises(InputError, match="needs words"):
        likeness("?!")


def test_samples_become_more_like_what_is_rewarded(tmp_path: Path) -> None:
    run = genloom.train(THREE_COLOURS, model="autoregressive", steps=80, settings=SMALL_TRANSFORMER, out=tmp_path / "r")
    measure = likeness("blue blue blue")
    rewards: list[float] = []

    def progress(found: object) -> None:
        rewards.append(len(found.calls))  # type: ignore[attr-defined]

    goal = goal_of(run.modality, [], similar_to="blue blue blue")
    pace = Pace(calls=400, batch=32, loss="reinforce", lr=3e-3, beta=0.01)
    found = optimise(run.family, run.modality, goal, pace, progress=progress)
    late = [measure(c.example) for c in found.calls[-40:]]
    early = [measure(c.example) for c in found.calls[:40]]
    assert found.steps == len(rewards) and sum(late) / len(late) > sum(early) / len(early)
    assert goal_of(run.modality, ["distinct"]).maximise == ("distinct",)
