"""Figures on class indices: how samples divide among the classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def class_shares(labels: NDArray[np.integer], classes: int) -> NDArray[np.float64]:
    """[classes] share of each class among labels [N]. Raises ValueError when there are none or one is out of range."""
    if not len(labels) or labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"needs at least one label, all in 0 to {classes - 1}")
    return np.bincount(labels, minlength=classes) / len(labels)


def entropy(shares: NDArray[np.floating]) -> float:
    """Entropy of shares [K] that add up to 1, in nats: 0 for one class only, log K for equal shares."""
    present = shares[shares > 0]
    return float(-(present * np.log(present)).sum()) + 0.0
