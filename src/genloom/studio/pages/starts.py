"""Trainings that go on from an earlier run: from which they can, and the settings that come with its weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genloom.core.config import merge
from genloom.core.errors import InputError
from genloom.core.run import WEIGHTS
from genloom.families import find_family
from genloom.studio.pages.standing import all_standings
from genloom.studio.pages.workspace import Workspace


def startable(space: Workspace, kind: str, model: str) -> list[str]:
    """The runs with weights of this kind of data and this family, those that began last first."""
    found = [s.name for s in all_standings(space) if (s.kind, s.model) == (kind, model)]
    return [name for name in found if (space.runs / name / WEIGHTS).is_file()]


def has_lora(model: str) -> bool:
    """Whether a family can learn low-rank changes alone."""
    return "lora" in find_family(model).Config.model_fields


def chosen_start(space: Workspace, form: Mapping[str, str], kind: str, model: str) -> tuple[str, bool]:
    """The run that a filled form goes on from, "" for none, and whether by low-rank changes alone. Raises InputError
    for one that cannot be."""
    start = form.get("start", "")
    if start and start not in startable(space, kind, model):
        raise InputError(f"there is no run {start[:60]!r} of this kind of data and this model to go on from")
    return start, bool(start and form.get("lora") and has_lora(model))


def brought(space: Workspace, start: str, lora: bool) -> dict[str, Any]:
    """The settings of the family when nothing else is said, as `genloom train --from` takes them from the run."""
    if not start:
        return {}
    config = space.config(start)
    cls, family = find_family(str(config["model"])), config.get("family", {})
    known: dict[str, Any] = {k: v for k, v in family.items() if k != "teacher"}
    if has_lora(str(config["model"])):
        known = merge(known, {"lora": {"rank": 0}})
    return merge({"family": known}, cls.tuned(cls.Config(**known), None, lora))


def start_of(space: Workspace, config: Mapping[str, Any]) -> dict[str, str]:
    """The fields of a form for a training that went on from a run which is still there."""
    name = Path(str(config.get("start") or "")).name
    if not name or name not in startable(space, str(config.get("kind")), str(config.get("model"))):
        return {}
    rank = (config.get("family", {}).get("lora") or {}).get("rank")
    return {"start": name, **({"lora": "yes"} if rank else {})}
