"""Rectified flow: learn the velocity that carries noise to data along straight lines.

Liu et al. 2022, "Flow straight and fast"; Lipman et al. 2022, "Flow matching for generative modeling". Time runs from 0
(noise n) to 1 (data x): x_t = t x + (1 - t) n, and the velocity is E[x - n | x_t]. The network is preconditioned as in
Karras et al. 2022 (EDM), times are logit-normal as in Esser et al. 2024, classifier-free guidance follows Ho & Salimans
2022, autoguidance Karras et al. 2024, "Guiding a diffusion model with a bad version of itself". With `latent`, the
same flow runs on the codes of a small autoencoder that is trained first (Rombach et al. 2022); of table rows it runs on
points that stand for them (nets/row_field.py).

Shapes: `B` batch, `C` channels, `D` code width, `P` entries of a row's point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import pairwise
from typing import Literal, final

import torch
from torch import Tensor, nn

from genloom.core.batch import Batch, Condition, ConditionSpec
from genloom.core.config import Settings, setting
from genloom.core.errors import InputError
from genloom.core.family import Clock, Family, Stage, Update
from genloom.core.optim import OptimiserConfig
from genloom.core.rng import Rng
from genloom.core.spec import Grid, Row
from genloom.nets.compressor import Compressor, CompressorConfig
from genloom.nets.mlp import ResidualMLP
from genloom.nets.row_field import RowField, RowFieldConfig
from genloom.nets.row_heads import together
from genloom.nets.snapshot import Snapshot
from genloom.nets.unet import UNet

Velocity = Callable[[Tensor, Tensor], Tensor]  # (x [B, ...], t scalar) -> dx/dt

# -- solvers: pure functions from noise at times[0] to a sample at times[-1] -------------------------------------------


def euler(velocity: Velocity, x: Tensor, times: Tensor) -> Tensor:
    """First order, one evaluation a step."""
    for t, u in pairwise(times):
        x = x + (u - t) * velocity(x, t)
    return x


def heun(velocity: Velocity, x: Tensor, times: Tensor) -> Tensor:
    """Second order, two evaluations a step (one in the last, where the velocity at t = 1 adds only error)."""
    for i, (t, u) in enumerate(pairwise(times)):
        v = velocity(x, t)
        y = x + (u - t) * v
        x = y if i == len(times) - 2 else x + (u - t) * (v + velocity(y, u)) / 2
    return x


def adams(velocity: Velocity, x: Tensor, times: Tensor) -> Tensor:
    """Adams-Bashforth, second order with one evaluation a step: extrapolates the last two velocities."""
    last: tuple[Tensor, Tensor] | None = None
    for t, u in pairwise(times):
        v = velocity(x, t)
        if last is None:
            x = x + (u - t) * v
        else:
            ratio = (u - t) / (2 * last[0])
            x = x + (u - t) * ((1 + ratio) * v - ratio * last[1])
        last = (u - t, v)
    return x


ROW_END = 3.0  # log-odds of the time from which rows are read off: later ones are too rare in training to be trusted
SOLVERS = {"euler": euler, "heun": heun, "adams": adams}


def sampling_times(steps: int, low: float = -4.0, high: float = 4.5) -> Tensor:
    """[steps + 1] times from 0 to 1, evenly spaced in log-odds in between: short steps near noise and near data."""
    inner = torch.sigmoid(torch.linspace(low, high, steps + 1)[1:-1]) if steps > 1 else torch.empty(0)
    return torch.cat([torch.zeros(1), inner, torch.ones(1)])


@final
class Flow(Family):
    """Rectified flow in data space, of rows between points or, with `latent`, in the code space of an autoencoder."""

    class Config(Settings):
        """Settings of a flow."""

        width: int = setting(
            32, "Channels at the finest resolution of the U-Net.", unit="channels", ge=8, multiple_of=4
        )
        growth: int = setting(3, "Channels of each coarser resolution, as a multiple of `width`.", ge=1)
        levels: int | None = setting(
            None, "Resolutions of the U-Net, each half as fine as the last; by the data's size if none.", ge=1, le=6
        )
        depth: int = setting(1, "Residual blocks at each resolution (twice as many at the coarsest).", ge=1)
        attention: bool = setting(False, "Self-attention at the coarsest resolution.")
        patch: int | None = setting(None, "Space-to-depth factor before the U-Net; by the data's size if none.", ge=1)
        dropout: float = setting(
            0.0, "Dropout in the residual blocks, against overfitting of small sets.", unit="share", ge=0, lt=1
        )
        time_mean: float | None = setting(
            None, "Mean log-odds of the training times; if none, -0.5 on data and 0.5 on codes."
        )
        time_spread: float = setting(1.2, "Standard deviation of the log-odds of the training times.", gt=0)
        drop_label: float = setting(
            0.1, "Share of examples trained without their class, for guidance.", unit="share", ge=0, le=1
        )
        guidance: float | None = setting(
            None,
            "Guidance when sampling does not say; if none, 1.25 on data without autoguidance, else 1.",
            ge=0,
            le=20,
        )
        autoguidance: float = setting(
            1.0, "Guidance of samples away from a weak net: this net, early in its training; 1 keeps none.", ge=1, le=20
        )
        weak_at: float = setting(
            0.05, "Share of the flow's training after which the weak net is kept.", unit="share", gt=0, lt=1
        )
        latent: bool = setting(False, "Run the flow on the codes of an autoencoder trained first.")
        mlp_width: int = setting(512, "Width of the network on codes.", ge=8)
        mlp_depth: int = setting(4, "Residual blocks of the network on codes.", ge=1)
        latent_batch: int = setting(512, "Batch of the flow on codes.", unit="examples", ge=1)
        compressor: CompressorConfig = CompressorConfig()
        rows: RowFieldConfig = RowFieldConfig()
        optimiser: OptimiserConfig = OptimiserConfig(kind="muon", lr=2e-3, muon_lr=0.02)

    class Options(Settings):
        """Settings of one call to sample."""

        steps: int | None = setting(
            None,
            "Solver steps from noise to data; if none, 8, but 16 on codes, rows or with known values.",
            unit="steps",
            ge=1,
            le=1000,
        )
        solver: Literal["heun", "euler", "adams"] = setting("heun", "heun (2 evaluations a step), adams or euler (1).")
        guidance: float | None = setting(
            None,
            "Classifier-free guidance: 1 is none, more follows the class more closely; if none, the run's.",
            ge=0,
            le=20,
        )
        autoguidance: float | None = setting(
            None, "Guidance away from the weak net: 1 is none; if none, the run's.", ge=0, le=20
        )
        guided_from: float = setting(0.0, "Time, from 0 (noise) to 1 (data), at which guidance begins.", ge=0, le=1)
        guided_until: float = setting(1.0, "Time at which guidance ends.", ge=0, le=1)
        resample: int = setting(
            4, "Times each step is repeated where values are given, so that they blend in.", ge=1, le=50, form="grid"
        )
        temperature: float | None = setting(None, "Below 1 tamer levels; none: 1.", ge=0, le=4, form="row")

    accepts = (Grid, Row)
    conditions = frozenset({"label", "known"})
    train_defaults = {"batch": 128, "ema": 0.9985, "decay": 0.7, "warmup": 100}  # noqa: RUF012
    form_defaults = {  # noqa: RUF012
        "row": {
            "train": {"batch": 512},
            "family": {
                "time_mean": 0.0, "time_spread": 1.4,
                "optimiser": {"kind": "adamw", "lr": 2e-3, "weight_decay": 0.01},
            },
        }
    }  # fmt: skip
    private_defaults = {  # noqa: RUF012
        "train": {"batch": 2048, "steps": 500, "warmup": 20},
        "family": {"rows": {"width": 128, "depth": 1}},
    }

    mean: Tensor
    spread: Tensor
    code_mean: Tensor
    code_spread: Tensor

    def __init__(self, spec: Grid | Row, config: Flow.Config, condition: ConditionSpec) -> None:
        super().__init__()
        self.spec, self.config, self.condition = spec, config, condition
        self.classes = len(condition.classes)
        self.register_buffer("mean", torch.zeros(()))  # of the data that the flow sees
        self.register_buffer("spread", torch.ones(()))
        self.net: nn.Module
        self.compressor: Compressor | None = None
        self._codes: Tensor | None = None  # [N, D] standardised codes of the training split
        if isinstance(spec, Row):
            if config.latent:
                raise InputError("family.latent is for grids; a flow over rows of a table needs no codes")
            self.net = RowField(spec, self.classes, config.rows)
            self.shape: tuple[int, ...] = (self.net.points.width,)
        elif config.latent:
            self.compressor = Compressor(spec, config.compressor, self.classes)
            width = config.compressor.codes
            self.register_buffer("code_mean", torch.zeros(width))
            self.register_buffer("code_spread", torch.ones(width))
            self.net = ResidualMLP(width, self.classes, width=config.mlp_width, depth=config.mlp_depth)
            self.shape = (width,)
        else:
            levels = config.levels or (2 if max(spec.size) <= 64 else 3)
            widths = [config.width * (1 if level == 0 else config.growth) for level in range(levels)]
            depths = [config.depth] * (levels - 1) + [2 * config.depth]
            self.net = UNet(
                spec.channels,
                spec.size,
                self.classes,
                widths=widths,
                depths=depths,
                attention=config.attention,
                patch=config.patch,
                dropout=config.dropout,
            )
            self.shape = spec.shape
        self.weak = Snapshot(self.net) if config.autoguidance != 1 else None

    @property
    def rows(self) -> RowField | None:
        """The network of a flow over rows."""
        return self.net if isinstance(self.net, RowField) else None

    def unpromised(self) -> str:
        return "" if self.rows is not None else "of grids it measures their spread without noise"

    def players(self) -> dict[str, nn.Module]:
        if self.compressor is None:
            return {"flow": self.net}
        return {"flow": self.net, **self.compressor.players()}

    def optimisers(self) -> dict[str, OptimiserConfig]:
        if self.compressor is None:
            return {"flow": self.config.optimiser}
        codes = OptimiserConfig(kind="adamw", lr=1.5e-3, weight_decay=0.01)
        return {"flow": codes, **self.compressor.optimisers()}

    def stages(self) -> tuple[Stage, ...]:
        if self.compressor is None:
            return (Stage("flow", players=("flow",)),)
        c = self.config.compressor
        return (
            Stage("autoencoder", c.share, c.batch, tuple(self.compressor.players())),
            Stage("flow", 1.0, self.config.latent_batch, ("flow",)),
        )

    @torch.no_grad()
    def enter(self, stage: Stage, data: Iterable[Batch]) -> None:
        """Measure mean and spread of the data (Karras et al. 2022, sigma_data); for a latent flow, compute all
        codes."""
        if stage.name == "autoencoder" or self.rows is not None:  # points have mean 0 and spread 1 as they are
            return
        if self.compressor is not None:
            self.compressor.eval().requires_grad_(False)
            codes = torch.cat([self.compressor.encode(b.x) for b in data])
            self.code_mean.copy_(codes.mean(0))
            self.code_spread.copy_(codes.std(0) + 1e-3)
            self._codes = (codes - self.code_mean) / self.code_spread
            return
        count, total, squares = 0, 0.0, 0.0
        for b in data:
            count += b.x.numel()
            total += float(b.x.sum(dtype=torch.float64))
            squares += float(b.x.square().sum(dtype=torch.float64))
        self.mean.fill_(total / count)
        self.spread.fill_(max(1e-3, (squares / count - (total / count) ** 2) ** 0.5))

    # -- training ------------------------------------------------------------------------------------------------------

    def updates(self, batch: Batch, clock: Clock, rng: Rng) -> Iterator[Update]:
        begin = 0.0
        if self.compressor is not None:
            begin = self.config.compressor.share
            if clock.fraction < begin:
                yield from self.compressor.updates(batch, Clock(clock.step, clock.fraction / begin), rng)
                return
            assert self._codes is not None and batch.index is not None
            batch = batch.with_x(self._codes[batch.index])
        due = clock.fraction >= begin + self.config.weak_at * (1 - begin)
        if self.weak is not None and due and not self.weak.kept:
            self.weak.keep(self.net)  # not the average: its noise of a high learning rate is part of being weak
        yield Update("flow", self.loss(batch, rng))

    def loss(self, batch: Batch, rng: Rng) -> Tensor:
        """Mean squared error of the network's output against the preconditioned velocity: unit variance at every
        time."""
        size = len(batch)
        x = batch.x - self.mean if self.rows is None else self.rows.points(batch.x)
        usual = 0.5 if self.config.latent else -0.5
        mean = usual if self.config.time_mean is None else self.config.time_mean
        # of rows each time is drawn alone: no row may move another's, or privacy could not be promised
        place = rng.stratified("time", size) if self.rows is None else rng.uniform("time", size)
        logit = mean + self.config.time_spread * torch.special.ndtri(place.clamp(1e-5, 1 - 1e-5))
        t = _like(torch.sigmoid(logit), x)
        noise = rng.normal("noise", *x.shape)
        skip, scale, inputs = self.preconditioning(t)
        xt = torch.lerp(noise, x, t)
        target = (x - noise - skip * xt) / scale
        known = None if self.rows is None else self.rows.some_known(size, rng)
        keep = rng.uniform("drop", size) >= self.config.drop_label
        label = torch.where(keep, self._labels(batch.condition, size), self.classes)
        if self.rows is None or known is None:
            return (self.net(xt * inputs, logit, label).float() - target).square().mean()
        out = self.net(self.rows.kept(xt * inputs, x, known), logit, label, known)
        return self.rows.loss(out, target, batch.x, known)

    def preconditioning(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(c_skip, c_out, c_in) with velocity = c_skip x_t + c_out net(c_in x_t): Karras et al. 2022, eq. 7, for x_t =
        t x + (1 - t) n."""
        s = self.spread
        variance = (t * s) ** 2 + (1 - t) ** 2
        return (t * s * s - (1 - t)) / variance, s / variance.sqrt(), 1 / variance.sqrt()

    def _labels(self, condition: Condition, n: int) -> Tensor:
        """[n] class indices, or the index that means "no class"."""
        if condition.label is not None:
            return condition.label
        return torch.full((n,), self.classes, device=self.mean.device)

    # -- sampling ------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def sample(self, n: int, condition: Condition, rng: Rng, options: Flow.Options) -> Tensor:
        if self.rows is not None:
            return self._rows(n, condition, rng, options)
        if options.temperature is not None:
            raise InputError("temperature is for rows of tables; leave it out: a flow of grids has none")
        labels = self._labels(condition, n)
        velocity = self.velocity(labels, *self._guidance(options), (options.guided_from, options.guided_until))
        usual = 8 if self.compressor is None and condition.known is None else 16
        times = sampling_times(options.steps or usual).to(self.mean.device)
        x = rng.normal_each("noise", n, *self.shape)
        if condition.known is not None:
            if self.compressor is not None:
                raise InputError("a latent flow cannot keep known values; train the flow without family.latent")
            assert condition.mask is not None
            x = infill(velocity, x, times, condition.known - self.mean, condition.mask, rng, options)
            return torch.where(condition.mask, condition.known, (x + self.mean).clamp(-1, 1))
        x = SOLVERS[options.solver](velocity, x, times)
        if self.compressor is not None:
            return self.compressor.decode(x * self.code_spread + self.code_mean, labels).clamp(-1, 1)
        return (x + self.mean).clamp(-1, 1)

    def _rows(self, n: int, condition: Condition, rng: Rng, options: Flow.Options) -> Tensor:
        """[n, S] rows: their points go all the way, but for what is known; levels are drawn by what the net says before
        the last step."""
        assert self.rows is not None and isinstance(self.spec, Row)
        known, mask = condition.known, condition.mask
        if known is None or mask is None:
            known = torch.zeros(n, self.spec.width, device=self.mean.device)
            mask = known > 0
        known, labels = torch.where(mask, known, 0.0), self._labels(condition, n)
        velocity = self.velocity(labels, *self._guidance(options), (options.guided_from, options.guided_until), mask)
        temperature = 1.0 if options.temperature is None else options.temperature
        times = sampling_times(options.steps or 16, high=ROW_END).to(self.mean.device)
        x = self.rows.kept(rng.normal_rows("noise", n, *self.shape), self.rows.points(known), mask)
        x, t = SOLVERS[options.solver](velocity, x, times[:-1]), times[-2]
        end, u = x + (1 - t) * velocity(x, t), rng.uniforms("level", n, self.spec.width)
        parts = zip(*(v.split(together(self.spec)) for v in (x, labels, mask, end, u, known)), strict=True)
        return torch.cat([
            self.rows.rows(self._out(self.net, x, t, label, mask), end, u, temperature, known, mask)
            for x, label, mask, end, u, known in parts
        ])  # fmt: skip

    def price(self, mask: Tensor, options: Flow.Options) -> float:
        """What is known of a row is kept in place by the steps that are taken anyway."""
        return 1.0

    def _guidance(self, options: Flow.Options) -> tuple[float, float]:
        """(guidance, autoguidance) of one call. Raises InputError when it asks for a weak net that was not kept."""
        if self.weak is None and options.autoguidance not in (None, 1.0):
            raise InputError("this run kept no weak net to be guided away from; train with family.autoguidance=1.5")
        auto = self.config.autoguidance if options.autoguidance is None else options.autoguidance
        if self.weak is None or not self.weak.kept:  # so early in the training
            auto = 1.0
        usual = 1.25 if auto == 1 and not self.config.latent else 1.0
        return next(g for g in (options.guidance, self.config.guidance, usual) if g is not None), auto

    def velocity(
        self,
        labels: Tensor,
        guidance: float = 1.0,
        autoguidance: float = 1.0,
        between: tuple[float, float] = (0.0, 1.0),
        mask: Tensor | None = None,
    ) -> Velocity:
        """dx/dt under the learned flow: v(x, t | class) + (guidance - 1) (v(class) - v(none)) + (autoguidance - 1)
        (v(class) - v of the weak net (class)), guided at times `between` (Kynkaanniemi et al. 2024: guidance helps in
        the middle of the way). mask: of rows, the spans that stay as they are."""
        none = torch.full_like(labels, self.classes)
        wanted = guidance != 1 and bool((labels != none).any())

        def v(x: Tensor, t: Tensor) -> Tensor:
            guided = between[0] <= float(t) <= between[1]
            if wanted and guided:
                twice = None if mask is None else torch.cat([mask, mask])
                given, free = self._field(self.net, torch.cat([x, x]), t, torch.cat([labels, none]), twice).chunk(2)
                out = given + (guidance - 1) * (given - free)
            else:
                out = given = self._field(self.net, x, t, labels, mask)
            if autoguidance != 1 and guided:
                assert self.weak is not None
                weak = partial(self.weak, self.net)
                out = out + (autoguidance - 1) * (given - self._field(weak, x, t, labels, mask))
            skip, scale, _ = self.preconditioning(t)
            v = skip * x + scale * out
            return v if self.rows is None or mask is None else self.rows.kept(v, torch.zeros_like(v), mask)

        return v

    def _field(self, net: Callable[..., Tensor], x: Tensor, t: Tensor, labels: Tensor, mask: Tensor | None) -> Tensor:
        """[B, ...] what the net says at x, as its output of grids is."""
        if self.rows is None or mask is None:
            return self._out(net, x, t, labels, None)
        skip, scale, _ = self.preconditioning(t)
        parts = zip(*(v.split(together(self.rows.spec)) for v in (x, labels, mask)), strict=True)
        return torch.cat([self.rows.field(self._out(net, x, t, c, m), x, t, skip, scale) for x, c, m in parts])

    def _out(self, net: Callable[..., Tensor], x: Tensor, t: Tensor, labels: Tensor, mask: Tensor | None) -> Tensor:
        logit = torch.logit(t.clamp(2e-3, 1 - 2e-3)).expand(len(x))
        inputs = x * self.preconditioning(t)[2]
        if self.rows is None or mask is None:
            return net(inputs, logit, labels).float()
        return net(self.rows.kept(inputs, x, mask), logit, labels, mask).float()

    def honours(self) -> frozenset[str]:
        return super().honours() - ({"known"} if self.config.latent else frozenset())


def infill(
    velocity: Velocity, x: Tensor, times: Tensor, known: Tensor, mask: Tensor, rng: Rng, options: Flow.Options
) -> Tensor:
    """Sample given values where mask is True: after each step they are put back at that time's noise level, and the
    step is repeated from a re-noised state so that the rest adapts (Lugmayr et al. 2022, "RePaint", on straight
    paths)."""
    solve = SOLVERS[options.solver]
    for i, (t, u) in enumerate(pairwise(times)):
        for repeat in range(options.resample):
            fresh = rng.fork("infill", i, repeat)
            x = torch.where(mask, torch.lerp(fresh.normal_each("known", *x.shape), known, t), x)
            y = solve(velocity, x, torch.stack([t, u]))
            if repeat + 1 < options.resample and u < 1:
                back = t / u  # from time u back to t: shrink the signal, restore the noise
                x = back * y + ((1 - t) ** 2 - (back * (1 - u)) ** 2).clamp(min=0).sqrt() * fresh.normal_each(
                    "back", *x.shape
                )
        x = y
    return x


def _like(v: Tensor, x: Tensor) -> Tensor:
    """[B] with axes of length 1 added, to multiply [B, ...]."""
    return v[(...,) + (None,) * (x.ndim - 1)]
