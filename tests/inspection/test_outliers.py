"""Outliers are those planted, and no others of data without any."""

import random

import numpy as np
import torch

from genloom.core.config import DataConfig
from genloom.data.prepare import prepare
from genloom.inspection.outliers import coarse, unusual
from texts import ready

WORDS = ["river", "stone", "winter", "garden", "letter", "window", "mountain", "silver", "candle", "harbour", "forest"]


def blobs(n: int, seed: int = 0) -> np.ndarray:
    """A soft spot that wanders a little, with noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:16, :16]
    cx, cy = rng.uniform(6, 10, (2, n, 1, 1))
    spots = 200 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 12) + rng.normal(20, 4, (n, 16, 16))
    return spots.clip(0, 255).astype(np.uint8)


def test_pictures_unlike_the_others_are_shown_first() -> None:
    x = blobs(400)
    x[::40] = 255 - x[::40]
    found = unusual(prepare(x, None, {}, DataConfig(validation=0, test=0)))
    assert found is not None
    assert found.severity == "note"
    assert {g.origins[0] for g in found.groups[:10]} == {f"array[{k}]" for k in range(0, 400, 40)}
    assert found.groups[0].examples[0].size == (16, 16)


def test_pictures_alike_have_no_outliers() -> None:
    assert unusual(prepare(blobs(400), None, {}, DataConfig())) is None


def test_text_unlike_the_others_is_shown() -> None:
    rng = random.Random(0)
    texts = [" ".join(rng.choices(WORDS, k=12)) for _ in range(300)]
    odd = ["zxqj vkpw qqzx jjkv xzqw pkvj zzxq wvkj", "8471 0293 5518 7730 2946 1185 6027 3394"]
    found = unusual(ready([*texts, *odd], DataConfig(validation=0, test=0)))
    assert found is not None
    assert [g.examples[0] for g in found.groups[:2]] in (odd, odd[::-1])
    assert found.count <= 4
    assert unusual(ready(texts)) is None


def test_coarse_values_are_means_of_parts() -> None:
    x = torch.arange(2 * 3 * 16 * 16, dtype=torch.float32).reshape(2, 3, 16, 16)
    want = x.reshape(2, 3, 8, 2, 8, 2).mean((3, 5)).flatten(1)
    assert torch.allclose(coarse(x, 2), want)
    assert coarse(torch.zeros(2, 1, 30), 1).shape == (2, 30)
    assert coarse(torch.zeros(2, 1, 8, 8, 8), 3).shape == (2, 64)
