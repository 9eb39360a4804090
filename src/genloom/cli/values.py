"""Values on the command line: how they are read and what a shell offers to complete them. No torch here."""

from __future__ import annotations

import ast
import importlib.util
import pkgutil
from collections.abc import Iterator
from pathlib import Path

from genloom.core.errors import InputError

RUNS = Path("runs")
FAMILIES, MODALITIES, RECIPES = "genloom.families", "genloom.modalities", "genloom.recipes"


def names(package: str) -> list[str]:
    """Names of the modules in a package, not imported."""
    from genloom.core import discover

    return discover.names(package)


def recipe_names() -> list[str]:
    from genloom import recipes

    return recipes.recipe_names()


def data_names() -> list[str]:
    from genloom.data.catalog import catalog_names

    return list(catalog_names())


def run_folders(folder: Path) -> list[Path]:
    """Folders directly in `folder` that hold a run, by name."""
    if not folder.is_dir():
        return []
    return sorted(p.parent for p in folder.glob("*/config.json") if (p.parent / "resume").is_dir())


def find_run(name: str) -> Path:
    """The folder of a run given by path, or by name where it is in ./runs. Raises InputError."""
    path = Path(name)
    if not path.exists() and len(path.parts) == 1 and (RUNS / path / "config.json").is_file():
        return RUNS / path
    if not path.exists():
        from genloom.core.config import unknown

        known = [p.name for p in run_folders(RUNS)] if len(path.parts) == 1 else []
        raise InputError(unknown(name, known, "run") if known else f"there is no run {name}; see `genloom list runs`")
    return path


def summary(package: str, name: str) -> str:
    """The first sentence of a module's docstring, read from its source: importing it may take seconds."""
    return _docstring(package, name).split("\n\n")[0].replace("\n", " ").strip()


def _docstring(package: str, name: str) -> str:
    spec = importlib.util.find_spec(package)
    for finder, found, _ in pkgutil.iter_modules(spec.submodule_search_locations if spec else []):
        source = finder.find_spec(found, None) if found == name else None
        if source is not None and source.origin:
            return ast.get_docstring(ast.parse(Path(source.origin).read_text("utf-8"))) or ""
    from genloom.core.discover import module

    return module(package, name, "module").__doc__ or ""  # other people's package, known by its entry point


def _starting(known: list[str], incomplete: str) -> list[str]:
    return [name for name in known if name.startswith(incomplete)]


def complete_model(incomplete: str) -> list[str]:
    return _starting(names(FAMILIES), incomplete)


def complete_recipe(incomplete: str) -> list[str]:
    return _starting(recipe_names(), incomplete)


def complete_data(incomplete: str) -> list[str]:
    """Names of the catalog, and paths."""
    return _starting(data_names(), incomplete) + list(_paths(incomplete))


def complete_run(incomplete: str) -> list[str]:
    return _starting([p.name for p in run_folders(RUNS)], incomplete) + list(_paths(incomplete))


def complete_comparable(incomplete: str) -> list[str]:
    """Named data, runs, and paths."""
    return _starting(data_names(), incomplete) + complete_run(incomplete)


def complete_name(incomplete: str) -> list[str]:
    """Everything that `describe` knows."""
    known = names(FAMILIES) + names(MODALITIES) + recipe_names() + data_names() + [p.name for p in run_folders(RUNS)]
    return _starting(sorted(set(known)), incomplete)


def _paths(incomplete: str) -> Iterator[str]:
    folder = Path(incomplete) if incomplete.endswith(("/", "\\")) else Path(incomplete).parent
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return
    for entry in entries:
        text = str(entry) + ("/" if entry.is_dir() else "")
        if text.startswith(incomplete) and not entry.name.startswith("."):
            yield text
