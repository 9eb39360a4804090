"""Differential privacy: gradients by hand, what the accountant says, what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

pytest.importorskip("opacus")
from examples import Memory, digits, table
from genloom.core.config import TrainConfig
from genloom.core.errors import InputError
from genloom.core.family import Clock
from genloom.core.loop import Loop
from genloom.core.private import Private
from genloom.core.rng import Rng
from genloom.families import find_family


def settings(**values: object) -> TrainConfig:
    return TrainConfig(**{"epsilon": 3.0, "steps": 20, "batch": 64, "grids": 0, **values})


def test_gradients_are_clipped_one_by_one_and_get_noise_of_the_right_size() -> None:
    torch.manual_seed(0)
    module = torch.nn.Linear(3, 400, bias=False)
    examples = Memory(torch.randn(1000, 3))
    private = Private(module, settings(clip_each=0.5), examples)
    x = torch.randn(40, 3)
    (module(x).square().sum(1) * 5).mean().backward()
    by_hand = torch.zeros(400, 3)
    for row in x:
        (g,) = torch.autograd.grad(
            module._parameters["weight"] @ row @ (module.weight.detach() @ row) * 10, module.weight
        )
        by_hand += g * min(1.0, 0.5 / float(g.norm()))
    private.privatise()
    difference = module.weight.grad - by_hand / 64
    assert float(difference.std()) == pytest.approx(private.noise * 0.5 / 64, rel=0.1)
    assert abs(float(difference.mean())) < 4 * float(difference.std()) / math.sqrt(1200)


class Once(torch.nn.Module):
    """Every kind of layer that is known, once."""

    def __init__(self) -> None:
        super().__init__()
        self.level, self.read = torch.nn.Embedding(5, 6), torch.nn.Linear(3, 6, bias=False)
        self.norm, self.out = torch.nn.LayerNorm(6), torch.nn.Linear(6, 2)
        self.unused = torch.nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.level(x[:, 0].long()) + self.read(x[:, 1:])
        out: torch.Tensor = self.out(torch.tanh(self.norm(h)))
        return out


def test_gradients_of_every_layer_are_those_of_opacus() -> None:
    from opacus.grad_sample import GradSampleModule

    torch.manual_seed(0)
    module, clip = Once(), 0.3
    x = torch.cat([torch.randint(5, (50, 1)).float(), torch.randn(50, 3)], 1)
    twin = Once()
    twin.load_state_dict(module.state_dict())
    hooked = GradSampleModule(twin, loss_reduction="mean")
    hooked(x).square().sum(1).mean().backward()
    each = {n: p.grad_sample for n, p in twin.named_parameters() if getattr(p, "grad_sample", None) is not None}
    norms = torch.stack([g.flatten(1).norm(dim=1) for g in each.values()], 1).norm(dim=1)
    assert 0.1 < float((norms > clip).float().mean()) <= 1
    private = Private(module, settings(clip_each=clip), Memory(torch.randn(1000, 4)))
    private.noise = 0.0
    for _ in range(2):  # nothing is kept of a pass
        module(x).square().sum(1).mean().backward()
        private.privatise()
    for name, p in module.named_parameters():
        wanted = torch.zeros_like(p)
        if name in each:
            wanted = torch.einsum("b,b...->...", (clip / norms).clamp(max=1), each[name]) / 64
        torch.testing.assert_close(p.grad, wanted, msg=name)


def test_the_noise_is_what_the_accountant_asks_for() -> None:
    from opacus.accountants import RDPAccountant

    private = Private(torch.nn.Linear(2, 2), settings(delta=1e-5), Memory(torch.randn(1000, 2)))
    account = RDPAccountant()
    for _ in range(20):
        account.step(noise_multiplier=private.noise, sample_rate=0.064)
    promised = private.promise(20)
    assert promised["epsilon"] == pytest.approx(account.get_epsilon(1e-5), abs=1e-3)
    assert 2.9 < promised["epsilon"] <= 3 and promised["delta"] == 1e-5
    sizes = [len(private.batch()) for _ in range(50)]
    assert len(set(sizes)) > 1 and np.mean(sizes) == pytest.approx(64, abs=6)


@pytest.mark.parametrize("name", ["any_order", "flow", "vae"])
def test_families_that_promise_let_each_row_count_alone(name: str) -> None:
    """The clipped sum of a batch is that of its rows one by one: no layer and no loss mixes them."""
    data, spec, condition = table(6)
    torch.manual_seed(0)
    family = find_family(name)
    settled = {"prior": "normal"} if name == "vae" else {}
    model = family(spec, family.Config(**settled), condition).train()
    for p in model.parameters():
        p.data.add_(0.02 * torch.randn_like(p))
    (player,) = model.players().values()
    private = Private(player, settings(batch=16, clip_each=0.5), Memory(data.x.repeat(20, 1)))
    private.noise = 0.0

    def gradients(begin: int, end: int) -> torch.Tensor:
        rng = Rng(0).rows(begin, 6)
        (update,) = model.updates(data.batch(range(begin, end)), Clock(0, 0.5), rng)
        update.loss.backward()
        private.privatise()
        return torch.cat([p.grad.flatten() for p in player.parameters()])

    torch.testing.assert_close(gradients(0, 6), sum(gradients(i, i + 1) for i in range(6)), rtol=1e-3, atol=1e-5)


def test_a_private_training_promises_and_another_refuses() -> None:
    data, spec, condition = table(500)
    family = find_family("any_order")
    model = family(spec, family.Config(width=32, depth=1), condition)
    summary = Loop(model, data, settings(steps=5, precision="fp32"), 0).run()
    assert summary["privacy"]["epsilon"] <= 3 and summary["privacy"]["steps"] == 5
    forest = find_family("forest")
    with pytest.raises(InputError, match="Forest cannot promise differential privacy"):
        Loop(forest(spec, forest.Config(), condition), data, settings(), 0)
    images, grid, classes = digits()
    vae = find_family("vae")
    gan = find_family("gan")
    with pytest.raises(InputError, match="GAN cannot promise"):
        Loop(gan(spec, gan.Config(), condition), data, settings(), 0)
    with pytest.raises(InputError, match=r"family\.prior=normal"):
        Loop(vae(spec, vae.Config(), condition), data, settings(), 0)
    with pytest.raises(InputError, match="cannot promise"):
        Loop(vae(grid, vae.Config(), classes), images, settings(), 0)
    with pytest.raises(InputError, match="counts its steps"):
        Loop(family(spec, family.Config(), condition), data, settings(steps=None, budget=5.0), 0)
