"""The Python API: train, plan, inspect, load."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from genloom.core.audits import Audits
from genloom.core.config import RunConfig, merge, parse_sets, read_toml, resolve
from genloom.core.device import peak_memory
from genloom.core.durations import seconds
from genloom.core.errors import InputError, Interrupted
from genloom.core.family import Family
from genloom.core.loop import Loop
from genloom.core.modality import Modality
from genloom.core.observe import History, Observer, TensorBoard
from genloom.core.rng import derive
from genloom.core.run import CONFIG, STATE, WEIGHTS, RunFolder
from genloom.core.spec import KINDS, Grid, Row, Tokens
from genloom.core.versions import versions
from genloom.data.augmenting import augmented
from genloom.data.kinds import find_kind
from genloom.data.prepare import Prepared, prepare
from genloom.families import find_family
from genloom.inspection import Inspection, estimated, judged, survey, unusual
from genloom.modalities import find_modality
from genloom.recipes import find_recipe, recipe_for, suited_recipe
from genloom.run import Run, audits_for, draw_grid, state_of
from genloom.run.adapters import write_adapter
from genloom.run.generate import finish_of
from genloom.run.planning import Plan, timed
from genloom.run.start import Start, open_start
from genloom.run.teaching import teach, teacher_of

DEFAULT_BUDGET = 600.0
PRIVATE_MODEL = "any_order"
DEFAULT_MODELS: dict[type, str] = {Grid: "flow", Tokens: "autoregressive", Row: "forest"}


@dataclass(frozen=True)
class _Job:
    """A resolved training: its data, settings and new family, and what it took over from its start."""

    prepared: Prepared
    config: RunConfig
    family: Family
    filled: dict[str, Any] | None = None

    def describe(self) -> dict[str, Any]:
        data, p = self.prepared, {n: sum(q.numel() for q in m.parameters()) for n, m in self.family.players().items()}
        return {
            "data": {
                "name": data.name,
                "digest": data.digest,
                "train": len(data.train),
                "validation": len(data.validation),
                "test": len(data.test),
                "classes": list(data.condition.classes),
                "counts": list(data.condition.counts),
                "properties": [p.name for p in data.condition.properties],
                "source": None if data.condition.source is None else data.condition.source.length,
                "quarantined": [{"origin": b.origin, "reason": b.reason} for b in data.quarantined],
                "notices": list(data.notices),
            },
            "parameters": p,
            "trained": sum(q.numel() for q in self.family.parameters() if q.requires_grad),
        }


def _layers(
    data: Any,
    model: str | None,
    recipe: str | None,
    budget: str | float | None,
    steps: int | None,
    settings: Mapping[str, Any] | None,
    config: str | Path | None,
    seed: int | None,
    start: Start | None,
    lora: bool,
    task: str | None = None,
) -> dict[str, Any]:
    """All settings given, merged in rising priority; `model` and `kind` filled in from the start or the data where
    nobody said."""
    if budget is not None and steps is not None:
        raise InputError("give either a budget or a number of steps, not both")
    asked = _nested(settings or {})
    task = task or asked.get("data", {}).get("task")
    if task and recipe is None and start is None and model in (None, DEFAULT_MODELS[Tokens]):
        recipe = recipe_for(task)
    given = merge(
        find_recipe(recipe)() if recipe else {},
        {"recipe": recipe},
        read_toml(config) if config else {},
        asked,
        {k: v for k, v in {"model": model, "seed": seed}.items() if v is not None},
        {"kind": "text", "data": {"task": task}} if task else {},
    )
    lora = lora or bool(given.get("family", {}).get("lora", {}).get("rank"))
    if lora and start is None:
        raise InputError("low-rank changes (--lora, family.lora) need weights that are there: say which by --from")
    if recipe and model and find_recipe(recipe)()["model"] != model:
        raise InputError(
            f"the recipe {recipe} is for the model {find_recipe(recipe)()['model']}, not {model}; leave --model out"
        )
    given.setdefault("kind", find_kind(data))
    if start is not None:
        if given.setdefault("model", start.model) != start.model:
            raise InputError(f"{start.origin} is a model {start.model}, not {given['model']}; leave --model out")
        if given["kind"] != start.kind:
            raise InputError(f"{start.origin} is a model of {start.kind}, but this data is {given['kind']}")
        given = merge(start.layers(lora), given, {"start": start.origin})
    form = given.get("modality", {}).get("form")
    private = given.get("train", {}).get("epsilon") is not None
    given |= {"model": given.get("model", PRIVATE_MODEL)} if private and given["kind"] == "table" else {}
    given.setdefault("model", DEFAULT_MODELS[KINDS.get(str(form), find_modality(given["kind"]).forms[0])])
    train = given.get("train", {})
    if budget is not None:
        train = {**train, "budget": seconds(budget), "steps": None}
    elif steps is not None:
        train = {**train, "steps": steps, "budget": None}
    elif train.get("steps") is None and train.get("budget") is None:
        usual = find_family(given["model"]).private_defaults.get("train", {}) if private else {}
        train = {**train, **({"steps": usual["steps"]} if "steps" in usual else {"budget": DEFAULT_BUDGET})}
    return merge(given, {"train": train})


def _nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """`{"family.latent": 32}` and `{"family": {"latent": 32}}` both as the latter."""
    out: dict[str, Any] = {}
    for key, value in settings.items():
        node: Any = _nested(value) if isinstance(value, Mapping) else value
        for part in reversed(key.split(".")):
            node = {part: node}
        out = merge(out, node)
    return out


def _job(
    data: Any,
    values: Mapping[str, Any],
    notify: Callable[[str], None],
    start: Start | None = None,
    state: Mapping[str, Any] | None = None,
) -> _Job:
    """start: whose weights the family gets. state: the modality's that its data follows."""
    family, modality = find_family(values["model"]), find_modality(values["kind"])
    layers = [_usual(modality, family, values), values, _data_section(data)]
    # Settings are checked before the data is read: a slip should not cost a minute.
    checked = resolve(layers, modality.Config, family.Config)
    teacher = teacher_of(checked.family)
    if teacher is not None and state is None:
        state = teacher.modality.state()
    prepared = prepare(data, checked.kind, checked.modality.model_dump(), checked.data, notify, state)
    spec = prepared.modality.spec
    if not isinstance(spec, family.accepts):
        takes = " or ".join(t.__name__ for t in family.accepts)
        instead = next((m for form, m in family.elsewhere.items() if KINDS[form] is type(spec)), None)
        more = f"; the model {instead} is its like for those: --model {instead}" if instead else ""
        raise InputError(f"{checked.model} takes {takes}, but {prepared.name} is {type(spec).__name__}{more}")
    suited = None if checked.recipe or checked.start else suited_recipe(checked.model, prepared)
    if suited is not None:
        notify(f"starting from the recipe {suited}, which suits this data; --recipe chooses another")
        tested = {k: v for k, v in find_recipe(suited)().items() if k in ("family", "train")}
        tested["train"] = {k: v for k, v in tested.get("train", {}).items() if k not in ("budget", "steps")}
        layers = [layers[0], tested, {"recipe": suited}, *layers[1:]]
    config = resolve([*layers, {"recipe": suited or checked.recipe}], modality.Config, family.Config)
    torch.manual_seed(derive(config.seed, "init"))
    made = family(prepared.modality.spec, config.family, prepared.condition)
    augmented(prepared, made.window())  # refuses before anything is written
    if teacher is not None:
        teach(made, teacher)
    filled = None
    if start is not None:
        filled = start.fill(made)
        share = filled["copied"] / max(1, filled["parameters"])
        new = f"; new: {len(filled['fresh'])} tensors" if filled["fresh"] else ""
        notify(
            f"{filled['copied']:,} of {filled['parameters']:,} weights ({share:.1%}) are those of {start.origin}{new}"
        )
    return _Job(prepared, config, made, filled)


def _usual(modality: type[Modality[Any]], family: type[Family], values: Mapping[str, Any]) -> dict[str, Any]:
    """What suits the family for the form that the data takes: of several, the first that the family takes."""
    form = next((name for f in modality.forms for name, cls in KINDS.items() if f is cls and f in family.accepts), None)
    usual = family.defaults(form, values.get("train", {}).get("epsilon") is not None)
    return merge(usual, {"modality": {"form": form}} if len(modality.forms) > 1 and form is not None else {})


def _data_section(data: Any) -> dict[str, Any]:
    return {"data": {"path": str(data)}} if isinstance(data, str | Path) else {}


def train(
    data: Any = None,
    *,
    model: str | None = None,
    recipe: str | None = None,
    budget: str | float | None = None,
    steps: int | None = None,
    settings: Mapping[str, Any] | None = None,
    config: str | Path | None = None,
    out: str | Path | None = None,
    start: str | Path | None = None,
    lora: bool = False,
    task: str | None = None,
    resume: bool = False,
    seed: int | None = None,
    target: str | None = None,
    observers: Sequence[Observer] = (),
    notify: Callable[[str], None] | None = None,
) -> Run:
    """Train a generator on `data` and return the run.

    data: a folder, file, archive or catalog name, an array [N, H, W] or [N, H, W, C], a list of PIL images, a pandas
    DataFrame. model: a
    family's name. budget: training time ("10m" or seconds); steps: optimiser steps instead. settings: `{"family.width":
    64}` or nested. config: a TOML file. out: the run folder, by default runs/<data>-<model>. start: a run, a folder of
    transformers or a name on the hub whose weights the training begins with; lora: train low-rank changes of them.
    task: translate, summarise or chat, for pairs and conversations. resume: go on with the run in `out`; then only
    budget or steps may change. target: of a table, the column that people tell from the others. notify: called with
    each notice.

    Raises InputError for bad input, Interrupted after Ctrl-C or SIGTERM, GenloomError when training fails.
    """
    notify = notify or (lambda _: None)
    if target is not None:
        settings = merge(_nested(settings or {}), {"modality": {"target": target}})
    if resume:
        folder, job = _resumed(
            data, out, budget, steps, [model, recipe, settings, config, seed, start, lora or None, task], notify
        )
        audits = audits_for(job.prepared, job.config, notify)
    else:
        if data is None:
            raise InputError("say what to train on: a folder, a file, an archive or a name from `genloom list data`")
        if out is not None and (Path(out) / CONFIG).exists():
            RunFolder.create(Path(out))  # refuses before the data is read
        begun = open_start(start) if start is not None else None
        values = _layers(data, model, recipe, budget, steps, settings, config, seed, begun, lora, task)
        job = _job(data, values, notify, begun, begun.state if begun is not None else None)
        audits = audits_for(job.prepared, job.config, notify)  # refuses before anything is written
        folder = RunFolder.create(
            Path(out) if out is not None else Path("runs") / f"{job.prepared.name}-{job.config.model}"
        )
        folder.write_json(CONFIG, job.config.model_dump(mode="json"))
        folder.write_json(STATE, state_of(job.prepared))
        folder.update_manifest(**job.describe(), versions=versions(), marks=job.config.train.marks, started=_now())
        if job.filled is not None:
            folder.update_manifest(start=job.filled)
    return _train(folder, job, audits, resume, observers, data)


def _train(
    folder: RunFolder, job: _Job, audits: Audits | None, resume: bool, observers: Sequence[Observer], data: Any
) -> Run:
    modality = job.prepared.modality
    watching: list[Observer] = [*observers]
    loop = Loop(
        job.family,
        job.prepared.train,
        job.config.train,
        job.config.seed,
        checkpoints=folder.resume,
        observers=watching,
        augment=augmented(job.prepared, job.family.window()),
        draw=lambda family, step, name: draw_grid(
            family, modality, folder.samples / name, finish=finish_of(folder, job.config, step), prepared=job.prepared
        ),
        held_out=job.prepared.validation,
        audits=audits,
    )
    step = loop.load() if resume else 0
    settings = {
        f"{s}.{k}": v
        for s, part in job.config.model_dump(mode="json").items()
        if isinstance(part, dict)
        for k, v in part.items()
    }
    watching += [History(folder.history, step), TensorBoard(folder.tensorboard, step, settings)]
    info = {
        "name": folder.path.name,
        "model": job.config.model,
        "step": step,
        "steps": job.config.train.steps,
        "budget": job.config.train.budget,
        "device": str(loop.device),
        "precision": loop.precision,
        **job.describe(),
    }
    for observer in watching:
        observer.started(info)
    try:
        summary = loop.run()
    except Interrupted as e:
        source = data if isinstance(data, str | Path) else "DATA"
        again = f"genloom train {source} --out {folder.path} --resume"
        raise Interrupted(f"{e}; go on with: {again}", e.exit_code - 128) from None
    folder.save_weights({n: t.cpu() for n, t in job.family.state_dict().items()})
    write_adapter(folder.path, job.family, job.config)
    folder.update_manifest(
        **summary,
        device=str(loop.device),
        precision=loop.precision,
        threads=torch.get_num_threads(),
        peak_memory_bytes=peak_memory(loop.device),
        finished=_now(),
    )
    run = Run(folder, job.config, job.family, modality, job.prepared.condition, job.prepared.source)
    finish = finish_of(folder, job.config, summary["steps"], folder.manifest()["files"][WEIGHTS])
    picture, path = draw_grid(job.family, modality, folder.samples / "final", finish=finish, prepared=job.prepared)
    for observer in watching:
        observer.samples(summary["steps"], picture, path)
        observer.finished(summary)
    run.write_report()
    return run


def _resumed(
    data: Any,
    out: str | Path | None,
    budget: str | float | None,
    steps: int | None,
    others: Sequence[Any],
    notify: Callable[[str], None],
) -> tuple[RunFolder, _Job]:
    """The run folder to go on with and its job, after checking that settings and data are the same."""
    if out is None:
        raise InputError("say which run to go on with: --out RUN --resume")
    if any(o is not None and o != {} for o in others):
        raise InputError("a resumed run keeps its settings; only --budget or --steps may be given with --resume")
    folder = RunFolder.open(Path(out))
    values = folder.read_json(CONFIG)
    if data is None:
        data = values["data"]["path"]
        if not data:
            raise InputError(f"the run {out} was trained on data in memory; give the same data to resume it")
    if budget is not None or steps is not None:
        length = {"budget": seconds(budget) if budget is not None else None, "steps": steps}
        values = merge(values, {"train": length})
    job = _job(data, values, notify, state=folder.read_json(STATE)["modality"] if values.get("start") else None)
    if job.prepared.digest != folder.manifest()["data"]["digest"]:
        raise InputError(
            f"the data at {data} has changed since {out} began; restore it, or start a new run with another --out"
        )
    folder.write_json(CONFIG, job.config.model_dump(mode="json"))
    return folder, job


def plan(
    data: Any,
    *,
    model: str | None = None,
    recipe: str | None = None,
    budget: str | float | None = None,
    steps: int | None = None,
    settings: Mapping[str, Any] | None = None,
    config: str | Path | None = None,
    out: str | Path | None = None,
    start: str | Path | None = None,
    lora: bool = False,
    task: str | None = None,
    seed: int | None = None,
    notify: Callable[[str], None] | None = None,
) -> Plan:
    """Resolve a training as `train` would and time a few steps of its first stage on a scratch copy. Writes no run."""
    if out is not None and (Path(out) / CONFIG).exists():
        RunFolder.create(Path(out))
    begun = open_start(start) if start is not None else None
    values = _layers(data, model, recipe, budget, steps, settings, config, seed, begun, lora, task)
    job = _job(data, values, notify or (lambda _: None), begun, begun.state if begun is not None else None)
    return timed(job.config, job.family, job.prepared, job.describe())


def inspect(
    data: Any,
    *,
    model: str | None = None,
    recipe: str | None = None,
    budget: str | float | None = None,
    steps: int | None = None,
    settings: Mapping[str, Any] | None = None,
    config: str | Path | None = None,
    seed: int | None = None,
    notify: Callable[[str], None] | None = None,
) -> Inspection:
    """Look at `data` before training: what is in it, what to mend, what a training as `train` would start it takes.

    Nothing is trained. Data that training would refuse give a finding of severity "error". Raises InputError when there
    is no such data or a setting is wrong.
    """
    notify = notify or (lambda _: None)
    if data is None:
        raise InputError("say what to look at: a folder, a file, an archive or a name from `genloom list data`")
    values = _layers(data, model, recipe, budget, steps, settings, config, seed, None, False)
    family, modality = find_family(values["model"]), find_modality(values["kind"])
    layers = [_usual(modality, family, values), values, _data_section(data)]
    checked = resolve(layers, modality.Config, family.Config)
    found = survey(data, checked.kind, checked.modality.model_dump(), checked.data, notify)
    if found.failure:
        return judged(found, found.failure)
    try:
        job = _job(data, values, lambda _: None)
    except InputError as e:
        return judged(found, str(e))
    notify("looking for outliers and timing a few steps")
    odd, plan = unusual(job.prepared), timed(job.config, job.family, job.prepared, job.describe())
    estimate = estimated(job.prepared, job.family, job.config, plan.seconds_per_step, plan.steps, plan.seconds)
    return judged(found, "", [odd] if odd else [], estimate, job.prepared)


def load(path: str | Path) -> Run:
    """The run in a folder. Raises InputError when it is not a run, is incomplete or was altered."""
    return Run.open(Path(path))


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


__all__ = ["Plan", "inspect", "load", "parse_sets", "plan", "train"]
