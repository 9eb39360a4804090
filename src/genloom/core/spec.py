"""The three tensor forms in which a modality meets a family.

`B` batch, `C` channels, `T` tokens. A modality says which spec its examples take; a family says which specs it accepts.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from genloom.core.errors import InputError


@dataclass(frozen=True)
class Grid:
    """Values on a regular grid: an image, a spectrogram, a video, a voxel shape.

    x is float32 [B, C, *size] in [-1, 1]; size has 1, 2 or 3 axes. `levels` is the number of equally spaced values that
    real data takes in [-1, 1] (256 for 8-bit images), or None for continuous data: likelihoods and the cache use it.
    """

    shape: tuple[int, ...]
    levels: int | None = 256

    def __post_init__(self) -> None:
        if not 2 <= len(self.shape) <= 4 or min(self.shape) < 1:
            raise ValueError(f"a Grid has 1 to 3 axes after its channels, all at least 1; got shape {self.shape}")

    @property
    def channels(self) -> int:
        return self.shape[0]

    @property
    def size(self) -> tuple[int, ...]:
        return self.shape[1:]

    @property
    def axes(self) -> int:
        return len(self.shape) - 1

    @property
    def dimensions(self) -> int:
        """Number of values in one example."""
        total = 1
        for n in self.shape:
            total *= n
        return total


@dataclass(frozen=True)
class Tokens:
    """Sequences of symbols. x is int64 [B, T] with values in [0, vocab).

    Documents: bos, the contents, eos, then pad; length counts the longest with bos and eos. Streams (consecutive pieces
    of one long text): contents only, windows start anywhere; `bos` is then the ordinary token that a sample starts
    from, `eos` never occurs, and length is how much a sample holds by default.
    """

    length: int
    vocab: int
    pad: int
    bos: int
    eos: int
    stream: bool = False


@dataclass(frozen=True)
class Span:
    """One entry of a Row.

    category: the number of a level, a whole number in [0, levels); never one-hot, for there may be 50,000. numeric: a
    number whose distribution is near the standard normal; where `gate` names a category before it, the number counts
    only in rows in which that is 0, and is 0 elsewhere.
    """

    name: str
    head: Literal["numeric", "category"]
    levels: int = 0
    gate: str | None = None


@dataclass(frozen=True)
class Row:
    """Table rows. x is float32 [B, S] for S spans. target: the span that people want to tell from the others, if any;
    it is the last."""

    spans: tuple[Span, ...]
    target: str | None = None

    @property
    def width(self) -> int:
        return len(self.spans)

    def gates(self) -> tuple[int, ...]:
        """[S] the place of each span's gate; -1 without."""
        places = {span.name: i for i, span in enumerate(self.spans)}
        return tuple(-1 if span.gate is None else places[span.gate] for span in self.spans)


Spec = Grid | Tokens | Row
KINDS: dict[str, type] = {"grid": Grid, "tokens": Tokens, "row": Row}


def spec_to_json(spec: Spec) -> dict[str, Any]:
    """A JSON object that `spec_from_json` turns back into an equal spec."""
    kind = next(name for name, cls in KINDS.items() if isinstance(spec, cls))
    return {"kind": kind, **asdict(spec)}


def spec_from_json(data: dict[str, Any]) -> Spec:
    fields = dict(data)
    kind = fields.pop("kind")
    if kind == "row":
        return Row(tuple(Span(**span) for span in fields["spans"]), fields["target"])
    if kind == "grid":
        fields["shape"] = tuple(fields["shape"])
    spec: Spec = KINDS[kind](**fields)
    return spec


def check_batch(spec: Spec, x: Tensor) -> None:
    """Raise InputError showing both sides when x does not have the form that the spec declares."""
    if isinstance(spec, Grid):
        wanted, ok = f"float32 [B, {', '.join(map(str, spec.shape))}]", tuple(x.shape[1:]) == spec.shape
        ok = ok and x.dtype == torch.float32
    elif isinstance(spec, Tokens):
        wanted, ok = f"int64 [B, T] with values below {spec.vocab}", x.ndim == 2 and x.dtype == torch.int64
        ok = ok and (x.numel() == 0 or (int(x.min()) >= 0 and int(x.max()) < spec.vocab))
    else:
        wanted, ok = f"float32 [B, {spec.width}] with levels that there are", x.ndim == 2 and x.shape[1] == spec.width
        ok = ok and x.dtype == torch.float32 and _levels_hold(spec, x)
    if not ok:
        raise InputError(f"the model takes {wanted}, but was given {x.dtype} {list(x.shape)}".replace("torch.", ""))


def _levels_hold(spec: Row, x: Tensor) -> bool:
    """Whether the categories of x [B, S] are whole numbers of levels that there are."""
    places = [i for i, span in enumerate(spec.spans) if span.head == "category"]
    if not places or not len(x):
        return True
    levels = torch.tensor([spec.spans[i].levels for i in places], dtype=x.dtype, device=x.device)
    codes = x[:, places]
    return bool(((codes >= 0) & (codes < levels) & (codes == codes.round())).all())
