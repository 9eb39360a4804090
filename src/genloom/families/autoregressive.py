"""Autoregressive models: the probability of a sequence as a product of next-token probabilities.

p(x) = prod_t p(x_t | x_<t), learned by cross-entropy (Bengio et al. 2003; Graves 2013 with LSTMs; Radford et al. 2019
with a Transformer). Infilling is learned as a rearranged sequence, prefix, suffix, middle (Bavarian et al. 2022). On
grids the tokens are those of a quantising autoencoder that is trained first (van den Oord et al. 2017; Mentzer et al.
2024). A source is read by an encoder and attended to (Bahdanau et al. 2015; Vaswani et al. 2017).

Shapes: `B` batch, `T` tokens, `V` vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genloom.core.batch import Batch, Condition, ConditionSpec
from genloom.core.config import Settings, setting
from genloom.core.errors import InputError
from genloom.core.family import Clock, Family, HasPredictions, Stage, Update
from genloom.core.feed import Window
from genloom.core.guide import Guide, Step
from genloom.core.optim import OptimiserConfig
from genloom.core.rng import Rng
from genloom.core.spec import Grid, Spec, Tokens
from genloom.nets import decoding, infilling, lora, particles, rows, scoring
from genloom.nets.architecture import Architecture, build
from genloom.nets.beams import beam_search
from genloom.nets.counts import MOST_TOKENS, KneserNey
from genloom.nets.lora import RANK, LoraConfig
from genloom.nets.quantiser import FIRST, Tokenizer, TokenizerStageConfig
from genloom.nets.recurrent import CarriedStates

OFTEN = 3  # longest n-gram of trainings so long that each is seen often: no row needs to move far at once then
PACE = 30  # steps from which the epochs of the whole training are told


@final
class Autoregressive(Family):
    """A Transformer, LSTM or GRU over tokens, or over the codes of grids."""

    class Config(Architecture):
        """Settings of an autoregressive model."""

        context: int = setting(
            256, "Tokens of a training window; the most that a transformer looks back.", unit="tokens", ge=2
        )
        ngram_dropout: float = setting(
            0.5,
            "Share of n-grams left out while training, and rare ones more often; 0: none.",
            unit="share",
            ge=0,
            lt=1,
        )
        ngram_epochs: float = setting(
            20.0,
            "An n-gram of n tokens is used in trainings of up to this / (n - 2) epochs; longer ones would learn "
            "the text by heart. 0: always.",
            unit="epochs",
            ge=0,
        )
        dropout: float = setting(0.2, "Dropout of embeddings and layers at its highest.", unit="share", ge=0, lt=1)
        dropout_epochs: float = setting(
            4.0, "Epochs over which dropout rises from 0: what is seen for the first time cannot be overfitted.",
            unit="epochs", ge=0,
        )  # fmt: skip
        forget: float = setting(
            0.25, "Share of the carried states of an lstm or gru that are emptied each step.", unit="share", ge=0, le=1
        )
        drop_label: float = setting(0.1, "Share of rows trained without their class.", unit="share", ge=0, le=1)
        drop_properties: float = setting(
            0.1, "Share of rows trained without properties, and of each property left out.", unit="share", ge=0, le=1
        )
        drop_source: float = setting(0.1, "Share of rows trained without their source.", unit="share", ge=0, le=1)
        smoothing: float = setting(
            0.0, "Label smoothing: share of the target that all tokens get alike.", unit="share", ge=0, lt=1
        )
        infill: float = setting(
            0.0,
            "Share of rows rearranged to prefix, suffix, middle, so that gaps can be filled.",
            unit="share",
            ge=0,
            le=1,
        )
        counts: float = setting(
            0.0,
            "Weight of a count model (Kneser-Ney) mixed in; 0 for none.",
            unit="share",
            ge=0,
            lt=1,
        )
        count_order: int = setting(7, "Longest n-gram of the count model.", ge=2, le=7)
        min_p: float = setting(
            0.0, "Share of the highest probability below which samples leave tokens out where nobody says.", ge=0, le=1
        )
        lora: LoraConfig = LoraConfig()
        teacher: rows.TeacherConfig = rows.TeacherConfig()
        tokenizer: TokenizerStageConfig = TokenizerStageConfig()
        code_batch: int = setting(64, "Batch of the model of codes of grids.", unit="examples", ge=1)
        optimiser: OptimiserConfig = OptimiserConfig(lr=3e-3, table_lr=5e-2, beta2=0.95)

    class Options(decoding.Options):
        """Settings of one call to sample."""

        fill: Literal["exactly", "at most", "in place"] = setting(
            "exactly",
            "Whether a gap gets as many tokens as it has, or up to that many; in place: every known token stays where "
            "it is, in any number of gaps.",
        )
        particles: int = setting(
            32,
            "Of filling in place: drafts side by side; the more, the better gaps lead to what follows.",
            ge=1,
            le=1024,
        )  # fmt: skip

    accepts = (Tokens, Grid)
    elsewhere = {"row": "any_order"}  # noqa: RUF012
    conditions = frozenset({"label", "properties", "source", "known"})
    train_defaults = {  # noqa: RUF012
        "batch": 16, "ema": 0.998, "decay": 0.7, "warmup": 50, "clip": 1.0, "validate_times": 12, "patience": 6,
    }  # fmt: skip
    exact: bool  # of sequences alone: how likely codes are is not how likely their grid is, so grids have no likelihood

    def __init__(self, spec: Tokens | Grid, config: Autoregressive.Config, condition: ConditionSpec) -> None:
        super().__init__()
        self.spec, self.config, self.condition = spec, config, condition
        self._states = CarriedStates()
        self._teacher: list[Any] = []  # in a list, so that it is no part of this module
        self.classes = len(condition.classes)
        self.tokenizer: Tokenizer | None = None
        if isinstance(spec, Grid):
            if config.infill:
                raise InputError("family.infill is for sequences; gaps in grids cannot be filled by this model")
            self.tokenizer = Tokenizer(spec, config.tokenizer, self.classes)
            self.tokens, self.context = self.tokenizer.spec, self.tokenizer.spec.length
        else:
            self.tokens, self.context, self.exact = spec, config.context, True
            if config.places:
                self.context = max(self.context, spec.length + (2 if config.infill else 0))
        self.recurrent = config.recurrent
        self.whole = self.tokenizer is not None or condition.source is not None or config.places
        self.stride = 0 if self.recurrent else max(1, self.context // 2)
        # Two more tokens than the data's where gaps are learned: "here is a gap", "now fill it".
        self.hole, self.fill = self.tokens.vocab, self.tokens.vocab + 1
        marks = 2 if config.infill else 0
        self.model = build(config, self.tokens, self.context, condition, self.tokenizer, marks)
        if config.lora.rank:
            changed = {*self.model.body.modules(), self.model.head}
            lora.attach(self.model, config.lora, [m for m in self.model.modules() if m not in changed])
            if self.model.inputs.label is not None:
                self.model.inputs.label.requires_grad_(True)
        eos = None if self.tokens.stream else self.tokens.eos
        self.counts: KneserNey | None = None
        if config.counts and self.tokenizer is None:
            self.counts = KneserNey(self.tokens.vocab, config.count_order, eos, self.tokens.pad)

    @classmethod
    def tuned(cls, config: Settings, spec: Spec | None, lora: bool) -> Mapping[str, Any]:
        """N-grams keep their numbers. They were learned from the larger text and are used throughout."""
        assert isinstance(config, cls.Config)
        family: dict[str, Any] = {"ngram_epochs": 0.0, "optimiser": {"lr": 1e-3, "table_lr": 5e-3}}
        if isinstance(spec, Tokens):
            family["ngram_base"] = config.ngram_base or spec.vocab + (2 if config.infill else 0)
        if lora:
            family |= {"lora": {"rank": RANK}, "optimiser": {"lr": 3e-3}}
        return {"family": family}

    def players(self) -> dict[str, nn.Module]:
        return {"model": self.model} | (self.tokenizer.players() if self.tokenizer is not None else {})

    def optimisers(self) -> dict[str, OptimiserConfig]:
        own = {"model": self.config.optimiser}
        return own | (self.tokenizer.optimisers() if self.tokenizer is not None else {})

    def window(self) -> Window | None:
        return None if self.whole else Window(self.context, contiguous=self.recurrent)

    def honours(self) -> frozenset[str]:
        return super().honours() - (frozenset() if self.tokenizer is None else {"known"})

    def stages(self) -> tuple[Stage, ...]:
        if self.tokenizer is None:
            return super().stages()
        c = self.config.tokenizer
        return (
            Stage("tokenizer", c.share, c.batch, tuple(self.tokenizer.players())),
            Stage("prior", 1.0, self.config.code_batch, ("model",)),
        )

    def enter(self, stage: Stage, data: Iterable[Batch]) -> None:
        """Of grids: freeze the tokenizer and compute the codes of all examples before the model of codes begins. Of
        others: count the n-grams, where a count model is mixed in."""
        if self.tokenizer is not None and stage.name == "prior":
            self.tokenizer.freeze(data)
        elif self.counts is not None:
            self.counts.fit(rows.read_along(data, self.tokens.pad, MOST_TOKENS).numpy())

    def warnings(self) -> list[str]:
        return [] if self.tokenizer is None else self.tokenizer.warnings()

    # -- training -----------------------------------------------------------------------------------------------------

    def updates(self, batch: Batch, clock: Clock, rng: Rng) -> Iterator[Update]:
        """Cross-entropy of the next token, in nats. The sum over real tokens is divided by all places of the window, so
        that micro-batches add up to the full batch's loss."""
        epochs = clock.epochs
        if self.tokenizer is not None:
            share = self.config.tokenizer.share
            if clock.fraction < share:
                yield from self.tokenizer.updates(batch, Clock(clock.step, clock.fraction / share), rng)
                return
            batch = self.tokenizer.sequences(batch)
            epochs *= 1 - share / clock.fraction  # about those of the model of codes alone
        ramp = min(1.0, epochs / self.config.dropout_epochs) if self.config.dropout_epochs else 1.0
        left_out = self.config.ngram_dropout
        self.model.set_dropout(self.config.dropout * ramp, left_out * ramp, epochs if left_out else 0.0)
        self.model.inputs.longest = longest_ngram(epochs, clock, self.config.ngram_epochs)
        self.model.inputs.often = self.model.inputs.longest <= OFTEN
        x = batch.x if self.window() or self.tokenizer else rows.stretches(batch.x, self.context, self.tokens.pad, rng)
        condition = rows.dropped(batch.condition, x.shape[1] - 1, self.classes, self.config, self.condition, rng)
        if self.config.infill:
            rearranged = rng.uniform("infill", len(x)) < self.config.infill
            cuts = rng.uniform("cuts", len(x), 2)
            x = infilling.rearrange(x, rearranged, cuts, self.tokens, self.hole, self.fill)
        inputs, targets = x[:, :-1], x[:, 1:]
        state = None
        if self.recurrent and not self.whole and batch.index is not None:
            begin = self.model.begin(len(batch), 0)
            state = self._states.take(begin, batch.index, rng, self.config.forget)
        documents = None if self.recurrent or self.whole else self._documents(inputs)
        h = self.model.hidden(inputs, condition, documents, state)
        if state is not None and batch.index is not None:
            self._states.keep(state, batch.index + self.context, rng)
        counted = self._counted(inputs, targets)
        loss, nats = self.model.cross_entropy(h, targets, counted, self.config.smoothing)
        logs = {"nats": nats / counted.sum().clamp(min=1)}
        for teacher in self._teacher:
            wanted = teacher.to(x.device).eval().predictions(x, batch.condition.only(teacher.honours()))
            kl = rows.divergence(self.model.logits(h), wanted, counted, self.config.teacher.temperature)
            logs["divergence"] = kl.detach() / counted.sum().clamp(min=1)
            loss = torch.lerp(loss, kl, self.config.teacher.share)
        if self.condition.source is not None:
            logs["padding"] = (targets == self.tokens.pad).float().mean()
        yield Update("model", loss / targets.numel(), logs)

    def _cross_entropy(self, logits: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        """[B, T] nats, 0 where no token is predicted."""
        nats = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view_as(targets)
        return nats * self._counted(inputs, targets)

    def _counted(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """bool [B, T] where a token is predicted: not at padding, not from eos to the next document."""
        counted = targets != self.tokens.pad
        if not self.tokens.stream:
            counted = counted & (inputs != self.tokens.eos) & (inputs != self.tokens.pad)
        return counted

    def _documents(self, x: Tensor) -> Tensor | None:
        """[B, T] number of each token's document in its row; None where no document ends within a row."""
        if self.tokens.stream:
            return None
        begins = x == self.tokens.bos
        return begins.cumsum(1) if bool(begins[:, 1:].any()) else None

    def learn_from(self, teacher: HasPredictions) -> None:
        """As Learns says: the loss becomes (1 - share) cross-entropy + share KL(teacher || model) (Hinton et al.
        2015)."""
        other: Any = teacher
        if not isinstance(other.spec, Tokens) or other.spec.stream != self.tokens.stream or self.tokenizer is not None:
            raise InputError("a teacher must be a model of sequences of the same kind, documents or one long text")
        if other.spec.vocab > self.tokens.vocab or self.config.infill or other.config.infill:
            raise InputError("a teacher and who learns from it must have the same tokens, both without family.infill")
        if ("source" in other.honours()) != ("source" in self.honours()):
            raise InputError("a teacher and who learns from it must both follow from sources, or both not")
        self._teacher = [other]

    def carried(self) -> dict[str, Tensor]:
        return self._states.tensors

    def carry_on(self, tensors: dict[str, Tensor]) -> None:
        self._states.tensors = tensors

    # -- likelihood ---------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def surprise(self, x: Tensor, condition: Condition = Condition()) -> Tensor:  # noqa: B008 (frozen)
        """[B, T - 1] nats of x[:, 1:], each given all before it; 0 at padding and after eos."""
        nats = self.nats(x, condition)
        if self.counts is None:
            return nats
        share = self.config.counts
        mixed = -torch.logaddexp(math.log1p(-share) - nats, math.log(share) - self.counts.surprise(x))
        return torch.where(nats > 0, mixed, 0.0)

    def nats(self, x: Tensor, condition: Condition = Condition()) -> Tensor:  # noqa: B008 (frozen)
        """The network's alone, with gradients."""
        return self._scored(x, condition, self._cross_entropy)

    def _scored(self, x: Tensor, condition: Condition, cost: scoring.Cost) -> Tensor:
        if self.recurrent:
            return scoring.carried(self.model, x, condition, cost)
        return scoring.windowed(self.model, x, condition, cost, self.context, self.stride)

    @torch.no_grad()
    def predictions(self, x: Tensor, condition: Condition = Condition()) -> Tensor:  # noqa: B008 (frozen)
        """[B, T - 1, V] log-probabilities in the places of x[:, 1:], each given all before it."""

        def scores(logits: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
            return logits.float().log_softmax(-1)

        logp = self._scored(x, condition, scores)
        if self.counts is None:
            return logp
        pasts = F.pad(x[:, :-1], (self.counts.order - 2, 0), value=self.tokens.pad).unfold(1, self.counts.order - 1, 1)
        return self._mix(logp.flatten(0, 1), pasts.flatten(0, 1)).view_as(logp)

    def nll(self, batch: Batch, rng: Rng) -> Tensor:
        """[B] nats of each row after its first token. Exact."""
        return self.surprise(batch.x, batch.condition).sum(1)

    # -- sampling -----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def sample(
        self, n: int, condition: Condition, rng: Rng, options: Autoregressive.Options, guide: Guide | None = None
    ) -> Tensor:
        if options.beams > 1:
            return self._beams(n, condition, options, guide)
        if not self.gradual(condition, options):
            return self._filled(n, condition, rng, options, guide)
        columns = [step.tokens for step in self.steps(n, condition, rng, options, guide)]
        return self.finished(torch.stack(columns, 1), condition, options)

    @torch.no_grad()
    def steps(
        self, n: int, condition: Condition, rng: Rng, options: Autoregressive.Options, guide: Guide | None = None
    ) -> Iterator[Step]:
        """As HasSteps says. The first step is the first token of every row after bos."""
        yield from decoding.generate(self.started(n, condition, rng, options, guide))

    def gradual(self, condition: Condition, options: Autoregressive.Options) -> bool:
        """As HasDecoding says: not by beam search, nor where gaps foresee what follows."""
        gaps = condition.mask is not None and not infilling.is_prefix(condition.mask)
        return options.beams == 1 and not (gaps and options.fill == "in place" and options.particles > 1)

    def started(
        self, n: int, condition: Condition, rng: Rng, options: Autoregressive.Options, guide: Guide | None = None
    ) -> decoding.Decoding:
        """As HasDecoding says."""
        start, most = self._start(n, condition, options)
        uniform = rng.uniform_each("token", n, most)
        eos = None if self.tokens.stream else self.tokens.eos
        mix, reach = (None, None) if self.counts is None else (self._mix, self.counts.order)
        return decoding.Decoding(
            self.model, start, uniform, self._filters(start, options), eos=eos, pad=self.tokens.pad,
            guide=guide, mix=mix, reach=reach,
        )  # fmt: skip

    def _filled(
        self, n: int, condition: Condition, rng: Rng, options: Autoregressive.Options, guide: Guide | None
    ) -> Tensor:
        start, most = self._start(n, condition, options)
        uniform = rng.uniform_each("token", n, options.particles * most).view(n, options.particles, most)
        eos = None if self.tokens.stream else self.tokens.eos
        mix, reach = (None, None) if self.counts is None else (self._mix, self.counts.order)
        tokens = particles.fill(
            self.model, start, uniform, rng.uniform_each("particle", n, most + 1),
            self._filters(start, options), eos=eos, pad=self.tokens.pad, guide=guide, mix=mix, reach=reach,
        )  # fmt: skip
        return self.finished(tokens, condition, options)

    def _mix(self, logp: Tensor, tokens: Tensor) -> Tensor:
        """[B, V] log-probabilities with those of the count model after tokens [B, t] mixed in."""
        assert self.counts is not None
        tokens = tokens.masked_fill(tokens >= self.tokens.vocab, self.tokens.pad)  # no context reaches across a mark
        counted = F.pad(self.counts.probabilities(tokens), (0, logp.shape[1] - self.tokens.vocab))
        return torch.log((1 - self.config.counts) * logp.exp() + self.config.counts * counted)

    def _filters(self, start: decoding.Start, options: Autoregressive.Options) -> decoding.Filters:
        return options.filters(self._forbidden(start), self.config.min_p)

    def _forbidden(self, start: decoding.Start) -> Tensor:
        """Tokens that are never drawn: padding, bos, the marks of gaps; in a stream eos, with codes both."""
        spec = self.tokens
        ids = [spec.pad] + ([spec.eos] if spec.stream else [spec.bos])
        ids += [] if self.tokenizer is None else [spec.bos]
        return torch.tensor(ids + ([self.hole, self.fill] if self.config.infill else []), device=start.tokens.device)

    def _start(self, n: int, condition: Condition, options: Autoregressive.Options) -> tuple[decoding.Start, int]:
        """How n rows begin, and the most tokens to come after the first column."""
        device, given, tokens = self.model.weight.device, condition, self.tokens
        if self.tokenizer is not None and options.max_tokens is not None:
            raise InputError("max_tokens is for sequences; leave it out: a grid always has all its codes")
        if options.fill == "in place" and given.known is not None:
            start, _ = decoding.begin(n, self.tokens, given, None, device)
            return start, start.tokens.shape[1] - 1
        if given.known is not None and given.mask is not None and not infilling.is_prefix(given.mask):
            if not self.config.infill:
                raise InputError(
                    "the model was trained without infilling: only a prompt can be given; see family.infill"
                )
            skip = int(not self.tokens.stream and bool((given.known[:, 0] == self.tokens.bos).all()))
            known, mask = given.known[:, skip:], given.mask[:, skip:]
            known, mask = infilling.with_gap(known, mask, self.hole, self.fill, self.tokens.pad)
            given = replace(condition, known=known, mask=mask)
            tokens = replace(tokens, length=tokens.length + 2)  # the marks take no room from the contents
        return decoding.begin(n, tokens, given, options.max_tokens, device)

    def finished(self, tokens: Tensor, condition: Condition, options: Autoregressive.Options) -> Tensor:
        """Generated columns [B, T] as the spec says: with bos in front of documents, gaps filled where they were, codes
        decoded."""
        if self.tokenizer is not None:
            return self.tokenizer.grids(tokens - FIRST, condition.label if self.classes else None)
        gaps = condition.mask is not None and not infilling.is_prefix(condition.mask)
        if gaps and options.fill != "in place":
            return infilling.closed(tokens, condition, self.tokens, self.hole, self.fill, options.fill == "exactly")
        if self.tokens.stream:
            return tokens
        return torch.cat([tokens.new_full((len(tokens), 1), self.tokens.bos), tokens], 1)

    def _beams(self, n: int, condition: Condition, options: Autoregressive.Options, guide: Guide | None) -> Tensor:
        start, most = self._start(n, condition, options)
        if self.tokens.stream and self.tokenizer is None:
            raise InputError(
                "a stream of text has no end for beam search to find; sample it with temperature 0 instead"
            )
        found, _ = beam_search(
            self.model, start, beams=options.beams, most=most - start.tokens.shape[1] + 1, eos=self.tokens.eos,
            pad=self.tokens.pad, penalty=options.length_penalty, enough=options.enough,
            forbidden=self._forbidden(start),
            guide=guide, mix=self._mix if self.counts is not None else None,
        )  # fmt: skip
        return self.finished(found[:, 1:], condition, options)


def longest_ngram(epochs: float, clock: Clock, most: float) -> int:
    """The longest n-gram to use in a training that will see the data about epochs / fraction times; before the first
    steps have shown the pace, 2."""
    if not most:
        return 99
    if clock.step < PACE or not clock.fraction:
        return 2
    return 2 + int(most * clock.fraction / max(epochs, 1e-9))
