"""The VAE family: likelihoods that normalise, a bound that is one, KL terms against closed forms, the fitted prior."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from genloom.core.batch import Batch, Condition, ConditionSpec
from genloom.core.config import validate
from genloom.core.errors import InputError
from genloom.core.family import Clock, Stage
from genloom.core.rng import Rng
from genloom.core.spec import Grid
from genloom.families.vae import VAE
from genloom.nets.coder import Decoder, Encoder
from genloom.nets.density import MixtureDensity, sparse
from genloom.nets.ladder import kl_normal, log_normal
from genloom.nets.likelihood import Bernoulli, DiscretisedLogistic, Gaussian, LikelihoodConfig, LikelihoodHead

SMALL = {"latent": 4, "encoder_width": 16, "decoder_width": 16}
TWO = ConditionSpec(("猫", "狗"), (12, 4))
NORMAL = torch.distributions.Normal


SPEC = Grid((1, 6, 6))


def family(spec: Grid = SPEC, condition: ConditionSpec = TWO, **settings: object) -> VAE:
    torch.manual_seed(0)
    made = VAE(spec, VAE.Config(**{**SMALL, **settings}), condition)
    with torch.no_grad():  # zero-initialised layers would hide what depends on what
        for p in made.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return made


def examples(spec: Grid, labelled: bool = True) -> Batch:
    """Two kinds: dark with label 0 (12 examples), bright with label 1 (4)."""
    x = 0.3 * torch.randn(16, *spec.shape, generator=torch.Generator().manual_seed(1))
    label = (torch.arange(16) >= 12).long()
    x = (x + (label * 1.2 - 0.6)[(...,) + (None,) * len(spec.shape)]).clamp(-1, 1)
    return Batch(x, Condition(label=label if labelled else None))


# -- likelihoods ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mean", [-1.3, -0.98, 0.1, 0.999, 4.0])
@pytest.mark.parametrize("log_scale", [-6.0, -2.0, 1.0])
def test_discretised_logistic_sums_to_one_over_levels(mean: float, log_scale: float) -> None:
    x = torch.linspace(-1, 1, 256).reshape(256, 1, 1)
    p = DiscretisedLogistic(torch.full_like(x, mean), torch.tensor(log_scale), 256).log_prob(x)
    assert torch.isfinite(p).all()
    assert p.double().exp().sum().item() == pytest.approx(1, abs=2e-4)


def test_discretised_logistic_is_the_difference_of_cumulatives() -> None:
    x, mean, scale = torch.tensor([[[0.2]]]), 0.25, 0.3
    half = 1 / 10  # 11 levels
    expected = math.log(
        1 / (1 + math.exp(-(0.2 - mean + half) / scale)) - 1 / (1 + math.exp(-(0.2 - mean - half) / scale))
    )
    got = DiscretisedLogistic(torch.tensor([[[mean]]]), torch.tensor(math.log(scale)), 11).log_prob(x)
    assert got.item() == pytest.approx(expected, rel=1e-5)


def test_draws_follow_their_likelihoods() -> None:
    shape = (1, 1, 40_000)
    rng = Rng(0)
    levels = DiscretisedLogistic(torch.full(shape, 0.2), torch.tensor(-1.5), 17)
    drawn = levels.draw(rng)
    grid = torch.linspace(-1, 1, 17)
    expected = (
        DiscretisedLogistic(torch.full((17, 1, 1), 0.2), torch.tensor(-1.5), 17).log_prob(grid[:, None, None]).exp()
    )
    share = torch.stack([(drawn - g).abs().lt(1e-4).float().mean() for g in grid])
    torch.testing.assert_close(share, expected, atol=0.01, rtol=0)
    assert Bernoulli(torch.full(shape, 1.0)).draw(rng).mean().item() == pytest.approx(math.tanh(0.5), abs=0.02)
    gaussian = Gaussian(torch.full(shape, 0.5), torch.tensor(-1.0)).draw(rng)
    assert gaussian.std().item() == pytest.approx(math.exp(-1), rel=0.02)


def test_bernoulli_and_gaussian_against_torch() -> None:
    x = torch.tensor([[[-1.0, 1.0, 1.0]]])
    logits = torch.tensor([[[0.3, -0.2, 2.0]]])
    expected = torch.distributions.Bernoulli(logits=logits).log_prob((x + 1) / 2).sum()
    torch.testing.assert_close(Bernoulli(logits).log_prob(x), expected[None])
    torch.testing.assert_close(
        Gaussian(logits, torch.tensor(-0.7)).log_prob(x), NORMAL(logits, math.exp(-0.7)).log_prob(x).sum()[None]
    )


def test_the_likelihood_fits_the_data_and_refuses_what_cannot_be() -> None:
    assert LikelihoodHead(Grid((1, 4), 2), LikelihoodConfig()).kind == "bernoulli"
    assert LikelihoodHead(Grid((1, 4), 256), LikelihoodConfig()).kind == "gaussian"
    assert LikelihoodHead(Grid((1, 4)), LikelihoodConfig(kind="logistic", per_value=True)).outputs_per_value == 2
    with pytest.raises(InputError, match="levels"):
        LikelihoodHead(Grid((1, 4), None), LikelihoodConfig(kind="logistic"))
    with pytest.raises(InputError, match="not both"):
        validate(LikelihoodConfig, {"scale": 0.1, "per_value": True}, "likelihood")


def test_a_learned_scale_begins_at_the_spread_of_the_data_and_a_fixed_one_stays() -> None:
    x = 0.2 * torch.randn(64, 1, 50)
    head = LikelihoodHead(Grid((1, 50)), LikelihoodConfig())
    assert head.measure([x[:40], x[40:]]) == 64
    assert head.scale().exp().item() == pytest.approx(x.std().item(), rel=1e-2)
    fixed = LikelihoodHead(Grid((1, 50)), LikelihoodConfig(scale=0.05))
    assert fixed.scale().exp().item() == pytest.approx(0.05) and not list(fixed.parameters())


# -- divergence and bound ---------------------------------------------------------------------------------------------


def test_kl_and_density_against_torch() -> None:
    m, v, dm, dv = (torch.randn(5, 3) for _ in range(4))
    prior, posterior = NORMAL(m, (v / 2).exp()), NORMAL(m + dm, ((v + dv) / 2).exp())
    torch.testing.assert_close(kl_normal(dm, dv, v), torch.distributions.kl_divergence(posterior, prior).sum(1))
    torch.testing.assert_close(log_normal(dm, m, v), prior.log_prob(dm).sum(1))


class LinearCoder(nn.Module):
    """q(z | x) and a decoder of a linear-Gaussian model x = w z + b + noise, whose likelihood is known exactly."""

    rungs = ()

    def __init__(self, w: Tensor, b: Tensor, spread: float) -> None:
        super().__init__()
        self.w, self.b, self.spread = w, b, spread

    def posterior(self, x: Tensor) -> tuple[tuple[Tensor, Tensor], list[Tensor]]:
        mean = (x.flatten(1) - self.b) @ torch.linalg.pinv(self.w).T
        return (mean, torch.full_like(mean, 2 * math.log(self.spread))), []

    def decode(self, z: Tensor, label: Tensor | None, choose: object) -> Tensor:
        return (z @ self.w.T + self.b)[:, None]


def test_the_bound_lies_above_the_exact_likelihood_and_tightens_with_more_draws() -> None:
    spec, noise = Grid((1, 3), None), 0.5
    torch.manual_seed(0)
    w, b = torch.randn(3, 2), torch.randn(3)
    x = (torch.randn(200, 2) @ w.T + b + noise * torch.randn(200, 3))[:, None]
    exact = torch.distributions.MultivariateNormal(b, w @ w.T + noise**2 * torch.eye(3)).log_prob(x[:, 0])
    bounds = []
    for draws in (1, 8, 256):
        vae = VAE(
            spec,
            VAE.Config(**{**SMALL, "latent": 2}, bound_samples=draws, likelihood={"scale": noise}),
            ConditionSpec(),
        )
        vae.coder = LinearCoder(w, b, 0.6)  # type: ignore[assignment]
        bounds.append(vae.nll(Batch(x), Rng(0)).mean().item())
    truth = -exact.mean().item()
    assert bounds[0] > bounds[1] > bounds[2] > truth - 0.02
    assert bounds[2] == pytest.approx(truth, abs=0.05)
    assert bounds[0] > truth + 0.1


@pytest.mark.parametrize("ladder", [0, 2])
def test_one_draw_of_the_bound_is_in_expectation_the_loss(ladder: int) -> None:
    vae = family(ladder=ladder, bound_samples=1, drop_label=0.0)
    b = examples(vae.spec)
    with torch.no_grad():
        losses = [next(vae.updates(b, Clock(0, 0.9), Rng(i))).loss * vae.spec.dimensions for i in range(100)]
    bounds = torch.stack([vae.nll(b, Rng(i)).mean() for i in range(100)])
    spread = (bounds.std() ** 2 + torch.stack(losses).std() ** 2).sqrt() / 100**0.5
    assert abs(bounds.mean() - torch.stack(losses).mean()) < 4 * spread


def test_free_bits_and_warm_up() -> None:
    vae = family(kl_warmup=0.2, beta=3.0, free_bits=0.0)
    b, stopped = examples(vae.spec), Clock(0, 0.0)
    assert [round(vae.beta(Clock(0, f)), 6) for f in (0.0, 0.1, 0.2, 0.9)] == [0.0, 1.5, 3.0, 3.0]
    update = next(vae.updates(b, stopped, Rng(0)))
    assert (update.loss * vae.spec.dimensions).item() == pytest.approx(update.logs["nll"].item(), rel=1e-5)
    free = family(kl_warmup=0.0, free_bits=1e6)
    update = next(free.updates(b, stopped, Rng(0)))
    assert (update.loss * free.spec.dimensions - update.logs["nll"]).item() == pytest.approx(1e6, rel=1e-5)
    with torch.no_grad():  # under a limit that no layer reaches, the KL has no gradient: the scale of codes stays
        some = family(kl_warmup=0.0, free_bits=0.0)
        _, kl, _ = some.infer(b.x, b.condition.label, Rng(0))
    update = next(some.updates(b, Clock(0, 0.5), Rng(0)))
    expected = update.logs["nll"] + kl.sum(1).mean()
    torch.testing.assert_close(update.loss * some.spec.dimensions, expected, rtol=1e-2, atol=1e-2)


def test_collapse_is_reported() -> None:
    vae = family()
    assert vae.warnings() == []
    vae._kl = torch.tensor(0.01)
    assert "KL" in vae.warnings()[0]
    next(vae.updates(examples(vae.spec), Clock(0, 0.5), Rng(0)))
    assert vae.warnings() == []


# -- the family -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ladder", [0, 2])
@pytest.mark.parametrize("shape", [(2, 13), (3, 9, 6), (1, 3, 5, 4), (1, 40, 17)])
def test_shapes_on_one_to_three_axes(shape: tuple[int, ...], ladder: int) -> None:
    spec = Grid(shape)
    vae = family(spec, ladder=ladder, likelihood={"kind": "logistic", "per_value": True}, bound_samples=2)
    b = examples(spec)
    vae.enter(Stage("train"), [b])
    next(vae.updates(b, Clock(0, 0.5), Rng(0))).loss.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in vae.parameters())
    vae.settle([b], Rng(0))
    z = vae.encode(b.x)
    assert z.ndim == 2 and vae.decode(z, b.condition).shape == b.x.shape
    assert vae.nll(b, Rng(0)).shape == (16,)
    x = vae.sample(5, Condition(), Rng(0), VAE.Options(noise=True))
    assert x.shape == (5, *shape) and x.abs().max() <= 1


def test_encoder_and_decoder_take_a_conditioning_vector() -> None:
    spec = Grid((3, 33, 20))
    encoder, decoder = Encoder(spec, 7, 16, 2, embedding=5), Decoder(spec, 7, 16, 2, embedding=5)
    for module in (encoder, decoder):
        for p in module.parameters():
            nn.init.normal_(p, std=0.1)
    x, e = torch.randn(2, *spec.shape), torch.randn(2, 5)
    assert encoder(x, e).shape == (2, 7) and not torch.allclose(encoder(x, e), encoder(x, -e))
    z = torch.randn(2, 7)
    assert decoder(z, e).shape == x.shape and not torch.allclose(decoder(z, e), decoder(z, -e))


@pytest.mark.parametrize("ladder", [0, 2])
@pytest.mark.parametrize("prior", ["mixture", "normal"])
def test_a_seed_fixes_each_row_whatever_the_number(prior: str, ladder: int) -> None:
    vae = family(prior=prior, ladder=ladder)
    vae.settle([examples(vae.spec)], Rng(0))
    rng, options = Rng(5), VAE.Options(noise=True)
    whole = vae.sample(6, Condition(), rng, options)
    torch.testing.assert_close(vae.sample(2, Condition(), rng, options), whole[:2], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        vae.sample(2, Condition(), replace(rng, offset=4), options), whole[4:], rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("ladder", [0, 2])
def test_a_settled_vae_reads_back(ladder: int) -> None:
    vae, twin = family(ladder=ladder), VAE(SPEC, VAE.Config(**SMALL, ladder=ladder), TWO)
    vae.settle([examples(vae.spec)], Rng(0))
    twin.load_state_dict(vae.state_dict())
    a, b = (f.sample(4, Condition(label=torch.tensor([0, 1, 0, 1])), Rng(1), VAE.Options()) for f in (vae, twin))
    assert torch.equal(a, b)


def test_a_short_training_separates_the_classes_and_rebuilds() -> None:
    spec = Grid((1, 6, 6))
    torch.manual_seed(0)
    vae, b = VAE(spec, VAE.Config(**SMALL), TWO), examples(spec)
    vae.enter(Stage("train"), [b])
    optimiser = torch.optim.AdamW(vae.parameters(), 3e-3)
    for step in range(150):
        update = next(vae.updates(b, Clock(step, step / 150), Rng(0, step)))
        optimiser.zero_grad()
        update.loss.backward()
        optimiser.step()
    vae.settle([b], Rng(0))
    dark, bright = (
        vae.sample(20, Condition(label=torch.full((20,), k)), Rng(0), VAE.Options()).mean().item() for k in (0, 1)
    )
    assert dark < -0.4 and bright > 0.4
    free = vae.sample(400, Condition(), Rng(0), VAE.Options()).flatten(1).mean(1)
    assert (free > 0).float().mean().item() == pytest.approx(4 / 16, abs=0.08)  # the data's shares
    error = (vae.decode(vae.encode(b.x), b.condition) - b.x).square().mean()
    assert error < 0.5 * b.x.var()
    assert vae.head.scale().exp() < 0.5  # learned, from 0.6 towards the residual 0.3


def test_labels_are_honoured_only_when_conditional() -> None:
    assert family().honours() == {"label"}
    assert family(conditional=False).honours() == frozenset()
    assert family(condition=ConditionSpec()).honours() == frozenset()


# -- the fitted density -----------------------------------------------------------------------------------------------


def test_the_mixture_finds_what_was_drawn_and_its_density_integrates_its_samples() -> None:
    generator = torch.Generator().manual_seed(0)
    centres = torch.tensor([[-3.0, 0.0], [3.0, 1.0]])
    pick = torch.randint(2, (2000,), generator=generator)
    codes = centres[pick] + torch.randn(2000, 2, generator=generator) * torch.tensor([0.5, 1.5])
    density = MixtureDensity(2, (), 2)
    normal = NORMAL(0.0, 1.0).log_prob(codes).sum(1)
    torch.testing.assert_close(density.log_prob(codes, None), normal)  # before it is fitted
    density.fit(codes, None, 0)
    drawn = density.sample(2000, None, Rng(0))
    torch.testing.assert_close(drawn.mean(0), codes.mean(0), atol=0.2, rtol=0)
    torch.testing.assert_close(drawn.T.cov(), codes.T.cov(), atol=0.4, rtol=0.1)
    truth = torch.logsumexp(NORMAL(centres, torch.tensor([0.5, 1.5])).log_prob(codes[:, None]).sum(2) - math.log(2), 1)
    torch.testing.assert_close(density.log_prob(codes, None).mean(), truth.mean(), atol=0.02, rtol=0)
    cold = density.sample(50, None, Rng(0), temperature=0.0)
    assert len(cold.unique(dim=0)) == 2


def test_rare_classes_borrow_from_all() -> None:
    codes = torch.randn(300, 3) + 5
    labels = torch.zeros(300, dtype=torch.long)
    labels[0] = 1  # one example; class 2 has none
    density = MixtureDensity(3, (299, 1, 0), 4)
    density.fit(codes, labels, 0)
    for label in (0, 1, 2):
        drawn = density.sample(200, torch.full((200,), label), Rng(1))
        torch.testing.assert_close(drawn.mean(0), codes.mean(0), atol=0.3, rtol=0)
        torch.testing.assert_close(drawn.std(0), codes.std(0), atol=0.3, rtol=0)
    assert (density.sample(300, None, Rng(2)) - 5).abs().max() < 6
    assert density.classes(2000, Rng(0)).bincount(minlength=3)[2] == 0


def test_a_random_part_of_the_data_is_fitted_on() -> None:
    batches = [Batch(torch.arange(i, i + 7).float()[:, None, None]) for i in range(0, 7000, 7)]
    taken = torch.cat([b.x for b in sparse(batches, 7000, 1000, seed=0)]).flatten()
    assert len(taken) == pytest.approx(1000, abs=120)
    assert (taken.diff() > 0).all() and taken.mean() == pytest.approx(3500, abs=300)
    assert len((taken % 7).unique()) == 7
    assert not torch.equal(taken, torch.cat([b.x for b in sparse(batches, 7000, 1000, seed=1)]).flatten()[: len(taken)])
    assert sum(len(b) for b in sparse(batches, 7000, 8000, seed=0)) == 7000
    assert sum(len(b) for b in sparse(batches, 0, 10, seed=0)) == 7000
