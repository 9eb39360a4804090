"""The playground of a run: samples as people of the field look at them, each with its mark."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from genloom.core.errors import GenloomError, InputError
from genloom.core.run import WEIGHTS
from genloom.studio.pages import making
from genloom.studio.pages.making import Made, abilities, wish
from genloom.studio.pages.models import BUSY, PATIENCE, Models
from genloom.studio.pages.render import file_answer, json_of, page
from genloom.studio.pages.standing import standing
from genloom.studio.pages.studio import Studio
from genloom.studio.security import attachment

TEXTS, PICTURES, ROWS = 4, 16, 50  # samples asked for when nobody says
MOST_ASKED = 8 * 2**20  # bytes of a wish with files
# Options that few people need.
ASIDE = frozenset({
    "beams", "enough", "length_penalty", "fill", "min_p", "repetition", "solver", "guided_from", "guided_until",
    "noise", "autoguidance", "resample", "rows.codes", "rows.rounds", "particles", "start",
})  # fmt: skip


def add(router: APIRouter, studio: Studio) -> None:
    space, models = studio.space, Models()

    def opened(name: str) -> tuple[Any, Made]:
        """A run, loaded, and its batches. Raises InputError when it has no weights yet."""
        folder = space.run(name)
        if not (folder / WEIGHTS).is_file():
            raise InputError(f"{name} has no weights yet; play with it when its training has ended")
        return models.get(folder), Made(space.own / "made" / name)

    async def made_by(request: Request, name: str, make: Callable[[Any, Made, dict[str, Any]], Any]) -> Response:
        """What `make` makes of a script's wishes, in its turn."""
        asked = await json_of(request, MOST_ASKED)

        def turn() -> Any:
            run, made = opened(name)
            with models.turn():
                return make(run, made, asked)

        return JSONResponse(await asyncio.to_thread(turn))

    @router.get("/runs/{name}/play")
    def play(request: Request, name: str) -> Response:
        run, made = opened(name)
        can, text = abilities(run), run.modality.shows_text
        return page(
            request, "play.html.j2", run=standing(space, name), can=can, kept=made.names(), most=making.most(run),
            number=ROWS if can.where else TEXTS if text else PICTURES,
            near=[f for f in can.options if f.name not in ASIDE], far=[f for f in can.options if f.name in ASIDE],
        )  # fmt: skip

    @router.post("/runs/{name}/play/samples")
    async def samples(request: Request, name: str) -> Response:
        return await made_by(request, name, lambda run, made, asked: making.samples(run, made, wish(run, asked)))

    @router.post("/runs/{name}/play/ways")
    async def ways(request: Request, name: str) -> Response:
        def make(run: Any, made: Made, asked: dict[str, Any]) -> Any:
            steps = making.whole(asked.get("steps", 8), "the number of steps", 2, 16)
            rows = making.whole(asked.get("rows", 3), "the number of ways", 1, 8)
            return making.ways(run, made, wish(run, asked), steps, rows)

        return await made_by(request, name, make)

    @router.post("/runs/{name}/play/sliders")
    async def sliders(request: Request, name: str) -> Response:
        return await made_by(request, name, lambda run, made, asked: making.sliders(run, wish(run, asked)))

    @router.post("/runs/{name}/play/moved")
    async def moved(request: Request, name: str) -> Response:
        def make(run: Any, made: Made, asked: dict[str, Any]) -> Any:
            moves, spreads = asked.get("moves"), asked.get("spreads")
            if not isinstance(moves, dict) or not isinstance(spreads, dict):
                raise InputError("moves and spreads are numbers by latent")
            return making.moved(run, wish(run, asked), moves, spreads, made if asked.get("keep") else None)

        return await made_by(request, name, make)

    @router.post("/runs/{name}/play/stream")
    async def stream(request: Request, name: str) -> Response:
        asked = await json_of(request)

        def begun() -> Iterator[dict[str, Any]]:
            run, made = opened(name)
            if not abilities(run).stream:
                raise InputError(f"{name} does not write piece by piece")
            return making.streamed(run, made, wish(run, asked))

        pieces = await asyncio.to_thread(begun)

        async def lines() -> AsyncIterator[str]:
            waited = 0.0
            while not models.take():  # not in a thread: one who goes away must not take a turn later
                await asyncio.sleep(0.1)
                waited += 0.1
                if waited > PATIENCE:
                    yield json.dumps({"error": BUSY}) + "\n"
                    return
            try:
                while (told := await asyncio.to_thread(next, pieces, None)) is not None:
                    yield json.dumps(told, ensure_ascii=True) + "\n"
            except GenloomError as e:
                yield json.dumps({"error": str(e)}) + "\n"
            finally:  # also when the person goes away
                models.give()

        return StreamingResponse(lines(), media_type="application/x-ndjson", headers={"Cache-Control": "no-store"})

    def batch_of(name: str, key: str) -> tuple[Made, Path]:
        space.run(name)
        made = Made(space.own / "made" / name)
        folder = space.child(made.folder, key)
        made.batch(key)
        return made, folder

    @router.get("/runs/{name}/made/{key}")
    def batch(name: str, key: str) -> Response:
        made, _ = batch_of(name, key)
        return JSONResponse(made.batch(key))

    @router.get("/runs/{name}/made/{key}/all.zip")
    def archive(name: str, key: str) -> Response:
        made, _ = batch_of(name, key)
        headers = attachment(f"{name}-{key[:6]}.zip")
        return Response(made.archive(key), media_type="application/zip", headers=headers)

    @router.get("/runs/{name}/made/{key}/{file}")
    def file(name: str, key: str, file: str, download: bool = False) -> Response:
        _, folder = batch_of(name, key)
        return file_answer(space.file(folder, file), download, f"{name}-{file}")
