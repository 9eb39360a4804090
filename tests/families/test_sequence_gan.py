"""The sequence GAN: its losses against the formulas, what it keeps, what depends on the clock."""

from __future__ import annotations

import pytest
import torch

from examples import words
from genloom.core.batch import Batch, Condition
from genloom.core.config import TrainConfig
from genloom.core.errors import InputError
from genloom.core.family import Clock
from genloom.core.loop import Loop
from genloom.core.rng import Rng
from genloom.families.sequence_gan import SequenceGAN
from genloom.run import generate

SMALL = {"width": 16, "hidden": 32, "ngram_rows": 64, "discriminator": {"width": 16}}


def gan(**settings: object) -> SequenceGAN:
    torch.manual_seed(0)
    _, spec, condition = words()
    family = SequenceGAN(spec, SequenceGAN.Config(**{**SMALL, **settings}), condition)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in family.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=generator))
    return family.train()


def batch() -> Batch:
    return words()[0].batch(range(8))  # type: ignore[arg-type]


def played(family: SequenceGAN, fraction: float, step: int = 0) -> list[str]:
    return [u.player for u in family.updates(batch(), Clock(step, fraction), Rng(0))]


def test_who_plays_depends_on_the_clock_alone() -> None:
    family = gan(warmup=0.5, lead=0.1, critic_steps=2)
    assert played(family, 0.49) == ["generator"]
    assert played(family, 0.55, 1) == ["discriminator"]
    assert played(family, 0.7, 0) == ["discriminator"] and played(family, 0.7, 1) == ["discriminator", "generator"]


def test_the_warm_up_is_cross_entropy_per_place() -> None:
    family = gan(dropout=0.0, ngram_dropout=0.0, drop_label=0.0)
    (update,) = family.updates(batch(), Clock(0, 0.0), Rng(0))
    b = batch()
    logits = family.generator(b.x[:, :-1], Condition(label=b.condition.label[:, None].expand(-1, 4)))  # type: ignore[index]
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), b.x[:, 1:].flatten())
    torch.testing.assert_close(update.loss, expected)


def test_reinforce_by_hand() -> None:
    """Sum over places of (return - baseline) times the gradient of log p, worked out sequence by sequence."""
    family = gan(warmup=0.3, lead=0.0, discount=0.4, drop_label=0.0)
    family.returned.copy_(torch.tensor([0.1, 0.2, 0.3, 0.4]))
    b = batch()
    label = b.condition.label
    fake = family._draw(b.x[:, :1], label, Rng(0))
    loss, logs, change = family._reinforce(family._logits(fake, label), fake, label)
    verdicts = family.critic.eval()(fake, label).detach()
    total, rewards, moved = torch.zeros(()), [], torch.zeros(4)
    logits = family._logits(fake, label)
    for i, row in enumerate(fake):
        length = int((row[1:] != 0).sum())
        r = [2 * torch.sigmoid(verdicts[i, t + 1]) - 1 for t in range(length)]
        rewards.append(sum(r) / length)
        for t in range(length):
            ahead = sum(0.4 ** (s - t) * r[s] for s in range(t, length)) - family.returned[t]
            total = total - ahead * logits[i, t].log_softmax(0)[row[t + 1]]
            moved[t] += ahead
    torch.testing.assert_close(loss, total / 8 / family.length)
    torch.testing.assert_close(logs["reward"], torch.stack(rewards).mean())
    torch.testing.assert_close(change, moved)


def test_the_critics_loss_is_that_of_every_place() -> None:
    family = gan(warmup=0.3, drop_label=0.0, discriminator={"width": 16, "dropout": 0.0, "spectral": False})
    b = batch()
    update = next(iter(family.updates(b, Clock(0, 0.32), Rng(0))))
    fake = family._draw(b.x[:, :1], b.condition.label, Rng(0))
    expected = torch.zeros(())
    for x, sign in ((b.x, -1), (fake, 1)):
        scores = family.critic(x, b.condition.label)
        for i, row in enumerate(x):
            places = [t for t in range(1, x.shape[1]) if row[t] != 0]
            expected = expected + torch.stack([(1 + (sign * scores[i, t]).exp()).log() for t in places]).mean() / 8
    torch.testing.assert_close(update.loss, expected)


@pytest.mark.parametrize("gradient", ["reinforce", "gumbel"])
def test_the_generator_learns_to_please_a_fixed_critic(gradient: str) -> None:
    """Against a critic that likes one token only, that token becomes frequent."""
    family = gan(warmup=0.01, lead=0.0, gradient=gradient, discount=0.0)
    with torch.no_grad():
        for p in family.critic.parameters():
            p.zero_()
    liked = 7

    def forward(x: torch.Tensor, label: object) -> torch.Tensor:
        share = x[..., liked] if x.is_floating_point() else (x == liked).float()
        return 8 * share - 4

    family.critic.forward = forward  # type: ignore[method-assign, assignment]
    optimiser = torch.optim.Adam(family.generator.parameters(), 0.02)
    count = []
    for step in range(60):
        fake = family._draw(batch().x[:, :1], None, Rng(0, step))
        count.append(float((fake == liked).float().mean()))
        logits = family._logits(fake, None)
        if gradient == "reinforce":
            loss = family._reinforce(logits, fake, None)[0]
        else:
            loss = family._relax(logits, fake, None, Clock(step, 0.5), Rng(1, step))[0]
        optimiser.zero_grad()
        for group in optimiser.param_groups:
            group["foreach"] = False
        grads = torch.autograd.grad(loss, list(family.generator.parameters()), allow_unused=True)
        for p, g in zip(family.generator.parameters(), grads, strict=True):
            p.grad = g.to_dense() if g is not None and g.is_sparse else g
        optimiser.step()
    assert sum(count[-5:]) > 5 * sum(count[:5]) + 0.5


def test_the_start_is_the_averaged_generator_of_the_warm_up() -> None:
    data, _, _ = words()
    family = gan(warmup=0.5, rate=1.0, lead=0.0)
    kept: dict[str, torch.Tensor] = {}

    class Watch(Loop):
        def _enter(self, index: int) -> None:
            super()._enter(index)
            if index == 1:
                kept.update({k: v.clone() for k, v in self.family.generator.state_dict().items()})  # type: ignore[union-attr, operator]

    settings = {**SequenceGAN.train_defaults, "steps": 8, "batch": 8, "precision": "fp32", "grids": 0, "log_every": 1e9}
    Watch(family, data, TrainConfig(**settings), 0).run()  # type: ignore[arg-type]
    for key, value in family.start.state_dict().items():
        assert torch.equal(value, kept[key]), key
    own = family.generator.state_dict()
    assert any(not torch.equal(value, own[key]) for key, value in kept.items()), "the game moved nothing"
    labels, options = torch.arange(6) % 2, family.Options(start=True)
    before = generate(family.eval(), 6, labels, 0, options)
    with torch.no_grad():
        for p in family.generator.parameters():
            p.normal_()
    assert torch.equal(generate(family, 6, labels, 0, options), before)
    after = generate(family, 6, labels, 0, family.Options())
    assert after.shape != before.shape or not torch.equal(after, before)
    assert all(not p.startswith("start") for p, _ in family.named_parameters())


def test_collapse_is_told() -> None:
    family = gan(warmup=0.3, lead=0.0)
    assert family.warnings() == []
    family.variety.fill_(0.1)
    family._played = 500
    assert "collapsing" in family.warnings()[0]


def test_settings_that_leave_no_time_to_play_are_refused() -> None:
    with pytest.raises(InputError, match="no time to play"):
        gan(warmup=0.9, lead=0.1)


def test_likelihood_is_that_of_the_generator() -> None:
    family = gan().eval()
    b = batch()
    condition = Condition(label=b.condition.label)
    nats = family.surprise(b.x, condition)
    logits = family.generator(b.x[:, :-1], Condition(label=b.condition.label))
    by_hand = -logits.log_softmax(-1).gather(-1, b.x[:, 1:, None])[..., 0]
    torch.testing.assert_close(nats, by_hand * (b.x[:, 1:] != 0))
    torch.testing.assert_close(family.nll(b, Rng(0)), nats.sum(1))
