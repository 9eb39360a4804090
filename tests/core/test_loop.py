"""The loop with a family of one parameter, so that every number can be checked by hand."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

import pytest
import torch
from torch import Tensor, nn

from examples import Memory
from genloom.core.batch import Batch, Condition, ConditionSpec
from genloom.core.config import Settings, TrainConfig
from genloom.core.errors import GenloomError, Interrupted
from genloom.core.family import Clock, Family, Stage, Update
from genloom.core.feed import Feed
from genloom.core.loop import Loop
from genloom.core.observe import History
from genloom.core.optim import Muon, OptimiserConfig, orthogonalise
from genloom.core.rng import Rng
from genloom.core.spec import Grid


@final
class Line(Family):
    """Learns the mean of the data, in two stages of one player each."""

    Config = Settings
    Options = Settings
    accepts = (Grid,)

    def __init__(self, bad: range = range(0), stop_at: int = -1) -> None:
        super().__init__()
        self.spec, self.condition = Grid((1, 2)), ConditionSpec()
        self.first, self.second = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.first.weight)
        nn.init.zeros_(self.second.weight)
        self.bad, self.stop_at, self.entered, self.seen, self.rates = bad, stop_at, [], [], []
        self.worse_forever = False

    def players(self) -> dict[str, nn.Module]:
        return {"first": self.first, "second": self.second}

    def optimisers(self) -> dict[str, OptimiserConfig]:
        return {n: OptimiserConfig(lr=0.1) for n in self.players()}

    def stages(self) -> tuple[Stage, ...]:
        return (Stage("one", 0.5, None, ("first",)), Stage("two", 1.0, 4, ("second",)))

    def enter(self, stage: Stage, data: Any) -> None:
        self.entered.append((stage.name, sum(len(b) for b in data)))

    def updates(self, batch: Batch, clock: Clock, rng: Rng) -> Iterator[Update]:
        self.seen.append((clock.step, len(batch)))
        if clock.step == self.stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        player = "first" if clock.fraction < 0.5 else "second"
        weight = self.players()[player].weight
        loss = (batch.x.mean() - weight).square().sum()
        if clock.step in self.bad:
            loss = loss * float("nan")
            if not self.worse_forever and clock.step == self.bad[-1]:
                self.bad = range(0)
        yield Update(player, loss)

    def sample(self, n: int, condition: Condition, rng: Rng, options: Settings) -> Tensor:
        return torch.zeros(n, 1, 2)


class Watch:
    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.notices: list[str] = []

    def started(self, info: dict[str, Any]) -> None: ...
    def step(self, record: dict[str, Any]) -> None:
        self.records.append(record)

    def samples(self, step: int, picture: Any, path: Path) -> None: ...
    def notice(self, text: str) -> None:
        self.notices.append(text)

    def finished(self, summary: dict[str, Any]) -> None: ...


DATA = Memory(torch.full((10, 1, 2), 0.5))


def config(**values: Any) -> TrainConfig:
    return TrainConfig(**{"batch": 5, "warmup": 0, "grids": 0, "log_every": 1e-9, "precision": "fp32", **values})


def test_stages_are_entered_in_order_with_their_own_batch_and_decay() -> None:
    family, watch = Line(), Watch()
    summary = Loop(family, DATA, config(steps=40, decay=1.0), 0, observers=[watch]).run()
    assert family.entered == [("one", 10), ("two", 10)]
    assert family.seen == [(s, 5 if s < 20 else 4) for s in range(40)]
    rates = [r["rate"] for r in watch.records]
    assert rates[0] == {"first": 1.0} and rates[19]["first"] == pytest.approx(0.05)
    assert rates[20] == {"second": 1.0} and rates[39]["second"] == pytest.approx(0.05)
    assert summary["steps"] == 40
    assert family.first.weight.item() == pytest.approx(0.5, abs=0.2)


def test_a_budget_ends_in_time_with_the_decay() -> None:
    watch = Watch()
    summary = Loop(Line(), DATA, config(budget=0.4), 0, observers=[watch]).run()
    assert summary["steps"] > 5
    rates = [next(iter(r["rate"].values())) for r in watch.records if r["fraction"] > 0.97]
    assert rates and min(rates) < 0.15


def test_non_finite_steps_are_skipped_and_counted() -> None:
    family = Line(bad=range(3, 5))
    summary = Loop(family, DATA, config(steps=20, max_skips=5), 0).run()
    assert summary["skipped"] == 2 and summary["rollbacks"] == 0
    assert torch.isfinite(family.first.weight).all()


def test_many_non_finite_steps_go_back_to_the_last_checkpoint(tmp_path: Path) -> None:
    family, watch = Line(bad=range(4, 7)), Watch()
    summary = Loop(family, DATA, config(steps=10, max_skips=3), 0, checkpoints=tmp_path, observers=[watch]).run()
    assert summary["rollbacks"] == 1 and summary["steps"] == 10
    assert [s for s, _ in family.seen] == [*range(7), *range(10)]
    assert "going back" in watch.notices[0]


def test_a_loss_that_stays_bad_stops_with_one_sentence(tmp_path: Path) -> None:
    family = Line(bad=range(2, 100))
    family.worse_forever = True
    with pytest.raises(GenloomError, match="lower the learning rate"):
        Loop(family, DATA, config(steps=30, max_skips=2, max_rollbacks=2), 0, checkpoints=tmp_path).run()


def test_a_signal_ends_after_the_step_with_a_checkpoint(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted) as e:
        Loop(Line(stop_at=6), DATA, config(steps=20), 0, checkpoints=tmp_path).run()
    assert e.value.exit_code == 143 and "step 7" in str(e.value)
    assert signal.getsignal(signal.SIGTERM) is before
    family = Line()
    loop = Loop(family, DATA, config(steps=20), 0, checkpoints=tmp_path)
    assert loop.load() == 7
    loop.run()
    assert family.seen[0][0] == 7 and family.seen[-1][0] == 19


def test_the_feed_shows_every_example_once_an_epoch_and_is_a_function_of_the_position() -> None:
    data = Memory(torch.arange(10.0)[:, None, None].expand(10, 1, 2))
    feed = Feed(data, seed=1)
    seen = torch.cat([feed.take(p, 4).x[:, 0, 0] for p in range(0, 20, 4)])
    assert sorted(seen[:10].tolist()) == sorted(seen[10:].tolist()) == list(range(10))
    assert seen[:10].tolist() != seen[10:].tolist()
    assert torch.equal(Feed(data, seed=1).take(8, 4).x[:, 0, 0], seen[8:12])
    assert feed.take(0, 25).x.shape[0] == 25  # more than the set holds
    feed.close()


def test_history_drops_what_lies_after_the_checkpoint_and_a_cut_line(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"st', "utf-8")
    history = History(path, after=2)
    history.step({"step": 5})
    history.finished({})
    assert path.read_text("utf-8").splitlines() == ['{"step": 1}', '{"step": 2}', '{"step": 5}']


@pytest.mark.parametrize("shape", [(6, 6), (3, 8), (8, 3)])
def test_newton_schulz_makes_singular_values_alike(shape: tuple[int, int]) -> None:
    g = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))
    s = torch.linalg.svdvals(orthogonalise(g))
    assert s.min() > 0.5 and s.max() < 1.3
    u, _, v = torch.linalg.svd(g, full_matrices=False)
    assert torch.nn.functional.cosine_similarity(orthogonalise(g).flatten(), (u @ v).flatten(), 0) > 0.95


def test_muon_minimises_a_matrix_distance() -> None:
    target = torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(1))
    p = nn.Parameter(torch.zeros_like(target))
    muon = Muon([p], lr=0.05, momentum=0.9)
    for _ in range(200):
        p.grad = p.detach() - target
        muon.step()
    assert (p - target).norm() < 0.2 * target.norm()
