"""What augmentation makes of a few examples."""

from __future__ import annotations

import numpy as np
import torch

from genloom.core.errors import InputError
from genloom.core.modality import Shown
from genloom.core.rng import Rng
from genloom.data.prepare import Prepared

VERSIONS = 7  # of each example, beside itself
FEW = 3  # of a source


def augmented(prepared: Prepared, n: int, seed: int) -> Shown:
    """n training examples, one a row: as the model sees it, then VERSIONS as its augmentation changes it.

    Raises InputError where nothing changes.
    """
    if prepared.source is not None:
        return _sources(prepared, n, seed)
    rows = np.unique(np.linspace(0, len(prepared.train) - 1, n).round().astype(np.int64))
    modality = prepared.modality
    x = prepared.train.batch(rows).x
    repeated = x.repeat_interleave(VERSIONS, 0)
    changed = modality.augment(repeated, Rng(seed))
    if torch.equal(changed, repeated):
        raise InputError(_none(prepared))
    shown = torch.cat([x[:, None], changed.unflatten(0, (len(x), VERSIONS))], 1).flatten(0, 1)
    return modality.show([modality.decode(v) for v in shown], columns=VERSIONS + 1)


def _none(prepared: Prepared) -> str:
    settings = "modality.augment.swap=0.1" if prepared.modality.shows_text else "modality.flip=true, modality.rotate=10"
    kind = type(prepared.modality).__name__.lower()
    return (
        f"augmentation changes nothing in {prepared.name}: none is set. Set {settings} or others of "
        f"`genloom describe {kind}`"
    )


def _sources(prepared: Prepared, n: int, seed: int) -> str:
    """Of pairs the sources, each above a few versions of it, and what follows from them, which stays."""
    assert prepared.source is not None
    rows = np.unique(np.linspace(0, len(prepared.train) - 1, n).round().astype(np.int64))
    batch = prepared.train.batch(rows)
    sources = batch.condition.source
    assert sources is not None
    changed = prepared.source.augment(sources.repeat_interleave(FEW, 0), Rng(seed))
    texts = [str(prepared.source.decode(s)) for s in changed]
    own = [str(prepared.source.decode(s)) for s in sources]
    if all(t == own[i // FEW] for i, t in enumerate(texts)):
        raise InputError(_none(prepared))
    lines = []
    for i, source in enumerate(own):
        lines += [source, *(f"  ~ {t}" for t in texts[FEW * i : FEW * i + FEW])]
        lines += [f"  → {prepared.modality.decode(batch.x[i])}", ""]
    return "\n".join(lines)
