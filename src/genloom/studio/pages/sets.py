"""Data that a training can be given: that of the workspace and the named sets of genloom."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from genloom.data import catalog
from genloom.data.kinds import find_kind
from genloom.studio.pages.jobs import Job
from genloom.studio.pages.tasks import RESULT
from genloom.studio.pages.workspace import Dataset, Missing, Workspace, is_name, shortened


@dataclass(frozen=True)
class Named:
    """origin: "own" for the workspace's data, "named" for genloom's sets."""

    origin: str
    name: str

    def __str__(self) -> str:
        return f"{self.origin}:{self.name}"

    @classmethod
    def read(cls, text: str) -> Named:
        origin, _, name = text.partition(":")
        return cls(origin, name)


@dataclass(frozen=True)
class Chosen:
    """data: what `genloom.train` takes. own: the workspace's data; about: what the catalog says of a named set."""

    named: Named
    data: str | Path
    own: Dataset | None
    about: dict[str, Any]


def find_set(space: Workspace, named: Named) -> Chosen:
    """Raises Missing."""
    if named.origin == "own":
        found = space.dataset(named.name)
        return Chosen(named, found.path, found, {})
    if named.origin == "named" and named.name in catalog.catalog_names():
        return Chosen(named, named.name, None, catalog.describe(named.name))
    raise Missing(f"there is no data {shortened(named.name)}")


@cache
def named_sets() -> list[dict[str, Any]]:
    """What the catalog says of each named set."""
    return [catalog.describe(name) for name in catalog.catalog_names()]


def looking(space: Workspace, named: Named) -> Job:
    """The look at data."""
    if not is_name(named.name):
        raise Missing(f"there is no data {shortened(named.name)}")
    return Job(space.own / "look" / f"{named.origin}-{named.name}")


def kind_of(space: Workspace, chosen: Chosen) -> str:
    """The modality that data is: as the look at it found, else told from names and a few bytes. Raises InputError."""
    kind = space.read_json(looking(space, chosen.named).folder / RESULT).get("kind")
    return kind if isinstance(kind, str) else find_kind(chosen.data)
