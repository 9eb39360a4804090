"""How a run stands, from what is on disk alone: at work, stopped, failed or finished, how far, and what it says."""

from __future__ import annotations

import contextlib
import json
import os
import re
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from genloom.core.observe import read_history
from genloom.core.run import CONFIG, MANIFEST, RunFolder
from genloom.studio.pages.jobs import LOG, STOP, Job
from genloom.studio.pages.workspace import Workspace, is_name

State = Literal["preparing", "running", "stopping", "stopped", "failed", "unfinished", "finished"]
BUSY: frozenset[State] = frozenset({"preparing", "running", "stopping"})
STEP = re.compile(r"step-(\d+)")
FILES = (CONFIG, MANIFEST, "history.jsonl", "resume")  # of a run, by which it is seen to change
LAST = 8192  # bytes at the end of a history that are read for its last record


def job_of(space: Workspace, run: str) -> Job:
    """The training of a run."""
    return Job(space.own / "train" / run)


def judging_of(space: Workspace, run: str) -> Job:
    """The evaluation of a run."""
    return Job(space.own / "judge" / run)


@dataclass(frozen=True)
class Standing:
    """name: the run's. fraction: of the training, 0 to 1; None before its first record. left: seconds that it still
    takes. sentence: why it failed. losses: last ones by player. created: ISO 8601."""

    name: str
    state: State
    model: str
    kind: str
    data: str
    recipe: str | None
    fraction: float | None
    step: int | None
    seconds: float | None
    left: float | None
    losses: dict[str, float]
    parameters: int | None
    sentence: str
    created: str
    resumable: bool

    @property
    def busy(self) -> bool:
        return self.state in BUSY


def standing(space: Workspace, name: str) -> Standing:
    """Of a run, or of a training that has no folder yet. That of one at rest is kept until one of its files changes."""
    job, run = f"{space.own}/train/{name}/", f"{space.runs}/{name}/"
    files = (f"{job}job.json", f"{job}process.json", f"{job}{STOP}", *(f"{run}{f}" for f in FILES))
    changed = tuple(map(_changed, files))
    kept = space.standings.get(name, changed)
    if kept is not None:
        with contextlib.suppress(TypeError):  # of another version
            return Standing(**kept)
    found = _standing(space, name)
    if not found.busy:
        space.standings.put(name, changed, asdict(found))
    return found


def _changed(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


def _standing(space: Workspace, name: str) -> Standing:
    folder = space.runs / name
    job, config, manifest = job_of(space, name), space.config(name), space.manifest(name)
    asked, record = job.asked, last_record(folder / "history.jsonl")
    state, sentence = _state(job, folder, manifest, record)
    fraction = 1.0 if state == "finished" else record.get("fraction")
    seconds = manifest.get("seconds") if state == "finished" else record.get("seconds")
    left = seconds * (1 - fraction) / fraction if state == "running" and fraction and seconds is not None else None
    data = manifest.get("data", {}).get("name") or asked.get("data_name") or ""
    counts = [n for n in (manifest.get("parameters") or {}).values() if isinstance(n, int)]
    losses = {k: v for k, v in (record.get("losses") or {}).items() if isinstance(v, int | float)}
    return Standing(
        name, state, str(config.get("model") or asked.get("model") or ""), str(config.get("kind") or ""), str(data),
        config.get("recipe") or asked.get("recipe"), fraction, record.get("step"), seconds, left, losses,
        sum(counts) or None, sentence, str(manifest.get("started") or asked.get("created") or ""),
        (folder / CONFIG).is_file() and any((folder / "resume").glob("step-*.safetensors")),
    )  # fmt: skip


def _state(job: Job, folder: Path, manifest: dict[str, Any], record: dict[str, Any]) -> tuple[State, str]:
    if job.alive:
        return ("stopping" if job.stopped else "running" if record else "preparing"), ""
    if manifest.get("finished") and _after(manifest["finished"], job.asked.get("created")):
        return "finished", ""
    if job.exists:
        return ("stopped", "") if job.stopped else ("failed", job.last_words())
    return "unfinished", ""


def _after(finished: Any, created: Any) -> bool:
    """Whether the end that the manifest tells of is that of the last job and not of an earlier one."""
    try:
        return not created or datetime.fromisoformat(str(finished)) >= datetime.fromisoformat(str(created))
    except (ValueError, TypeError):
        return True


def last_record(path: Path) -> dict[str, Any]:
    """The last whole record of a history, empty where there is none."""
    try:
        with open(path, "rb") as f:
            size = os.fstat(f.fileno()).st_size
            f.seek(max(0, size - LAST))
            lines = f.read().split(b"\n")
    except OSError:
        return {}
    for line in reversed(lines):
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and isinstance(record.get("step"), int):
            return record
    return next(iter(reversed(read_history(path))), {}) if size > LAST else {}


def all_standings(space: Workspace) -> list[Standing]:
    """Runs and trainings that have no folder yet, those that began last first."""
    jobs = space.own / "train"
    names = {n for n in os.listdir(space.runs) if is_name(n)} | set(os.listdir(jobs) if jobs.is_dir() else ())
    with space.looking:
        found = [standing(space, n) for n in names]
        space.standings.save(sorted(names))
    return sorted((s for s in found if s.model), key=lambda s: (s.created, s.name), reverse=True)


@dataclass(frozen=True)
class Drawn:
    """A picture or text of samples. step: when in the training; None of the finished model."""

    name: str
    step: int | None
    is_text: bool


def samples_of(run: Path) -> list[Drawn]:
    """What was drawn while a run trained, in order, the finished model's last."""
    found = []
    folder = RunFolder(run).samples
    for path in folder.glob("*") if folder.is_dir() else ():
        match = STEP.fullmatch(path.stem)
        if path.suffix in (".png", ".txt") and (match or path.stem == "final"):
            found.append(Drawn(path.name, int(match[1]) if match else None, path.suffix == ".txt"))
    return sorted(found, key=lambda d: (d.step is None, d.step or 0))


def log_of(space: Workspace, run: str) -> Path:
    return job_of(space, run).folder / LOG
