"""`compare`: train under an equal budget, or take runs that are there; judge them alike; one table and one page."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genloom.api import DEFAULT_BUDGET
from genloom.comparison.document import PAGE, RESULT, document_of
from genloom.comparison.entries import (
    Contender,
    Entry,
    Plan,
    as_sets,
    claim,
    contenders,
    entries,
    listed,
    make_folder,
    numbers,
    settings_of_data,
)
from genloom.comparison.judging import data_of, judge_all
from genloom.comparison.lock import Lock
from genloom.comparison.members import Member, check_runs
from genloom.comparison.page import write_page
from genloom.comparison.training import progress_of, train_all
from genloom.comparison.watching import Board, Silent, State, Watcher
from genloom.core.config import DataConfig, parse_sets, validate
from genloom.core.durations import seconds
from genloom.core.errors import InputError, Interrupted
from genloom.core.files import write_json
from genloom.core.run import RunFolder
from genloom.data.kinds import find_kind
from genloom.data.prepare import Prepared, prepare
from genloom.modalities import find_modality


@dataclass(frozen=True)
class Comparison:
    """What came out: `document` is comparison.json (docs/cli.md), `folder` holds it and comparison.html."""

    folder: Path
    document: Mapping[str, Any]

    @property
    def verdict(self) -> str:
        return str(self.document["verdict"])

    @property
    def page(self) -> Path:
        return self.folder / PAGE

    @property
    def failed(self) -> dict[str, str]:
        """The runs that failed and why, one sentence each."""
        return {r["name"]: r["error"] for r in self.document["runs"] if r["error"]}


def compare(
    data: str | Path | Sequence[str | Path],
    *,
    models: str | Sequence[str] | None = None,
    recipes: str | Sequence[str] | None = None,
    seeds: str | Sequence[int] = (0,),
    budget: str | float | None = None,
    steps: int | None = None,
    settings: Mapping[str, Any] | Sequence[str] | None = None,
    n: int | None = None,
    out: str | Path | None = None,
    watcher: Watcher | None = None,
    notify: Callable[[str], None] | None = None,
) -> Comparison:
    """Compare models on `data`, or runs that are there when `data` is a list of run folders.

    models: families, as "vae" or "vae:RECIPE"; recipes: recipes by name; without both all families that take the data.
    budget or steps: of each training (10 minutes). settings: for all, as in `train`, or as after --set. seeds: each
    model is trained with each. n: samples to judge. out: by default runs/compare-<data>. The same call goes on where an
    earlier one stopped: what is trained stays, what is half trained is resumed, what is judged alike stays.

    Raises InputError for bad input and for runs of different data, Interrupted after Ctrl-C or SIGTERM. A training that
    fails raises nothing: see `Comparison.failed`.
    """
    if n is not None and n < 2:
        raise InputError(f"at least 2 samples are judged, got {n}")
    watcher = watcher or Silent(notify)
    if not isinstance(data, str | Path):
        given = {"models": models, "recipes": recipes, "budget": budget, "steps": steps, "settings": settings}
        return _of_runs([Path(d) for d in _paths(data)], given, n, out, watcher)
    if budget is not None and steps is not None:
        raise InputError("give either a budget or a number of steps, not both")
    length = ("steps", float(steps)) if steps is not None else ("budget", seconds(budget or DEFAULT_BUDGET))
    sets = list(as_sets(settings)) if isinstance(settings, Mapping) else list(settings or [])
    kind = find_kind(data)
    chosen = contenders(listed(models, "--models"), listed(recipes, "--recipes"), kind)
    plan = Plan(str(data), kind, length, tuple(sets))
    return _trained(plan, chosen, numbers(seeds), n, out, watcher)


def _paths(data: Any) -> list[Any]:
    if not isinstance(data, list | tuple) or not all(isinstance(d, str | Path) for d in data):
        raise InputError(
            f"compare takes a folder, a file or a name of data, or a list of run folders; got {type(data).__name__}; "
            "save data in memory to a file first"
        )
    return list(data)


# -- training and judging ------------------------------------------------------------------------------


def _trained(
    plan: Plan, chosen: list[Contender], seeds: list[int], n: int | None, out: str | Path | None, watcher: Watcher
) -> Comparison:
    wanted = entries(chosen, seeds)
    given = parse_sets(plan.sets)
    shared = settings_of_data(chosen, plan.kind, given)
    modality = validate(find_modality(plan.kind).Config, shared["modality"], "modality")
    where = validate(DataConfig, {**shared["data"], "path": plan.data}, "data")
    data = prepare(plan.data, plan.kind, modality.model_dump(), where, watcher.notice)
    folder = Path(out) if out is not None else Path("runs") / f"compare-{data.name}"
    again = plan.command(chosen, seeds, n, folder)
    claim(folder, plan)
    with Lock(folder / ".lock", watcher.notice) as lock:
        _same_data(data, wanted, folder)
        board = Board([e.name for e in wanted], watcher)
        with _going_on(again):
            failed = train_all(wanted, plan, folder, lock, board)
            folders = {e.name: folder / e.name for e in wanted if e.name not in failed}
            judged, unjudged = judge_all(folders, n, lambda: data, board, watcher.notice) if folders else ({}, {})
        errors = failed | unjudged
        members = [
            Member(e.contender.label, e.name, folder / e.name, judged.get(e.name), errors.get(e.name, ""))
            for e in wanted
        ]
        return _written(folder, data.name, members, dict([plan.length]))


def _same_data(data: Prepared, wanted: Sequence[Entry], folder: Path) -> None:
    """Raises InputError when an entry was trained on what the data was before."""
    for entry in wanted:
        run = folder / entry.name
        if progress_of(run) != "absent":
            known = RunFolder(run).manifest().get("data", {}).get("digest")
            if known != data.digest:
                raise InputError(
                    f"the data {data.name} has changed since {run} was trained on it; restore it, or choose another "
                    "folder with --out"
                )


def _of_runs(
    runs: list[Path], given: Mapping[str, Any], n: int | None, out: str | Path | None, watcher: Watcher
) -> Comparison:
    if len(runs) < 2:
        raise InputError("a comparison needs two runs or more, or DATA to train several models on")
    wrong = next((k for k, v in given.items() if v is not None), None)
    if wrong is not None:
        raise InputError(f"runs that are trained keep their settings; leave {wrong} out, or give DATA in their place")
    names = check_runs(runs)
    folders = dict(zip(names, runs, strict=True))
    data = str(RunFolder(runs[0]).manifest()["data"]["name"])
    folder = Path(out) if out is not None else Path("runs") / f"compare-{data}-runs"
    make_folder(folder)
    board = Board(names, watcher)
    for name, run in folders.items():
        board.set(name, State.TRAINED, run)
    with _going_on("the same command"):
        judged, errors = judge_all(folders, n, lambda: data_of(runs, watcher.notice), board, watcher.notice)
    members = [Member(name, name, run, judged.get(name), errors.get(name, "")) for name, run in folders.items()]
    return _written(folder, data, members, {})


def _written(folder: Path, data: str, members: Sequence[Member], length: Mapping[str, float]) -> Comparison:
    document = document_of(folder, data, members, length)
    write_json(folder / RESULT, document)
    write_page(folder, document, members)
    return Comparison(folder, document)


# -- signals ------------------------------------------------------------------------------


class _Stopped(BaseException):
    """SIGTERM, while nothing is at work that has a checkpoint to write."""


@contextmanager
def _going_on(again: str) -> Iterator[None]:
    """Ctrl-C and SIGTERM become an Interrupted that says how to go on."""

    def stop(number: int, frame: Any) -> None:
        raise _Stopped

    old = None
    if threading.current_thread() is threading.main_thread():
        old = signal.signal(signal.SIGTERM, stop)
    number = 0
    try:
        yield
    except Interrupted as e:
        number = e.exit_code - 128
    except KeyboardInterrupt:
        number = signal.SIGINT
    except _Stopped:
        number = signal.SIGTERM
    finally:
        if old is not None:
            signal.signal(signal.SIGTERM, old)
    if number:
        raise Interrupted(f"stopped; nothing is lost; go on with: {again}", int(number))


__all__ = ["Comparison", "compare"]
