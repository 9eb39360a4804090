"""What each latent of a model does: the most active ones, moved around a real example's code.

Active is a latent that carries much: its KL in nats where the family tells it (a vae), elsewhere how much the output
changes when it moves by a standard deviation either way, as a share of the change by all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genloom.core.batch import Condition
from genloom.core.device import device_of
from genloom.core.family import Family, HasActivity, HasLatent, HasNoise
from genloom.core.rng import Rng, derive

SHOWN, STEPS, REACH = 10, 9, 2.0  # latents, columns, standard deviations on each side
CENTRES = 16  # codes around which the change of the output is measured
MEASURED = 128  # latents of a wider code whose change is measured: those with the most spread
ALIVE = 0.01  # nats, or share of the change of an even division, from which a latent is said to be in use
DECODED = 256  # at a time


@dataclass(frozen=True)
class Traversal:
    """One latent. spread: standard deviation of its value over the data. x [S, ...]: the example with it moved."""

    latent: int
    activity: float
    spread: float
    x: Tensor


@dataclass(frozen=True)
class Traversals:
    """The most active latents, the most active first. steps [S]: standard deviations from the example's own value.
    unit: of the activity: "nats" or "share". total, used: latents there are, and in use."""

    rows: tuple[Traversal, ...]
    steps: tuple[float, ...]
    unit: str
    total: int
    used: int


def has_latents(family: Family) -> bool:
    return isinstance(family, HasLatent | HasNoise)


@torch.no_grad()
def traversals(
    family: Family, x: Tensor | None, label: Tensor | None, *, most: int = SHOWN, steps: int = STEPS, seed: int = 0
) -> Traversals:
    """Of a family with latents. x [N, ...]: real examples as the spec says, the first of them the one that is changed;
    None for a family that cannot encode. label: [1] its class, None without.

    Raises ValueError for a family without latents.
    """
    device = device_of(family)
    if isinstance(family, HasLatent) and x is not None:
        codes = torch.cat([family.encode(b.to(device)) for b in x.split(DECODED)]).float()
        spread = codes.std(0) if len(codes) > 1 else torch.ones_like(codes[0])
    elif isinstance(family, HasNoise):
        codes = family.noise(CENTRES, Rng(derive(seed, "latents"), device=device))
        spread = torch.ones(codes.shape[1], device=device)
    else:
        raise ValueError(f"{type(family).__name__} has no latents that can be moved")
    decoder: HasLatent | HasNoise = family

    def decode(z: Tensor) -> Tensor:
        parts = [decoder.decode(p, _told(family, label, len(p))) for p in z.split(DECODED)]
        return torch.cat(parts).float()

    if isinstance(family, HasActivity) and x is not None:
        carried = torch.cat([family.activity(b.to(device))[None] * len(b) for b in x.split(DECODED)])
        activity, unit = (carried.sum(0) / len(x)).double().cpu().numpy(), "nats"
        used = int((activity > ALIVE).sum())
    else:
        activity, unit = changes(decode, codes[:CENTRES], spread), "share"
        used = int((activity > ALIVE / len(activity)).sum())
    places = torch.linspace(-REACH, REACH, steps, device=device)
    rows = []
    for d in np.argsort(-activity, kind="stable")[: min(most, len(activity))].tolist():
        z = codes[:1].repeat(steps, 1)
        z[:, d] += places * spread[d]
        rows.append(Traversal(d, float(activity[d]), float(spread[d]), decode(z).cpu()))
    return Traversals(tuple(rows), tuple(places.tolist()), unit, len(activity), used)


def _told(family: Family, label: Tensor | None, n: int) -> Condition:
    if label is None or "label" not in family.honours():
        return Condition()
    return Condition(label=label[:1].expand(n).to(device_of(family)))


def changes(decode: Callable[[Tensor], Tensor], codes: Tensor, spread: Tensor) -> NDArray[np.float64]:
    """[D] mean squared change of the output between a standard deviation below and above codes [B, D], as a share of
    the sum. Of very wide codes the latents with little spread are taken as 0."""
    out = np.zeros(codes.shape[1])
    for d in spread.argsort(descending=True, stable=True)[:MEASURED].tolist():
        if not spread[d] > 0:
            continue
        low, high = codes.clone(), codes.clone()
        low[:, d] -= spread[d]
        high[:, d] += spread[d]
        out[d] = float((decode(high) - decode(low)).square().mean())
    return out / out.sum() if out.sum() > 0 else out
