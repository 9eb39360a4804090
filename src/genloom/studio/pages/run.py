"""The page of one run: its state, curves, samples, figures, pairs, log and settings, and what can be done with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse

from genloom.core.errors import InputError
from genloom.core.run import WEIGHTS, RunFolder
from genloom.studio.pages import figures
from genloom.studio.pages.curves import size_of
from genloom.studio.pages.events import Place, at_end, stream
from genloom.studio.pages.render import file_answer, form_of, page, redirect
from genloom.studio.pages.standing import job_of, judging_of, log_of, samples_of, standing
from genloom.studio.pages.studio import Studio
from genloom.studio.pages.workspace import Missing, Workspace, is_name, shortened
from genloom.studio.security import DOCUMENT

POINTS = 700  # stretches of a curve that a page gets
LOG_SHOWN = 2**15  # bytes


def known(space: Workspace, name: str) -> str:
    """The name of a run, or of a training that has no folder yet. Raises Missing."""
    if not is_name(name) or not (job_of(space, name).exists or (space.runs / name).is_dir()):
        raise Missing(f"there is no run {shortened(name)}; it may have been moved or deleted")
    space.child(space.runs, name)
    return name


def leaves(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted names."""
    out: dict[str, Any] = {}
    for key, value in tree.items():
        out |= leaves(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {f"{prefix}{key}": value}
    return out


def difference(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """(name, in a, in b) of the settings that differ; None where there is no such setting."""
    x, y = leaves(a), leaves(b)
    return [(n, x.get(n), y.get(n)) for n in dict.fromkeys([*x, *y]) if x.get(n) != y.get(n)]


def add(router: APIRouter, studio: Studio) -> None:
    space = studio.space

    @router.get("/runs/{name}")
    def run(request: Request, name: str, against: str = "") -> Response:
        now, folder = standing(space, known(space, name)), space.runs / name
        log = log_of(space, name)
        judging = judging_of(space, name)
        other = against if against and is_name(against) and space.config(against) else ""
        text, reached = _end_of(log)
        return page(
            request, "run.html.j2", run=now, config=leaves(space.config(name)), samples=samples_of(folder),
            log=text, log_to=reached, others=[n for n in space.run_names() if n != name], against=other,
            differing=difference(space.config(name), space.config(other)) if other else [],
            judged=figures.of(space, name), judging=judging.alive,
            judging_failed="" if judging.alive else judging.last_words(), has_weights=(folder / WEIGHTS).is_file(),
            has_report=(folder / "report.html").is_file(), quarantined=figures.notices(space.manifest(name)),
        )  # fmt: skip

    @router.get("/runs/{name}/curves.json")
    def curves(name: str, points: int = POINTS, log: int = 0) -> Response:
        folder = space.runs / known(space, name)
        curve = studio.curves.of(folder)
        # Records after this place come as events; those known already are told by their step.
        place = Place(log=max(log, 0))
        if curve.offset:
            place = at_end(folder / "history.jsonl", place, curve.offset)
        return JSONResponse({**curve.to_json(min(max(points, 2), 2000)), "place": str(place)})

    @router.get("/runs/{name}/events")
    def events(request: Request, name: str, after: str = "") -> Response:
        place = Place.read(request.headers.get("last-event-id") or after)
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        return StreamingResponse(
            stream(space, known(space, name), place), media_type="text/event-stream", headers=headers
        )

    @router.get("/runs/{name}/samples/{file}")
    def sample(name: str, file: str, download: bool = False) -> Response:
        folder = RunFolder(space.run(name)).samples
        return file_answer(space.file(folder, file), download, f"{name}-{file}")

    @router.get("/runs/{name}/log")
    def log(name: str) -> Response:
        path = log_of(space, known(space, name))
        if not path.is_file():
            raise Missing(f"the run {shortened(name)} has no log: it was not started from the studio")
        return file_answer(path)

    @router.get("/runs/{name}/report")
    def report(name: str) -> Response:
        path = space.file(space.run(name), "report.html")
        # It is a page of its own with scripts and pictures in it: it may draw itself and reach nothing.
        return FileResponse(path, media_type="text/html", headers={"Content-Security-Policy": DOCUMENT})

    @router.post("/runs/{name}/stop")
    def stop(name: str) -> Response:
        job_of(space, known(space, name)).stop()
        return redirect(f"/runs/{name}")

    @router.post("/runs/{name}/resume")
    async def resume(request: Request, name: str) -> Response:
        space.run(name)
        budget = (await form_of(request)).get("budget", "").strip()
        now = standing(space, name)
        if now.busy:
            raise InputError(f"{name} is at work already")
        if not now.resumable:
            raise InputError(f"{name} has no checkpoint to go on from; duplicate it to train it anew")
        length = ["--budget", _minutes(budget)] if budget else []
        arguments = ["-m", "genloom", "train", "--out", f"runs/{name}", "--resume", *length]
        job_of(space, name).start(arguments, space.root, {"model": now.model, "data_name": now.data})
        return redirect(f"/runs/{name}")

    @router.post("/runs/{name}/judge")
    def judge(name: str) -> Response:
        folder = space.run(name)
        if not (folder / WEIGHTS).is_file():
            raise InputError(f"{name} has no weights yet; judge it when its training has ended")
        judging_of(space, name).start(["-m", "genloom", "evaluate", f"runs/{name}"], space.root, {"run": name})
        return redirect(f"/runs/{name}#figures")

    @router.get("/runs/{name}/judging.json")
    def judging(name: str) -> Response:
        job = judging_of(space, known(space, name))
        return JSONResponse({"alive": job.alive, "failed": "" if job.alive else job.last_words()})


def _minutes(text: str) -> str:
    """Minutes as a person typed them, as a budget of `genloom train`. Raises InputError."""
    try:
        seconds = float(text.replace(",", ".")) * 60
    except ValueError:
        seconds = -1.0
    if not 0.5 <= seconds <= 1e9:
        raise InputError(f"the time is a number of minutes above 0, got {text[:40]!r}")
    return f"{seconds:g}"


def _end_of(path: Any) -> tuple[str, int]:
    """The end of a log, and the byte it goes to."""
    size = size_of(path)
    if not size:
        return "", 0
    with open(path, "rb") as f:
        f.seek(max(0, size - LOG_SHOWN))
        return f.read(LOG_SHOWN).decode("utf-8", "replace"), size
