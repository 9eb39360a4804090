"""The runs, the choice of language and looks, and the files of the pages."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse

from genloom.studio.pages.render import THEMES, form_of, local, page, redirect
from genloom.studio.pages.standing import all_standings, samples_of
from genloom.studio.pages.studio import Studio
from genloom.studio.pages.words import LANGUAGES
from genloom.studio.pages.workspace import Missing

STATIC = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
SHOWN = 60  # runs
YEAR = 365 * 24 * 3600


def add(router: APIRouter, studio: Studio) -> None:
    @router.get("/")
    def home(request: Request) -> Response:
        found = all_standings(studio.space)
        drawn = [(s, next(reversed(samples_of(studio.space.runs / s.name)), None)) for s in found[:SHOWN]]
        return page(request, "home.html.j2", runs=drawn, more=len(found) - len(drawn), root=studio.space.root)

    @router.post("/settings")
    async def settings(request: Request) -> Response:
        form = await form_of(request)
        answer = redirect(local(form.get("back", "/")))
        for name, known in (("language", LANGUAGES), ("theme", THEMES)):
            if form.get(name) in known:
                answer.set_cookie(name, form[name], max_age=YEAR, samesite="strict", httponly=True)
        return answer

    @router.get("/static/{name}")
    def static(name: str) -> Response:
        folder = Path(str(files("genloom.studio").joinpath("static")))
        known = {p.name: p for p in folder.iterdir() if p.suffix in STATIC}
        if name not in known:
            raise Missing(f"there is no file {name[:60]!r}")
        return FileResponse(known[name], media_type=STATIC[known[name].suffix], headers={"Cache-Control": "no-cache"})
