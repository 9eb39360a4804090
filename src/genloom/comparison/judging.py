"""Judging several runs alike: one split, one feature space, one number of samples; what is judged so already stays."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genloom.comparison.watching import Board, State
from genloom.core.errors import GenloomError, InputError
from genloom.core.run import WEIGHTS, RunFolder
from genloom.data.prepare import Prepared, prepare
from genloom.evaluate.evaluation import Evaluation
from genloom.evaluate.features import features_for
from genloom.evaluate.figures import usual_number
from genloom.evaluate.report import read_evaluation
from genloom.run import Run

SEED = 0
WARM = 64  # samples drawn before the clock of the sampling speed runs


@dataclass(frozen=True)
class Setup:
    """With what evaluations were made; figures of equal setups may stand side by side. features: their digest."""

    data: str
    features: str
    n: int
    seed: int

    @classmethod
    def of(cls, evaluation: Evaluation) -> Setup:
        features, samples = evaluation.features, evaluation.samples
        return cls(evaluation.data.get("digest", ""), features.get("digest", ""), samples["n"], samples["seed"])


@dataclass(frozen=True)
class Judge:
    """Data and features, prepared once for all runs. n: samples asked for."""

    data: Prepared
    space: Any
    n: int

    @property
    def setup(self) -> Setup:
        return Setup(self.data.digest, self.space.digest, self.n, SEED)


def judge_all(
    folders: Mapping[str, Path], n: int | None, data: Callable[[], Prepared], board: Board, tell: Callable[[str], None]
) -> tuple[dict[str, Evaluation], dict[str, str]]:
    """The evaluation of the run in each folder, and what failed: its name and why.

    An evaluation stays when it is of these weights and all stand on the same setup; `data` is then not asked for.
    """
    known = {name: e for name, folder in folders.items() if (e := standing(folder)) is not None}
    setups = {Setup.of(e) for e in known.values()}
    if len(known) == len(folders) and len(setups) == 1 and n in (None, next(iter(setups)).n):
        for name, folder in folders.items():
            board.set(name, State.DONE, folder)
        return known, {}
    prepared = data()
    judge = Judge(prepared, features_for(prepared, notify=tell), n if n is not None else usual_number(prepared))
    out, failed = {}, {}
    for name, folder in folders.items():
        error = ""
        if name in known and Setup.of(known[name]) == judge.setup:
            out[name] = known[name]
        else:
            board.set(name, State.JUDGING, folder)
            try:
                out[name] = _judged(folder, judge, tell)
            except GenloomError as e:
                error = str(e)
            except Exception as e:  # one model that cannot be judged does not hide the others
                (folder / "judging.log").write_text("".join(traceback.format_exception(e)), "utf-8")
                error = f"it cannot be judged ({type(e).__name__}); {folder / 'judging.log'} says where"
        if error:
            failed[name] = error
        board.set(name, State.FAILED if error else State.DONE, folder, error)
    return out, failed


def standing(folder: Path) -> Evaluation | None:
    """The whole evaluation in a run folder, where it is of the weights that are there now."""
    evaluation, _ = read_evaluation(folder / "evaluation.json")
    if evaluation is None or evaluation.copying is None or evaluation.cost is None:
        return None
    weights = RunFolder(folder).manifest().get("files", {}).get(WEIGHTS)
    return evaluation if weights and evaluation.samples.get("weights") == weights else None


def _judged(folder: Path, judge: Judge, tell: Callable[[str], None]) -> Evaluation:
    run = Run.open(folder)
    run.sample_tensor(min(WARM, judge.n), seed=SEED)
    return run.evaluate(judge.data, n=judge.n, seed=SEED, space=judge.space, notify=tell)


def data_of(runs: Sequence[Path], tell: Callable[[str], None]) -> Prepared:
    """The data that runs were trained on, prepared as the first one says. Raises InputError when it is not there or has
    changed."""
    run = Run.open(runs[0])
    where = run.config.data
    if not where.path:
        raise InputError(f"{runs[0]} was trained on data in memory; judge each run first: run.evaluate(data)")
    prepared = prepare(where.path, run.config.kind, run.modality.config.model_dump(), where, tell)
    if prepared.digest != run.manifest["data"]["digest"]:
        raise InputError(f"the data at {where.path} has changed since {runs[0]} was trained on it; restore it")
    return prepared
