"""Data: dropped files become a data set of the workspace, and what a look at it found."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from genloom.core.errors import InputError
from genloom.studio.pages.jobs import Job, read
from genloom.studio.pages.render import file_answer, json_of, page, redirect
from genloom.studio.pages.sets import Named, find_set, looking, named_sets
from genloom.studio.pages.studio import Studio
from genloom.studio.pages.tasks import RESULT
from genloom.studio.pages.workspace import Missing, Workspace, free_name, is_name, new_name

MOST_FILE = 4 * 2**30  # bytes of one file
MOST_TOTAL = 16 * 2**30  # bytes of one upload
MOST_FILES, MOST_PARTS = 200_000, 12  # files of one upload, and folders above a file
KEEP_FREE = 2**30  # bytes of the disk that an upload leaves


@dataclass
class Tally:
    """Files and bytes of an upload."""

    files: int
    size: int


class Incoming:
    """An upload that has not ended: a folder out of sight, which becomes data as a whole or not at all."""

    def __init__(self, space: Workspace, key: str) -> None:
        """Raises Missing where there is no such upload."""
        self.space, self.folder = space, space.child(space.own / "incoming", key)
        if not self.folder.is_dir():
            raise Missing("this upload is not known any more; begin it again")

    @classmethod
    def begin(cls, space: Workspace) -> str:
        key = secrets.token_hex(12)
        (space.own / "incoming" / key).mkdir(parents=True)
        return key

    def place(self, path: str) -> Path:
        """Where a file with this path, "/" between parts, is put. Raises InputError for one that leads elsewhere."""
        parts = [p for p in path.replace("\\", "/").split("/") if p]
        if not parts or len(parts) > MOST_PARTS or not all(is_name(p) for p in parts):
            raise InputError(f"{path[:80]!r} is not a path that data can have; rename the file")
        target = self.folder.joinpath(*parts)
        if not target.resolve().is_relative_to(self.folder.resolve()):
            raise InputError(f"{path[:80]!r} leads out of the upload")
        return target

    def tally(self) -> Tally:
        """What has come so far."""
        files = [p.stat().st_size for p in self.folder.rglob("*") if p.is_file()]
        return Tally(len(files), sum(files))

    def room(self, tally: Tally) -> int:
        """Bytes that may still come. Raises InputError when there are too many files."""
        if tally.files >= MOST_FILES:
            raise InputError(f"an upload has at most {MOST_FILES:,} files; put them into an archive")
        return min(MOST_FILE, MOST_TOTAL - tally.size, shutil.disk_usage(self.folder).free - KEEP_FREE)

    def end(self, name: str) -> str:
        """Make it data called `name`, or name-2 where that is taken. Returns the name."""
        if not any(self.folder.rglob("*")):
            raise InputError("nothing was uploaded: the folder is empty")
        entries = list(self.folder.iterdir())
        # A dropped folder arrives as one folder: what is in it is the data.
        source = entries[0] if len(entries) == 1 and entries[0].is_dir() else self.folder
        name = free_name(self.space.data, name)
        source.rename(self.space.data / name)
        shutil.rmtree(self.folder, ignore_errors=True)
        return name


def add(router: APIRouter, studio: Studio) -> None:
    space = studio.space
    tallies: dict[str, Tally] = {}  # of uploads that go on; counted anew by a server that was started since

    @router.get("/data")
    def data(request: Request) -> Response:
        own = [(d, space.read_json(space.own / "look" / f"own-{d.name}" / RESULT)) for d in space.datasets()]
        return page(request, "data.html.j2", own=own, named=named_sets(), most=MOST_TOTAL)

    @router.post("/data/incoming")
    def begin() -> Response:
        return JSONResponse({"key": Incoming.begin(space)})

    @router.put("/data/incoming/{key}", max_body_size=MOST_FILE)
    async def put(request: Request, key: str, path: str) -> Response:
        incoming = Incoming(space, key)
        target = incoming.place(path)
        if key not in tallies:
            tallies[key] = await asyncio.to_thread(incoming.tally)
        tally = tallies[key]
        room = incoming.room(tally)
        target.parent.mkdir(parents=True, exist_ok=True)
        written = 0
        try:
            with open(target, "xb") as f:
                async for piece in request.stream():
                    written += len(piece)
                    if written > room:
                        raise InputError(
                            f"{path[-80:]} is too large: an upload has at most {MOST_TOTAL / 2**30:.0f} GB, a file "
                            f"{MOST_FILE / 2**30:.0f} GB, and 1 GB of the disk stays free; put large data into "
                            f"{space.data} yourself"
                        )
                    await asyncio.to_thread(f.write, piece)
        except FileExistsError:
            raise InputError(f"{path[-80:]} was uploaded twice; give each file its own name") from None
        except OSError as e:
            target.unlink(missing_ok=True)
            raise InputError(f"{path[-80:]} cannot be written: {e.strerror or e}") from None
        except BaseException:  # too large, or the person went away: no half of a file stays
            target.unlink(missing_ok=True)
            raise
        tally.files, tally.size = tally.files + 1, tally.size + written
        return JSONResponse({"bytes": written})

    @router.post("/data/incoming/{key}/end")
    async def end(request: Request, key: str) -> Response:
        incoming = Incoming(space, key)
        name = new_name(str((await json_of(request)).get("name", "")), "data")
        name = await asyncio.to_thread(incoming.end, name)
        tallies.pop(key, None)
        look(Named("own", name))
        return JSONResponse({"name": name})

    def look(named: Named) -> None:
        job = looking(space, named)
        job.start(
            ["-m", "genloom.studio.pages.tasks", "inspect", str(job.folder)], space.root,
            {"data": str(find_set(space, named).data)},
        )  # fmt: skip

    @router.get("/data/{origin}/{name}")
    def one(request: Request, origin: str, name: str) -> Response:
        chosen = find_set(space, Named(origin, name))
        job = looking(space, chosen.named)
        result = _result(job)
        state = "looking" if job.alive else "done" if result else "failed" if job.exists else "unseen"
        return page(request, "dataset.html.j2", chosen=chosen, result=result, state=state)

    @router.get("/data/{origin}/{name}/state.json")
    def state(origin: str, name: str) -> Response:
        job = looking(space, find_set(space, Named(origin, name)).named)
        return JSONResponse({"alive": job.alive, "log": _said(job)})

    @router.post("/data/{origin}/{name}/look")
    def again(origin: str, name: str) -> Response:
        chosen = find_set(space, Named(origin, name))
        look(chosen.named)
        return redirect(f"/data/{origin}/{name}")

    @router.get("/data/{origin}/{name}/shown/{file}")
    def shown(origin: str, name: str, file: str) -> Response:
        job = looking(space, find_set(space, Named(origin, name)).named)
        if not file.endswith(".png"):
            raise Missing(f"there is no picture {file[:60]!r}")
        return file_answer(space.file(job.folder, file))


def _result(job: Job) -> dict[str, Any]:
    return read(job.folder / RESULT)


def _said(job: Job) -> str:
    """The last line of a job's log."""
    try:
        lines = job.log.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return lines[-1][:200] if lines else ""
