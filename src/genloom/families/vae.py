"""Variational autoencoder: an encoder, a decoder with an honest likelihood, and a prior fitted on the codes.

Kingma & Welling 2014, "Auto-encoding variational Bayes"; the scale of the likelihood is learned (Rybkin et al. 2021,
sigma-VAE), which sets the balance between reconstruction and KL that a beta would otherwise have to. Codes of real
data do not fill the normal prior, so after the training a mixture is fitted on them for sampling (Ghosh et al. 2020).
With `ladder` there are further layers of latents (Sonderby et al. 2016; Child 2021). Of sequences the decoder is
autoregressive (Bowman et al. 2016, nets/sentences.py); whether it uses the code is watched. Of table rows each column
has a distribution of its own given the code (nets/row_coder.py).

Shapes: `B` batch, `D` width of the code vector, `L` layers of latents.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Literal, final

import torch
from torch import Tensor, nn

from genloom.core.batch import Batch, Condition, ConditionSpec
from genloom.core.config import Settings, setting
from genloom.core.errors import InputError
from genloom.core.family import Clock, Family, Stage, Update
from genloom.core.feed import Window
from genloom.core.optim import OptimiserConfig
from genloom.core.rng import Rng
from genloom.core.spec import Grid, Row, Tokens
from genloom.nets.density import FitConfig, MixtureDensity, sparse
from genloom.nets.ladder import Coder, Rung, kl_normal, log_normal
from genloom.nets.likelihood import Likelihood, LikelihoodConfig, LikelihoodHead
from genloom.nets.row_coder import RowCoder, RowCoderConfig, RowOptions, price
from genloom.nets.sentences import SentenceConfig, Sentences

ACTIVE = 0.01  # variance over the data of a code's posterior mean from which it is in use (Burda et al. 2016)


@final
class VAE(Family):
    """Variational autoencoder over grids, sequences or table rows."""

    class Config(Settings):
        """Settings of a variational autoencoder."""

        latent: int = setting(32, "Width of the code vector.", ge=1)
        encoder_width: int = setting(64, "Channels of the encoder.", unit="channels", ge=8, multiple_of=8)
        decoder_width: int = setting(96, "Channels of the decoder.", unit="channels", ge=8, multiple_of=8)
        depth: int = setting(1, "Residual blocks at each resolution.", ge=1)
        ladder: int = setting(
            0, "Channels of each further layer of latents (`depth` layers of coarse grids); 0: one code vector.", ge=0
        )
        conditional: bool = setting(True, "Condition on the class where the data has labels.")
        drop_label: float = setting(
            0.1, "Share of examples decoded without their class in training.", unit="share", ge=0, le=1
        )
        likelihood: LikelihoodConfig = LikelihoodConfig()
        sentences: SentenceConfig = SentenceConfig()
        rows: RowCoderConfig = RowCoderConfig()
        beta: float = setting(1.0, "Weight of the KL term; 1 is the evidence lower bound.", ge=0)
        kl_warmup: float = setting(0.1, "Share of the training over which beta rises from 0.", unit="share", ge=0, le=1)
        free_bits: float | None = setting(
            None, "KL of each layer that costs nothing; if none, 6 on sequences, else 0.", unit="nats", ge=0
        )
        prior: Literal["mixture", "normal"] = setting(
            "mixture", "Where samples' codes come from: a mixture fitted on the data's codes, or the standard normal."
        )
        fit: FitConfig = FitConfig()
        bound_samples: int = setting(
            16, "Draws of the importance-weighted bound on the likelihood.", unit="draws", ge=1
        )
        optimiser: OptimiserConfig = OptimiserConfig(kind="adamw", lr=2e-3)

    class Options(Settings):
        """Settings of one call to sample."""

        temperature: float = setting(
            1.0, "Scale of the random draws of codes, and temperature of tokens; below 1 is tamer.", ge=0, le=4
        )
        noise: bool = setting(
            False, "Draw values of grids from the likelihood; otherwise its mean is shown.", form="grid"
        )
        max_tokens: int | None = setting(
            None, "Most tokens of a sequence; by the data if none.", unit="tokens", ge=1, form="tokens"
        )
        rows: RowOptions = RowOptions()

    accepts = (Grid, Tokens, Row)
    conditions = frozenset({"label", "known"})
    train_defaults = {"batch": 64, "ema": 0.9985, "decay": 0.7, "warmup": 100}  # noqa: RUF012
    form_defaults = {"row": {"train": {"batch": 256}}}  # noqa: RUF012
    private_defaults = {  # noqa: RUF012
        "train": {"batch": 2048, "steps": 500, "warmup": 20},
        "family": {"prior": "normal", "latent": 8, "rows": {"width": 128, "depth": 1}},
    }
    reserve = 0.05  # encoding and fitting 60,000 examples takes half a minute
    exact = False

    coder: Coder  # of grids
    head: LikelihoodHead
    examples: Tensor
    active: Tensor

    def __init__(self, spec: Grid | Tokens | Row, config: VAE.Config, condition: ConditionSpec) -> None:
        super().__init__()
        self.spec, self.config, self.condition = spec, config, condition
        self.classes = len(condition.classes) if config.conditional and not isinstance(spec, Row) else 0
        self.sentences: Sentences | None = None
        self.rows: RowCoder | None = None
        if config.ladder and not isinstance(spec, Grid):
            raise InputError("family.ladder is for grids; sequences and rows have one code vector")
        if isinstance(spec, Row):
            self.rows = RowCoder(spec, config.latent, config.rows)
            self.size = spec.width
        elif isinstance(spec, Tokens):
            self.sentences = Sentences(spec, config.latent, self.classes, config.sentences)
            self.size = self.sentences.length
        else:
            self.head = LikelihoodHead(spec, config.likelihood)
            self.coder = Coder(
                spec, config.latent, config.encoder_width, config.decoder_width, config.depth,
                self.head.outputs_per_value, self.classes, config.ladder,
            )  # fmt: skip
            self.size = spec.dimensions
        self.free_bits = config.free_bits if config.free_bits is not None else 6.0 if self.sentences else 0.0
        self.prior = MixtureDensity(config.latent, condition.counts if self.classes else (), config.fit.components)
        self.register_buffer("examples", torch.zeros((), dtype=torch.long))  # in the training split
        self.register_buffer("active", torch.full((), config.latent))  # entries of the code that are in use
        self._kl: Tensor | None = None

    @property
    def direct(self) -> Sentences | RowCoder | None:
        """The networks of one code vector, of what is no grid."""
        return self.sentences if self.rows is None else self.rows

    def players(self) -> dict[str, nn.Module]:
        if self.direct is not None:
            return {"vae": self.direct}
        return {"vae": nn.ModuleDict({"coder": self.coder, "likelihood": self.head})}

    def optimisers(self) -> dict[str, OptimiserConfig]:
        return {"vae": self.config.optimiser}

    def honours(self) -> frozenset[str]:
        able = {"known"} if self.rows is not None else {"label"} if self.config.conditional else set()
        return super().honours() & able

    def unpromised(self) -> str:
        if self.rows is None:
            return "of grids and sequences it measures the data without noise"
        mixture = "its prior is fitted on the codes of the data, without noise: set family.prior=normal"
        return mixture if self.config.prior == "mixture" else ""

    def window(self) -> Window | None:
        return Window(self.size - 1) if isinstance(self.spec, Tokens) and self.spec.stream else None

    @torch.no_grad()
    def enter(self, stage: Stage, data: Iterable[Batch]) -> None:
        """Measure the spread of the data, from which a learned scale begins, and its number."""
        if self.direct is not None:
            self.examples.fill_(0 if self.unpromised() == "" else sum(len(b) for b in data))
        else:
            self.examples.fill_(self.head.measure(b.x for b in data))

    # -- training ----------------------------------------------------------------------------------------------------

    def updates(self, batch: Batch, clock: Clock, rng: Rng) -> Iterator[Update]:
        label = self._labels(batch.condition)
        if label is not None:
            dropped = rng.uniform("drop", len(batch)) < self.config.drop_label
            label = torch.where(dropped, self.classes, label)
        log_p, kl, mean = self.infer(batch.x, label, rng)
        nll = -log_p.mean()
        loss = nll + self.beta(clock) * kl.clamp(min=self.free_bits).sum(1).mean()
        self._kl = kl.detach().sum(1).mean()
        logs = {"nll": nll.detach(), "kl": self._kl}
        if self.sentences is not None:
            logs["active"] = in_use(mean)
        yield Update("vae", loss / self.size, logs)

    def beta(self, clock: Clock) -> float:
        """Weight of the KL term now: rises linearly from 0 (Bowman et al. 2016)."""
        warmup = self.config.kl_warmup
        return self.config.beta * (min(1.0, clock.fraction / warmup) if warmup else 1.0)

    def infer(self, x: Tensor, label: Tensor | None, rng: Rng) -> tuple[Tensor, Tensor, Tensor]:
        """One draw of the latents from their posterior: log p(x | latents) [B], the KL of every layer [B, L] in nats,
        the posterior mean of the code [B, D]."""
        if self.direct is not None:
            mean, logvar = self.posterior(x)
            z = mean + (0.5 * logvar).exp() * rng.normal("code", *mean.shape)
            return self._log_prob(x, z, label, rng), kl_normal(mean, logvar)[:, None], mean
        (mean, logvar), features = self.coder.posterior(x)
        kls = [kl_normal(mean, logvar)]

        def choose(i: int, rung: Rung, h: Tensor) -> Tensor:
            (m, v), (dm, dv) = rung.prior(h), rung.change(h, features)
            kls.append(kl_normal(dm, dv, v))
            return m + dm + (0.5 * (v + dv)).exp() * rng.normal(f"rung {i}", *m.shape)

        z = mean + (0.5 * logvar).exp() * rng.normal("code", *mean.shape)
        out = self.coder.decode(z, label, choose)
        return self.head(out).log_prob(x), torch.stack(kls, 1), mean

    def _log_prob(self, x: Tensor, z: Tensor, label: Tensor | None, rng: Rng | None = None) -> Tensor:
        """[B] log p(x | code) of what is no grid. rng: as in training."""
        if self.rows is not None:
            return self.rows.log_prob(x, z)
        assert self.sentences is not None
        return self.sentences.log_prob(x[:, : self.size] if rng is not None else x, z, label, rng)

    def _labels(self, condition: Condition) -> Tensor | None:
        label = condition.label if self.classes else None
        return label if label is None or label.ndim == 1 else label[:, 0]  # windows of a stream: their first token's

    def warnings(self) -> list[str]:
        if self._kl is None or float(self._kl) > 0.5:
            return []
        more = " or family.sentences.word_dropout" if self.sentences is not None else ""
        return [
            "the codes carry almost nothing of the data (KL under 0.5 nats): lower family.beta or raise "
            f"family.free_bits{more}"
        ]

    # -- the fitted prior --------------------------------------------------------------------------------------------

    @torch.no_grad()
    def settle(self, data: Iterable[Batch], rng: Rng) -> None:
        """Fit the mixture on codes drawn from the posteriors of the data, and count the entries of the code in use."""
        if self.rows is not None and self.config.prior == "normal":
            return  # nothing of the data that privacy could be promised without
        codes, means, labels = [], [], []
        for i, b in enumerate(sparse(self._pieces(data), int(self.examples), self.config.fit.examples, rng.seed)):
            mean, logvar = self.posterior(b.x)
            means.append(mean)
            codes.append(mean + (0.5 * logvar).exp() * rng.at(i).normal("code", *mean.shape))
            labels.append(self._labels(b.condition))
        self.active.copy_(in_use(torch.cat(means)))
        if self.config.prior == "normal":
            return
        known = [label for label in labels if label is not None]
        self.prior.fit(torch.cat(codes), torch.cat(known) if known else None, rng.seed)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance [B, D] of the code vector."""
        if self.direct is not None:
            return self.direct.posterior(x[:, : self.size])
        (mean, logvar), _ = self.coder.posterior(x)
        return mean, logvar

    def _pieces(self, data: Iterable[Batch]) -> Iterator[Batch]:
        """The data as it is trained on: of a stream, pieces of the length of a window."""
        for b in data:
            pieces = b.x.split(self.size, 1) if self.window() is not None else (b.x,)
            yield from (b.with_x(x) for x in pieces)

    # -- sampling ----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def sample(self, n: int, condition: Condition, rng: Rng, options: VAE.Options) -> Tensor:
        if options.max_tokens is not None and self.sentences is None:
            raise InputError("max_tokens is for sequences; leave it out: a grid or a row always has all its values")
        label = self._labels(condition)
        if label is None and self.classes:
            label = self.prior.classes(n, rng)
        if self.rows is not None and condition.known is not None and condition.mask is not None:
            given = condition.known, condition.mask
            return self.rows.drawn_given(*given, self.prior, rng, options.rows, options.temperature)
        z = self.prior.sample(n, label, rng, options.temperature)
        if self.rows is not None:
            return self.rows.draw(z, rng, options.temperature)
        if self.sentences is not None:
            assert isinstance(self.spec, Tokens)
            uniform = rng.uniform_each("token", n, options.max_tokens or self.spec.length - 1)
            return self.sentences.draw(z, label, uniform, options.temperature)

        def choose(i: int, rung: Rung, h: Tensor) -> Tensor:
            mean, logvar = rung.prior(h)
            return mean + options.temperature * (0.5 * logvar).exp() * rng.normal_each(f"rung {i}", *mean.shape)

        likelihood = self.head(self.coder.decode(z, label, choose))
        return (likelihood.draw(rng) if options.noise else likelihood.mean).clamp(-1, 1)

    def price(self, mask: Tensor, options: VAE.Options) -> float:
        """What `RowCoder.drawn_given` does, by its options."""
        return price(options.rows)

    # -- latent space ------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """[B, D] posterior means; with a ladder, the means of all layers, flattened, after one another."""
        if self.direct is not None:
            return self.posterior(x)[0]
        (mean, _), features = self.coder.posterior(x)
        codes = [mean]

        def choose(i: int, rung: Rung, h: Tensor) -> Tensor:
            value = rung.prior(h)[0] + rung.change(h, features)[0]
            codes.append(value.flatten(1))
            return value

        if self.coder.rungs:
            self.coder.decode(mean, None, choose)
        return torch.cat(codes, 1)

    @torch.no_grad()
    def decode(self, z: Tensor, condition: Condition = Condition()) -> Tensor:  # noqa: B008 (frozen)
        """Examples [B, C, *size] of codes as `encode` gives them; sequences by the most probable token each time, rows
        by the most probable levels."""
        if self.rows is not None:
            return self.rows.draw(z, Rng(0, device=z.device), 0.0)
        if self.sentences is not None:
            assert isinstance(self.spec, Tokens)
            return self.sentences.draw(z, self._labels(condition), z.new_zeros(len(z), self.spec.length - 1), 0.0)
        parts = z.split([self.config.latent, *(math.prod(s) for s in self.coder.shapes)], 1)

        def choose(i: int, rung: Rung, h: Tensor) -> Tensor:
            return parts[i + 1].unflatten(1, self.coder.shapes[i])

        out = self.coder.decode(parts[0], self._labels(condition), choose)
        likelihood: Likelihood = self.head(out)
        return likelihood.mean.clamp(-1, 1)

    @torch.no_grad()
    def activity(self, x: Tensor) -> Tensor:
        """[D] mean KL to the standard normal of each value of the code vector, in nats (of a ladder, its top)."""
        mean, logvar = self.posterior(x)
        return (0.5 * (mean.square() + logvar.exp() - 1 - logvar)).mean(0)

    # -- likelihood --------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def nll(self, batch: Batch, rng: Rng) -> Tensor:
        """[B] upper bound on the negative log-likelihood in nats, under the prior that samples come from and given
        the class if there is one: the importance-weighted bound of Burda et al. 2016 with `bound_samples` draws."""
        draws = self.config.bound_samples
        weights = [self.log_weight(batch, rng.fork("bound", k)) for k in range(draws)]
        return math.log(draws) - torch.logsumexp(torch.stack(weights), 0)

    def log_weight(self, batch: Batch, rng: Rng) -> Tensor:
        """[B] log p(x, latents) - log q(latents | x) for one draw of the latents from q."""
        label = self._labels(batch.condition)
        if self.direct is not None:
            mean, logvar = self.posterior(batch.x)
            z = mean + (0.5 * logvar).exp() * rng.normal("code", *mean.shape)
            known = self.prior.log_prob(z, label) - log_normal(z, mean, logvar)
            return self._log_prob(batch.x, z, label) + known
        (mean, logvar), features = self.coder.posterior(batch.x)
        z = mean + (0.5 * logvar).exp() * rng.normal("code", *mean.shape)
        terms = [self.prior.log_prob(z, label) - log_normal(z, mean, logvar)]

        def choose(i: int, rung: Rung, h: Tensor) -> Tensor:
            (m, v), (dm, dv) = rung.prior(h), rung.change(h, features)
            value = m + dm + (0.5 * (v + dv)).exp() * rng.normal(f"rung {i}", *m.shape)
            terms.append(log_normal(value, m, v) - log_normal(value, m + dm, v + dv))
            return value

        likelihood: Likelihood = self.head(self.coder.decode(z, label, choose))
        return likelihood.log_prob(batch.x) + torch.stack(terms).sum(0)


def in_use(means: Tensor) -> Tensor:
    """How many entries of the code vary with the data: posterior means [N, D] -> scalar."""
    return (means.detach().float().var(0, correction=0) > ACTIVE).sum()
