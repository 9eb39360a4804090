"""`genloom list` and `genloom describe`: what there is, and every setting of it."""

from __future__ import annotations

import json as jsons
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genloom.cli.options import Json
from genloom.cli.output import emit, leaves, table, text_of
from genloom.cli.values import (
    FAMILIES,
    MODALITIES,
    RECIPES,
    RUNS,
    complete_name,
    data_names,
    find_run,
    names,
    recipe_names,
    run_folders,
    summary,
)
from genloom.core.errors import InputError

if TYPE_CHECKING:
    from genloom.core.config import Settings

SECTIONS = {"data": "DataConfig", "train": "TrainConfig"}  # sections of settings that every training has


class What(StrEnum):
    """What `genloom list` can list."""

    families = "families"
    modalities = "modalities"
    recipes = "recipes"
    data = "data"
    runs = "runs"


def list_(
    what: Annotated[
        What | None,
        typer.Argument(metavar="WHAT", help="families, modalities, recipes, data or runs; everything if not given."),
    ] = None,
    folder: Annotated[Path, typer.Option("--folder", metavar="DIR", help="Folder whose runs are listed.")] = RUNS,
    json: Json = False,
) -> None:
    """List families, modalities, recipes, named data sets and runs."""
    if what is What.runs and folder != RUNS and not folder.is_dir():
        raise InputError(f"there is no folder {folder}; give the one that holds the runs")
    found = {kind.value: _LISTS[kind](folder) for kind in ([what] if what else What)}
    if json:
        emit({"schema": "genloom.list/1", **found})
        return
    for kind, items in found.items():
        if what is None:
            print(f"{kind}:")
        if items:
            print(table([(item["name"], item["summary"]) for item in items], indent="  " if what is None else ""))
        elif what is None:
            print("  none")


def _modules(package: str) -> list[dict[str, Any]]:
    return [{"name": name, "summary": summary(package, name)} for name in names(package)]


def _recipes(folder: Path) -> list[dict[str, Any]]:
    return [{**item, "name": item["name"].replace("_", "-")} for item in _modules(RECIPES)]


def _data(folder: Path) -> list[dict[str, Any]]:
    from genloom.data import catalog

    return [{"name": name, **_with_summary(catalog.describe(name))} for name in data_names()]


def _with_summary(entry: dict[str, Any]) -> dict[str, Any]:
    return {"summary": entry["what"], **{key: value for key, value in entry.items() if key != "what"}}


def _runs(folder: Path) -> list[dict[str, Any]]:
    return [{"name": path.name, "path": str(path), **_run_facts(path)} for path in run_folders(folder)]


def _run_facts(path: Path) -> dict[str, Any]:
    """Model, data, steps and state of a run from its JSON files alone; one damaged run does not hide the others."""
    config, manifest = _read(path / "config.json"), _read(path / "manifest.json")
    model, data = config.get("model", "?"), manifest.get("data", {}).get("name", "?")
    state = "finished" if manifest.get("finished") else "not finished: go on with --resume"
    steps = manifest.get("steps")
    length = f", {steps:,} steps" if isinstance(steps, int) else ""
    return {
        "summary": f"{model} on {data}{length}, {state}",
        "model": model,
        "data": data,
        "steps": steps,
        "finished": manifest.get("finished"),
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        data = jsons.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


_LISTS: dict[What, Callable[[Path], list[dict[str, Any]]]] = {
    What.families: lambda _: _modules(FAMILIES),
    What.modalities: lambda _: _modules(MODALITIES),
    What.recipes: _recipes,
    What.data: _data,
    What.runs: _runs,
}


def describe(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            autocompletion=complete_name,
            help="A family, modality, recipe, data set or run; `train` or `data` for the settings of every training.",
        ),
    ],
    json: Json = False,
) -> None:
    """Show every setting of NAME. With type, default, unit, limits and meaning."""
    facts = _facts(name)
    if json:
        emit({"schema": "genloom.describe/1", **facts})
        return
    print(f"{facts['name']} ({facts['kind']})")
    if facts["summary"]:
        print(facts["summary"])
    for title, rows in _sections(facts):
        print(f"\n{title}")
        print(table(rows))


def _facts(name: str) -> dict[str, Any]:
    """Everything known about a name. Raises InputError naming the nearest one."""
    kinds: dict[str, tuple[list[str], Callable[[str], dict[str, Any]]]] = {
        "family": (names(FAMILIES), _family),
        "modality": (names(MODALITIES), _modality),
        "recipe": (recipe_names(), _recipe),
        "data set": (data_names(), _data_set),
        "settings": (list(SECTIONS), _section),
    }
    for kind, (known, look) in kinds.items():
        if name in known:
            return {"name": name, "kind": kind, **look(name)}
    from genloom.core.config import unknown

    runs = [path.name for path in run_folders(RUNS)]
    if name in runs or (Path(name) / "config.json").is_file():
        return {"name": name, "kind": "run", **_run(name)}
    everything = [*(known for known, _ in kinds.values()), runs]
    raise InputError(
        unknown(name, [n for known in everything for n in known], "family, modality, recipe, data set or run")
    )


def _listed(config: type[Settings], section: str) -> list[dict[str, Any]]:
    from genloom.core.config import settings

    return settings(config, f"{section}." if section else "")


def _family(name: str) -> dict[str, Any]:
    from genloom.families import find_family

    family = find_family(name)
    return {
        "summary": summary(FAMILIES, name),
        "settings": _listed(family.Config, "family"),
        "sampling": _listed(family.Options, ""),
        "training": dict(family.train_defaults),
        "accepts": [spec.__name__ for spec in family.accepts],
        "conditions": sorted(family.conditions),
    }


def _modality(name: str) -> dict[str, Any]:
    from genloom.modalities import find_modality

    modality = find_modality(name)
    return {
        "summary": summary(MODALITIES, name),
        "settings": _listed(modality.Config, "modality"),
        "extensions": sorted(modality.extensions),
    }


def _recipe(name: str) -> dict[str, Any]:
    from genloom.recipes import recipe_module

    recipe = recipe_module(name)
    return {"summary": (recipe.__doc__ or "").strip(), "values": recipe.recipe(), "expect": dict(recipe.EXPECT)}


def _data_set(name: str) -> dict[str, Any]:
    from genloom.data import catalog

    return _with_summary(catalog.describe(name))


def _section(name: str) -> dict[str, Any]:
    from genloom.core import config as configs

    config: type[Settings] = getattr(configs, SECTIONS[name])
    return {"summary": (config.__doc__ or "").strip(), "settings": _listed(config, name)}


def _run(name: str) -> dict[str, Any]:
    path = find_run(name)
    return {
        **_run_facts(path),
        "path": str(path),
        "config": _read(path / "config.json"),
        "manifest": _read(path / "manifest.json"),
    }


_TITLES = {
    "settings": "Settings (genloom train --set NAME=VALUE)",
    "sampling": "Settings of a sample (genloom sample --set NAME=VALUE)",
    "training": "Values of train.* that suit it, used unless you give others",
    "values": "Settings",
    "expect": "What to expect",
    "config": "Settings",
    "manifest": "What was trained",
}


def _sections(facts: dict[str, Any]) -> list[tuple[str, list[tuple[str, ...]]]]:
    """Titles with rows to print."""
    out: list[tuple[str, list[tuple[str, ...]]]] = []
    plain: list[tuple[str, ...]] = []
    for key, value in facts.items():
        if key in ("name", "kind", "summary"):
            continue
        if key in ("settings", "sampling"):
            out.append((_TITLES[key], [_row(s) for s in value]))
        elif isinstance(value, dict) and value:
            out.append((_TITLES.get(key, key.capitalize()), [(n, text_of(v)) for n, v in leaves(value)]))
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            out.append((key.capitalize(), [tuple(map(text_of, item.values())) for item in value]))
        elif value not in (None, "", [], {}):
            plain.append((key, text_of(value)))
    return [*([("Facts", plain)] if plain else []), *out]


def _row(setting: dict[str, Any]) -> tuple[str, ...]:
    """name, "default unit", "type, limits", meaning"""
    default = "(required)" if repr(setting["default"]) == "PydanticUndefined" else text_of(setting["default"])
    kind = ", ".join([setting["type"], *setting["limits"]])
    return setting["name"], f"{default} {setting['unit']}".strip() or '""', kind, setting["meaning"]


def register(app: typer.Typer) -> None:
    app.command("list")(list_)
    app.command()(describe)
