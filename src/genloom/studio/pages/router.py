"""The routes of all pages, in one router."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter

from genloom.studio.pages import compare, data, home, new, play, run
from genloom.studio.pages.render import Route
from genloom.studio.pages.studio import Studio

__all__ = ["pages"]


def pages(folder: Path) -> APIRouter:
    """The routes of the studio over a workspace folder, to be mounted at the root of an app. Raises InputError when
    the folder cannot be used."""
    studio = Studio(folder)
    router = APIRouter(route_class=Route, include_in_schema=False)
    for part in (compare, home, data, new, play, run):
        part.add(router, studio)
    return router
