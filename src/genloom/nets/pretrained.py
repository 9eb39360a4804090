"""Causal models of the package transformers as models of the next token.

Ids: a model's own are moved by FIRST, so that pad, eos and bos are the same for every model; what it begins and ends
texts with takes the places of bos and eos. Its weights are read from safetensors alone, and no code that comes with
a model is run.

Shapes: `B` batch, `T` tokens, `V` vocabulary of the spec, `H` that of the model, `D` width, `R` documents in a batch.
"""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from genloom.core.batch import Condition
from genloom.core.errors import InputError
from genloom.core.spec import Tokens

FIRST = 3  # ids of the spec before the model's own
NEVER = -1e9  # logit of what does not occur: finite, as sums of logits are looked at
NOT_KEPT = ("_name_or_path", "auto_map", "transformers_version", "dtype", "torch_dtype", "quantization_config")


def transformers() -> Any:
    """The package. Raises InputError when it is not installed."""
    try:
        import transformers as package
    except ModuleNotFoundError:
        raise InputError("pretrained models need: pip install 'genloom[pretrained]'") from None
    return package


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the package's own notices: what a person should know is said by genloom."""
    logging = transformers().utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def architecture_of(config: Any) -> dict[str, Any]:
    """A model's configuration as JSON from which `build` makes the same network, without weights."""
    data: dict[str, Any] = json.loads(config.to_json_string(use_diff=False))
    return {k: v for k, v in data.items() if k not in NOT_KEPT}


def reads_sources(architecture: Mapping[str, Any]) -> bool:
    """Whether a model reads a source and writes a target, and does not go on with a text."""
    return bool(architecture.get("is_encoder_decoder"))


def build(architecture: Mapping[str, Any]) -> Any:
    """The network of an architecture with random weights. Raises InputError for one that transformers does not know or
    that writes no text."""
    package = transformers()
    values = {k: v for k, v in architecture.items() if k not in NOT_KEPT}
    kind = values.pop("model_type", None)
    try:
        with quiet():
            config = package.AutoConfig.for_model(kind, **values)
            pairs = getattr(config, "is_encoder_decoder", False)
            cls = package.AutoModelForSeq2SeqLM if pairs else package.AutoModelForCausalLM
            return cls.from_config(config, dtype=torch.float32, trust_remote_code=False)
    except (ValueError, TypeError, KeyError, AttributeError) as e:
        raise InputError(
            f"no model that writes text can be made of the architecture {kind!r}: {str(e).splitlines()[0]}"
        ) from None


@dataclass
class Cache:
    """Keys and values of the tokens so far, as transformers keeps them."""

    cache: Any
    label: Tensor | None = None  # [B]

    def branch(self, which: Tensor, sources: Tensor | None) -> Cache:
        """As State.branch; takes the place of this one."""
        self.cache.reorder_cache(which)
        self.label = None if self.label is None else self.label[which]
        return self


class Pretrained(nn.Module):
    """A network of transformers with the interface of nets.sequence.NextToken, and a learned vector for each class.

    begin, end: its own ids of what texts begin and end with.
    """

    inward: Tensor
    outward: Tensor
    penalty: Tensor

    def __init__(self, architecture: Mapping[str, Any], tokens: Tokens, begin: int, end: int, classes: int) -> None:
        super().__init__()
        self.net = build(architecture)
        self.vocab, self.begin_id, self.end_id = tokens.vocab, begin, end
        table = self.net.get_input_embeddings().weight
        if max(tokens.vocab - FIRST, begin + 1, end + 1) > len(table):
            raise InputError(
                f"the tokens do not fit the model: there are {max(tokens.vocab - FIRST, begin + 1, end + 1):,}, the "
                f"model knows {len(table):,}; take the tokenizer that belongs to it"
            )
        self.label = nn.Embedding(classes + 1, table.shape[1]) if classes else None
        if self.label is not None:
            nn.init.zeros_(self.label.weight)
        own = torch.arange(tokens.vocab).sub(FIRST).clamp(min=0)
        inward, penalty = own.clone(), torch.zeros(tokens.vocab)
        inward[tokens.pad], inward[tokens.eos] = end, end
        outward = inward.clone()
        never = [tokens.pad, tokens.eos if tokens.stream else 2]
        if not tokens.stream:
            inward[tokens.bos] = begin
        penalty[[i for i in {*never, begin + FIRST, end + FIRST} if i < tokens.vocab]] = NEVER
        for name, value in (("inward", inward), ("outward", outward), ("penalty", penalty)):
            self.register_buffer(name, value, persistent=False)
        # Weights that stand in two places are saved once.
        self.register_state_dict_post_hook(_drop_doubles)
        self.register_load_state_dict_pre_hook(_add_doubles)

    @property
    def limit(self) -> int | None:
        """Most tokens that it can look back on: the places that it has learned."""
        most = getattr(self.net.config, "max_position_embeddings", None)
        return int(most) if most else None

    def begin(self, rows: int, capacity: int, condition: Condition = Condition()) -> Cache:  # noqa: B008 (frozen)
        return Cache(transformers().DynamicCache(config=self.net.config), condition.label)

    def forward(
        self,
        x: Tensor,
        condition: Condition | None = None,
        documents: Tensor | None = None,
        state: Cache | None = None,
    ) -> Tensor:
        """x [B, T] int64 -> float32 logits [B, T, V] of what follows each token. condition: class of each row or each
        token; None: that with which the state began. documents [B, T] numbers the document of each token (None: one a
        row): each is read alone, from its first place on."""
        given = condition.label if condition is not None else state.label if state is not None else None
        return self._logits(x, given, documents, state)

    def _logits(self, x: Tensor, label: Tensor | None, documents: Tensor | None, state: Cache | None) -> Tensor:
        if documents is not None:
            return self._apart(x, label, documents)
        e = self.net.get_input_embeddings()(self.inward[x])
        if self.label is not None:
            given = self.label.weight[-1] if label is None else self.label(label)
            e = e + (given[:, None] if given.ndim == 2 else given)
        kept = {"past_key_values": state.cache} if state is not None else {}
        logits = self.net(inputs_embeds=e, use_cache=state is not None, **kept).logits.float()
        return logits.index_select(-1, self.outward) + self.penalty

    def _apart(self, x: Tensor, label: Tensor | None, documents: Tensor) -> Tensor:
        """Every document of every row as a row of its own, padded behind, where it changes nothing before it."""
        begins = torch.ones_like(x, dtype=torch.bool)
        begins[:, 1:] = documents[:, 1:] != documents[:, :-1]
        starts = begins.flatten().nonzero()[:, 0]
        lengths = starts.diff(append=starts.new_tensor([x.numel()])).tolist()
        rows = pad_sequence(list(x.flatten().split(lengths)), batch_first=True)  # [R, longest]
        if label is not None:
            label = (label if label.ndim == 2 else label[:, None].expand_as(x)).flatten()
            label = pad_sequence(list(label.split(lengths)), batch_first=True)
        inside = torch.arange(rows.shape[1], device=x.device) < x.new_tensor(lengths)[:, None]
        return self._logits(rows, label, None, None)[inside].view(*x.shape, -1)

    def last(self, x: Tensor, state: Cache) -> Tensor:
        """[B, V] logits of what follows x [B, T]."""
        logits: Tensor = self(x, None, None, state)[:, -1]
        return logits

    def stepper(self, tokens: Tensor, condition: Condition, capacity: int) -> Stepper:
        return Stepper(self, tokens, condition, capacity)

    def doubles(self) -> dict[str, str]:
        """Names of weights that stand in two places, to the name under which they are saved."""
        first: dict[int, str] = {}
        return {
            name: first[id(p)]
            for name, p in self.named_parameters(remove_duplicate=False)
            if first.setdefault(id(p), name) != name
        }


def _drop_doubles(model: nn.Module, state: dict[str, Any], prefix: str, _: Any) -> None:
    assert isinstance(model, Pretrained)
    for name in model.doubles():
        state.pop(prefix + name, None)


def _add_doubles(model: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    assert isinstance(model, Pretrained)
    for name, kept in model.doubles().items():
        if prefix + kept in state:
            state.setdefault(prefix + name, state[prefix + kept])


class Stepper:
    """As nets.sequence.Steps says."""

    def __init__(self, model: Pretrained, tokens: Tensor, condition: Condition, capacity: int) -> None:
        self.model, self.length = model, tokens.shape[1]
        self.state = model.begin(len(tokens), capacity, condition)
        self.logits = model.last(tokens, self.state)

    def step(self, tokens: Tensor) -> Tensor:
        self.length += 1
        with torch.inference_mode():
            return self.model.last(tokens[:, None], self.state)
