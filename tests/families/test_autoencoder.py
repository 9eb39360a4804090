"""The autoencoder family: rebuilding, denoising, sampling from the density fitted on its codes."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor

from genloom.core.batch import Batch, Condition, ConditionSpec
from genloom.core.family import Clock, Stage
from genloom.core.rng import Rng
from genloom.core.spec import Grid
from genloom.families.autoencoder import Autoencoder

SPEC, TWO = Grid((1, 8, 8)), ConditionSpec(("○", "●"), (32, 32))
SMALL = {"latent": 4, "encoder_width": 16, "decoder_width": 16}


def data() -> Batch:
    """Bright blobs of two sizes (the labels) at random places on a dark ground."""
    place = torch.rand(64, 2, generator=torch.Generator().manual_seed(0)) * 4 + 2
    label = torch.arange(64) % 2
    at = torch.arange(8.0)
    distance = (at[None, :, None] - place[:, :1, None]) ** 2 + (at[None, None] - place[:, 1:, None]) ** 2
    return Batch(2 * torch.exp(-distance / (1 + 5 * label)[:, None, None])[:, None] - 1, Condition(label=label))


def learn(steps: int = 120, **settings: object) -> Autoencoder:
    torch.manual_seed(0)
    made, b = Autoencoder(SPEC, Autoencoder.Config(**{**SMALL, **settings}), TWO), data()
    made.enter(Stage("train"), [b])
    optimiser = torch.optim.AdamW(made.parameters(), 4e-3)
    for step in range(steps):
        loss = next(made.updates(b, Clock(step, step / steps), Rng(0, step))).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    made.settle([b], Rng(0))
    return made


@cache
def learned() -> Autoencoder:
    return learn()


def error(made: Autoencoder, x: Tensor, of: Tensor) -> float:
    return (made.decode(made.encode(x)) - of).square().mean().item() / of.var().item()


def test_it_rebuilds_what_it_was_trained_on() -> None:
    x = data().x
    assert error(learned(), x, x) < 0.1 < error(learn(steps=1), x, x)
    assert torch.equal(learned().encode(x), learned().encode(x)) and learned().encode(x).shape == (64, 4)


def test_samples_lie_near_the_data_of_their_class() -> None:
    b = data()
    for label in (0, 1):
        x = learned().sample(40, Condition(label=torch.full((40,), label)), Rng(0), Autoencoder.Options())
        light = [b.x[b.condition.label == k].mean().item() for k in (0, 1)]
        assert abs(x.mean().item() - light[label]) < abs(x.mean().item() - light[1 - label])
        spread = torch.cdist(b.x.flatten(1), b.x.flatten(1)).mean()
        assert torch.cdist(x.flatten(1), b.x.flatten(1)).min(1).values.mean() < 0.5 * spread


def test_seeds_fix_rows_and_state_reads_back() -> None:
    options = Autoencoder.Options()
    whole = learned().sample(5, Condition(), Rng(3), options)
    part = learned().sample(2, Condition(), replace(Rng(3), offset=3), options)
    torch.testing.assert_close(part, whole[3:], rtol=1e-4, atol=1e-4)
    twin = Autoencoder(SPEC, Autoencoder.Config(**SMALL), TWO)
    twin.load_state_dict(learned().state_dict())
    assert torch.equal(twin.sample(5, Condition(), Rng(3), options), whole)


def test_denoising_learns_to_fill_what_is_hidden() -> None:
    b = data()
    plain, denoising = learned(), learn(150, mask=0.25, mask_block=2, noise=0.1)
    hidden = denoising.corrupt(b.x, Rng(99))
    assert error(denoising, hidden, b.x) < 0.6 * error(plain, hidden, b.x)


@pytest.mark.parametrize("shape", [(2, 13), (3, 9, 6), (1, 3, 5, 4)])
def test_blocks_are_hidden_whole_and_in_their_share(shape: tuple[int, ...]) -> None:
    made = Autoencoder(Grid(shape), Autoencoder.Config(**SMALL, mask=0.3, mask_block=2), ConditionSpec())
    x = torch.ones(400, *shape)
    hidden = made.corrupt(x, Rng(0)) == 0
    assert hidden.float().mean().item() == pytest.approx(0.3, abs=0.05)
    assert torch.equal(hidden[..., 0], hidden[..., 1])  # one block
    assert torch.equal(hidden[:, :1].expand_as(hidden), hidden)  # all channels together
    loss = next(made.updates(Batch(x), Clock(0, 0.5), Rng(0))).loss
    loss.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in made.parameters())


def test_the_loss_is_errors_and_code_size() -> None:
    made = Autoencoder(SPEC, Autoencoder.Config(**SMALL, absolute=0.5, code_penalty=0.01, code_noise=0.0), TWO)
    b = data()
    update = next(made.updates(b, Clock(0, 0.0), Rng(0)))
    z = made.encoder(b.x)
    y = made.decoder(z)
    expected = (y - b.x).square().mean() + 0.5 * (y - b.x).abs().mean() + 0.01 * z.square().sum(1).mean()
    torch.testing.assert_close(update.loss, expected)
