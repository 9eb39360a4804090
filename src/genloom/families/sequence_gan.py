"""Sequence GAN: a generator of sequences that learns by likelihood, then against a critic.

After a warm-up by cross-entropy the critic says at every place how real the sequence looks so far (2 sigma(D) - 1), and
the generator follows REINFORCE (Williams 1992) on discounted sums of these rewards beside a moving baseline: SeqGAN (Yu
et al. 2017) with the dense rewards of ScratchGAN (de Masson d'Autume et al. 2019, eq. 3 to 5). Or its gradient passes
through Gumbel-softmax relaxations of the tokens drawn (Jang et al. 2017; Kusner & Hernandez-Lobato 2016) at a
temperature that falls. Published comparisons find likelihood with a tuned temperature hard to beat (Caccia et al.
2020): the generator as the warm-up left it is kept, and an evaluation shows both.

Shapes: `B` batch, `T` tokens, `V` vocabulary.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genloom.core.batch import Batch, Condition, ConditionSpec
from genloom.core.config import Settings, setting
from genloom.core.errors import InputError
from genloom.core.family import Clock, Family, Stage, Update
from genloom.core.feed import Window
from genloom.core.guide import Guide, Step
from genloom.core.optim import OptimiserConfig
from genloom.core.rng import Rng
from genloom.core.spec import Tokens
from genloom.nets import decoding, scoring
from genloom.nets.critic import Critic, CriticConfig, relaxed, returns
from genloom.nets.recurrent import Recurrent
from genloom.nets.sequence import Inputs, SequenceModel
from genloom.nets.transformer import Transformer

COLLAPSED, PATIENCE = 0.5, 200  # share of different samples (of real rows: 1) below which, steps after which we warn
NEVER = -1e4  # logit of a token that is never drawn


@final
class SequenceGAN(Family):
    """A generator (LSTM, GRU or Transformer) and a critic (cnn, recurrent or mlp) over tokens."""

    class Config(Settings):
        """Settings of a sequence GAN."""

        cell: Literal["lstm", "gru", "transformer"] = setting(
            "lstm", "What carries the generator's past: lstm, gru or transformer."
        )
        width: int = setting(128, "Width of the generator's embeddings, and of a transformer's layers.", ge=4)
        hidden: int = setting(384, "Width of the hidden state of an lstm or gru.", unit="values", ge=4)
        depth: int | None = setting(None, "Layers; if none, 4 of a transformer, 1 of an lstm or gru.", ge=1)
        heads: int = setting(4, "Attention heads of a transformer.", ge=1)
        length: int = setting(
            128, "Most tokens of a training sequence; longer ones are cut, streams into pieces.", unit="tokens", ge=2
        )
        ngrams: int = setting(
            3, "Longest n-gram with an embedding of its own in the generator; 1 for none.", ge=1, le=6
        )
        ngram_rows: int = setting(2**15, "Rows of the table of each n; rarer n-grams share rows.", ge=64)
        ngram_dropout: float = setting(
            0.5,
            "Share of n-grams left out in the warm-up, and rare ones more often; 0: none.",
            unit="share",
            ge=0,
            lt=1,
        )
        dropout: float = setting(0.2, "Dropout of the generator in the warm-up.", unit="share", ge=0, lt=1)
        warmup: float = setting(
            0.6, "Share of the training by likelihood, before the critic plays.", unit="share", gt=0, lt=1
        )
        lead: float = setting(
            0.05, "Share of the training, after the warm-up, in which only the critic learns.", unit="share", ge=0, lt=1
        )
        gradient: Literal["reinforce", "gumbel"] = setting(
            "reinforce", "How the generator learns from the critic: rewards of what it drew, or relaxed tokens."
        )
        critic_steps: int = setting(1, "Critic steps to each generator step.", unit="steps", ge=1)
        discount: float = setting(0.23, "Worth of a reward one token later (reinforce).", ge=0, le=1)
        baseline: float = setting(0.02, "Share by which the moving baseline follows the returns.", gt=0, le=1)
        hot: float = setting(1.0, "Temperature of the relaxation when the game begins (gumbel).", gt=0)
        cold: float = setting(0.3, "Temperature of the relaxation at the end (gumbel).", gt=0)
        likelihood: float = setting(
            0.0, "Weight of the likelihood loss that stays while playing; it holds back collapse.", ge=0
        )
        rate: float = setting(
            0.03, "Learning rate of the generator while playing, as a share of that of the warm-up.", gt=0, le=1
        )
        conditional: bool = setting(True, "Use the data's classes where there are any.")
        drop_label: float = setting(0.1, "Share of rows trained without their class.", unit="share", ge=0, le=1)
        discriminator: CriticConfig = CriticConfig()
        generator: OptimiserConfig = OptimiserConfig(lr=3e-3, table_lr=5e-2, beta2=0.95)
        critic: OptimiserConfig = OptimiserConfig(lr=1e-3, beta1=0.5, weight_decay=1e-4)

    class Options(Settings):
        """Settings of one call to sample."""

        max_tokens: int | None = setting(None, "Most tokens to generate; by the data if none.", unit="tokens", ge=1)
        temperature: float = setting(1.0, "Below 1 tamer, above 1 wilder; 0 takes the most probable token.", ge=0)
        top_k: int | None = setting(None, "Draw from the k most probable tokens only.", ge=1)
        top_p: float = setting(1.0, "Draw from the fewest tokens that together have this probability.", gt=0, le=1)
        start: bool = setting(False, "Sample the generator as the warm-up by likelihood left it.")

    accepts = (Tokens,)
    conditions = frozenset({"label"})
    train_defaults = {  # noqa: RUF012
        "batch": 64, "ema": 0.998, "decay": 0.7, "warmup": 50, "clip": 1.0,
        "validate_times": 0,  # the likelihood of held-out data rises while playing: it must not choose the weights
    }  # fmt: skip
    contrasts = {"maximum likelihood (its start)": {"start": True}}  # noqa: RUF012
    exact = True

    spec: Tokens
    returned: Tensor
    variety: Tensor
    kept: Tensor

    def __init__(self, spec: Tokens, config: SequenceGAN.Config, condition: ConditionSpec) -> None:
        super().__init__()
        c = self.config = config
        if c.warmup + c.lead >= 1:
            raise InputError(f"family.warmup={c.warmup} and family.lead={c.lead} leave no time to play: lower one")
        self.spec, self.condition = spec, condition
        self.classes = len(condition.classes) if c.conditional else 0
        self.length = c.length if spec.stream else min(c.length, spec.length)
        self.context, self.stride = self.length, 0 if c.cell != "transformer" else max(1, self.length // 2)
        self.generator = generator_of(c, spec, self.classes, self.length)
        self.critic = Critic(spec.vocab, self.classes, c.discriminator)
        self.start = frozen(self.generator)  # the generator after the warm-up
        self.register_buffer("kept", torch.zeros((), dtype=torch.bool))
        self.register_buffer("returned", torch.zeros(self.length - 1))  # moving mean of the return at each place
        self.register_buffer("variety", torch.ones(()))
        self._played = 0

    def players(self) -> dict[str, nn.Module]:
        return {"generator": self.generator, "discriminator": self.critic}

    def optimisers(self) -> dict[str, OptimiserConfig]:
        return {"generator": self.config.generator, "discriminator": self.config.critic}

    def honours(self) -> frozenset[str]:
        return super().honours() if self.classes else frozenset()

    def window(self) -> Window | None:
        return Window(self.length - 1) if self.spec.stream else None

    def stages(self) -> tuple[Stage, ...]:
        """The averaged generator of the warm-up is what the game begins with."""
        return (
            Stage("likelihood", self.config.warmup, players=("generator",)),
            Stage("game", rates={"generator": self.config.rate}),
        )

    @torch.no_grad()
    def enter(self, stage: Stage, data: Iterable[Batch]) -> None:
        """Keep the generator that the warm-up gave."""
        if stage.name == "game" and not self.kept:
            self.start.load_state_dict(self.generator.state_dict())
            self.kept.fill_(True)

    # -- training -----------------------------------------------------------------------------------------------------

    def updates(self, batch: Batch, clock: Clock, rng: Rng) -> Iterator[Update]:
        """The generator by likelihood; then the critic, and the generator against the critic just updated."""
        c, x, label = self.config, batch.x[:, : self.length], self._label(batch, rng)
        if clock.fraction < c.warmup:
            self.generator.set_dropout(c.dropout, c.ngram_dropout, clock.epochs if c.ngram_dropout else 0.0)
            loss, nats = self._likelihood(x, label)
            yield Update("generator", loss, {"nats": nats})
            return
        self.generator.set_dropout(0.0, 0.0, 0.0)
        fake = self._draw(x[:, :1], label, rng)
        yield self._judged(x, fake, label)
        if clock.fraction < c.warmup + c.lead or (clock.step + 1) % c.critic_steps:
            return
        logits = self._logits(fake, label)
        if c.gradient == "reinforce":
            loss, logs, ahead = self._reinforce(logits, fake, label)
        else:
            loss, logs, ahead = self._relax(logits, fake, label, clock, rng)
        if c.likelihood:
            held, logs["nats"] = self._likelihood(x, label)
            loss = loss + c.likelihood * held
        yield Update("generator", loss, logs)
        # After every micro-batch has read it: each adds its rows' share.
        self.returned += c.baseline * ahead / (rng.total or len(x))
        self._played = clock.step

    def _likelihood(self, x: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor]:
        """Cross-entropy over all places of x [B, T] (micro-batches add up), and nats per token."""
        nats, counted = self._cross_entropy(
            self.generator(x[:, :-1], Condition(label=_along(label, x))), x[:, :-1], x[:, 1:]
        )
        return nats.sum() / nats.numel(), nats.detach().sum() / counted.sum().clamp(min=1)

    def _judged(self, real: Tensor, fake: Tensor, label: Tensor | None) -> Update:
        """The critic's loss: at every place, is it real? The mean of a row's places, then of the rows."""
        true, false = self.critic(real, label), self.critic(fake, label)
        seen, made = self._places(real), self._places(fake)
        loss = _mean(F.softplus(-true[:, 1:]), seen) + _mean(F.softplus(false[:, 1:]), made)
        different = [len(rows.unique(dim=0)) for rows in (fake, real)]
        self.variety.lerp_(self.variety.new_tensor(min(1.0, different[0] / different[1])), 0.02)
        right = (_mean((true[:, 1:] > 0).float(), seen) + _mean((false[:, 1:] < 0).float(), made)) / 2
        return Update("discriminator", loss.mean(), {"told apart": right.mean(), "variety": self.variety.clone()})

    def _reinforce(
        self, logits: Tensor, fake: Tensor, label: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Policy gradient; what was drawn, its reward and the part of the baseline's change that is these rows'."""
        real = self._places(fake)
        with torch.no_grad():
            self.critic.eval()
            rewards = (2 * torch.sigmoid(self.critic(fake, label)[:, 1:]) - 1) * real
            self.critic.train()
            ahead = returns(rewards, self.config.discount)
            advantage = (ahead - self.returned[: ahead.shape[1]]) * real
        logp = logits.log_softmax(-1)
        chosen = logp.gather(-1, fake[:, 1:, None])[..., 0]
        entropy = -(logp.detach().exp() * logp.detach()).sum(-1)
        logs = {"reward": _mean(rewards, real).mean(), "entropy": _mean(entropy, real).mean()}
        change = F.pad(advantage.sum(0), (0, len(self.returned) - advantage.shape[1]))
        return -(advantage * chosen).sum(1).mean() / self.length, logs, change

    def _relax(
        self, logits: Tensor, fake: Tensor, label: Tensor | None, clock: Clock, rng: Rng
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """The critic's verdict on relaxed tokens; no gradient passes through the past that a token was drawn from."""
        c, vocab = self.config, self.spec.vocab
        begin = c.warmup + c.lead
        through = (clock.fraction - begin) / (1 - begin)
        temperature = c.hot * (c.cold / c.hot) ** max(0.0, through)
        uniform = rng.uniform("gumbel", len(fake), self.length - 1, vocab)[:, : logits.shape[1]]
        soft = relaxed(logits, fake[:, 1:], uniform, temperature)
        first = F.one_hot(fake[:, :1], vocab).to(soft.dtype)
        self.critic.eval()
        scores = self.critic(torch.cat([first, soft], 1), label)[:, 1:]
        self.critic.train()
        loss = _mean(F.softplus(-scores), self._places(fake)).mean()
        return loss, {"temperature": torch.tensor(temperature)}, torch.zeros_like(self.returned)

    @torch.no_grad()
    def _draw(self, first: Tensor, label: Tensor | None, rng: Rng) -> Tensor:
        """[B, T] sequences of the generator that begin with `first` [B, 1], padded after their end."""
        uniform = rng.uniform("drawn", len(first), self.length - 1)
        start = decoding.Start(first, torch.ones_like(first, dtype=torch.bool), Condition(label=label))
        with torch.autocast(first.device.type, enabled=False):
            drawn = decoding.Decoding(
                self.generator, start, uniform, decoding.Filters(forbidden=self._forbidden()), eos=self._eos,
                pad=self.spec.pad,
            )  # fmt: skip
            columns = [step.tokens for step in decoding.generate(drawn)]
        self.generator.train()
        return torch.cat([first, torch.stack(columns, 1)], 1)

    def _logits(self, x: Tensor, label: Tensor | None) -> Tensor:
        """[B, T - 1, V] logits of x[:, 1:] as they are drawn from."""
        logits: Tensor = self.generator(x[:, :-1], Condition(label=_along(label, x)))
        return logits.index_fill(-1, self._forbidden(), NEVER)

    def _places(self, x: Tensor) -> Tensor:
        """[B, T - 1] 1.0 where x[:, 1:] is part of a sequence, its end included."""
        return (x[:, 1:] != self.spec.pad).float()

    def _cross_entropy(self, logits: Tensor, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """[B, T] nats, and bool [B, T] where a token is predicted: not at padding."""
        nats = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view_as(targets)
        counted = targets != self.spec.pad
        return nats * counted, counted

    def _label(self, batch: Batch, rng: Rng) -> Tensor | None:
        """[B] classes, some replaced by "no class"."""
        label = batch.condition.label
        if label is None or not self.classes:
            return None
        label = label[:, 0] if label.ndim == 2 else label
        return label.masked_fill(rng.uniform("drop label", len(label)) < self.config.drop_label, self.classes)

    @property
    def _eos(self) -> int | None:
        return None if self.spec.stream else self.spec.eos

    def _forbidden(self) -> Tensor:
        """Tokens that are never drawn: padding, and bos or, in a stream, eos."""
        s = self.spec
        return torch.tensor([s.pad, s.eos if s.stream else s.bos], device=self.returned.device)

    def warnings(self) -> list[str]:
        if self._played < PATIENCE or float(self.variety) >= COLLAPSED:
            return []
        return [
            f"the generator may be collapsing: only {float(self.variety):.0%} as many of its samples differ from one "
            "another as of the data; lower family.rate, or give family.likelihood some weight such as 0.5"
        ]

    # -- likelihood ---------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def surprise(self, x: Tensor, condition: Condition = Condition()) -> Tensor:  # noqa: B008 (frozen)
        """[B, T - 1] nats of x[:, 1:], each given all before it; 0 at padding. Of the generator as it is now."""

        def cost(logits: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
            return self._cross_entropy(logits, inputs, targets)[0]

        condition = Condition(label=condition.label if self.classes else None)
        if self.stride:
            return scoring.windowed(self.generator, x, condition, cost, self.context, self.stride)
        return scoring.carried(self.generator, x, condition, cost)

    def nll(self, batch: Batch, rng: Rng) -> Tensor:
        """[B] nats of each row after its first token. Exact."""
        label = batch.condition.label
        return self.surprise(
            batch.x, Condition(label=label[:, 0] if label is not None and label.ndim == 2 else label)
        ).sum(1)

    # -- sampling -----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def sample(
        self, n: int, condition: Condition, rng: Rng, options: SequenceGAN.Options, guide: Guide | None = None
    ) -> Tensor:
        columns = [step.tokens for step in self.steps(n, condition, rng, options, guide)]
        return self.finished(torch.stack(columns, 1), condition, options)

    @torch.no_grad()
    def steps(
        self, n: int, condition: Condition, rng: Rng, options: SequenceGAN.Options, guide: Guide | None = None
    ) -> Iterator[Step]:
        """As HasSteps says. The first step is the first token of every row after bos."""
        yield from decoding.generate(self.started(n, condition, rng, options, guide))

    def gradual(self, condition: Condition, options: SequenceGAN.Options) -> bool:
        """As HasDecoding says."""
        return True

    def started(
        self, n: int, condition: Condition, rng: Rng, options: SequenceGAN.Options, guide: Guide | None = None
    ) -> decoding.Decoding:
        """As HasDecoding says."""
        first = torch.full((n, 1), self.spec.bos, device=self.returned.device)
        label = condition.label if self.classes else None
        if label is None and self.classes:
            label = torch.full((n,), self.classes, device=first.device)
        uniform = rng.uniform_each("token", n, options.max_tokens or self.spec.length - 1)
        filters = decoding.Filters(options.temperature, options.top_k, options.top_p, forbidden=self._forbidden())
        model = self.start if options.start and self.kept else self.generator
        start = decoding.Start(first, torch.ones_like(first, dtype=torch.bool), Condition(label=label))
        return decoding.Decoding(model, start, uniform, filters, eos=self._eos, pad=self.spec.pad, guide=guide)

    def finished(self, tokens: Tensor, condition: Condition, options: SequenceGAN.Options) -> Tensor:
        """As HasDecoding says."""
        return tokens if self.spec.stream else F.pad(tokens, (1, 0), value=self.spec.bos)


def generator_of(c: SequenceGAN.Config, spec: Tokens, classes: int, length: int) -> SequenceModel:
    """The generator's network. Raises InputError for settings that do not go together."""
    inputs = Inputs(
        spec.vocab, c.width, ngrams=c.ngrams, rows=c.ngram_rows, classes=classes,
        boundary=None if spec.stream else spec.bos,
    )  # fmt: skip
    if c.cell != "transformer":
        return SequenceModel(inputs, Recurrent(c.cell, c.width, c.hidden, c.depth or 1), softcap=0.0, tied=False)
    if c.width % (2 * c.heads):
        raise InputError(f"family.width={c.width} must be a multiple of twice family.heads={c.heads}")
    return SequenceModel(inputs, Transformer(c.width, c.depth or 4, c.heads, length), softcap=0.0, tied=False)


def frozen(model: SequenceModel) -> SequenceModel:
    """A copy whose weights are buffers: saved with the run, moved by no optimiser, averaged with nothing."""
    twin = copy.deepcopy(model)
    for module in twin.modules():
        for name, p in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, p.detach().clone())
    return twin


def _along(label: Tensor | None, x: Tensor) -> Tensor | None:
    """[B] labels as [B, T - 1], as windows of a stream have them."""
    return None if label is None else label[:, None].expand(-1, x.shape[1] - 1)


def _mean(values: Tensor, places: Tensor) -> Tensor:
    """[B] means of each row's values [B, T] over its places."""
    return (values * places).sum(1) / places.sum(1).clamp(min=1)
