"""Keeping only samples that show a trait: others are drawn again, or changed a little until they do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from genloom.core.config import unknown
from genloom.core.errors import GenloomError, InputError
from genloom.core.modality import HasTraits, Modality, Repairs
from genloom.core.rng import derive

TRIES = 30


def check(modality: Modality[Any], only: str | None, repair: bool) -> None:
    """Raises InputError for a trait that the data does not have, and for repairs that nobody knows to make."""
    if only is None:
        if repair:
            raise InputError("say what samples are to be repaired to be, as in --only playable --repair")
        return
    traits = modality.traits() if isinstance(modality, HasTraits) else {}
    if not traits:
        raise InputError(f"samples of this model have no trait {only!r} to be kept by; leave --only out")
    if only not in traits:
        raise InputError(unknown(only, traits, "trait"))
    if repair and not isinstance(modality, Repairs):
        raise InputError(f"samples of this model cannot be repaired to be {only}; leave --repair out")


def kept(
    draw: Callable[[int, Any], tuple[list[Any], Tensor | None]],
    seed: int,
    label: Any,
    classes: Sequence[str],
    modality: Modality[Any],
    only: str | None,
    repair: bool,
) -> list[Any]:
    """The examples of draw(seed, label), which also gives their labels [N]; those without the trait `only` repaired, or
    replaced by what stands in their place in further draws of the same labels. Raises GenloomError when that does not
    help."""
    examples, labels = draw(seed, label)
    if only is None:
        return examples
    assert isinstance(modality, HasTraits)
    if repair and isinstance(modality, Repairs):
        return [e if modality.shows_trait(only, e) else modality.repair(only, e) for e in examples]
    out = list(examples)
    missing = [i for i, e in enumerate(out) if not modality.shows_trait(only, e)]
    same = None if labels is None else [classes[int(i)] for i in labels]
    for k in range(1, TRIES + 1):
        if not missing:
            return out
        fresh, _ = draw(derive(seed, "again", k), same)
        for i in missing:
            if modality.shows_trait(only, fresh[i]):
                out[i] = fresh[i]
        missing = [i for i in missing if not modality.shows_trait(only, out[i])]
    if missing:
        raise GenloomError(
            f"{len(missing)} of {len(out)} samples are not {only} after {TRIES} tries each; add --repair where "
            "the data allows it, or train longer"
        )
    return out
