"""A new training: which data, which family and recipe, for how long, with which settings; what it will take; begin."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from genloom.core.config import DataConfig, RunConfig, Settings, TrainConfig, merge, resolve
from genloom.core.errors import InputError
from genloom.core.spec import KINDS
from genloom.families import find_family
from genloom.modalities import find_modality
from genloom.recipes import recipe_module, recipe_names
from genloom.studio.pages.form import Field, fields, given, toml, typed
from genloom.studio.pages.jobs import JOB, Job, read
from genloom.studio.pages.render import form_of, page, redirect, words_of
from genloom.studio.pages.run import leaves
from genloom.studio.pages.sets import Chosen, Named, find_set, kind_of, looking, named_sets
from genloom.studio.pages.standing import all_standings, job_of
from genloom.studio.pages.starts import brought, chosen_start, has_lora, start_of, startable
from genloom.studio.pages.studio import Studio
from genloom.studio.pages.tasks import RESULT
from genloom.studio.pages.words import Words
from genloom.studio.pages.workspace import Missing, Workspace, free_name, new_name

PLANS = 20  # kept
SECTIONS: dict[str, type[Settings]] = {"data": DataConfig, "train": TrainConfig}
OWN = frozenset({"data.path", "train.steps", "train.budget"})  # said elsewhere on the page
MINUTES = 10.0
NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Model:
    """A family as a person chooses it. good: what it is good for."""

    name: str
    good: str


@dataclass(frozen=True)
class Recipe:
    """A recipe as a person chooses it. expect: what a run of it took and reached. mine: tested on the chosen data."""

    name: str
    good: str
    data: str
    time: str
    score: str
    mine: bool


def models(kind: str, words: Words) -> list[Model]:
    """The families that can learn this kind of data."""
    from genloom.core.discover import names

    forms, out = find_modality(kind).forms, []
    for name in names("genloom.families"):
        family = find_family(name)
        if any(issubclass(form, family.accepts) for form in forms):
            told = (sys.modules[family.__module__].__doc__ or "").split("\n\n")[0].replace("\n", " ").strip()
            out.append(Model(name, words.find(f"model.{name}", told)))
    return sorted(out, key=lambda m: m.name != default_model(kind))


def recipes(kind: str, model: str, data: str, words: Words) -> list[Recipe]:
    """The recipes for this kind of data and family, those tested on the data first."""
    out = []
    for name in recipe_names():
        module = recipe_module(name)
        values, expect = module.recipe(), getattr(module, "EXPECT", {})
        if values.get("kind", "image") == kind and values["model"] == model:
            told = (module.__doc__ or "").split("\n\n")[0].replace("\n", " ").strip()
            out.append(
                Recipe(
                    name,
                    words.find(f"recipe.{name}", told),
                    expect.get("data", ""),
                    expect.get("time", ""),
                    expect.get("score", ""),
                    expect.get("data") == data,
                )
            )
    return sorted(out, key=lambda r: not r.mine)


def default_model(kind: str) -> str:
    from genloom.api import DEFAULT_MODELS

    return DEFAULT_MODELS[find_modality(kind).forms[0]]


def base(kind: str, model: str, recipe: str, start: Mapping[str, Any] = NOTHING) -> dict[str, Any]:
    """The settings that a training has when nothing else is said. start: those that come with weights."""
    family, modality = find_family(model), find_modality(kind)
    form = next((n for f in modality.forms for n, c in KINDS.items() if f is c and f in family.accepts), None)
    formed = {"modality": {"form": form}} if len(modality.forms) > 1 and form else {}
    return merge(
        {"model": model, "kind": kind}, family.defaults(form, False), formed,
        recipe_module(recipe).recipe() if recipe else {}, start,
    )  # fmt: skip


def sections(kind: str, model: str, recipe: str, start: Mapping[str, Any] = NOTHING) -> dict[str, list[Field]]:
    """The fields of the form by section."""
    classes = {"modality": find_modality(kind).Config, "family": find_family(model).Config, **SECTIONS}
    layers = base(kind, model, recipe, start)
    config = resolved(layers, kind, model).model_dump(mode="json")
    return {
        name: [f for f in fields(cls, name, config.get(name)) if f.name not in OWN] for name, cls in classes.items()
    }


def resolved(layers: Mapping[str, Any], kind: str, model: str) -> RunConfig:
    """The settings object. Raises InputError for a value that is not allowed."""
    return resolve([layers], find_modality(kind).Config, find_family(model).Config)


@dataclass(frozen=True)
class Asked:
    """A training as the form asks for it. start: the run whose weights it begins with; lora: it learns changes of low
    rank alone."""

    chosen: Chosen
    kind: str
    model: str
    recipe: str
    budget: float | None
    steps: int | None
    seed: int
    settings: dict[str, Any]
    name: str
    start: str = ""
    lora: bool = False

    def arguments(self) -> list[str]:
        """Of python, to train it."""
        length = ["--steps", str(self.steps)] if self.steps else ["--budget", f"{self.budget:g}"]
        sets = [p for n, v in leaves(self.settings).items() for p in ("--set", f"{n}={toml(v)}")]
        return [
            "-m", "genloom", "train", str(self.chosen.data), "--model", self.model, "--out", f"runs/{self.name}",
            *(["--recipe", self.recipe] if self.recipe else []), *(["--lora"] if self.lora else []),
            *(["--from", f"runs/{self.start}"] if self.start else []), *length, "--seed", str(self.seed), *sets,
        ]  # fmt: skip


def asked(space: Workspace, form: Mapping[str, str]) -> Asked:
    """What a filled form asks for, checked. Raises InputError."""
    chosen = find_set(space, Named.read(form.get("data", "")))
    kind = kind_of(space, chosen)
    model = form.get("model", "") or default_model(kind)
    start, lora = chosen_start(space, form, kind, model)
    recipe, begun = "" if start else form.get("recipe", ""), brought(space, start, lora)
    settings = given(form, [f for part in sections(kind, model, recipe, begun).values() for f in part])
    resolved(merge(base(kind, model, recipe, begun), settings), kind, model)
    steps, budget = None, None
    if form.get("unit") == "steps":
        steps = int(_number(form.get("length", ""), "the number of steps", 1))
    else:
        budget = _number(form.get("length", "") or f"{MINUTES:g}", "the time in minutes", 0.02) * 60
    wanted = form.get("name", "").strip()
    name = new_name(wanted or f"{chosen.named.name.rsplit('.', 1)[0]}-{model}", "run")
    name = _free(space, name)
    seed = int(_number(form.get("seed", "") or "0", "the seed", 0))
    return Asked(chosen, kind, model, recipe, budget, steps, seed, settings, name, start, lora)


def _free(space: Workspace, name: str) -> str:
    """The name, or that with a number, which neither a run nor a training has."""
    while True:
        free = free_name(space.runs, name)
        if not job_of(space, free).exists:
            return free
        name = f"{name}-2"


def _number(text: str, what: str, low: float) -> float:
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        value = float("nan")
    if not low <= value <= 1e9:
        raise InputError(f"{what} is a number of at least {low:g}, got {text[:40]!r}")
    return value


def of_run(space: Workspace, run: str) -> dict[str, str]:
    """The fields of a form that asks for the training of a run again. Raises Missing."""
    space.run(run)
    config = space.config(run)
    path = str(config.get("data", {}).get("path", ""))
    own = next((d.name for d in space.datasets() if path in (str(d.path), str(space.data / d.name))), None)
    kind, model = str(config.get("kind", "image")), str(config.get("model", ""))
    recipe = str(config.get("recipe") or "")
    recipe = recipe if recipe in recipe_names() else ""
    train, begun = config.get("train", {}), start_of(space, config)
    came = brought(space, begun.get("start", ""), "lora" in begun)
    steps, budget = train.get("steps"), train.get("budget")
    values = {
        f.name: typed(leaves(config)[f.name])
        for part in sections(kind, model, recipe, came).values()
        for f in part
        if f.name in leaves(config) and typed(leaves(config)[f.name]) != f.default
    }
    return {
        **values, **begun, "data": f"own:{own}" if own else f"named:{path}", "model": model, "recipe": recipe,
        "unit": "steps" if steps else "minutes", "length": str(steps) if steps else f"{(budget or 600) / 60:g}",
        "seed": str(config.get("seed", 0)), "name": f"{run}-2",
    }  # fmt: skip


def add(router: APIRouter, studio: Studio) -> None:
    space = studio.space

    def shown(request: Request, form: Mapping[str, str], words: Words, problem: str = "") -> Response:
        """The page with a form filled in as `form` says."""
        named = Named.read(form.get("data", ""))
        try:
            chosen = find_set(space, named) if form.get("data") else None
            kind = kind_of(space, chosen) if chosen else ""
        except InputError as e:
            chosen, kind, problem = None, "", problem or str(e)
        offered = models(kind, words) if kind else []
        model = form.get("model", "")
        if kind and model not in {m.name for m in offered}:
            model = default_model(kind)
        tested = recipes(kind, model, named.name, words) if kind else []
        recipe = form.get("recipe", "")
        recipe = recipe if recipe in {r.name for r in tested} else ""
        start, lora, starts = "", False, startable(space, kind, model) if kind else []
        if form.get("start") in starts:
            start, lora = chosen_start(space, form, kind, model)
            recipe, tested = "", []
        busy = [s.name for s in all_standings(space) if s.busy] if chosen else []
        return page(
            request, "new.html.j2", 400 if problem else 200, chosen=chosen, kind=kind, own=space.datasets(),
            named=named_sets(), models=offered, model=model, recipes=tested, recipe=recipe, form=form, problem=problem,
            sections=sections(kind, model, recipe, brought(space, start, lora)) if kind else {}, starts=starts,
            start=start, lora=lora, low_rank=has_lora(model) if kind else False, busy=busy, minutes=MINUTES,
            usual=default_model(kind) if kind else "",
            looked=space.read_json(looking(space, chosen.named).folder / RESULT) if chosen else {},
        )  # fmt: skip

    @router.get("/new")
    def new(request: Request) -> Response:
        query = dict(request.query_params)
        form = {**of_run(space, query["from"]), **query} if query.get("from") else query
        return shown(request, form, words_of(request))

    @router.post("/new")
    async def begin(request: Request) -> Response:
        form = await form_of(request)

        def started() -> Response:
            try:
                job = asked(space, form)
            except InputError as e:
                return shown(request, form, words_of(request), str(e))
            job_of(space, job.name).start(
                job.arguments(), space.root,
                {"model": job.model, "recipe": job.recipe or None, "data_name": job.chosen.named.name},
            )  # fmt: skip
            return redirect(f"/runs/{job.name}")

        return await asyncio.to_thread(started)

    @router.post("/new/plan")
    async def plan(request: Request) -> Response:
        form = await form_of(request)
        key = secrets.token_hex(12)

        def started() -> None:
            job = asked(space, form)
            _tidy(space)
            plan = Job(space.own / "plan" / key)
            plan.start(
                ["-m", "genloom.studio.pages.tasks", "plan", str(plan.folder)], space.root,
                {
                    "data": str(job.chosen.data), "model": job.model, "recipe": job.recipe or None,
                    "budget": job.budget, "steps": job.steps, "settings": job.settings, "seed": job.seed,
                    "start": str(space.runs / job.start) if job.start else None, "lora": job.lora,
                },
            )  # fmt: skip

        await asyncio.to_thread(started)
        return JSONResponse({"key": key})

    @router.get("/new/plan/{key}")
    def planned(key: str) -> Response:
        job = Job(space.child(space.own / "plan", key))
        if not job.exists:
            raise Missing("this estimate is not known any more; ask for it again")
        alive = job.alive
        result = read(job.folder / RESULT)
        if not alive and not result:
            result = {"error": job.last_words() or "the estimate ended without a word; there may be too little memory"}
        return JSONResponse({"alive": alive and not result, "result": result})


def _tidy(space: Workspace) -> None:
    """Forget all but the last plans."""
    folder = space.own / "plan"
    folder.mkdir(parents=True, exist_ok=True)
    kept = sorted((p for p in folder.iterdir() if (p / JOB).exists()), key=lambda p: p.stat().st_mtime, reverse=True)
    for old in kept[PLANS:]:
        if not Job(old).alive:
            shutil.rmtree(old, ignore_errors=True)
