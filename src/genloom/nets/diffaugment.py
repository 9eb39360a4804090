"""Differentiable augmentation of what a critic sees, so that little data trains a GAN.

Zhao et al. 2020, "Differentiable augmentation for data-efficient GAN training": real and generated examples alike are
translated, partly cut out and changed in colour before the critic. Gradients pass through, so the generator learns the
unaugmented data. Generic over 1, 2 and 3 axes; every draw is one row's own, from a named random stream.

Shapes: x [B, C, *size] in, the same out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from genloom.core.rng import Rng

Kind = Literal["colour", "translation", "cutout"]


def _rows(v: Tensor, x: Tensor) -> Tensor:
    """[B] with axes of length 1 added, to multiply [B, C, *size]."""
    return v[(...,) + (None,) * (x.ndim - 1)]


def colour(x: Tensor, rng: Rng) -> Tensor:
    """Brightness moved by up to 0.5, saturation (of several channels) scaled by 0 to 2, contrast by 0.5 to 1.5."""
    b, over = len(x), tuple(range(1, x.ndim))
    x = x + _rows(rng.uniform("brightness", b) - 0.5, x)
    if x.shape[1] > 1:
        mean = x.mean(1, keepdim=True)
        x = mean + (x - mean) * _rows(2 * rng.uniform("saturation", b), x)
    mean = x.mean(over, keepdim=True)
    return mean + (x - mean) * _rows(0.5 + rng.uniform("contrast", b), x)


def translation(x: Tensor, rng: Rng, share: float = 0.125) -> Tensor:
    """Shifted by whole positions, up to `share` of each axis; 0 enters at the border."""
    for axis, n in enumerate(x.shape[2:], 2):
        most = int(n * share + 0.5)
        shift = rng.integers(f"shift{axis}", 2 * most + 1, len(x)) - most
        place = torch.arange(n, device=x.device) + shift[:, None]  # [B, n]
        shape = [len(x)] + [n if a == axis else 1 for a in range(1, x.ndim)]
        inside = ((place >= 0) & (place < n)).reshape(shape)
        x = x.gather(axis, place.clamp(0, n - 1).reshape(shape).expand_as(x)) * inside
    return x


def cutout(x: Tensor, rng: Rng, share: float = 0.5) -> Tensor:
    """A box of `share` of each axis, its centre anywhere, is set to 0."""
    inside = torch.ones((), dtype=torch.bool, device=x.device)
    for axis, n in enumerate(x.shape[2:], 2):
        length = int(n * share + 0.5)
        start = rng.integers(f"cut{axis}", n + 1 - length % 2, len(x)) - length // 2
        place = torch.arange(n, device=x.device)[None]
        span = (place >= start[:, None]) & (place < start[:, None] + length)  # [B, n]
        inside = inside & span.reshape([len(x)] + [n if a == axis else 1 for a in range(1, x.ndim)])
    return x * ~inside


KINDS = {"colour": colour, "translation": translation, "cutout": cutout}


def augment(x: Tensor, kinds: Sequence[Kind], rng: Rng) -> Tensor:
    """x with each of `kinds` applied, in the order of the paper (colour, translation, cutout)."""
    for kind, change in KINDS.items():
        if kind in kinds:
            x = change(x, rng)
    return x
