"""Audits during training: when they are due, what they cost, when they stop, what they keep, and that they disturb
nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, final

import pytest
import torch
from torch import Tensor, nn

from examples import Memory
from genloom.core.audits import Audits, Finding, audit_times
from genloom.core.batch import Batch, Condition, ConditionSpec
from genloom.core.config import Settings, TrainConfig
from genloom.core.family import Clock, Family, Update
from genloom.core.loop import Loop
from genloom.core.optim import OptimiserConfig
from genloom.core.rng import Rng
from genloom.core.spec import Grid


def config(**values: Any) -> TrainConfig:
    usual = {"steps": 40, "batch": 8, "warmup": 2, "grids": 0, "precision": "fp32", "log_every": 1e-9}
    return TrainConfig(**{**usual, "audit_times": 4, "audit_share": 1.0, "stop_on_copying": True, **values})


def saying(*verdicts: str) -> Callable[[Family, int], Finding]:
    return lambda family, turn: Finding(verdicts[turn], turn / 10, f"audit {turn} says {verdicts[turn]}.")


class Notes:
    """An observer that keeps what it hears."""

    def __init__(self) -> None:
        self.notices: list[str] = []
        self.rates: list[tuple[int, float]] = []

    def started(self, info: dict[str, Any]) -> None: ...

    def step(self, record: dict[str, Any]) -> None:
        if "copies" in record["logs"]:
            self.rates.append((record["step"], record["logs"]["copies"]))

    def samples(self, step: int, shown: Any, path: Path) -> None: ...

    def notice(self, text: str) -> None:
        self.notices.append(text)

    def finished(self, summary: dict[str, Any]) -> None: ...


@final
class Small(Family):
    """Its weights follow the examples and noise; it samples nothing."""

    Config = Settings
    Options = Settings
    accepts = (Grid,)

    def __init__(self) -> None:
        super().__init__()
        self.spec, self.condition = Grid((1, 2)), ConditionSpec()
        self.net = nn.Linear(2, 2)
        self.register_buffer("settled", torch.zeros(()))

    def players(self) -> dict[str, nn.Module]:
        return {"net": self.net}

    def optimisers(self) -> dict[str, OptimiserConfig]:
        return {"net": OptimiserConfig(lr=0.1)}

    def updates(self, batch: Batch, clock: Clock, rng: Rng) -> Iterator[Update]:
        dropped = nn.functional.dropout(batch.x, 0.3)  # the global stream of random numbers
        yield Update("net", (self.net(dropped + rng.normal("noise", *batch.x.shape)) - batch.x).square().mean())

    def settle(self, data: Iterable[Batch], rng: Rng) -> None:
        self.settled.fill_(float(torch.rand(())))  # a family may spend random numbers

    def sample(self, n: int, condition: Condition, rng: Rng, options: Settings) -> Tensor:
        return torch.zeros(n, 1, 2)


def family() -> tuple[Family, Any]:
    torch.manual_seed(0)
    return Small(), Memory(torch.randn(64, 1, 2, generator=torch.Generator().manual_seed(1)))


def loop(audits: Audits | None, settings: TrainConfig, folder: Path | None = None, cls: type[Loop] = Loop) -> Loop:
    model, data = family()
    return cls(model, data, settings, 0, checkpoints=folder, observers=[Notes()], audits=audits)


def test_how_many_audits() -> None:
    assert audit_times(TrainConfig(steps=1)) == 0
    assert audit_times(TrainConfig(steps=1, stop_on_copying=True)) == 8
    assert audit_times(TrainConfig(steps=1, stop_on_copying=True, validate_times=30)) == 30
    assert audit_times(TrainConfig(steps=1, audit_times=3)) == 3


def test_with_steps_samples_stay_within_a_share_of_the_examples_whatever_the_time() -> None:
    audits = Audits(saying(*["none"] * 10), 100, config(audit_times=10, audit_share=0.4))
    model, _ = family()
    made = []
    for step in range(101):  # 100 examples a step: 100 samples may be drawn for every 1,000 of them
        if audits.due(step / 100, 100 * step, 1e9 * step):
            audits.measure(model, step, step / 100)
            made.append(step)
    assert made == [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]
    dear = Audits(saying(*["none"] * 9), 250, config(audit_times=10, audit_share=0.4))
    made = []
    for step in range(101):
        if dear.due(step / 100, 100 * step, 0.0):
            dear.measure(model, step, step / 100)
            made.append(step)
    assert made == [25, 50, 75, 100]  # one that cannot be afforded waits


def test_with_a_budget_audits_stay_within_a_share_of_the_time() -> None:
    audits = Audits(saying(*["none"] * 99), 100, config(steps=None, budget=100.0, audit_times=50, audit_share=0.1))
    model, _ = family()
    for second in range(100):
        if audits.due(second / 100, 0, float(second)):
            audits.measure(model, second, second / 100)
            audits.state.seconds += 2.0
    assert audits.state.made == 4  # of 2 s each in 10 s of 100, the first as a probe at the beginning
    assert audits.state.seconds <= 0.1 * 100


def test_it_stops_and_keeps_the_weights_of_the_audit_before() -> None:
    seen: list[torch.Tensor] = []

    def audit(model: Family, turn: int) -> Finding:
        seen.append(torch.cat([p.detach().flatten().clone() for p in model.parameters()]))
        return saying("none", "some", "copying")(model, turn)

    trained = loop(Audits(audit, 1, config()), config())
    summary = trained.run()
    assert summary["steps"] == 31 and summary["audits"]["stopped"] and summary["audits"]["kept"] == "step 21"
    assert summary["audits"]["made"] == 3 and summary["audits"]["verdict"] == "copying"
    torch.testing.assert_close(torch.cat([p.flatten() for p in trained.family.parameters()]), seen[1])
    notes = trained.observers[0]
    assert isinstance(notes, Notes)
    assert notes.notices == [
        "stopped at step 31 because the model copies: the weights of step 21, the last audit before, are kept. "
        "audit 2 says copying."
    ]
    assert [r for _, r in notes.rates] == pytest.approx([0.0, 0.1, 0.2])


def test_where_the_first_audit_says_so_the_last_weights_are_kept() -> None:
    trained = loop(Audits(saying("copying"), 1, config()), config())
    assert trained.run()["audits"]["kept"] == "last"
    notes = trained.observers[0]
    assert isinstance(notes, Notes) and "the last weights are kept" in notes.notices[0]


def test_without_being_asked_to_it_does_not_stop() -> None:
    settings = config(stop_on_copying=False)
    audits = Audits(saying(*["copying"] * 4), 1, settings)
    assert loop(audits, settings).run()["steps"] == 40 and not audits.weights


def test_a_training_too_short_for_an_audit_says_so() -> None:
    settings = config(audit_share=0.01)
    trained = loop(Audits(saying(), 100, settings), settings)
    assert trained.run()["audits"]["made"] == 0
    notes = trained.observers[0]
    assert isinstance(notes, Notes) and "too short" in notes.notices[0]


class Died(Exception):
    pass


class DiesAt(Loop):
    """Dies without warning at step 26, with a checkpoint of step 24."""

    def _one(self, fraction: float) -> None:
        if self.progress.step == 24:
            self._save()
        if self.progress.step == 26:
            raise Died
        super()._one(fraction)


@pytest.mark.parametrize("verdicts", [("none", "none", "copying"), ("none", "none", "none", "none")])
def test_killed_and_resumed_equals_uninterrupted_and_audits_change_no_weight(
    verdicts: tuple[str, ...], tmp_path: Path
) -> None:
    whole = loop(Audits(saying(*verdicts), 1, config()), config())
    first = whole.run()
    with pytest.raises(Died):
        loop(Audits(saying(*verdicts), 1, config()), config(), tmp_path, DiesAt).run()
    resumed = loop(Audits(saying(*verdicts), 1, config()), config(), tmp_path)
    assert resumed.load() == 24
    second = resumed.run()
    for key in ("made", "verdict", "rate", "stopped", "kept"):
        assert first["audits"][key] == second["audits"][key], key
    for key, value in whole.family.named_parameters():
        assert torch.equal(value, resumed.family.get_parameter(key)), key
    if verdicts[-1] == "none":
        without = loop(None, config())
        without.run()
        for key, value in without.family.named_parameters():
            assert torch.equal(value, whole.family.get_parameter(key)), key
