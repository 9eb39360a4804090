"""Trainings in processes of their own, by the command line that a person would use: one that fails ends no other."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from genloom.comparison.entries import Entry, Plan
from genloom.comparison.lock import Lock
from genloom.comparison.watching import Board, State
from genloom.core.errors import Interrupted
from genloom.core.run import CONFIG, MANIFEST, WEIGHTS
from genloom.core.signals import StopSignals

EVERY = 0.5  # seconds between two looks at a training
LOGS = "logs"
SOURCE = Path(__file__).parents[2]  # the folder that holds this very genloom


def progress_of(folder: Path) -> Literal["absent", "begun", "finished"]:
    """How far the training in a run folder came. "begun" can be resumed; a folder where a training ended before its
    first checkpoint counts as absent."""
    if not (folder / CONFIG).is_file():
        return "absent"
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError):
        manifest = {}
    drawn = any(folder.glob("samples/final.*"))
    if (folder / WEIGHTS).is_file() and manifest.get("finished") and drawn:
        return "finished"
    return "begun" if any(folder.glob("resume/step-*.safetensors")) else "absent"


def command(entry: Entry, plan: Plan, folder: Path) -> list[str]:
    """What trains an entry, or goes on with its training."""
    words = [sys.executable, "-m", "genloom", "train", plan.data, "--out", str(folder), "--json"]
    if progress_of(folder) == "begun":
        return [*words, "--resume"]
    words += ["--model", entry.contender.model, "--seed", str(entry.seed)]
    words += ["--recipe", entry.contender.recipe] if entry.contender.recipe else []
    return words + plan.option + [w for s in plan.sets for w in ("--set", s)]


def train_all(entries: Sequence[Entry], plan: Plan, out: Path, lock: Lock, board: Board) -> dict[str, str]:
    """Train every entry that is not trained yet, one after the other. Returns what failed: its name and why.

    Raises Interrupted after Ctrl-C or SIGTERM, when the training at work has written its checkpoint.
    """
    failed = {}
    with StopSignals() as stop:
        for entry in entries:
            folder = out / entry.name
            if progress_of(folder) == "finished":
                board.set(entry.name, State.TRAINED, folder)
                continue
            error = "" if stop.number else _train(entry, plan, folder, lock, board, stop)
            if stop.number:
                raise Interrupted("stopped", stop.number)
            if error:
                failed[entry.name] = error
            board.set(entry.name, State.FAILED if error else State.TRAINED, folder, error)
    return failed


def _train(entry: Entry, plan: Plan, folder: Path, lock: Lock, board: Board, stop: StopSignals) -> str:
    """Train one entry to its end. Returns why it failed, or an empty text."""
    if progress_of(folder) == "absent" and folder.exists():
        shutil.rmtree(folder)  # of this comparison, and with nothing in it to go on from
    logs = folder.parent / LOGS
    logs.mkdir(exist_ok=True)
    board.set(entry.name, State.TRAINING, folder)
    log = open(logs / f"{entry.name}.log", "a", encoding="utf-8")  # noqa: SIM115
    with log, tempfile.TemporaryFile("w+", encoding="utf-8") as answer:
        child = subprocess.Popen(
            command(entry, plan, folder),
            stdin=subprocess.DEVNULL,
            stdout=answer,
            stderr=log,
            env=_environment(),
            start_new_session=True,  # a terminal's Ctrl-C reaches it once, through this process
            pass_fds=[lock.handle] if lock.handle is not None else [],
        )
        lock.note(child.pid)
        try:
            _watch(child, entry, folder, board, stop)
        except BaseException:  # a second Ctrl-C
            child.kill()
            child.wait()
            raise
        finally:
            lock.note(None)
        answer.seek(0)
        said = answer.read()
    return "" if child.returncode == 0 else _reason(child.returncode, said)


def _watch(child: subprocess.Popen[bytes], entry: Entry, folder: Path, board: Board, stop: StopSignals) -> None:
    """Until the training ends; a signal is passed on once, so that it writes its checkpoint."""
    told = False
    while child.poll() is None:
        if stop.number and not told:
            told = True
            board.watcher.notice(f"stopping {entry.name}, which writes a checkpoint first")
            child.send_signal(stop.number) if os.name == "posix" else child.terminate()
        begin = time.monotonic()
        while child.poll() is None and time.monotonic() - begin < EVERY and (told or not stop.number):
            time.sleep(0.05)
        board.set(entry.name, State.TRAINING, folder)


def _environment() -> dict[str, str]:
    """That of this process, in which the same genloom is found."""
    paths = [str(SOURCE), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _reason(code: int, said: str) -> str:
    """One sentence on a training that ended with an exit code other than 0."""
    try:
        return str(json.loads(said.splitlines()[-1])["error"]["message"])
    except (IndexError, KeyError, TypeError, ValueError):
        pass
    if code < 0:
        name = signal.Signals(-code).name
        memory = "; it may have needed more memory than there is" if -code == getattr(signal, "SIGKILL", 9) else ""
        return f"its process was ended by {name}{memory}"
    return f"its process ended with exit code {code}; its log says more"
