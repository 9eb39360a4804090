"""Named, tested starting points: one file each, found by its name ("-" in a recipe's name is "_" in the file's).

A recipe module has a docstring, `recipe() -> dict` of settings and `EXPECT`, what a run of it took and reached.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any

from genloom.core.config import unknown
from genloom.core.discover import module, names
from genloom.core.errors import InputError


def recipe_names() -> list[str]:
    return [n.replace("_", "-") for n in names(__name__)]


def recipe_module(name: str) -> ModuleType:
    if name not in recipe_names():
        raise InputError(unknown(name, recipe_names(), "recipe"))
    return module(__name__, name.replace("-", "_"), "recipe")


def find_recipe(name: str) -> Callable[[], dict[str, Any]]:
    """The settings function of a recipe. Raises InputError naming the nearest one."""
    settings: Callable[[], dict[str, Any]] = recipe_module(name).recipe
    return settings
