"""One file a modality; the file name is the modality's name."""

from typing import Any

from genloom.core.discover import module, names, only_class
from genloom.core.modality import Modality


def modality_names() -> list[str]:
    return names(__name__)


def find_modality(name: str) -> type[Modality[Any]]:
    """The modality called `name`. Raises InputError naming the nearest one."""
    return only_class(module(__name__, name, "modality"), Modality)  # type: ignore[type-abstract]
