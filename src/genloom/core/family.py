"""The contract between the loop and a family: how it learns and generates.

A family is one file in `genloom.families`; its file name is its name. It never imports a modality: it sees a spec.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

from torch import Tensor, nn

from genloom.core.batch import Batch, Condition, ConditionSpec
from genloom.core.config import Settings, merge
from genloom.core.feed import Window
from genloom.core.guide import Guide, Step
from genloom.core.optim import OptimiserConfig
from genloom.core.rng import Rng
from genloom.core.spec import Spec


class Update(NamedTuple):
    """One optimiser step asked for by a family: whose parameters move, the scalar loss, figures to log."""

    player: str
    loss: Tensor
    logs: Mapping[str, Tensor] = {}


@dataclass(frozen=True)
class Clock:
    """Where the training stands: step counts optimiser rounds from 0, fraction is the share of the training done, [0,
    1), epochs how often the data has been seen."""

    step: int
    fraction: float
    epochs: float = 0.0


@dataclass(frozen=True)
class Stage:
    """A part of the training that lasts until the share `until` of the whole, with a learning-rate schedule of its own.

    batch overrides train.batch. players end with this stage: the loop then puts their averaged values into them. rates:
    learning rates of players in this stage as multiples of their peaks, 1 if not named.
    """

    name: str
    until: float = 1.0
    batch: int | None = None
    players: tuple[str, ...] = field(default=())
    rates: Mapping[str, float] = field(default_factory=dict)


class Family(nn.Module, ABC):
    """How a generator learns and samples. Concrete families are final; construct as `F(spec, config, condition)`.

    Config: settings. Options: settings of one call to `sample`. accepts: spec classes. conditions: what `sample`
    honours when the data offers it. train_defaults: TrainConfig values that suit the family (lowest priority after the
    defaults). form_defaults: settings, in sections as in RunConfig, that suit data of a form ("grid", "tokens", "row");
    private_defaults: that suit training with differential privacy.
    """

    Config: ClassVar[type[Settings]]
    Options: ClassVar[type[Settings]]
    accepts: ClassVar[tuple[type, ...]]
    conditions: ClassVar[frozenset[str]] = frozenset()
    train_defaults: ClassVar[Mapping[str, Any]] = {}
    form_defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    private_defaults: ClassVar[Mapping[str, Any]] = {}
    elsewhere: ClassVar[Mapping[str, str]] = {}  # by form, the model to take for data that this one does not
    reserve: ClassVar[float] = 0.005  # share of a time budget that `settle` needs at the end
    # Other ways to sample that an evaluation shows beside the usual one, by what they are called: options of `sample`.
    contrasts: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    spec: Spec
    condition: ConditionSpec

    @abstractmethod
    def players(self) -> dict[str, nn.Module]:
        """The parts that have an optimiser of their own, by name. Their parameters are disjoint. Without any the family
        takes no steps: `settle` fits it."""

    @abstractmethod
    def optimisers(self) -> dict[str, OptimiserConfig]:
        """An optimiser for each player."""

    @abstractmethod
    def updates(self, batch: Batch, clock: Clock, rng: Rng) -> Iterator[Update]:
        """One round of training. After each yield the loop takes that player's optimiser step before resuming here.

        The losses are means over the batch. Which players are yielded, and in what order, depends on the clock alone.
        All randomness comes from `rng`.
        """

    @abstractmethod
    def sample(self, n: int, condition: Condition, rng: Rng, options: Any) -> Tensor:
        """n samples as the spec says, on the family's device; options is an instance of Options. Row i depends on rng's
        seed and rng.offset + i alone (use `rng.normal_each`). `condition` has been checked against `honours()`."""

    @classmethod
    def tuned(cls, config: Settings, spec: Spec | None, lora: bool) -> Mapping[str, Any]:
        """Settings that suit going on with weights of this family, in sections as in RunConfig. config, spec: those
        that the weights were trained with. lora: train low-rank changes only."""
        return {}

    @classmethod
    def defaults(cls, form: str | None, private: bool) -> dict[str, Any]:
        """All settings that suit the family for data of a form, in sections as in RunConfig."""
        given = cls.private_defaults if private else {}
        return merge({"train": dict(cls.train_defaults)}, cls.form_defaults.get(form or "", {}), given)

    def unpromised(self) -> str:
        """Why differential privacy cannot be promised; "" where it can: its losses are means over examples, each of its
        own alone, and nothing else of the data enters its weights and buffers."""
        return "it does not learn from single rows alone"

    def window(self) -> Window | None:
        """How rows of a training batch are cut from Tokens laid end to end; None: a row is a whole example."""
        return None

    def balanced(self) -> tuple[int, ...]:
        """Entries of rows of a table by whose levels training rows are drawn (core/balance.py); none: every row once an
        epoch."""
        return ()

    def stages(self) -> tuple[Stage, ...]:
        """The parts of the training in order; the last ends at 1."""
        return (Stage("train"),)

    def enter(self, stage: Stage, data: Iterable[Batch]) -> None:
        """Called on the raw weights before the first step of a stage and again when a run resumes in it: measure the
        data, freeze what is finished. `data` is the training split in order, not augmented. Must be a pure function of
        the parameters and the data. Parameters of players that ended with the last stage hold their averaged values."""

    def settle(self, data: Iterable[Batch], rng: Rng) -> None:
        """Called on the averaged weights before sampling (before grids with little data, at the end with all): fit what
        sampling needs besides the parameters, such as a density on the codes or BatchNorm statistics; keep it in
        buffers."""

    def carried(self) -> dict[str, Tensor]:
        """Tensors that training hands from one round to the next, such as hidden states: kept in checkpoints, not in
        the weights."""
        return {}

    def carry_on(self, tensors: dict[str, Tensor]) -> None:
        """Take up what `carried` gave when a run resumes or goes back to a checkpoint."""

    def warnings(self) -> list[str]:
        """What the person should know now about the training, such as a collapse; each is given once. Asked at every
        record."""
        return []

    def honours(self) -> frozenset[str]:
        """Conditions that this instance honours: those of the class that the data offers; "known" needs no offer."""
        offered = {"known"} | ({"source"} if self.condition.source is not None else set())
        offered |= {"label"} if self.condition.classes else set()
        offered |= {"properties"} if self.condition.properties else set()
        return self.conditions & frozenset(offered)


@runtime_checkable
class HasLikelihood(Protocol):
    """A family that can say how likely an example is. exact: False when `nll` is an upper bound."""

    exact: bool

    def nll(self, batch: Batch, rng: Rng) -> Tensor:
        """[B] negative log-likelihood in nats per example."""
        ...


@runtime_checkable
class HasPrice(Protocol):
    """A family of rows that says what it costs to be given parts of them."""

    def price(self, mask: Tensor, options: Any) -> float:
        """The work of a row of which the entries mask [1, S] are known, as a multiple of one of which nothing is."""
        ...


@runtime_checkable
class HasSurprise(Protocol):
    """A family that says how likely each token of a sequence is.

    exact: False when it is an upper bound. context: tokens that a prediction can depend on, as it was trained. stride:
    how far the window moves over longer rows; 0 where the state is carried on.
    """

    exact: bool
    context: int
    stride: int

    def surprise(self, x: Tensor, condition: Condition) -> Tensor:
        """x [B, T] -> [B, T - 1] nats of x[:, 1:] each given all before it in the row; 0 at padding and after eos."""
        ...


@runtime_checkable
class HasPredictions(HasSurprise, Protocol):
    """A family that also says what it expected in a token's place."""

    def predictions(self, x: Tensor, condition: Condition) -> Tensor:
        """x [B, T] -> [B, T - 1, V] log-probabilities of every token in the places of x[:, 1:], each given all before
        it in the row: `surprise` is minus that of the token that is there."""
        ...


@runtime_checkable
class Learns(Protocol):
    """A family that can learn what another expects, beside the data."""

    def learn_from(self, teacher: HasPredictions) -> None:
        """Raises InputError where the two do not fit together. What is said of a teacher is not part of the state."""
        ...


@runtime_checkable
class HasSteps(Protocol):
    """A family that generates token by token."""

    def sample(self, n: int, condition: Condition, rng: Rng, options: Any, guide: Guide | None = None) -> Tensor:
        """As Family.sample, steered by a guide."""
        ...

    def steps(self, n: int, condition: Condition, rng: Rng, options: Any, guide: Guide | None = None) -> Iterator[Step]:
        """The n samples of `sample`, a token of each at a time, the first one after bos (or after the first token)
        first. Closing the iterator stops the work."""
        ...


@runtime_checkable
class HasPolicy(HasSteps, Protocol):
    """A family that generates token by token and can be taught by rewards."""

    def nats(self, x: Tensor, condition: Condition = ...) -> Tensor:
        """As HasSurprise.surprise, of what is trained alone, and with gradients."""
        ...


@runtime_checkable
class HasLatent(Protocol):
    """A family with a latent space."""

    def encode(self, x: Tensor) -> Tensor:
        """[B, D] codes of examples, deterministic."""
        ...

    def decode(self, z: Tensor, condition: Condition = ...) -> Tensor:
        """Examples as the spec says of codes [B, D]."""
        ...


@runtime_checkable
class HasActivity(HasLatent, Protocol):
    """A family with a latent space that knows how much each latent carries."""

    def activity(self, x: Tensor) -> Tensor:
        """[A] nats that each of the first A latents carries of examples x [B, ...], on average."""
        ...


@runtime_checkable
class HasNoise(Protocol):
    """A family that makes samples of standard normal noise and cannot encode examples."""

    def noise(self, n: int, rng: Rng) -> Tensor:
        """[n, D] what n samples are made of."""
        ...

    def decode(self, z: Tensor, condition: Condition = ...) -> Tensor:
        """Examples as the spec says of noise [B, D]."""
        ...
