"""Critics of sequences: causal, bounded, and the estimators built on them."""

from __future__ import annotations

import pytest
import torch

from genloom.nets.critic import Critic, CriticConfig, relaxed, returns


@pytest.mark.parametrize("net", ["cnn", "recurrent", "mlp"])
def test_a_verdict_depends_on_the_tokens_up_to_its_place_only(net: str) -> None:
    torch.manual_seed(0)
    critic = Critic(11, 2, CriticConfig(net=net, width=16)).eval()  # type: ignore[arg-type]
    x, label = torch.randint(11, (2, 9)), torch.tensor([0, 1])
    changed = x.clone()
    changed[:, 5] = (x[:, 5] + 1) % 11
    a, b = critic(x, label), critic(changed, label)
    assert torch.equal(a[:, :5], b[:, :5]) and not torch.isclose(a[:, 5], b[:, 5]).any()
    assert not torch.isclose(a[:, 0], critic(x, 1 - label)[:, 0]).any()


@pytest.mark.parametrize("net", ["cnn", "recurrent", "mlp"])
def test_shares_of_tokens_are_judged_as_tokens(net: str) -> None:
    torch.manual_seed(0)
    critic = Critic(7, 0, CriticConfig(net=net, width=16)).eval()  # type: ignore[arg-type]
    x = torch.randint(7, (3, 6))
    shares = torch.nn.functional.one_hot(x, 7).float()
    torch.testing.assert_close(critic(shares, None), critic(x, None))


def test_spectral_normalisation_holds_the_largest_singular_value() -> None:
    torch.manual_seed(0)
    critic = Critic(7, 0, CriticConfig(width=16)).train()
    for _ in range(30):
        critic(torch.randint(7, (2, 5)), None)
    for layer in critic.layers:
        assert torch.linalg.matrix_norm(layer.conv.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)


def test_returns_are_discounted_sums_of_what_comes() -> None:
    rewards = torch.tensor([[1.0, 2.0, 4.0]])
    expected = torch.tensor([[1 + 0.5 * 2 + 0.25 * 4, 2 + 0.5 * 4, 4.0]])
    torch.testing.assert_close(returns(rewards, 0.5), expected)
    torch.testing.assert_close(returns(rewards, 0.0), rewards)


def test_relaxed_tokens_are_one_hot_and_their_noise_lets_the_drawn_one_win() -> None:
    torch.manual_seed(0)
    logits = torch.randn(4000, 1, 5, requires_grad=True)
    tokens = torch.distributions.Categorical(logits=logits.detach()).sample()
    soft = relaxed(logits, tokens, torch.rand(4000, 1, 5), 1e-3)
    torch.testing.assert_close(soft, torch.nn.functional.one_hot(tokens, 5).float(), atol=1e-5, rtol=0)
    # Nearly cold, the relaxation itself is the token drawn: no gradient is left but where two scores tie.
    (gradient,) = torch.autograd.grad((soft * torch.randn(5)).sum(), logits)
    assert (gradient.abs().sum(-1) < 1e-6).float().mean() > 0.9


def test_a_straight_through_step_raises_what_the_critic_likes() -> None:
    """Over many draws the gradient of E[value of the token] has the sign of the true one."""
    torch.manual_seed(0)
    logits = torch.tensor([0.3, -0.2, 0.1, -0.4], requires_grad=True)
    value = torch.tensor([1.0, 0.0, 0.5, -1.0])
    many = logits.expand(20000, 1, 4)
    tokens = torch.distributions.Categorical(logits=many.detach()).sample()
    (found,) = torch.autograd.grad((relaxed(many, tokens, torch.rand(20000, 1, 4), 0.7) * value).sum(-1).mean(), logits)
    (true,) = torch.autograd.grad((logits.softmax(-1) * value).sum(), logits)
    assert torch.nn.functional.cosine_similarity(found, true, 0) > 0.95
