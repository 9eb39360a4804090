"""Named, tested starting points: one file each, found by its name ("-" in a recipe's name is "_" in the file's).

A recipe module has a docstring, `recipe() -> dict` of settings and `EXPECT`, what a run of it took and reached. It may
have `suits(prepared) -> bool`: whether it is where a training of that data starts when nobody says; the first by name
that says so is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from genloom.core import discover  # not its functions: a recipe's own module, such as `names`, would hide them
from genloom.core.config import unknown
from genloom.core.errors import InputError

if TYPE_CHECKING:
    from genloom.data.prepare import Prepared


def recipe_names() -> list[str]:
    return [n.replace("_", "-") for n in discover.names(__name__)]


def recipe_module(name: str) -> ModuleType:
    if name not in recipe_names():
        raise InputError(unknown(name, recipe_names(), "recipe"))
    return discover.module(__name__, name.replace("-", "_"), "recipe")


def find_recipe(name: str) -> Callable[[], dict[str, Any]]:
    """The settings function of a recipe. Raises InputError naming the nearest one."""
    settings: Callable[[], dict[str, Any]] = recipe_module(name).recipe
    return settings


def recipe_for(task: str) -> str | None:
    """The recipe for a task (data.task); None where there is none."""
    return next((n for n in recipe_names() if recipe_module(n).recipe().get("data", {}).get("task") == task), None)


def suited_recipe(model: str, prepared: Prepared) -> str | None:
    """The recipe for `model` from which a training on this data starts when nobody says; None where there is none."""
    for name in recipe_names():
        suits = getattr(recipe_module(name), "suits", None)
        if suits is not None and recipe_module(name).recipe()["model"] == model and suits(prepared):
            return name
    return None
