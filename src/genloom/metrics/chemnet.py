"""The Frechet ChemNet distance (Preuer et al. 2018), by the package fcd, which brings the weights of ChemNet.

It is not among genloom's extras, as its licence is the LGPL: who has installed it gets the figure.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from genloom.metrics.frechet import Gaussian, frechet_distance

PACKAGE = "fcd"


def there() -> bool:
    """Whether the package is installed."""
    return importlib.util.find_spec(PACKAGE) is not None


def chemnet_distance(a: Sequence[str], b: Sequence[str]) -> float:
    """Between canonical SMILES; NaN for fewer than 2 on a side. Its value depends on their number."""
    if min(len(a), len(b)) < 2:
        return float("nan")
    return frechet_distance(Gaussian.fit(_features(a)), Gaussian.fit(_features(b)))


def _features(smiles: Sequence[str]) -> NDArray[np.floating]:
    """[N, 512] of the last hidden layer."""
    fcd = importlib.import_module(PACKAGE)
    found: NDArray[np.floating] = fcd.get_predictions(fcd.load_ref_model(), list(smiles), n_jobs=0, device="cpu")
    return found
