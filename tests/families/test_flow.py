"""The flow family: solvers against exact solutions, the preconditioning on Gaussian data, guidance by its formula."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from examples import Memory, digits
from genloom.core.batch import Batch, Condition, ConditionSpec
from genloom.core.config import TrainConfig
from genloom.core.errors import InputError
from genloom.core.family import Clock, Stage
from genloom.core.loop import Loop
from genloom.core.rng import Rng
from genloom.core.spec import Grid
from genloom.families.flow import SOLVERS, Flow, sampling_times

SPEC = Grid((1, 8, 8))
TWO = ConditionSpec(("a", "b"), (8, 8))
SMALL = {"width": 8, "levels": 2, "patch": 1}


def family(condition: ConditionSpec = TWO, noise: float = 0.0, **settings: object) -> Flow:
    """A small flow; `noise` gives the layers that start at zero a value."""
    torch.manual_seed(0)
    made = Flow(SPEC, Flow.Config(**{**SMALL, **settings}), condition)
    with torch.no_grad():
        for p in made.parameters():
            p.add_(noise * torch.randn_like(p))
    return made.eval()


# -- solvers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2), ("adams", 2)])
def test_a_solver_has_its_order(solver: str, order: int) -> None:
    """dx/dt = -x cos(3 t) has the solution x(0) exp(-sin(3) / 3): halving the steps divides the error by 2^order."""

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        return -x * torch.cos(3 * t)

    exact, errors = math.exp(-math.sin(3) / 3), []
    for steps in (64, 128):
        x = SOLVERS[solver](
            velocity, torch.ones(1, dtype=torch.float64), torch.linspace(0, 1, steps + 1, dtype=torch.float64)
        )
        errors.append(abs(float(x) - exact))
    # Heun's last step is Euler's: its error of one step, 1 / (2 steps^2), is of second order too.
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("steps", [1, 2, 16])
def test_sampling_times_rise_from_0_to_1(steps: int) -> None:
    times = sampling_times(steps)
    assert len(times) == steps + 1 and times[0] == 0 and times[-1] == 1
    assert (times.diff() > 0).all()


def test_the_usual_number_of_steps_is_8_on_data_and_16_on_codes_or_with_known_values() -> None:
    def agree(flow: Flow, steps: int, condition: Condition) -> bool:
        a, b = (flow.sample(2, condition, Rng(0), Flow.Options(steps=n)) for n in (None, steps))
        return torch.equal(a, b)

    label = torch.tensor([0, 1])
    known = Condition(label=label, known=torch.zeros(2, 1, 8, 8), mask=torch.arange(8).expand(2, 1, 8, 8) < 4)
    pixels, codes = family(noise=0.2), family(noise=0.2, latent=True)
    assert agree(pixels, 8, Condition(label=label)) and not agree(pixels, 16, Condition(label=label))
    assert agree(pixels, 16, known)
    assert agree(codes, 16, Condition(label=label)) and not agree(codes, 8, Condition(label=label))


# -- preconditioning --------------------------------------------------------------------------------------------------


def test_an_untrained_flow_samples_the_gaussian_of_the_data() -> None:
    """With a net that says 0 the velocity is the exact one for Gaussian data: noise is scaled to the data's spread."""
    flow = family()
    x = 0.2 + 0.3 * torch.randn(512, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    flow.enter(Stage("flow"), Memory(x).batches(64))
    assert float(flow.mean) == pytest.approx(0.2, abs=0.01) and float(flow.spread) == pytest.approx(0.3, abs=0.01)
    noise = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    out = SOLVERS["heun"](flow.velocity(torch.zeros(16, dtype=torch.long)), noise, sampling_times(100))
    torch.testing.assert_close(out, noise * flow.spread, rtol=0.01, atol=0.005)


def test_the_target_of_the_net_has_unit_variance_at_every_time() -> None:
    flow = family()
    x = 0.5 * torch.randn(4096, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    flow.enter(Stage("flow"), Memory(x).batches(512))
    for mean in (-4.0, 0.0, 4.0):  # nearly noise, between, nearly data
        at = family(time_mean=mean, time_spread=0.01)
        at.load_state_dict(flow.state_dict())
        with torch.no_grad():
            loss = at.loss(Batch(x, Condition(label=torch.zeros(4096).long())), Rng(0))
        assert float(loss) == pytest.approx(1, abs=0.03)


# -- guidance ---------------------------------------------------------------------------------------------------------


def test_guidance_extrapolates_from_no_class_to_the_class_at_its_times_only() -> None:
    flow = family(noise=0.2)
    x, label = torch.randn(4, 1, 8, 8), torch.tensor([0, 1, 0, 1])
    none = torch.full_like(label, 2)
    for t, guided in ((0.1, False), (0.5, True), (0.9, False)):
        at = torch.tensor(t)
        given, free = flow.velocity(label)(x, at), flow.velocity(none)(x, at)
        assert not torch.allclose(given, free)
        expected = free + 3 * (given - free) if guided else given
        torch.testing.assert_close(flow.velocity(label, 3.0, between=(0.2, 0.8))(x, at), expected, rtol=1e-4, atol=1e-5)


# -- autoguidance -----------------------------------------------------------------------------------------------------


def test_autoguidance_extrapolates_from_the_weak_net_at_its_times_only() -> None:
    flow = family(noise=0.2, autoguidance=2.5)
    assert flow.weak is not None
    flow.weak.keep(flow.net)
    weak = copy.deepcopy(flow)
    with torch.no_grad():
        for p in flow.net.parameters():
            p.add_(0.1 * torch.randn_like(p))
    x, label = torch.randn(4, 1, 8, 8), torch.tensor([0, 1, 0, 1])
    for t, guided in ((0.1, False), (0.5, True), (0.9, False)):
        at = torch.tensor(t)
        good, bad = flow.velocity(label)(x, at), weak.velocity(label)(x, at)
        assert not torch.allclose(good, bad)
        expected = bad + 2.5 * (good - bad) if guided else good
        found = flow.velocity(label, autoguidance=2.5, between=(0.2, 0.8))(x, at)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_both_guidances_add_up() -> None:
    flow = family(noise=0.2, autoguidance=2.0)
    assert flow.weak is not None
    flow.weak.keep(flow.net)
    with torch.no_grad():
        for p in flow.net.parameters():
            p.add_(0.1 * torch.randn_like(p))
    x, label, at = torch.randn(4, 1, 8, 8), torch.tensor([0, 1, 0, 1]), torch.tensor(0.5)
    plain, classes, auto, both = (flow.velocity(label, g, a)(x, at) for g, a in ((1, 1), (3, 1), (1, 2), (3, 2)))
    torch.testing.assert_close(both, classes + auto - plain, rtol=1e-4, atol=1e-5)


class Watched(Loop):
    """A loop that remembers the net at the start of every step, and dies before one of them after a checkpoint."""

    die_at: int | None = None

    def _one(self, fraction: float) -> None:
        assert isinstance(self.family, Flow)
        self.seen: dict[int, list[Tensor]] = getattr(self, "seen", {})
        self.seen[self.progress.step] = [p.detach().clone() for p in self.family.net.parameters()]
        if self.progress.step == self.die_at:
            self._save()
            raise KeyboardInterrupt
        super()._one(fraction)


@pytest.mark.parametrize("die_at", [2, 6])
def test_the_weak_net_is_the_net_at_its_time_and_survives_a_restart(die_at: int, tmp_path: Path) -> None:
    data, _, condition = digits()
    config = TrainConfig(steps=8, batch=16, warmup=0, grids=0, precision="fp32")

    def loop(folder: Path) -> Watched:
        return Watched(family(condition, autoguidance=1.5, weak_at=0.5), data, config, 0, checkpoints=folder)

    whole = loop(tmp_path / "whole")
    whole.run()
    assert isinstance(whole.family, Flow) and whole.family.weak is not None and bool(whole.family.weak.kept)
    for kept, p in zip(list(whole.family.weak.buffers())[1:], whole.seen[4], strict=True):
        assert torch.equal(kept, p)
    broken = loop(tmp_path / "broken")
    broken.die_at = die_at
    with pytest.raises(KeyboardInterrupt):
        broken.run()
    resumed = loop(tmp_path / "broken")
    assert resumed.load() == die_at
    resumed.run()
    for key, value in whole.family.state_dict().items():
        assert torch.equal(value, resumed.family.state_dict()[key]), key


def test_the_weak_net_of_a_latent_flow_is_of_its_own_stage() -> None:
    data, spec, condition = digits()
    flow = Flow(spec, Flow.Config(latent=True, autoguidance=1.5, weak_at=0.5), condition)
    share = flow.config.compressor.share
    flow.enter(flow.stages()[1], data.batches(32))
    assert flow.weak is not None
    for fraction, kept in ((share + 0.4 * (1 - share), False), (share + 0.6 * (1 - share), True)):
        list(flow.updates(data.batch(range(8)), Clock(5, fraction), Rng(0)))
        assert bool(flow.weak.kept) is kept


def test_autoguidance_needs_a_weak_net() -> None:
    with pytest.raises(InputError, match="kept no weak net"):
        family().sample(1, Condition(), Rng(0), Flow.Options(autoguidance=2.0))
    early = family(noise=0.2, autoguidance=2.0)  # nothing is kept yet: sampled with the guidance for classes alone
    plain = family(noise=0.2)
    a, b = (f.sample(2, Condition(label=torch.tensor([0, 1])), Rng(0), Flow.Options(steps=4)) for f in (early, plain))
    assert torch.equal(a, b)
