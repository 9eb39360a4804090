"""Reading a run folder: config, modality and weights; no training data and no pickled object."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from genloom.core.batch import ConditionSpec
from genloom.core.config import RunConfig, resolve
from genloom.core.device import choose_device, place
from genloom.core.errors import InputError
from genloom.core.family import Family
from genloom.core.modality import Modality
from genloom.core.run import CONFIG, STATE, RunFolder
from genloom.core.spec import spec_from_json
from genloom.families import find_family
from genloom.modalities import find_modality

Parts = tuple[RunFolder, RunConfig, Family, Modality[Any], ConditionSpec, "Modality[Any] | None"]


def opened(path: Path, device: str) -> Parts:
    """The parts of a run, as Run takes them. Raises InputError when it is not one, is damaged or altered."""
    folder = RunFolder.open(path)
    values, state = folder.read_json(CONFIG), folder.read_json(STATE)
    try:
        family_class, modality_class = find_family(values["model"]), find_modality(values["kind"])
        config = resolve([values], modality_class.Config, family_class.Config)
        modality = modality_class.from_state(state["modality"])
        condition, spec = ConditionSpec.from_json(state["condition"]), spec_from_json(state["spec"])
        own = state.get("source") or (state["modality"] if condition.source is not None else None)
        source = None if own is None else modality_class.from_state(own)
        family = family_class(spec, config.family, condition)
    except (KeyError, TypeError, ValueError) as e:
        raise InputError(
            f"the settings in {path} are damaged ({type(e).__name__}: {e}); restore them or train again"
        ) from None
    try:
        family.load_state_dict(folder.load_weights())
    except RuntimeError as e:
        reason = textwrap.shorten(str(e).splitlines()[-1], 120)
        raise InputError(
            f"the weights in {path} do not fit its settings ({reason}); restore them or train again"
        ) from None
    place(family, config.train, choose_device(device))
    return folder, config, family, modality, condition, source
