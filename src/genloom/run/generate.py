"""From a family to samples, and from samples to something a person can look at."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genloom.core.batch import Condition
from genloom.core.config import RunConfig, Settings
from genloom.core.device import device_of
from genloom.core.errors import InputError
from genloom.core.family import Family, HasSteps
from genloom.core.files import Finish, as_is, write_atomic
from genloom.core.guide import Guide
from genloom.core.modality import Modality, Shown
from genloom.core.rng import Rng, derive
from genloom.core.run import RunFolder
from genloom.core.spec import Grid, Row, Spec, Tokens, check_batch, spec_to_json
from genloom.provenance import Mark, light

if TYPE_CHECKING:
    from genloom.data.prepare import Prepared

GRID_SAMPLES = 40
ROWS = 16_384  # of a table made at a time
TEXT_SAMPLES, TEXT_TOKENS = 6, 300  # drawn while a model of sequences trains
GOLDEN = 0.6180339887498949


def state_of(prepared: Prepared) -> dict[str, Any]:
    """What sampling needs to know of the data, as JSON: the modality, its spec and the conditions offered."""
    return {
        "modality": prepared.modality.state(),
        "spec": spec_to_json(prepared.modality.spec),
        "condition": asdict(prepared.condition),
        "source": None if prepared.source in (None, prepared.modality) else prepared.source.state(),
    }


def chunks(spec: Spec, n: int) -> Iterator[tuple[int, int]]:
    """(offset, count) of pieces whose size keeps memory modest and never depends on n."""
    size = max(1, min(250, 2**21 // spec.dimensions)) if isinstance(spec, Grid) else 64
    size = ROWS if isinstance(spec, Row) else size
    return ((i, min(size, n - i)) for i in range(0, n, size))


def spread(seed: int, name: str, n: int) -> NDArray[np.float64]:
    """[n] numbers in [0, 1), without the noise of independent draws (a golden-ratio sequence)."""
    return np.asarray((derive(seed, name) / 2**63 + GOLDEN * np.arange(n)) % 1)


def spread_labels(family: Family, n: int, seed: int) -> Tensor | None:
    """[n] class indices in the data's proportions; None for a family that was trained without classes."""
    condition = family.condition
    if "label" not in family.honours():
        return None
    places = spread(seed, "labels", n)
    edges = np.cumsum(condition.counts) / sum(condition.counts)
    return torch.from_numpy(np.minimum(np.searchsorted(edges, places, side="right"), len(edges) - 1))


@torch.no_grad()
def generate(
    family: Family,
    n: int,
    labels: Tensor | None,
    seed: int,
    options: Settings,
    given: Condition | None = None,
    guide: Guide | None = None,
    first: int = 0,
) -> Tensor:
    """n samples as the spec says, on the CPU; row i depends only on the seed, i, its conditions and the options.
    first: what i begins with.

    given: the other conditions, each with n rows, or with one that holds for every sample. guide: steers families that
    generate token by token.
    """
    device = device_of(family)
    out = []
    for offset, count in chunks(family.spec, n):
        label = None if labels is None else labels[offset : offset + count].to(device)
        rows = slice(offset, offset + count)
        condition = (given or Condition()).map(
            lambda t: (t.expand(count, *t.shape[1:]) if len(t) == 1 else t[rows]).to(device)  # noqa: B023
        )
        condition = replace(condition, label=label)
        condition.check(family.honours(), type(family).__name__)
        rng = Rng(derive(seed, "sample"), offset=first + offset, device=device)
        if isinstance(family, HasSteps):
            x = family.sample(count, condition, rng, options, guide)
        else:
            x = family.sample(count, condition, rng, options)
        check_batch(family.spec, x)
        out.append(x.cpu())
    return _stacked(out, family.spec)


def _stacked(parts: list[Tensor], spec: Spec) -> Tensor:
    """Pieces of samples as one tensor; sequences padded to the longest."""
    if isinstance(spec, Tokens):
        longest = max(p.shape[1] for p in parts)
        parts = [torch.nn.functional.pad(p, (0, longest - p.shape[1]), value=spec.pad) for p in parts]
    return torch.cat(parts)


def draw_grid(
    family: Family,
    modality: Modality[Any],
    path: Path,
    n: int | None = None,
    finish: Finish = as_is,
    prepared: Prepared | None = None,
) -> tuple[Shown, Path]:
    """About n samples with fixed seeds as one picture, each class a column, or as text; written to `path`, which gets
    the ending of what it is. prepared: the data, from whose held-out examples properties and sources are taken."""
    options, columns = family.Options(), None
    if isinstance(family.spec, Tokens):
        n = n or TEXT_SAMPLES
        if modality.shows_text and "max_tokens" in type(options).model_fields:
            options = options.model_copy(update={"max_tokens": min(TEXT_TOKENS, family.spec.length - 1)})
        labels = spread_labels(family, n, 0)
    else:
        n = n or GRID_SAMPLES
        classes = len(family.condition.classes) if "label" in family.honours() else 0
        columns = classes if 1 < classes <= 16 else None
        n = max(1, n // columns) * columns if columns else n
        labels = torch.arange(n) % columns if columns else spread_labels(family, n, 0)
    given = conditions_of(prepared, n) if prepared is not None else None
    given = None if given is None else given.only(family.honours() - {"label"})
    examples = modality.decode_all(generate(family, n, labels, 0, options, given))
    if given is not None and given.source is not None and modality.shows_text and prepared and prepared.source:
        examples = [f"{prepared.source.decode(s)}\n→ {e}" for s, e in zip(given.source, examples, strict=True)]
    shown = modality.show(examples, columns)
    return shown, save_shown(shown, path, finish)


def conditions_of(prepared: Prepared, n: int) -> Condition | None:
    """Properties and sources of n held-out examples (of training examples without any), each the next one."""
    split = prepared.validation if len(prepared.validation) else prepared.train
    if split.conditions is None or not len(split):
        return None
    return split.conditions.condition(np.arange(n) % len(split))


def save_shown(shown: Shown, path: Path, finish: Finish = as_is) -> Path:
    """Write a picture as PNG or a text as UTF-8, whole or not at all; `path` gets the right ending. Returns it.

    finish: what the bytes pass through before they are written, such as a mark.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(shown, str):
        path = path.with_suffix(".txt")
        write_atomic(path, finish(path, shown.encode("utf-8", "surrogatepass")))
        return path
    data = io.BytesIO()
    shown.save(data, "PNG")
    path = path.with_suffix(".png")
    write_atomic(path, finish(path, data.getvalue()))
    return path


def file_part(label: str) -> str:
    """A label as part of a file name."""
    return "".join("_" if c in '/\\:*?"<>|' or not c.isprintable() else c for c in label)[:60]


def not_empty(texts: Sequence[Any], n: int, name: str) -> list[Any]:
    """The first n that say something. name: the run's. Raises InputError when there are fewer."""
    found = [t for t in texts if str(t).strip()][:n]
    if len(found) < n:
        raise InputError(f"{name} writes hardly anything but empty texts; train it longer")
    return found


def finish_of(folder: RunFolder, config: RunConfig, step: int, weights: str = "") -> Finish:
    """The light mark of what training draws. weights: their digest, once they are written."""
    if not config.train.marks:
        return as_is
    return light(Mark(folder.path.resolve().name, "train", weights, seed=0, step=step))
