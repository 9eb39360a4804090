"""Generative adversarial networks: a generator learns to make what a critic cannot tell from data.

Objectives, on critic scores c(x) before any sigmoid (softplus(-s) = -log sigmoid(s)):
`minimax` and `nonsaturating` Goodfellow et al. 2014; `hinge` Lim & Ye 2017; `wgan-gp` Gulrajani et al. 2017;
`relativistic` pairs each generated example with a real one, with zero-centred gradient penalties R1 on real and R2 on
generated examples (Huang et al. 2024, "The GAN is dead; long live the GAN!", after Jolicoeur-Martineau 2019 and
Mescheder et al. 2018). Classes enter the critic by projection (Miyato & Koyama 2018); little data is augmented
differentiably (Zhao et al. 2020). On rows of tables both are told what is known of a row, and rows are drawn by their
levels (Xu et al. 2019, CTGAN; nets/row_adversary.py, core/balance.py).

Shapes: `B` batch, `C` channels, `Z` width of the noise.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from genloom.core.batch import Batch, Condition, ConditionSpec
from genloom.core.config import Settings, setting
from genloom.core.family import Clock, Family, Stage, Update
from genloom.core.optim import OptimiserConfig
from genloom.core.rng import Rng
from genloom.core.spec import Grid, Row
from genloom.nets.adversary import ConvCritic, ConvGenerator, MLPCritic, MLPGenerator
from genloom.nets.diffaugment import Kind, augment
from genloom.nets.row_adversary import Given, RowCritic, RowGameConfig, RowGenerator, Shares

Objective = Literal["relativistic", "nonsaturating", "minimax", "hinge", "wgan-gp"]

# (R1, R2, gradient penalty, critic steps to a generator step). R1 with nonsaturating is Mescheder et al. 2018's; with
# hinge it stands in for spectral normalisation.
HABITS: dict[str, tuple[float, float, float, int]] = {
    "relativistic": (1.0, 1.0, 0.0, 1),
    "nonsaturating": (1.0, 0.0, 0.0, 1),
    "minimax": (0.0, 0.0, 0.0, 1),
    "hinge": (1.0, 0.0, 0.0, 1),
    "wgan-gp": (0.0, 0.0, 10.0, 5),
}
SMALL = 10_000  # fewer training examples than this are augmented
Told = Tensor | Given | None  # classes [B], or what is known of rows

SETTLE = 4000  # generated examples that BatchNorm's statistics are measured on
COLLAPSED, PATIENCE = 0.4, 300  # diversity below which, and steps after which, a collapse is reported


def critic_loss(objective: Objective, real: Tensor, fake: Tensor) -> Tensor:
    """What the critic minimises; real, fake [B] scores -> scalar."""
    if objective == "relativistic":
        return F.softplus(fake - real).mean()
    if objective == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    if objective == "wgan-gp":
        return (fake - real).mean()
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def generator_loss(objective: Objective, fake: Tensor, real: Tensor | None = None) -> Tensor:
    """What the generator minimises; fake [B] scores, and real [B] for `relativistic` -> scalar."""
    if objective == "relativistic":
        assert real is not None
        return F.softplus(real - fake).mean()
    if objective == "nonsaturating":
        return F.softplus(-fake).mean()
    if objective == "minimax":
        return -F.softplus(fake).mean()
    return -fake.mean()


def squared_slope(scores: Tensor, x: Tensor) -> Tensor:
    """[B]: squared norm of each example's gradient d score / d x, itself differentiable. x needs grad; scores [B]."""
    (gradient,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
    return gradient.float().square().flatten(1).sum(1)


def penalty_share(fraction: float, left: float) -> float:
    """Share of the penalties' weight at a share of the training: a cosine from 1 down to `left` at half of it.

    A strong penalty keeps the beginning stable, a weak one lets the critic see details later (Huang et al. 2024).
    """
    return left + (1 - left) * (1 + math.cos(math.pi * min(1.0, 2 * fraction))) / 2


def spread(x: Tensor, label: Tensor | None) -> Tensor:
    """Mean squared distance of examples [B, ...] from their batch's mean, or from their class's mean in the batch."""
    x = x.detach().flatten(1).float()
    if label is None:
        return (x - x.mean(0)).square().sum(1).mean()
    same = F.normalize((label[:, None] == label).float(), p=1, dim=1)  # [B, B]: averages over a class
    return (x - same @ x).square().sum(1).mean()


@final
class GAN(Family):
    class Config(Settings):
        """Settings of a GAN."""

        objective: Objective = setting(
            "relativistic",
            "What critic and generator play for: relativistic, nonsaturating, minimax, hinge or wgan-gp.",
        )
        r1: float | None = setting(
            None, "Weight of the squared gradient at real examples; none: 1, but 0 for minimax and wgan-gp.", ge=0
        )
        r2: float | None = setting(
            None, "Weight of the squared gradient at generated examples; none: 1 for relativistic, else 0.", ge=0
        )
        gradient_penalty: float | None = setting(
            None, "Weight of (slope - 1) squared between real and generated; none: 10 for wgan-gp, else 0.", ge=0
        )
        penalty_every: int = setting(
            8, "Steps between two evaluations of R1 and R2, whose weight is raised to match.", unit="steps", ge=1
        )
        penalty_left: float = setting(
            0.1, "Share of R1's and R2's weight left after the first half of the training.", unit="share", ge=0, le=1
        )
        critic_steps: int | None = setting(
            None, "Critic steps to each generator step; none: 5 for wgan-gp, else 1.", ge=1
        )
        net: Literal["conv", "mlp"] = setting(
            "conv", "conv, or mlp: fully connected layers without classes, as in 2014."
        )
        conditional: bool = setting(True, "Use the data's classes where there are any.")
        latent: int = setting(64, "Width of the noise.", ge=1)
        width: int = setting(
            128,
            "Channels of the convolutional nets (half of it at the finest resolution).",
            unit="channels",
            ge=8,
            multiple_of=8,
        )
        depth: int = setting(1, "Convolutional layers at each resolution.", unit="layers", ge=1)
        norm: Literal["batch", "group"] = setting(
            "batch", "The generator's normalisation; group makes micro-batches equal the full batch."
        )
        patch: int | None = setting(None, "Space-to-depth factor at both ends; none: chosen by the size.", ge=1)
        group: int = setting(8, "Consecutive examples that the critic compares with each other.", unit="examples", ge=1)
        widths: tuple[int, ...] = setting((256, 512, 1024), "Hidden layers of the mlp generator.", min_length=1)
        critic_widths: tuple[int, ...] = setting((512, 256), "Hidden layers of the mlp critic.", min_length=1)
        pieces: int = setting(1, "Linear pieces of each maxout unit of the mlp critic; 1: leaky ReLU.", ge=1)
        dropout: float = setting(0.3, "Dropout of the mlp critic.", unit="share", ge=0, lt=1)
        augment: Literal["auto", "on", "off"] = setting(
            "auto", f"Differentiable augmentation; auto: with fewer than {SMALL:,} examples."
        )
        augmentations: tuple[Kind, ...] = setting(
            ("colour", "translation", "cutout"), "Kinds of augmentation.", min_length=1
        )
        rows: RowGameConfig = RowGameConfig()
        generator: OptimiserConfig = OptimiserConfig(lr=1e-3, beta1=0.0, beta2=0.99)
        critic: OptimiserConfig = OptimiserConfig(lr=1e-3, beta1=0.0, beta2=0.99)

    class Options(Settings):
        """Settings of one call to sample."""

        truncation: float | None = setting(
            None,
            "Noise beyond this is folded back (Brock et al. 2019): lower is more typical, less varied.",
            unit="standard deviations",
            gt=0,
        )

    accepts = (Grid, Row)
    conditions = frozenset({"label", "known"})
    train_defaults = {"batch": 32, "ema": 0.999, "decay": 0.4, "warmup": 100, "layout": "channels_last"}  # noqa: RUF012

    form_defaults = {"row": {"train": {"batch": 256, "layout": "contiguous"}}}  # noqa: RUF012

    diversity: Tensor
    prior: Tensor

    def __init__(self, spec: Grid | Row, config: GAN.Config, condition: ConditionSpec) -> None:
        super().__init__()
        self.spec, self.config, self.condition = spec, config, condition
        c, labelled = config, config.conditional and config.net == "conv" and isinstance(spec, Grid)
        self.classes = len(condition.classes) if labelled else 0
        if isinstance(spec, Row):
            self.generator: nn.Module = RowGenerator(spec, c.latent, c.rows)
            self.critic: nn.Module = RowCritic(spec, c.rows, c.group)
            self.shares = Shares(spec)
        elif c.net == "conv":
            self.generator = ConvGenerator(
                spec, c.latent, self.classes, width=c.width, depth=c.depth, norm=c.norm, patch=c.patch
            )
            self.critic = ConvCritic(spec, self.classes, width=c.width, depth=c.depth, group=c.group, patch=c.patch)
        else:
            self.generator = MLPGenerator(spec, c.latent, widths=c.widths)
            self.critic = MLPCritic(spec, widths=c.critic_widths, pieces=c.pieces, dropout=c.dropout)
        r1, r2, penalty, steps = HABITS[c.objective]
        self.r1, self.r2 = r1 if c.r1 is None else c.r1, r2 if c.r2 is None else c.r2
        self.gradient_penalty = penalty if c.gradient_penalty is None else c.gradient_penalty
        self.critic_steps = c.critic_steps or steps
        self.augmented = c.augment == "on"
        counts = torch.tensor(condition.counts if sum(condition.counts) else [1] * self.classes, dtype=torch.float64)
        self.register_buffer("prior", counts.cumsum(0) / counts.sum() if self.classes else counts, persistent=False)
        self.register_buffer("diversity", torch.ones(()))  # running mean of spread(generated) / spread(real)
        self._step, self._warned = 0, False

    @property
    def rows(self) -> RowGenerator | None:
        """The generator, of rows."""
        return self.generator if isinstance(self.generator, RowGenerator) else None

    def balanced(self) -> tuple[int, ...]:
        return tuple(self.shares.levels) if self.rows is not None and self.config.rows.balance else ()

    def unpromised(self) -> str:
        return "its generator learns by what is known of training rows, which are drawn by their levels"

    def players(self) -> dict[str, nn.Module]:
        return {"critic": self.critic, "generator": self.generator}

    def optimisers(self) -> dict[str, OptimiserConfig]:
        return {"critic": self.config.critic, "generator": self.config.generator}

    def enter(self, stage: Stage, data: Iterable[Batch]) -> None:
        """Decide by the number of training examples whether to augment; of rows, count the levels."""
        if self.rows is not None:
            self.shares.measure(torch.cat([b.x for b in data]))
        elif self.config.augment == "auto":
            seen = itertools.accumulate(len(b) for b in data)
            self.augmented = all(n < SMALL for n in seen)

    # -- training -----------------------------------------------------------------------------------------------------

    def updates(self, batch: Batch, clock: Clock, rng: Rng) -> Iterator[Update]:
        """A critic step, then, every `critic_steps`, a generator step against the critic just updated."""
        c, playing = self.config, (clock.step + 1) % self.critic_steps == 0
        told = self._told(batch, rng)
        z = rng.normal("noise", len(batch), c.latent)
        with torch.set_grad_enabled(playing):
            fake = self.generator(z, told)
        x = batch.x if self.rows is None else self.rows.points(batch.x)
        real = self._seen(x, rng, "real")
        loss, logs = self._critic_step(real, self._seen(fake.detach(), rng, "fake"), told, clock, rng)
        yield Update("critic", loss, logs | {"diversity": self._watch(x, fake, told, clock)})
        if not playing:
            return
        if rng.total not in (None, len(batch)):  # micro-batches wait for each other here: hold one graph at a time
            fake = self.generator(z, told)
        scores = self.critic(self._seen(fake, rng, "played"), told)
        with torch.no_grad():
            against = self.critic(real, told) if c.objective == "relativistic" else None
        yield Update("generator", generator_loss(c.objective, scores, against))

    def _told(self, batch: Batch, rng: Rng) -> Told:
        """What both players are told of a training batch: the class, or what is known of rows."""
        if self.rows is None:
            return self._labels(batch.condition)
        return self.rows.given(batch, rng)

    def _critic_step(
        self, real: Tensor, fake: Tensor, told: Told, clock: Clock, rng: Rng
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The critic's loss with the penalties that are due (lazily: Karras et al. 2020, StyleGAN2, section 3.1)."""
        every = self.config.penalty_every
        due = clock.step % every == 0
        lazily = every * penalty_share(clock.fraction, self.config.penalty_left)
        real = real.detach().requires_grad_(due and self.r1 > 0)
        fake = fake.detach().requires_grad_(due and self.r2 > 0)
        real_scores, fake_scores = self.critic(real, told), self.critic(fake, told)
        loss = critic_loss(self.config.objective, real_scores, fake_scores)
        logs = {"margin": (real_scores - fake_scores).mean()}
        for name, weight, scores, x in (("r1", self.r1, real_scores, real), ("r2", self.r2, fake_scores, fake)):
            if x.requires_grad:
                logs[name] = squared_slope(scores, x).mean()
                loss = loss + lazily * weight / 2 * logs[name]
        if self.gradient_penalty:
            share = rng.uniform("between", len(real)).reshape(-1, *[1] * (real.ndim - 1))
            between = torch.lerp(real.detach(), fake.detach(), share).requires_grad_()
            slope = squared_slope(self.critic(between, told), between).sqrt()
            loss = loss + self.gradient_penalty * (slope - 1).square().mean()
        return loss, logs

    def _seen(self, x: Tensor, rng: Rng, name: str) -> Tensor:
        """What the critic sees of x."""
        if not self.augmented or self.rows is not None:
            return x
        return augment(x, self.config.augmentations, rng.fork("augment", name))

    def _labels(self, condition: Condition) -> Tensor | None:
        return condition.label if self.classes else None

    # -- collapse -----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _watch(self, real: Tensor, fake: Tensor, told: Told, clock: Clock) -> Tensor:
        """Update and return the diversity: spread of generated over spread of real examples of the same classes."""
        label = told if isinstance(told, Tensor) else None
        ratio = spread(fake, label) / spread(real, label).clamp(min=1e-6)
        self.diversity.lerp_(ratio.clamp(max=2.0), 0.02)
        self._step = clock.step
        return self.diversity.clone()

    def warnings(self) -> list[str]:
        """One sentence when the samples have become much alike; again only after they had recovered."""
        diversity = float(self.diversity)
        if diversity > 1.5 * COLLAPSED:
            self._warned = False
        if self._warned or self._step < PATIENCE or diversity >= COLLAPSED:
            return []
        self._warned = True
        return [
            f"the generator may be collapsing: its samples vary {diversity:.2f} times as much as the data; "
            "lower family.generator.lr, raise family.r1 and family.r2, or use family.objective=relativistic"
        ]

    # -- sampling -----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def settle(self, data: Iterable[Batch], rng: Rng) -> None:
        """Measure BatchNorm's statistics anew: those of the training belong to other weights than the averaged."""
        norms = [m for m in self.generator.modules() if isinstance(m, _BatchNorm)]
        if not norms:
            return
        kept = [m.momentum for m in norms]
        for m in norms:
            m.reset_running_stats()
            m.momentum = None  # cumulative average
        self.generator.train()
        seen = 0
        for i, batch in enumerate(data):
            if seen >= SETTLE:
                break
            z = rng.at(i).normal("noise", len(batch), self.config.latent)
            self.generator(z, self._labels(batch.condition))
            seen += len(batch)
        self.generator.eval()
        for m, momentum in zip(norms, kept, strict=True):
            m.momentum = momentum

    @torch.no_grad()
    def sample(self, n: int, condition: Condition, rng: Rng, options: GAN.Options) -> Tensor:
        z, label = self.noise(n, rng), condition.label
        if self.classes and label is None:  # classes as frequent as in the data
            share = torch.special.ndtr(rng.normal_each("label", n).double())
            label = torch.searchsorted(self.prior, share).clamp(max=self.classes - 1)
        if options.truncation is not None:
            z = truncated(z, options.truncation)
        if self.rows is None:
            return self.decode(z, Condition(label=label))
        known, mask = self.shares.draw(n, rng)
        if condition.known is not None and condition.mask is not None:
            told = condition.mask.any(1, keepdim=True)
            known = torch.where(told, torch.where(condition.mask, condition.known, 0.0), known)
            mask = torch.where(told, condition.mask, mask)
        return self.rows.rows(z, known, mask)

    def price(self, mask: Tensor, options: GAN.Options) -> float:
        """What is known of a row stands in the place of the level that is otherwise drawn for it."""
        return 1.0

    def noise(self, n: int, rng: Rng) -> Tensor:
        """[n, Z] standard normal; of rows [n, Z + S], the last ones for the choice of levels."""
        if self.rows is not None:
            return rng.normal_rows("noise", n, self.config.latent + self.rows.spec.width)
        return rng.normal_each("noise", n, self.config.latent)

    @torch.no_grad()
    def decode(self, z: Tensor, condition: Condition, chunk: int = 256) -> Tensor:
        """Examples of noise z [B, Z]."""
        if self.rows is not None:
            nothing = torch.zeros(len(z), self.rows.spec.width, device=z.device)
            return self.rows.rows(z, nothing, nothing > 0)
        label = self._labels(condition)
        rows = [slice(i, i + chunk) for i in range(0, len(z), chunk)]
        return torch.cat([self.generator(z[r], None if label is None else label[r]) for r in rows])

    def honours(self) -> frozenset[str]:
        return super().honours() & ({"known"} if self.rows is not None else {"label"} if self.classes else set())


def truncated(z: Tensor, bound: float) -> Tensor:
    """Standard normal z mapped, in order, to the normal truncated at +-bound."""
    low = torch.special.ndtr(torch.tensor(-bound, dtype=torch.float64, device=z.device))
    return torch.special.ndtri(low + (1 - 2 * low) * torch.special.ndtr(z.double())).clamp(-bound, bound).float()
