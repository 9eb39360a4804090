"""What every source gives: items with where each came from, its label and its given split; contents are read one at a
time.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, overload

from genloom.core.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

GivenSplit = Literal["train", "validation", "test"]

SPLIT_NAMES: dict[str, GivenSplit] = {
    "train": "train", "training": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip


@dataclass(frozen=True)
class Items:
    """N things that may become examples.

    origins: where each came from, for people. labels, given: one entry an item, or None where the source has none at
    all.
    read(i): file contents, an array or an object; raises Unreadable. order: the indices in the order that reads
    fastest. chosen: settings of the modality that were found in the data. stream: they are consecutive pieces of long
    texts, and `given` divides all of them. properties: [N] each, by name. source(i): what example i follows from, as
    `read` gives examples; quick right after read(i). encodings: how many files of text are in which. frame: all rows at
    once, of a table (data/frames.Reading). whole(i): what example i is a part of, as `read` gives examples: those with
    the same whole stay on one side of the split; None: examples are no parts.
    """

    origins: Sequence[str]
    read: Callable[[int], Any]
    labels: Sequence[str | None] | None = None
    given: Sequence[GivenSplit | None] | None = None
    order: NDArray[np.int64] | None = None
    notices: tuple[str, ...] = ()
    chosen: Mapping[str, Any] = field(default_factory=dict)
    stream: bool = False
    properties: Mapping[str, Sequence[float]] = field(default_factory=dict)
    source: Callable[[int], Any] | None = None
    encodings: Mapping[str, int] = field(default_factory=dict)
    frame: Any = None
    whole: Callable[[int], Any] | None = None

    def __len__(self) -> int:
        return len(self.origins)

    def label(self, i: int) -> str | None:
        return None if self.labels is None else self.labels[i]

    def split(self, i: int) -> GivenSplit | None:
        return None if self.given is None else self.given[i]


@dataclass(frozen=True)
class Source:
    """A data set that was found but not read yet.

    name: short, for the run folder. digest: changes when the contents change; cheap to know. load: lists the items.
    modality: its name where the source knows it.
    """

    name: str
    digest: str
    load: Callable[[], Items]
    modality: str | None = None
    notices: tuple[str, ...] = field(default=())


class Located(Sequence[str]):
    """[N] places such as "names.txt:12", made when asked for: the part and the number in it (none below 0).

    names: of the parts. part, number: int32 [N].
    """

    def __init__(self, names: Sequence[str], part: NDArray[np.int32], number: NDArray[np.int32]) -> None:
        self.names, self.part, self.number = names, part, number

    def __len__(self) -> int:
        return len(self.part)

    @overload
    def __getitem__(self, i: int) -> str: ...

    @overload
    def __getitem__(self, i: slice) -> list[str]: ...

    def __getitem__(self, i: int | slice) -> str | list[str]:
        if isinstance(i, slice):
            return [self[j] for j in range(*i.indices(len(self)))]
        name, number = self.names[self.part[i]], int(self.number[i])
        return name if number < 0 else f"{name}:{number}"


class Numbered(Sequence[str]):
    """The names `prefix[0]` to `prefix[n - 1]`, made when asked for."""

    def __init__(self, prefix: str, n: int) -> None:
        self.prefix, self.n = prefix, n

    def __len__(self) -> int:
        return self.n

    @overload
    def __getitem__(self, i: int) -> str: ...

    @overload
    def __getitem__(self, i: slice) -> list[str]: ...

    def __getitem__(self, i: int | slice) -> str | list[str]:
        if isinstance(i, slice):
            return [self[j] for j in range(*i.indices(self.n))]
        if not -self.n <= i < self.n:
            raise IndexError(i)
        return f"{self.prefix}[{i % self.n}]"


def join(parts: Sequence[tuple[Items, GivenSplit | None]]) -> Items:
    """One after the other, each part with the split it is; parts must all have labels or none."""
    labelled = {items.labels is not None for items, _ in parts}
    if len(labelled) > 1:
        raise InputError("some parts of the data have labels and others have none; give labels to all or to none")
    starts = [0]
    for items, _ in parts:
        starts.append(starts[-1] + len(items))

    def read(i: int) -> Any:
        part = next(p for p in range(len(parts)) if i < starts[p + 1])
        return parts[part][0].read(i - starts[part])

    return Items(
        origins=[o for items, _ in parts for o in items.origins],
        read=read,
        labels=[label for items, _ in parts for label in items.labels or ()] if True in labelled else None,
        given=[split for items, split in parts for _ in range(len(items))],
        notices=tuple(dict.fromkeys(n for items, _ in parts for n in items.notices)),
    )


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key in which "2" comes before "10"."""
    pieces = re.split(r"(\d+)", text)
    keys = [(0, int(p), p) if i % 2 else (1, 0, p.casefold()) for i, p in enumerate(pieces) if p]
    return (*keys, (2, 0, text))


def clean(text: str) -> str:
    """A label or name in Unicode's composed form without surrounding space, so that equal-looking ones are equal."""
    return unicodedata.normalize("NFC", printable(text)).strip()


def printable(text: str) -> str:
    """A file name as text that can be printed and stored, whatever bytes the file system holds."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace").replace("\n", "␊")


def listing(names: Sequence[str], most: int = 5) -> str:
    """The first few names for a sentence, and how many more."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def tops(names: Sequence[str]) -> list[GivenSplit] | None:
    """The split that each name is, as in train, valid, test; None unless all are one and some train."""
    found = [SPLIT_NAMES.get(name.lower()) for name in names]
    splits = [s for s in found if s is not None]
    return splits if len(splits) == len(found) > 1 and "train" in splits and len(set(splits)) > 1 else None


def count(n: int, noun: str) -> str:
    """ "1 file", "1,200 files"."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
