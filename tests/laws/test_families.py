"""Laws that every family found must keep. Nothing here names a family, except where a setting must be chosen for a law
to be meant."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from examples import Documents, Memory, digits, words
from genloom.core.batch import Condition, ConditionSpec
from genloom.core.config import TrainConfig, merge
from genloom.core.device import place
from genloom.core.errors import GenloomError, InputError
from genloom.core.family import Clock, Family, HasLatent, HasLikelihood
from genloom.core.loop import Loop
from genloom.core.optim import Optimiser
from genloom.core.rng import Rng
from genloom.core.spec import Grid, Tokens, check_batch
from genloom.families import family_names, find_family
from genloom.run import generate
from huggingface import architecture

FAMILIES = family_names()
GRIDS = [name for name in FAMILIES if Grid in find_family(name).accepts]
# BatchNorm sees a batch, not an example, and dropout draws anew for every micro-batch: with them, micro-batches cannot
# equal the full batch.
WITHOUT_COUPLING = {"gan": {"norm": "group"}, "autoregressive": {"dropout": 0.0, "ngram_dropout": 0.0}}


def make(name: str, spec: Grid, condition: ConditionSpec, seed: int = 0, **settings: object) -> Family:
    torch.manual_seed(seed)
    family = find_family(name)
    return family(spec, family.Config(**settings), condition)


def settings_for(name: str, **values: object) -> TrainConfig:
    return TrainConfig(
        **{
            **find_family(name).train_defaults,
            "batch": 16,
            "warmup": 2,
            "precision": "fp32",
            "grids": 0,
            "log_every": 1e9,
            **values,
        }
    )


def train(
    name: str, data: Memory, spec: Grid, condition: ConditionSpec, *, folder: Path | None = None, **values: object
) -> Family:
    settings = values.pop("settings", {})
    family = make(name, spec, condition, **settings)
    Loop(family, data, settings_for(name, **values), 0, checkpoints=folder).run()
    return family


def perturbed(family: Family) -> Family:
    """Zero-initialised layers hide what a sample depends on: give every weight a value."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in family.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=generator))
    return family.eval()


class Stop(Exception):
    pass


class StopAt(Loop):
    """A loop that dies without warning before a given step, just after a checkpoint of an earlier one."""

    save_at, die_at = 2, 3

    def _one(self, fraction: float) -> None:
        if self.progress.step == self.save_at:
            self._save()
        if self.progress.step == self.die_at:
            raise Stop
        super()._one(fraction)


@pytest.mark.parametrize("name", GRIDS)
def test_resuming_equals_never_having_stopped(name: str, tmp_path: Path) -> None:
    data, spec, condition = digits()
    whole = train(name, data, spec, condition, steps=4, batch=16)
    with pytest.raises(Stop):
        StopAt(make(name, spec, condition), data, settings_for(name, steps=4), 0, checkpoints=tmp_path).run()
    resumed = make(name, spec, condition, seed=99)
    loop = Loop(resumed, data, settings_for(name, steps=4), 0, checkpoints=tmp_path)
    assert loop.load() == 2
    loop.run()
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key


@pytest.mark.parametrize("name", GRIDS)
def test_a_player_moves_only_its_own_parameters(name: str) -> None:
    data, spec, condition = digits()
    family = make(name, spec, condition).train()
    players, settings = family.players(), family.optimisers()
    optimisers = {n: Optimiser(m, settings[n]) for n, m in players.items()}
    owner = {id(p): n for n, m in players.items() for p in m.parameters()}
    assert len(owner) == sum(len(list(m.parameters())) for m in players.values()), "players share parameters"
    stages = family.stages()
    starts = [0.0, *[s.until for s in stages[:-1]]]
    seen = set()
    for stage, start in zip(stages, starts, strict=True):
        family.enter(stage, data.batches(32))
        before = copy.deepcopy(dict(family.named_parameters()))
        for update in family.updates(data.batch(range(16)), Clock(8, start + 0.9 * (stage.until - start)), Rng(0)):
            update.loss.backward(inputs=optimisers[update.player].params)
            for key, p in family.named_parameters():
                assert p.grad is None or owner[id(p)] == update.player, f"{update.player} gave {key} a gradient"
            optimisers[update.player].step(1.0)
            optimisers[update.player].zero_grad()
            for key, p in family.named_parameters():
                assert owner.get(id(p)) == update.player or torch.equal(p, before[key]), f"{update.player} moved {key}"
            before = copy.deepcopy(dict(family.named_parameters()))
            seen.add(update.player)
    assert seen == set(players)


@pytest.mark.parametrize("name", GRIDS)
def test_accumulated_gradients_equal_the_full_batch(name: str) -> None:
    data, spec, condition = digits()
    settings = WITHOUT_COUPLING.get(name, {})
    full = train(name, data, spec, condition, steps=1, warmup=0, settings=settings)
    parts = train(name, data, spec, condition, steps=1, warmup=0, settings=settings, accumulate=2)
    start = make(name, spec, condition, **settings)
    for key, value in full.named_parameters():
        moved = (value - start.state_dict()[key]).abs().max()
        # Adam turns a rounding error in a gradient near zero into a whole step: compare the mean movement.
        error = (value - parts.state_dict()[key]).abs().mean()
        assert error <= 0.02 * moved + 1e-7, key


@pytest.mark.parametrize("name", GRIDS)
def test_samples_have_the_spec_and_depend_only_on_the_seed(name: str) -> None:
    _, spec, condition = digits()
    family = perturbed(make(name, spec, condition))
    labels = torch.arange(6) % 10
    x = generate(family, 6, labels, 5, family.Options())
    check_batch(spec, x)
    assert x.abs().max() <= 1
    assert torch.equal(x, generate(family, 6, labels, 5, family.Options()))
    torch.testing.assert_close(generate(family, 2, labels[:2], 5, family.Options()), x[:2], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(x, generate(family, 6, labels, 6, family.Options()))
    assert not torch.allclose(x[0], x[1])


@pytest.mark.parametrize("name", GRIDS)
def test_weights_read_back_give_the_same_samples(name: str) -> None:
    data, spec, condition = digits()
    family = train(name, data, spec, condition, steps=2)
    twin = make(name, spec, condition, seed=7)
    twin.load_state_dict(family.state_dict())
    labels = torch.arange(4)
    place(twin, settings_for(name), torch.device("cpu"))  # another memory layout would round differently
    a, b = (generate(f.eval(), 4, labels, 0, f.Options()) for f in (family, twin))
    assert torch.equal(a, b)


@pytest.mark.parametrize("name", GRIDS)
def test_every_declared_condition_is_honoured_and_others_are_refused(name: str) -> None:
    data, spec, condition = digits()
    family = perturbed(train(name, data, spec, condition, steps=2))
    if "label" in family.honours():
        one, two = (generate(family, 2, torch.full((2,), k), 0, family.Options()) for k in (1, 2))
        assert not torch.allclose(one, two)
    if "known" in family.honours():
        known = torch.full((2, *spec.shape), 0.25)
        mask = torch.zeros_like(known, dtype=torch.bool)
        mask[..., :4] = True
        x = family.sample(2, Condition(known=known, mask=mask), Rng(0), family.Options())
        assert torch.equal(x[mask], known[mask]) and not torch.allclose(x[~mask], known[~mask])
    without = make(name, spec, ConditionSpec())
    assert "label" not in without.honours()
    with pytest.raises(InputError, match="label"):
        generate(without, 2, torch.zeros(2, dtype=torch.long), 0, without.Options())
    with pytest.raises(InputError, match="source"):
        Condition(source=torch.zeros(1, 1, dtype=torch.long)).check(family.honours(), name)


@pytest.mark.parametrize("name", GRIDS)
def test_unlabelled_data_trains(name: str) -> None:
    data, spec, condition = digits(labelled=False)
    family = train(name, data, spec, condition, steps=3)
    check_batch(spec, generate(family.eval(), 3, None, 0, family.Options()))


@pytest.mark.parametrize("shape", [(2, 12), (3, 9, 6), (1, 4, 6, 5)], ids=["1 axis", "2 axes", "3 axes"])
@pytest.mark.parametrize("name", GRIDS)
def test_grids_of_one_to_three_axes_and_any_size(name: str, shape: tuple[int, ...]) -> None:
    x = torch.rand(32, *shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    spec = Grid(shape)
    family = train(name, Memory(x), spec, ConditionSpec(), steps=2)
    check_batch(spec, generate(family.eval(), 2, None, 0, family.Options()))


@pytest.mark.parametrize("name", GRIDS)
def test_learns_32_examples(name: str) -> None:
    """After a short training, samples lie much nearer to the 32 training examples than before it."""
    data, spec, condition = digits(32)

    def distance(family: Family) -> float:
        x = generate(family.eval(), 32, data.labels, 0, family.Options()).flatten(1)
        return float(torch.cdist(x, data.x.flatten(1)).min(1).values.mean())

    before = train(name, data, spec, condition, steps=1, batch=32)
    after = train(name, data, spec, condition, steps=150, batch=32, warmup=10)
    assert distance(after) < 0.75 * distance(before)


@pytest.mark.parametrize("name", GRIDS)
def test_likelihoods_and_codes_have_their_shapes(name: str) -> None:
    data, spec, condition = digits()
    family = train(name, data, spec, condition, steps=2).eval()
    batch = data.batch(range(5))
    if isinstance(family, HasLikelihood):
        nll = family.nll(batch, Rng(0))
        assert nll.shape == (5,) and torch.isfinite(nll).all()
    if isinstance(family, HasLatent):
        z = family.encode(batch.x)
        assert z.ndim == 2 and len(z) == 5 and torch.equal(z, family.encode(batch.x))
        check_batch(spec, family.decode(z))


@pytest.mark.parametrize("name", GRIDS)
def test_a_loss_that_is_never_finite_ends_with_one_sentence(name: str, tmp_path: Path) -> None:
    data, spec, condition = digits()
    data.x[:] = float("nan")
    family = make(name, spec, condition)
    loop = Loop(family, data, settings_for(name, steps=50, max_skips=2, max_rollbacks=1), 0, checkpoints=tmp_path)
    with pytest.raises(GenloomError, match="not finite"):
        loop.run()


# -- sequences --------------------------------------------------------------------------------------------------------

# A family that accepts Tokens is tried in each of these forms; one not listed, with its defaults.
VARIANTS: dict[str, list[dict[str, object]]] = {
    "autoregressive": [
        *({"cell": cell, "context": 16, "ngram_rows": 256} for cell in ("transformer", "lstm", "gru")),
        {"tied": True, "context": 16, "ngram_rows": 256},
    ],
    "sequence_gan": [
        {"cell": cell, "discriminator": {"net": net, "width": 32}, "gradient": gradient, "ngram_rows": 256}
        | {"hidden": 64, "length": 16, "warmup": 0.3, "lead": 0.0}
        for cell, net, gradient in (
            ("lstm", "cnn", "reinforce"),
            ("gru", "recurrent", "gumbel"),
            ("transformer", "mlp", "reinforce"),
        )
    ],
    "vae": [{"latent": 8, "free_bits": 0.0, "sentences": {"length": 16, "hidden": 128}}],
    # A model of the 27 contents of `words` and two signs; with random weights it learns as fast as any other.
    "pretrained": [
        {
            "architecture": architecture(kind, 29, begin, 28),
            "begin": begin,
            "end": 28,
            "context": 16,
            "optimiser": {"lr": 1e-2},
        }
        for kind, begin in (("gpt2", 28), ("llama", 27))
    ],
}
# Random numbers of a layer do not follow the rows of a batch, and spectral normalisation goes a step with every
# micro-batch: without them micro-batches equal the full batch.
WITHOUT_CHANCE: dict[str, dict[str, object]] = {
    "autoregressive": {"dropout": 0.0, "ngram_dropout": 0.0},
    "sequence_gan": {"dropout": 0.0, "ngram_dropout": 0.0, "discriminator": {"dropout": 0.0, "spectral": False}},
    "vae": {"sentences": {"dropout": 0.0}},
}
# Where part of a training is for something else than likelihood, this makes it short.
LIKELIHOOD = {"sequence_gan": {"warmup": 0.9, "ngram_dropout": 0.0, "dropout": 0.0}}
SEQUENTIAL = [
    pytest.param(name, variant, id=f"{name}-{i}")
    for name in family_names()
    if Tokens in find_family(name).accepts
    for i, variant in enumerate(VARIANTS.get(name, [{}]))
]
Variant = dict[str, object]


def made(name: str, variant: Variant, stream: bool = False, seed: int = 0) -> tuple[Family, Documents]:
    data, spec, condition = words(stream)
    return make(name, spec, condition, seed, **variant), data  # type: ignore[arg-type]


def trained(name: str, variant: Variant, stream: bool = False, **values: object) -> tuple[Family, Documents]:
    family, data = made(name, variant, stream)
    Loop(family, data, settings_for(name, **values), 0).run()
    return family.eval(), data


@pytest.mark.parametrize("stream", [False, True], ids=["documents", "stream"])
@pytest.mark.parametrize(("name", "variant"), SEQUENTIAL)
def test_sequences_resuming_equals_never_having_stopped(
    name: str, variant: Variant, stream: bool, tmp_path: Path
) -> None:
    whole, data = trained(name, variant, stream, steps=4)
    with pytest.raises(Stop):
        StopAt(made(name, variant, stream)[0], data, settings_for(name, steps=4), 0, checkpoints=tmp_path).run()
    resumed = made(name, variant, stream, seed=99)[0]
    loop = Loop(resumed, data, settings_for(name, steps=4), 0, checkpoints=tmp_path)
    assert loop.load() == 2
    loop.run()
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key


@pytest.mark.parametrize("stream", [False, True], ids=["documents", "stream"])
@pytest.mark.parametrize(("name", "variant"), SEQUENTIAL)
def test_sequences_accumulated_gradients_equal_the_full_batch(name: str, variant: Variant, stream: bool) -> None:
    variant = merge(variant, WITHOUT_CHANCE.get(name, {}))
    start, full, parts = (perturbed(made(name, variant, stream)[0]) for _ in range(3))
    for family, accumulate in ((full, 1), (parts, 2)):
        settings = settings_for(name, steps=2, warmup=0, accumulate=accumulate)
        Loop(family, words(stream)[0], settings, 0).run()
    for key, value in full.named_parameters():
        moved = (value - start.state_dict()[key]).abs().max()
        error = (value - parts.state_dict()[key]).abs().mean()
        assert error <= 0.02 * moved + 1e-7, key


@pytest.mark.parametrize("stream", [False, True], ids=["documents", "stream"])
@pytest.mark.parametrize(("name", "variant"), SEQUENTIAL)
def test_sequences_have_the_spec_and_depend_only_on_the_seed(name: str, variant: Variant, stream: bool) -> None:
    family = perturbed(made(name, variant, stream)[0])
    labels = None if stream else torch.arange(6) % 2
    x = generate(family, 6, labels, 5, family.Options())
    check_batch(family.spec, x)
    assert torch.equal(x, generate(family, 6, labels, 5, family.Options()))
    few = generate(family, 2, None if labels is None else labels[:2], 5, family.Options())
    assert torch.equal(few, x[:2, : few.shape[1]]) and not bool(x[:2, few.shape[1] :].any())
    assert not torch.equal(x, generate(family, 6, labels, 6, family.Options()))
    assert not torch.equal(x[0], x[1])


@pytest.mark.parametrize(("name", "variant"), SEQUENTIAL)
def test_sequences_weights_read_back_give_the_same_samples(name: str, variant: Variant) -> None:
    family, _ = trained(name, variant, steps=2)
    twin = made(name, variant, seed=7)[0].eval()
    twin.load_state_dict(family.state_dict())
    labels = torch.arange(4) % 2
    a, b = (generate(f, 4, labels, 0, f.Options()) for f in (family, twin))
    assert torch.equal(a, b)


@pytest.mark.parametrize(("name", "variant"), SEQUENTIAL)
def test_sequences_conditions_are_honoured_or_refused(name: str, variant: Variant) -> None:
    family = perturbed(trained(name, variant, steps=2)[0])
    assert "label" in family.honours()
    one, two = (generate(family, 8, torch.full((8,), k), 0, family.Options()) for k in (0, 1))
    assert one.shape != two.shape or not torch.equal(one, two)
    if "known" in family.honours():
        known = torch.tensor([[2, 5, 6]]).expand(8, -1)
        x = family.sample(8, Condition(known=known, mask=known > 0), Rng(0), family.Options())
        assert torch.equal(x[:, :3], known) and len({tuple(r) for r in x.tolist()}) > 1
    without = perturbed(made(name, variant, stream=True)[0])
    assert "label" not in without.honours()
    with pytest.raises(InputError, match="label"):
        generate(without, 2, torch.zeros(2, dtype=torch.long), 0, without.Options())


@pytest.mark.parametrize(("name", "variant"), SEQUENTIAL)
def test_sequences_likelihood_rises_and_samples_become_training_words(name: str, variant: Variant) -> None:
    variant = {**variant, **LIKELIHOOD.get(name, {})}
    (before, data), (after, _) = trained(name, variant, steps=1), trained(name, variant, steps=200, batch=8, warmup=2)
    batch = data.batch(range(len(data)))
    assert isinstance(before, HasLikelihood) and isinstance(after, HasLikelihood)
    nll = [f.nll(batch, Rng(0)) for f in (before, after)]
    assert nll[0].shape == (len(data),) and float(nll[1].mean()) < 0.5 * float(nll[0].mean())
    words_known = {tuple(d.tolist()) for d in data.documents}

    def share(family: Family) -> float:
        x = generate(family, 40, torch.arange(40) % 2, 0, family.Options())
        return sum(tuple(t for t in row if t) in words_known for row in x.tolist()) / 40

    assert share(after) > 0.4 > 0.1 >= share(before)


@pytest.mark.parametrize(("name", "variant"), SEQUENTIAL)
def test_sequences_a_player_moves_only_its_own_parameters(name: str, variant: Variant) -> None:
    family, data = made(name, variant)
    players, settings = family.train().players(), family.optimisers()
    optimisers = {n: Optimiser(m, settings[n]) for n, m in players.items()}
    owner = {id(p): n for n, m in players.items() for p in m.parameters()}
    assert len(owner) == sum(len(list(m.parameters())) for m in players.values()), "players share parameters"
    window, stages, seen = family.window(), family.stages(), set()
    batch = data.batch(range(8)) if window is None else data.windows(range(0, 64, 8), window.length + 1)
    for stage, start in zip(stages, [0.0, *(s.until for s in stages[:-1])], strict=True):
        family.enter(stage, data.batches(32))
        before = copy.deepcopy(dict(family.named_parameters()))
        for update in family.updates(batch, Clock(7, start + 0.5 * (stage.until - start)), Rng(0)):
            update.loss.backward(inputs=optimisers[update.player].params)
            optimisers[update.player].step(1.0)
            optimisers[update.player].zero_grad()
            for key, p in family.named_parameters():
                assert owner.get(id(p)) == update.player or torch.equal(p, before[key]), f"{update.player} moved {key}"
            before = copy.deepcopy(dict(family.named_parameters()))
            seen.add(update.player)
    assert seen == set(players)
