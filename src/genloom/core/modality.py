"""The contract of a modality: what the data is, and how it becomes tensors and comes back.

A modality is one file in `genloom.modalities`; its file name is its name. It never imports a family.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Protocol, Self, TypeVar, Union, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from genloom.core.config import Settings
from genloom.core.files import Finish, as_is
from genloom.core.finding import Fact, Finding, Inspector
from genloom.core.guide import Guide
from genloom.core.rng import Rng
from genloom.core.spec import KINDS, Grid, Spec

if TYPE_CHECKING:
    from PIL.Image import Image

Shown = Union["Image", str]  # a picture, or text to be read as it is


@dataclass(frozen=True)
class Fingerprint:
    """exact: digest of what the example shows (not of its file). near: 64 perceptual bits, or None where there is no
    such notion.

    thumbnail: the example at a fixed small size as unsigned bytes; examples with close prints are near duplicates only
    when their thumbnails agree too.
    """

    exact: bytes
    near: int | None = None
    thumbnail: bytes | None = None


Example = TypeVar("Example")


class Modality(ABC, Generic[Example]):
    """One kind of data. Concrete modalities are final; made by `fit` or `from_state`.

    forms: the spec classes that it can make, the default first; with several its Config has the setting `form`
    (`form_of`). shows_text: what `show` returns is text. prompt_is_file: `prompt` takes the path of a file. writing:
    settings that only say which files `write` makes, so that a finished run can be told others.
    """

    Config: ClassVar[type[Settings]]
    forms: ClassVar[tuple[type, ...]] = (Grid,)
    shows_text: ClassVar[bool] = False
    prompt_is_file: ClassVar[bool] = False
    writing: ClassVar[frozenset[str]] = frozenset()
    extensions: ClassVar[frozenset[str]]  # lower-case file endings with the dot that belong to this modality

    config: Settings
    spec: Spec

    @classmethod
    @abstractmethod
    def read(cls, raw: Any, config: Any) -> Example:
        """An example from a file's bytes, an array or an in-memory object. Raises Unreadable with the reason."""

    def parts(self, example: Example) -> list[Example]:
        """The examples that a file holds, when it is read as one: its lines, where a line is an example."""
        return [example]

    @classmethod
    @abstractmethod
    def fingerprint(cls, example: Example) -> Fingerprint:
        """For finding duplicates before the split."""

    @classmethod
    @abstractmethod
    def fit(cls, config: Any, train: Iterable[Example]) -> Self:
        """Choose the spec from examples of the training split. What was chosen and why is in `notices`."""

    notices: tuple[str, ...] = ()

    @abstractmethod
    def encode(self, example: Example) -> Tensor:
        """One example as the spec says, without the batch dimension."""

    @abstractmethod
    def decode(self, x: Tensor) -> Example:
        """Inverse of `encode` for one encoded example, within the spec's resolution."""

    def decode_all(self, x: Tensor, first: int = 0) -> Any:
        """The examples of a batch, in order; first: the number of the first among all that are made."""
        return [self.decode(e) for e in x]

    def augment(self, x: Tensor, rng: Rng) -> Tensor:
        """A batch as the spec says, randomly changed within what the data's meaning allows (off unless configured)."""
        return x

    @abstractmethod
    def write(
        self, examples: Sequence[Example], folder: Path, names: Sequence[str], finish: Finish = as_is
    ) -> list[Path]:
        """Write examples in the format that people of the field open; names are file stems. Each file's bytes pass
        through `finish`, which puts the mark of generated content in. Returns the file of each example, then those that
        hold several."""

    @abstractmethod
    def show(self, examples: Sequence[Example], columns: int | None = None) -> Shown:
        """What a person would rather look at: one picture of several examples, or their text."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """JSON from which `from_state` makes an equal modality."""

    @classmethod
    @abstractmethod
    def from_state(cls, state: dict[str, Any]) -> Self: ...


def form_of(cls: type[Modality[Any]], config: Any) -> type:
    """The spec class that the modality makes with this config: that of its setting `form` ("tokens", "grid"), else the
    first of its forms."""
    form = getattr(config, "form", None)
    return cls.forms[0] if form is None else KINDS[form]


@runtime_checkable
class Sequential(Protocol):
    """A modality whose spec is Tokens."""

    def prompt(self, text: str) -> list[int]:
        """Contents tokens that a sample shall begin with, without bos. Raises InputError naming what is unknown."""
        ...

    def units(self, example: Any) -> list[str]:
        """What n-gram figures count: words, characters of scripts without spaces, notes, atoms."""
        ...

    def sizes(self, example: Any) -> dict[str, int]:
        """How long an example is in each unit that a likelihood is told by, as in {"character": 3, "byte": 5}."""
        ...


@runtime_checkable
class FillsGaps(Protocol):
    """A modality of sequences that knows how long a gap between given parts is where nobody says."""

    def gap(self, before: int, after: int) -> int:
        """Tokens between so many tokens of contents before and after."""
        ...


@runtime_checkable
class Inspects(Protocol):
    """A modality that knows what to look for in data before a training (`genloom inspect`)."""

    @classmethod
    def inspector(cls, config: Any) -> Inspector:
        """A new one, for data that is read with these settings."""
        ...


@runtime_checkable
class InspectsTables(Protocol):
    """A modality whose source gives all of its rows at once, which are looked at at once."""

    @classmethod
    def looked(cls, config: Any, table: Any) -> tuple[list[Fact], list[Finding]]:
        """What is in the table that was read with these settings, and what to mend."""
        ...


@runtime_checkable
class Continues(Protocol):
    """A modality that can take up what a model was trained with, such as its vocabulary."""

    @classmethod
    def continued(cls, config: Any, train: Iterable[Any], state: Mapping[str, Any]) -> Any:
        """As Modality.fit, on the ground of another's `state`: what it knows keeps its form, what is new in `train` is
        added behind it. Of its own state it makes an equal one. Raises InputError when the settings contradict it."""
        ...


@runtime_checkable
class HasTraits(Protocol):
    """A modality whose people ask whether an example keeps a form: verse that is regular, a molecule that is valid."""

    def traits(self) -> Mapping[str, str]:
        """Names of the traits of this data and what each means in one sentence; none where they make no sense."""
        ...

    def shows_trait(self, name: str, example: Any) -> bool: ...


@dataclass(frozen=True)
class OwnFigure:
    """A figure that people of one kind of data ask for. title, meaning, unit: as they are printed. direction: which way
    is better; "reference" is as near to real data as possible.

    measure(examples, others): one number, or an array [len(examples)] of which the mean is the figure and has an
    interval; nan where it cannot be told. others: held-out examples, or with `against` "training" the training
    examples; never empty. Both are decoded when first asked for.
    """

    title: str
    meaning: str
    direction: Literal["lower", "higher", "reference"]
    unit: str
    measure: Callable[[Sequence[Any], Sequence[Any]], float | NDArray[np.float64]]
    against: Literal["held-out", "training"] = "held-out"


@runtime_checkable
class HasFigures(Protocol):
    """A modality whose people judge samples by figures of their own, beside those of the spec."""

    def figures(self) -> Mapping[str, OwnFigure]:
        """The figures by name; none where they make no sense."""
        ...


@dataclass(frozen=True)
class Score:
    """A number that examples can be optimised for. low, high: between which it lies whatever the example.

    measure(example): NaN where it cannot be told.
    """

    meaning: str
    low: float
    high: float
    measure: Callable[[Any], float]


@runtime_checkable
class HasScores(Protocol):
    """A modality whose examples can be optimised."""

    def scores(self) -> Mapping[str, Score]:
        """By name."""
        ...

    def identity(self, example: Any) -> str | None:
        """What tells it from other examples, in words that can be kept in a table; None for one that is not valid."""
        ...

    def similarity(self, text: str) -> Callable[[Any], float]:
        """How alike examples are to the one that `text` says, 0 to 1. Raises InputError."""
        ...


@runtime_checkable
class Recognises(Protocol):
    """A modality (the class) that knows its files by their contents where their ending is that of any text."""

    @classmethod
    def recognises(cls, name: str, head: bytes) -> bool:
        """Whether the file called `name` that begins with `head` (64 KB) is of this kind."""
        ...


@runtime_checkable
class HasProperties(Protocol):
    """A modality that measures numbers of its examples, which samples can then be asked for."""

    def property_names(self) -> tuple[str, ...]:
        """Those that its settings choose."""
        ...

    def properties(self, example: Any) -> Mapping[str, float]:
        """Each of `property_names`; NaN where it has none."""
        ...


@runtime_checkable
class TakesSource(Protocol):
    """A modality of sequences whose examples may follow from sources of the same kind: questions, titles, sentences of
    another language."""

    @classmethod
    def fit_pairs(
        cls, config: Any, train: Iterable[Any], sources: Iterable[Any], state: Mapping[str, Any] | None = None
    ) -> tuple[Any, Any]:
        """As Modality.fit, for examples and their sources: the modality of each. They are the same object where they
        share a vocabulary. state: of the model that is trained on, as in `Continues`."""
        ...

    def unseen(self, example: Any) -> list[str]:
        """Characters of a source that the training examples lacked; each once."""
        ...


@runtime_checkable
class Completes(Protocol):
    """A modality whose examples have parts, such as the voices of a piece, of which some can be given and the others
    filled in. Asked only for Tokens."""

    def given(self, example: Any, parts: str) -> tuple[Tensor, Tensor]:
        """The encoded example and bool like it, True where it belongs to the `parts` that are kept. Raises
        InputError."""
        ...


@runtime_checkable
class Repairs(Protocol):
    """A modality with traits that can change an example a little so that it shows a trait."""

    def repair(self, name: str, example: Any) -> Any:
        """An example that shows the trait, as like the given one as can be found."""
        ...


@runtime_checkable
class HasGrammar(Protocol):
    """A modality of sequences whose samples can be kept valid while they are generated. Asked only for Tokens."""

    def grammar(self) -> Guide | None:
        """None where its settings ask for none."""
        ...
