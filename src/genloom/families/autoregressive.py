"""Autoregressive models: the probability of a sequence as a product of next-token probabilities.

p(x) = prod_t p(x_t | x_<t), learned by cross-entropy (Bengio et al. 2003; Graves 2013 with LSTMs; Radford et al. 2019
with a Transformer). Infilling is learned as a rearranged sequence, prefix, suffix, middle (Bavarian et al. 2022). On
grids the tokens are those of a quantising autoencoder that is trained first (van den Oord et al. 2017; Mentzer et al.
2024).

Shapes: `B` batch, `T` tokens, `V` vocabulary.
"""

from __future__ import annotations

import math
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
from genloom.core.spec import Grid, Tokens
from genloom.nets import decoding, infilling, scoring
from genloom.nets.counts import MOST_TOKENS, KneserNey
from genloom.nets.quantiser import FIRST, Tokenizer, TokenizerStageConfig
from genloom.nets.recurrent import CarriedStates, Recurrent
from genloom.nets.sequence import Inputs, SequenceModel
from genloom.nets.transformer import Transformer

OFTEN = 3  # longest n-gram of trainings so long that each is seen often: no row needs to move far at once then
PACE = 30  # steps from which the epochs of the whole training are told


@final
class Autoregressive(Family):
    """A Transformer, LSTM or GRU over tokens, or over the codes of grids."""

    class Config(Settings):
        """Settings of an autoregressive model."""

        cell: Literal["transformer", "lstm", "gru"] = setting(
            "transformer", "What carries the past: transformer, lstm or gru."
        )
        width: int = setting(128, "Width of the embeddings, and of every layer of a transformer.", unit="values", ge=4)
        hidden: int = setting(384, "Width of the hidden state of an lstm or gru.", unit="values", ge=4)
        depth: int | None = setting(None, "Layers; if none, 4 of a transformer, 1 of an lstm or gru.", ge=1)
        heads: int = setting(4, "Attention heads of a transformer.", ge=1)
        context: int = setting(
            256, "Tokens of a training window; the most that a transformer looks back.", unit="tokens", ge=2
        )
        ngrams: int | None = setting(
            None,
            "Longest n-gram with an embedding of its own; 1 for none; if none, 4, and 1 for codes of grids.",
            ge=1,
            le=6,
        )
        ngram_rows: int = setting(2**15, "Rows of the table of each n; rarer n-grams share rows.", ge=64)
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
        softcap: float = setting(0.0, "Largest absolute logit, by a smooth bound; 0 for none.", ge=0)
        tied: bool = setting(False, "Use the embedding of tokens for the output too (transformers).")
        forget: float = setting(
            0.25, "Share of the carried states of an lstm or gru that are emptied each step.", unit="share", ge=0, le=1
        )
        drop_label: float = setting(0.1, "Share of rows trained without their class.", unit="share", ge=0, le=1)
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
        tokenizer: TokenizerStageConfig = TokenizerStageConfig()
        code_batch: int = setting(64, "Batch of the model of codes of grids.", unit="examples", ge=1)
        optimiser: OptimiserConfig = OptimiserConfig(lr=3e-3, table_lr=5e-2, beta2=0.95)

    class Options(Settings):
        """Settings of one call to sample."""

        max_tokens: int | None = setting(None, "Most tokens to generate; by the data if none.", unit="tokens", ge=1)
        temperature: float = setting(1.0, "Below 1 tamer, above 1 wilder; 0 takes the most probable token.", ge=0)
        top_k: int | None = setting(None, "Draw from the k most probable tokens only.", ge=1)
        top_p: float = setting(1.0, "Draw from the fewest tokens that together have this probability.", gt=0, le=1)
        min_p: float = setting(0.0, "Leave out tokens below this share of the highest probability.", ge=0, le=1)
        repetition: float = setting(1.0, "Penalty on tokens that occurred already; 1 is none.", ge=1)
        beams: int = setting(1, "Keep this many hypotheses and return the most probable; 1 samples.", ge=1, le=64)
        length_penalty: float = setting(1.0, "Of beam search: above 0 favours longer sequences.", ge=0)
        fill: Literal["exactly", "at most"] = setting(
            "exactly", "Whether a gap gets as many tokens as it has, or up to that many."
        )

    accepts = (Tokens, Grid)
    conditions = frozenset({"label", "known"})
    train_defaults = {  # noqa: RUF012
        "batch": 16, "ema": 0.998, "decay": 0.7, "warmup": 50, "clip": 1.0, "validate_times": 12, "patience": 6,
    }  # fmt: skip
    exact: bool  # of sequences alone: how likely codes are is not how likely their grid is, so grids have no likelihood

    def __init__(self, spec: Tokens | Grid, config: Autoregressive.Config, condition: ConditionSpec) -> None:
        super().__init__()
        self.spec, self.config, self.condition = spec, config, condition
        self._states = CarriedStates()
        self.classes = len(condition.classes)
        self.tokenizer: Tokenizer | None = None
        if isinstance(spec, Grid):
            if config.infill:
                raise InputError("family.infill is for sequences; gaps in grids cannot be filled by this model")
            self.tokenizer = Tokenizer(spec, config.tokenizer, self.classes)
            self.tokens, self.context = self.tokenizer.spec, self.tokenizer.spec.length
        else:
            self.tokens, self.context, self.exact = spec, config.context, True
        self.recurrent = config.cell != "transformer"
        self.stride = 0 if self.recurrent else max(1, self.context // 2)
        # Two more tokens than the data's where gaps are learned: "here is a gap", "now fill it".
        self.hole, self.fill = self.tokens.vocab, self.tokens.vocab + 1
        self.model = build(config, self.tokens, self.classes, self.tokenizer)
        eos = None if self.tokens.stream else self.tokens.eos
        self.counts: KneserNey | None = None
        if config.counts and self.tokenizer is None:
            self.counts = KneserNey(self.tokens.vocab, config.count_order, eos, self.tokens.pad)

    def players(self) -> dict[str, nn.Module]:
        return {"model": self.model} | (self.tokenizer.players() if self.tokenizer is not None else {})

    def optimisers(self) -> dict[str, OptimiserConfig]:
        own = {"model": self.config.optimiser}
        return own | (self.tokenizer.optimisers() if self.tokenizer is not None else {})

    def window(self) -> Window | None:
        return Window(self.context, contiguous=self.recurrent) if self.tokenizer is None else None

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
            self.counts.fit(read_along(data, self.tokens.pad, MOST_TOKENS).numpy())

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
        x, label = batch.x, self._labels(batch, rng)
        if self.config.infill:
            rearranged = rng.uniform("infill", len(x)) < self.config.infill
            cuts = rng.uniform("cuts", len(x), 2)
            x = infilling.rearrange(x, rearranged, cuts, self.tokens, self.hole, self.fill)
        inputs, targets = x[:, :-1], x[:, 1:]
        state = None
        if self.recurrent and self.tokenizer is None and batch.index is not None:
            begin = self.model.begin(len(batch), 0)
            state = self._states.take(begin, batch.index, rng, self.config.forget)
        documents = None if self.recurrent else self._documents(inputs)
        logits = self.model(inputs, label, documents, state)
        if state is not None and batch.index is not None:
            self._states.keep(state, batch.index + self.context, rng)
        loss, counted = self._cross_entropy(logits, inputs, targets)
        nats = loss.detach() * targets.numel() / counted.sum().clamp(min=1)
        yield Update("model", loss.sum() / targets.numel(), {"nats": nats.sum() / targets.numel()})

    def _cross_entropy(self, logits: Tensor, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """[B, T] nats, and bool [B, T] where a token is predicted: not at padding, not from eos to the next
        document."""
        nats = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view_as(targets)
        counted = targets != self.tokens.pad
        if not self.tokens.stream:
            counted = counted & (inputs != self.tokens.eos) & (inputs != self.tokens.pad)
        return nats * counted, counted

    def _labels(self, batch: Batch, rng: Rng) -> Tensor | None:
        """[B, T] classes of the inputs, some replaced by "no class"."""
        label = batch.condition.label
        if label is None or not self.classes:
            return None
        label = label[:, :-1] if label.ndim == 2 else label[:, None].expand(-1, batch.x.shape[1] - 1)
        keep = rng.uniform("drop label", len(label)) >= self.config.drop_label
        return torch.where(keep[:, None], label, self.classes)

    def _documents(self, x: Tensor) -> Tensor | None:
        """[B, T] number of each token's document in its row; None where no document ends within a row."""
        if self.tokens.stream:
            return None
        begins = x == self.tokens.bos
        return begins.cumsum(1) if bool(begins[:, 1:].any()) else None

    def carried(self) -> dict[str, Tensor]:
        return self._states.tensors

    def carry_on(self, tensors: dict[str, Tensor]) -> None:
        self._states.tensors = tensors

    # -- likelihood ---------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def surprise(self, x: Tensor, condition: Condition = Condition()) -> Tensor:  # noqa: B008 (frozen)
        """[B, T - 1] nats of x[:, 1:], each given all before it; 0 at padding and after eos."""
        nats = self._surprise(x, condition)
        if self.counts is None:
            return nats
        share = self.config.counts
        mixed = -torch.logaddexp(math.log1p(-share) - nats, math.log(share) - self.counts.surprise(x))
        return torch.where(nats > 0, mixed, 0.0)

    def _surprise(self, x: Tensor, condition: Condition) -> Tensor:
        """The network's alone."""
        return self._scored(x, condition, lambda *given: self._cross_entropy(*given)[0])

    def _scored(self, x: Tensor, condition: Condition, cost: scoring.Cost) -> Tensor:
        if self.recurrent:
            return scoring.carried(self.model, x, condition.label, cost)
        return scoring.windowed(self.model, x, condition.label, cost, self.context, self.stride)

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
        return self.surprise(batch.x, _one_label(batch.condition)).sum(1)

    # -- sampling -----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def sample(
        self, n: int, condition: Condition, rng: Rng, options: Autoregressive.Options, guide: Guide | None = None
    ) -> Tensor:
        if options.beams > 1:
            return self._beams(n, condition, options, guide)
        columns = [step.tokens for step in self.steps(n, condition, rng, options, guide)]
        return self._finished(torch.stack(columns, 1), condition, options)

    @torch.no_grad()
    def steps(
        self, n: int, condition: Condition, rng: Rng, options: Autoregressive.Options, guide: Guide | None = None
    ) -> Iterator[Step]:
        """As HasSteps says. The first step is the first token of every row after bos."""
        start, most = self._start(n, condition, options)
        uniform = rng.uniform_each("token", n, most)
        filters = decoding.Filters(
            options.temperature, options.top_k, options.top_p, options.min_p, options.repetition, self._forbidden(start)
        )
        eos = None if self.tokens.stream else self.tokens.eos
        mix = self._mix if self.counts is not None else None
        yield from decoding.generate(
            self.model, start, uniform, filters, eos=eos, pad=self.tokens.pad, guide=guide, mix=mix
        )

    def _mix(self, logp: Tensor, tokens: Tensor) -> Tensor:
        """[B, V] log-probabilities with those of the count model after tokens [B, t] mixed in."""
        assert self.counts is not None
        tokens = tokens.masked_fill(tokens >= self.tokens.vocab, self.tokens.pad)  # no context reaches across a mark
        counted = F.pad(self.counts.probabilities(tokens), (0, logp.shape[1] - self.tokens.vocab))
        return torch.log((1 - self.config.counts) * logp.exp() + self.config.counts * counted)

    def _forbidden(self, start: decoding.Start) -> Tensor:
        """Tokens that are never drawn: padding, bos, the marks of gaps; in a stream eos, with codes both."""
        spec = self.tokens
        ids = [spec.pad] + ([spec.eos] if spec.stream else [spec.bos])
        ids += [] if self.tokenizer is None else [spec.bos]
        return torch.tensor(ids + ([self.hole, self.fill] if self.config.infill else []), device=start.tokens.device)

    def _start(self, n: int, condition: Condition, options: Autoregressive.Options) -> tuple[decoding.Start, int]:
        """How n rows begin, and the most tokens to come after the first column."""
        device = self.model.weight.device
        first = torch.full((n, 1), self.tokens.bos, device=device)
        label = condition.label
        if label is None and self.classes:
            label = torch.full((n,), self.classes, device=device)
        if condition.known is None or condition.mask is None:
            if options.max_tokens is not None and self.tokenizer is not None:
                raise InputError("max_tokens is for sequences; leave it out: a grid always has all its codes")
            most = options.max_tokens or self.tokens.length - 1
            return decoding.Start(first, torch.ones_like(first, dtype=torch.bool), label), most
        known, mask = condition.known, condition.mask
        if not self.tokens.stream and bool((known[:, 0] == self.tokens.bos).all()):
            known, mask = known[:, 1:], mask[:, 1:]
        marks = 0
        if not infilling.is_prefix(mask):
            if not self.config.infill:
                raise InputError(
                    "the model was trained without infilling: only a prompt can be given; see family.infill"
                )
            known, mask = infilling.with_gap(known, mask, self.hole, self.fill, self.tokens.pad)
            marks = 2
        given = torch.cat([torch.ones_like(first, dtype=torch.bool), mask], 1)
        longest = int(mask.sum(1).max())
        room = options.max_tokens or max(1, known.shape[1] - longest, self.tokens.length - 1 + marks - longest)
        return decoding.Start(torch.cat([first, known], 1), given, label), longest + room

    def _finished(self, tokens: Tensor, condition: Condition, options: Autoregressive.Options) -> Tensor:
        """Generated columns [B, T] as the spec says: with bos in front of documents, gaps filled where they were, codes
        decoded."""
        if self.tokenizer is not None:
            return self.tokenizer.grids(tokens - FIRST, condition.label if self.classes else None)
        if condition.mask is not None and not infilling.is_prefix(condition.mask):
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
        found, _ = decoding.beam_search(
            self.model, start, beams=options.beams, most=most - start.tokens.shape[1] + 1, eos=self.tokens.eos,
            pad=self.tokens.pad, penalty=options.length_penalty, forbidden=self._forbidden(start),
            guide=guide, mix=self._mix if self.counts is not None else None,
        )  # fmt: skip
        return self._finished(found[:, 1:], condition, options)


def build(
    config: Autoregressive.Config, tokens: Tokens, classes: int, tokenizer: Tokenizer | None = None
) -> SequenceModel:
    """The network of a config. Raises InputError for settings that do not go together."""
    ngrams = config.ngrams or (4 if tokenizer is None else 1)
    inputs = Inputs(
        tokens.vocab + (2 if config.infill else 0), config.width, ngrams=ngrams, rows=config.ngram_rows,
        classes=classes, boundary=None if tokens.stream else tokens.bos,
        neighbours=tokenizer.neighbours() if tokenizer else (), positions=tokenizer.length if tokenizer else 0,
        parts=tokenizer.parts() if tokenizer else None,
    )  # fmt: skip
    context = tokens.length if tokenizer else config.context
    if config.cell == "transformer":
        if config.width % (2 * config.heads):
            raise InputError(
                f"family.width={config.width} must be a multiple of twice family.heads={config.heads}, as rotary "
                "positions turn pairs of values"
            )
        body: Transformer | Recurrent = Transformer(config.width, config.depth or 4, config.heads, context)
    else:
        if config.tied:
            raise InputError(
                "family.tied is for transformers: the output of an lstm or gru is wider than its embedding"
            )
        body = Recurrent(config.cell, config.width, config.hidden, config.depth or 1)
    return SequenceModel(inputs, body, softcap=config.softcap, tied=config.tied)


def longest_ngram(epochs: float, clock: Clock, most: float) -> int:
    """The longest n-gram to use in a training that will see the data about epochs / fraction times; before the first
    steps have shown the pace, 2."""
    if not most:
        return 99
    if clock.step < PACE or not clock.fraction:
        return 2
    return 2 + int(most * clock.fraction / max(epochs, 1e-9))


def read_along(data: Iterable[Batch], pad: int, most: int) -> Tensor:
    """[N] tokens of examples laid end to end, hardly more than `most`."""
    texts, total = [], 0
    for batch in data:
        texts.append(batch.x[batch.x != pad].cpu())
        total += len(texts[-1])
        if total >= most:
            break
    return torch.cat(texts)


def _one_label(condition: Condition) -> Condition:
    """The condition with one label a row, that of its first token."""
    label = condition.label
    return condition if label is None or label.ndim == 1 else Condition(label=label[:, 0])
