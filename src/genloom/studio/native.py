"""The routes that every model has: what is served, samples of any modality, pictures in the form of OpenAI's API."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi import Request as HttpRequest
from fastapi.responses import JSONResponse, Response

from genloom.core.config import unknown
from genloom.core.errors import InputError
from genloom.core.spec import Grid
from genloom.run.requests import Request
from genloom.studio.errors import Refused
from genloom.studio.outputs import Outputs, outputs_of
from genloom.studio.schemas import File, GenerateRequest, ImageRequest
from genloom.studio.security import attachment
from genloom.studio.service import Service, unless_gone
from genloom.studio.shelf import Entry, Loaded


def router(service: Service) -> APIRouter:
    routes = APIRouter()

    @routes.get("/v1/models", tags=["OpenAI"])
    async def models() -> dict[str, Any]:
        """The runs that are served."""
        return {"object": "list", "data": [described(e) for e in service.shelf.entries.values()]}

    @routes.get("/v1/models/{model}", tags=["OpenAI"])
    async def model(model: str) -> dict[str, Any]:
        """One of them."""
        return described(service.shelf.entry(model))

    @routes.post("/v1/images/generations", tags=["OpenAI"], response_model=None)
    async def images(body: ImageRequest, http: HttpRequest) -> Response:
        """Pictures as PNG in base64, marked as generated. The prompt is the name of a class, or empty."""
        entry = service.shelf.entry(body.model)
        if entry.kind != "image":
            raise Refused(400, f"{entry.name} is a model of {entry.kind}: use /v1/generate", param="model")
        label = body.prompt.strip() or None
        if label is not None and label not in entry.classes:
            why = unknown(label, entry.classes, "class") if entry.classes else f"{entry.name} has no classes"
            raise Refused(
                400, f"prompt: a class of the data or nothing is what this model takes; {why}", param="prompt"
            )
        request = Request(body.n, label, service.seed(body.seed), body.options)

        def check(model: Loaded) -> None:
            spec = model.run.family.spec
            assert isinstance(spec, Grid)
            own = f"{spec.size[1]}x{spec.size[0]}"
            if body.size not in (None, "auto", own):
                raise Refused(400, f"size: this model makes pictures of {own}, got {body.size}", param="size")

        made = await generated(service, http, body.model, request, check=check, only=(".png",))
        data = [{"b64_json": base64.b64encode(f.data).decode()} for f in made.files if f.index is not None]
        return JSONResponse({"created": int(time.time()), "seed": request.seed, "data": data})

    @routes.post("/v1/generate", tags=["genloom"], response_model=None)
    async def generate(body: GenerateRequest, http: HttpRequest) -> Response:
        """Samples of any model as marked files, with their signed record: as JSON (files in base64), or as a file (a
        zip where there are several)."""
        known = contents(body.known, "known")
        source: Any = contents(body.source, "source") if isinstance(body.source, File) else body.source
        entry = service.shelf.entry(body.model)
        request = Request(
            body.n, body.label, service.seed(body.seed), body.options,
            "" if isinstance(body.prompt, File) else body.prompt, body.suffix, body.stops, body.properties or None,
            source, known, body.keep, body.where,
        )  # fmt: skip
        beginning = contents(body.prompt, "prompt") if isinstance(body.prompt, File) else None
        made = await generated(service, http, body.model, request, beginning=beginning)
        if body.format == "file":
            file = made.packed(f"{entry.name}-{request.seed}")
            headers = {**attachment(Path(file.name).name), "x-genloom-seed": str(request.seed)}
            return Response(file.data, media_type=file.media_type, headers=headers)
        return JSONResponse(as_document(entry, request, made))

    @routes.post("/v1/audio/speech", include_in_schema=False)
    async def speech() -> None:
        raise Refused(404, "no run that is served speaks: genloom has no models of speech yet")

    return routes


def described(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.name, "object": "model", "created": entry.created, "owned_by": "genloom", "kind": entry.kind,
        "family": entry.family, "classes": list(entry.classes),
    }  # fmt: skip


def contents(file: File | None, param: str) -> bytes | None:
    """Raises Refused for what is not base64."""
    try:
        return None if file is None else file.contents()
    except ValueError as e:
        raise Refused(400, f"{param}: {e}", param=param) from None


async def generated(
    service: Service,
    http: HttpRequest,
    name: str,
    request: Request,
    *,
    check: Callable[[Loaded], None] = lambda model: None,
    only: tuple[str, ...] | None = None,
    beginning: bytes | None = None,
) -> Outputs:
    """The samples of a request as files. check: of the loaded model, before anything is computed. only: endings of the
    files that are wanted. beginning: a file that the samples begin with."""
    async with service.held(name) as (model, jobs):
        check(model)
        told = request
        with tempfile.TemporaryDirectory(prefix="genloom-") as folder:
            if beginning is not None:
                request, told = begun(model, request, beginning, Path(folder))
            elif request.prompt and model.run.modality.prompt_is_file:
                raise Refused(400, 'prompt: the contents of a file are what this model takes, {"data": BASE64}')
            try:
                jobs.append(await service.submit(model, request))
            except InputError as e:
                raise Refused(400, str(e).replace(request.prompt, "the file") if beginning else str(e)) from None
        done = await unless_gone(http, jobs[0].result())
        service.metrics.samples.labels(name).inc(request.n)
        return await asyncio.to_thread(outputs_of, model.run, replace(jobs[0].ready, request=told), done.x, only)


def begun(model: Loaded, request: Request, beginning: bytes, folder: Path) -> tuple[Request, Request]:
    """The request with a file to begin with: as the modality takes it, and as it is told in records."""
    if not model.run.modality.prompt_is_file:
        raise Refused(400, "prompt: this model takes text", param="prompt")
    path = folder / "beginning"
    path.write_bytes(beginning)
    return replace(request, prompt=str(path)), replace(request, prompt=hashlib.sha256(beginning).hexdigest())


def as_document(entry: Entry, request: Request, made: Outputs) -> dict[str, Any]:
    """The answer in JSON."""
    outputs = []
    for file in made.files:
        data = base64.b64encode(file.data).decode()
        output: dict[str, Any] = {"name": file.name, "media_type": file.media_type, "index": file.index, "data": data}
        if file.index is not None:
            output["label"] = made.labels[file.index]
            if made.texts is not None:
                output["text"] = made.texts[file.index]
        outputs.append(output)
    about: dict[str, Any] = {"model": entry.name, "kind": entry.kind, "seed": request.seed}
    about |= {} if made.rows is None else {"rows": made.rows}
    return {"schema": "genloom.generate/1", **about, "outputs": outputs, "provenance": made.record}
