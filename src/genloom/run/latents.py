"""Samples of which latents are moved: the code of a sample, and what it becomes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from genloom.core.batch import Condition
from genloom.core.device import device_of
from genloom.core.errors import InputError
from genloom.core.family import HasLatent, HasNoise
from genloom.core.rng import Rng, derive
from genloom.core.spec import Grid, Spec
from genloom.data.items import listing
from genloom.evaluate.traversals import CENTRES
from genloom.families import family_names, find_family

if TYPE_CHECKING:
    from genloom.run.trained import Run

CODED = 48  # samples by which latents are ranked, of which the first is moved


def without_codes(model: str, spec: Spec) -> str:
    """What is said of a model without a latent space: which models of such data have one."""
    families = {name: find_family(name) for name in family_names()}
    having = [n for n, f in families.items() if type(spec) in f.accepts and issubclass(f, HasLatent)]
    return f"the model {model} has no latent space; for such data there is one in {listing(having)}"


@torch.no_grad()
def centre(run: Run, seed: int, label: str | None) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """The code [1, D] that is moved, the samples it is one of (None for a family that cannot encode), and the class
    [1]. Raises InputError for a model without latents."""
    labels = run.label_indices(label, CODED, seed)
    first = None if labels is None else labels[:1]
    device = device_of(run.family)
    if isinstance(run.family, HasLatent):
        x, _ = run.sample_tensor(CODED, label=label, seed=seed)
        return run.family.encode(x[:1].to(device)).float(), x, first
    if isinstance(run.family, HasNoise):
        return run.family.noise(CENTRES, Rng(derive(seed, "latents"), device=device))[:1], None, first
    raise InputError(f"the model {run.config.model} has no latents that can be moved")


@torch.no_grad()
def moved_of(run: Run, seed: int, label: str | None, moves: Mapping[str, float]) -> Any:
    """The sample whose code has latents moved by as much as `moves` says. Raises InputError."""
    z, _, first = centre(run, seed, label)
    z = z.clone()
    for key, by in moves.items():
        if not key.isdecimal() or int(key) >= z.shape[1]:
            raise InputError(f"a latent is a whole number from 0 to {z.shape[1] - 1:,}, got {key[:40]!r}")
        z[:, int(key)] += by
    assert isinstance(run.family, HasLatent | HasNoise)
    honours = first is not None and "label" in run.family.honours()
    condition = Condition(label=first.to(z.device) if honours and first is not None else None)
    x = run.family.decode(z, condition).cpu()
    return run.modality.decode((x.float().clamp(-1, 1) if isinstance(run.family.spec, Grid) else x)[0])
