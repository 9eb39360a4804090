"""A pretrained language model, trained on: fine-tuning of all weights, or of low-rank changes of them.

p(x) = prod_t p(x_t | x_<t) with any causal model of the package transformers (Radford et al. 2019 and later), or
prod_t p(x_t | x_<t, source) with one that reads a source (T5, Raffel et al. 2020; BART, Lewis et al. 2020), by
cross-entropy on the new text; LoRA (Hu et al. 2021) leaves the weights as they are and learns small changes. The model
comes with its tokenizer: `genloom train DATA --from FOLDER`.

Shapes: `B` batch, `T` tokens, `V` vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genloom.core.batch import Batch, Condition, ConditionSpec
from genloom.core.config import Settings, setting
from genloom.core.errors import InputError
from genloom.core.family import Clock, Family, Update
from genloom.core.feed import Window
from genloom.core.guide import Guide, Step
from genloom.core.optim import OptimiserConfig
from genloom.core.rng import Rng
from genloom.core.spec import Spec, Tokens
from genloom.nets import decoding, lora, rows, scoring
from genloom.nets.beams import beam_search
from genloom.nets.infilling import is_prefix
from genloom.nets.lora import RANK, LoraConfig
from genloom.nets.pretrained import Pretrained as Network
from genloom.nets.pretrained import reads_sources
from genloom.nets.pretrained_pairs import PretrainedPairs

CONTEXT = 512  # tokens of a training window, where the model can look back so far


@final
class Pretrained(Family):
    """A model of transformers over the tokens of its own tokenizer."""

    class Config(Settings):
        """Settings of a pretrained model; the first three come with it."""

        architecture: dict[str, Any] | None = setting(None, "The model's own configuration; comes with --from.")
        begin: int = setting(0, "The model's own id of what texts begin with; comes with --from.", ge=0)
        end: int = setting(0, "The model's own id of what texts end with; comes with --from.", ge=0)
        context: int | None = setting(
            None, "Tokens of a training window; up to 512, as far as the model can look back, if none.",
            unit="tokens", ge=2,
        )  # fmt: skip
        drop_label: float = setting(0.1, "Share of rows trained without their class.", unit="share", ge=0, le=1)
        lora: LoraConfig = LoraConfig()
        optimiser: OptimiserConfig = OptimiserConfig(lr=5e-5, beta2=0.99, weight_decay=0.01)

    class Options(decoding.Options):
        """Settings of one call to sample."""

    accepts = (Tokens,)
    conditions = frozenset({"label", "source", "known"})
    train_defaults = {  # noqa: RUF012
        "batch": 8, "ema": 0.0, "decay": 0.9, "warmup": 20, "clip": 1.0, "validate_times": 20, "patience": 4,
    }  # fmt: skip
    exact = True

    def __init__(self, spec: Tokens, config: Pretrained.Config, condition: ConditionSpec) -> None:
        super().__init__()
        self.spec, self.config, self.condition, self.tokens = spec, config, condition, spec
        if config.architecture is None:
            raise InputError("the model pretrained begins with a model: --from FOLDER, or its name on the hub")
        self.classes = len(condition.classes)
        self.pairs = reads_sources(config.architecture)
        kind = config.architecture.get("model_type")
        if self.pairs and condition.source is None:
            raise InputError(f"{kind} reads a source and writes a target: train it on pairs (--task translate, ...)")
        if not self.pairs and condition.source is not None:
            raise InputError(f"{kind} goes on with a text and reads no source; for pairs take one that does, as T5")
        if self.pairs and self.classes:
            raise InputError(f"{kind} has no place for classes; set data.label=none")
        made = PretrainedPairs if self.pairs else Network
        self.model: Network = made(config.architecture, spec, config.begin, config.end, self.classes)
        if config.lora.rank:
            lora.attach(self.model.net, config.lora, [self.model.net.get_output_embeddings()])
        limit = self.model.limit
        self.context = config.context or min(CONTEXT, limit or CONTEXT)
        if limit is not None and self.context > limit:
            raise InputError(f"family.context={self.context} is more than the {limit} tokens that the model looks back")
        if self.pairs and limit is not None and condition.source is not None and condition.source.length > limit:
            raise InputError(
                f"the sources have up to {condition.source.length} tokens and the model reads {limit}; set "
                f"data.source_length={limit}"
            )
        self.stride = max(1, self.context // 2)

    @classmethod
    def tuned(cls, config: Settings, spec: Spec | None, lora: bool) -> Mapping[str, Any]:
        return {"family": {"lora": {"rank": RANK if lora else 0}, "optimiser": {"lr": 5e-4 if lora else 5e-5}}}

    def players(self) -> dict[str, nn.Module]:
        return {"model": self.model}

    def optimisers(self) -> dict[str, OptimiserConfig]:
        return {"model": self.config.optimiser}

    def window(self) -> Window | None:
        return None if self.pairs else Window(self.context)

    # -- training -----------------------------------------------------------------------------------------------------

    def updates(self, batch: Batch, clock: Clock, rng: Rng) -> Iterator[Update]:
        """Cross-entropy of the next token in nats, summed over real tokens and divided by all places of the window, so
        that micro-batches add up to the full batch's loss."""
        x = rows.stretches(batch.x, self.context, self.tokens.pad, rng) if self.pairs else batch.x
        inputs, targets = x[:, :-1], x[:, 1:]
        condition = Condition(label=self._labels(batch, rng), source=batch.condition.source if self.pairs else None)
        logits = self.model(inputs, condition, self._documents(inputs))
        nats, counted = self._cross_entropy(logits, inputs, targets)
        mean = nats.detach().sum() / counted.sum().clamp(min=1)
        yield Update("model", nats.sum() / targets.numel(), {"nats": mean})

    def _cross_entropy(self, logits: Tensor, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """[B, T] nats, and bool [B, T] where a token is predicted: not at padding, not after eos."""
        counted = targets != self.tokens.pad
        if not self.tokens.stream:
            counted = counted & (inputs != self.tokens.eos) & (inputs != self.tokens.pad)
        wanted = torch.where(counted, targets, -100)
        nats = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none").view_as(targets)
        return nats, counted

    def _labels(self, batch: Batch, rng: Rng) -> Tensor | None:
        """[B, T] classes of the inputs, some replaced by "no class"."""
        label = batch.condition.label
        if label is None or not self.classes:
            return None
        label = label[:, :-1] if label.ndim == 2 else label[:, None].expand(-1, batch.x.shape[1] - 1)
        keep = rng.uniform("drop label", len(label)) >= self.config.drop_label
        return torch.where(keep[:, None], label, self.classes)

    def _documents(self, x: Tensor) -> Tensor | None:
        """[B, T] number of each token's document in its row; None where no document begins within a row."""
        begins = x == self.tokens.bos
        return None if self.tokens.stream or not bool(begins[:, 1:].any()) else begins.cumsum(1)

    # -- likelihood ---------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def surprise(self, x: Tensor, condition: Condition = Condition()) -> Tensor:  # noqa: B008 (frozen)
        """[B, T - 1] nats of x[:, 1:], each given all before it; 0 at padding and after eos."""

        def cost(logits: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
            return self._cross_entropy(logits, inputs, targets)[0]

        def predict(tokens: Tensor, given: Condition) -> Tensor:
            logits: Tensor = self.model(tokens, given, self._documents(tokens))
            return logits

        return scoring.windowed(predict, x, condition, cost, self.context, self.stride)

    def nll(self, batch: Batch, rng: Rng) -> Tensor:
        """[B] nats of each row after its first token. Exact."""
        return self.surprise(batch.x, batch.condition).sum(1)

    # -- sampling -----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def sample(
        self, n: int, condition: Condition, rng: Rng, options: Pretrained.Options, guide: Guide | None = None
    ) -> Tensor:
        if options.beams > 1:
            tokens = self._beams(n, condition, options, guide)
        else:
            tokens = torch.stack([step.tokens for step in self.steps(n, condition, rng, options, guide)], 1)
        return self.finished(tokens, condition, options)

    @torch.no_grad()
    def steps(
        self, n: int, condition: Condition, rng: Rng, options: Pretrained.Options, guide: Guide | None = None
    ) -> Iterator[Step]:
        """As HasSteps says. The first step is the first token of every row after bos."""
        yield from decoding.generate(self.started(n, condition, rng, options, guide))

    def gradual(self, condition: Condition, options: Pretrained.Options) -> bool:
        """As HasDecoding says."""
        return options.beams == 1

    def started(
        self, n: int, condition: Condition, rng: Rng, options: Pretrained.Options, guide: Guide | None = None
    ) -> decoding.Decoding:
        """As HasDecoding says."""
        start, most = self._start(n, condition, options)
        return decoding.Decoding(
            self.model, start, rng.uniform_each("token", n, most), options.filters(self._forbidden(start)),
            eos=None if self.tokens.stream else self.tokens.eos, pad=self.tokens.pad, guide=guide,
        )  # fmt: skip

    def finished(self, tokens: Tensor, condition: Condition, options: Pretrained.Options) -> Tensor:
        """As HasDecoding says."""
        return tokens if self.tokens.stream else F.pad(tokens, (1, 0), value=self.tokens.bos)

    def _forbidden(self, start: decoding.Start) -> Tensor:
        """Padding, and bos of documents or eos of streams, are never drawn."""
        spec = self.tokens
        return torch.tensor([spec.pad, spec.eos if spec.stream else spec.bos], device=start.tokens.device)

    def _start(self, n: int, condition: Condition, options: Pretrained.Options) -> tuple[decoding.Start, int]:
        """How n rows begin, and the most tokens to come after the first column."""
        if condition.mask is not None and not is_prefix(condition.mask):
            raise InputError("a pretrained model goes on with what is given: only a prompt can be given, no ending")
        return decoding.begin(n, self.tokens, condition, options.max_tokens, self.model.inward.device)

    def _beams(self, n: int, condition: Condition, options: Pretrained.Options, guide: Guide | None) -> Tensor:
        start, most = self._start(n, condition, options)
        if self.tokens.stream:
            raise InputError(
                "a stream of text has no end for beam search to find; sample it with temperature 0 instead"
            )
        found, _ = beam_search(
            self.model, start, beams=options.beams, most=most - start.tokens.shape[1] + 1, eos=self.tokens.eos,
            pad=self.tokens.pad, penalty=options.length_penalty, enough=options.enough,
            forbidden=self._forbidden(start), guide=guide,
        )  # fmt: skip
        return found[:, 1:]
