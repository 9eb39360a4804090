"""Data held in memory with the interface of `genloom.data.prepare.Prepared`, and features learnt from it once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from genloom.core.batch import Batch, Condition, ConditionSpec
from genloom.core.spec import Grid, Spec
from genloom.evaluate import networks
from genloom.evaluate.features import EncoderFeatures, learn


class Memory:
    """Examples x [N, ...] with labels [N] or None."""

    def __init__(self, x: Tensor, labels: np.ndarray | None = None) -> None:
        self.x, self.labels = x, labels

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, indices: np.ndarray) -> Batch:
        rows = torch.from_numpy(np.asarray(indices, dtype=np.int64))
        label = None if self.labels is None else torch.from_numpy(self.labels)[rows]
        return Batch(self.x[rows], Condition(label=label), rows)

    def batches(self, size: int, limit: int | None = None):  # type: ignore[no-untyped-def]
        n = len(self) if limit is None else min(limit, len(self))
        return (self.batch(np.arange(i, min(i + size, n))) for i in range(0, n, size))


@dataclass(frozen=True)
class Held:
    """Prepared data in memory."""

    name: str
    digest: str
    modality: SimpleNamespace
    condition: ConditionSpec
    train: Memory
    validation: Memory
    test: Memory


def divided(x: Tensor, labels: np.ndarray | None, sizes: tuple[int, int], spec: Spec, name: str = "数字") -> Held:
    """x [N, ...] divided into training, validation and test examples; sizes are those of the first two."""
    places = np.split(np.random.default_rng(0).permutation(len(x)), np.cumsum(sizes))
    parts = [Memory(x[torch.from_numpy(p)], None if labels is None else labels[p]) for p in places]
    classes = () if labels is None else tuple(map(str, range(int(labels.max()) + 1)))
    counts = () if labels is None else tuple(np.bincount(parts[0].labels, minlength=len(classes)).tolist())  # type: ignore[arg-type]
    return Held(name, f"digest-{name}-{sizes}", SimpleNamespace(spec=spec), ConditionSpec(classes, counts), *parts)


@pytest.fixture(scope="session")
def digits() -> Held:
    """scikit-learn's digits: 1,000 training, 150 validation and 647 test images of 8x8."""
    data = load_digits()
    x = torch.from_numpy(data.images).float()[:, None] / 8 - 1
    return divided(x, data.target.astype(np.int64), (1000, 150), Grid((1, 8, 8), 17))


@pytest.fixture(scope="session")
def unlabelled(digits: Held) -> Held:
    parts = {name: Memory(getattr(digits, name).x) for name in ("train", "validation", "test")}
    return replace(digits, condition=ConditionSpec(), digest="digest-unlabelled", **parts)


@pytest.fixture(scope="session")
def classifier(digits: Held) -> EncoderFeatures:
    return quick(digits, "classifier")


@pytest.fixture(scope="session")
def encoder(unlabelled: Held) -> EncoderFeatures:
    return quick(unlabelled, "encoder")


def quick(data: Held, kind: str) -> EncoderFeatures:
    """Features learnt in a quarter of the usual steps: enough for 8x8 images, and the tests stay short."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "LEAST_STEPS", 80)
        patch.setattr(networks, "MOST_EPOCHS", 1)
        assert isinstance(data.modality.spec, Grid)
        return learn(data, data.modality.spec, kind, 0)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def held() -> Callable[..., Held]:
    """`held(x, labels, (train, validation), spec, name)`: prepared data of one's own."""
    return divided


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "features"
