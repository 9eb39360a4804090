"""What augmentation makes of a few examples."""

from __future__ import annotations

import numpy as np
import torch

from genloom.core.errors import InputError
from genloom.core.modality import Shown
from genloom.core.rng import Rng
from genloom.data.prepare import Prepared

VERSIONS = 7  # of each example, beside itself


def augmented(prepared: Prepared, n: int, seed: int) -> Shown:
    """n training examples, one a row: as the model sees it, then VERSIONS as its augmentation changes it.

    Raises InputError where nothing changes.
    """
    rows = np.unique(np.linspace(0, len(prepared.train) - 1, n).round().astype(np.int64))
    modality = prepared.modality
    x = prepared.train.batch(rows).x
    repeated = x.repeat_interleave(VERSIONS, 0)
    changed = modality.augment(repeated, Rng(seed))
    if torch.equal(changed, repeated):
        raise InputError(
            f"augmentation changes nothing in {prepared.name}: none is set. For images set "
            "modality.flip=true, modality.rotate=10 or others of `genloom describe image`"
        )
    shown = torch.cat([x[:, None], changed.unflatten(0, (len(x), VERSIONS))], 1).flatten(0, 1)
    return modality.show([modality.decode(v) for v in shown], columns=VERSIONS + 1)
