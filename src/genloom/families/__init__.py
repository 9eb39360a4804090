"""One file a family; the file name is the family's name."""

from genloom.core.discover import module, names, only_class
from genloom.core.family import Family


def family_names() -> list[str]:
    return names(__name__)


def find_family(name: str) -> type[Family]:
    """The family called `name`. Raises InputError naming the nearest one."""
    return only_class(module(__name__, name, "model"), Family)  # type: ignore[type-abstract]
