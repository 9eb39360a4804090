"""Families, modalities and recipes are found by module name, and by entry points for other people's packages."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
from importlib.metadata import entry_points
from types import ModuleType
from typing import TypeVar

from genloom.core.config import unknown
from genloom.core.errors import InputError


def names(package: str) -> list[str]:
    """Module names in `package` (such as "genloom.families"), and entry points of the group with that name. Imports no
    module."""
    spec = importlib.util.find_spec(package)  # finds the folder without running the package, which may import torch
    paths = spec.submodule_search_locations if spec else None
    found = {m.name for m in pkgutil.iter_modules(paths or []) if not m.name.startswith("_")}
    return sorted(found | {e.name for e in entry_points(group=package)})


def module(package: str, name: str, what: str) -> ModuleType:
    """The module `name`; InputError naming the nearest when there is none."""
    known = names(package)
    if name not in known:
        raise InputError(unknown(name, known, what))
    plugin = next((e for e in entry_points(group=package) if e.name == name), None)
    return importlib.import_module(plugin.module) if plugin else importlib.import_module(f"{package}.{name}")


T = TypeVar("T")


def only_class(mod: ModuleType, base: type[T]) -> type[T]:
    """The one concrete subclass of `base` that `mod` defines."""
    found = [
        c
        for c in vars(mod).values()
        if isinstance(c, type) and issubclass(c, base) and c.__module__ == mod.__name__ and not inspect.isabstract(c)
    ]
    if len(found) != 1:
        raise TypeError(f"{mod.__name__} must define exactly one {base.__name__}, found {len(found)}")
    return found[0]
