"""Runs that are told to write other files than their training's settings say."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from genloom.core.config import validate
from genloom.core.errors import InputError

if TYPE_CHECKING:
    from genloom.run.trained import Run


def told(run: Run, settings: Mapping[str, Any]) -> Run:
    """As Run.writing says."""
    if not isinstance(settings, Mapping):
        raise InputError(f"--set takes a setting of the modality, as in modality.name=value; got modality={settings!r}")
    if not settings:
        return run
    free = run.modality.writing
    for name in settings:
        if name not in free:
            may = ", ".join(f"modality.{n}" for n in sorted(free)) or "none"
            raise InputError(
                f"modality.{name} is settled by the training; what may be set for samples of {run.config.kind}: {may}"
            )
    modality = copy.copy(run.modality)
    values = {**modality.config.model_dump(), **settings}
    modality.config = validate(type(modality.config), values, "modality")
    other = type(run)(run.folder, run.config, run.family, modality, run.condition, run.source)
    other.files = dict(settings)
    return other
