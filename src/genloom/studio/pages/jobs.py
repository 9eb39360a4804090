"""Work in processes of their own that outlive page, browser and server: trainings, looks at data, evaluations.

A job is a folder: job.json (what was asked), process.json (which process does it), log.txt (what it said). Whether it
is at work is read from there, so any server, also one started later, knows it.
"""

from __future__ import annotations

import datetime
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from genloom.core.errors import InputError
from genloom.core.files import write_json

JOB, PROCESS, LOG, STOP = "job.json", "process.json", "log.txt", "stop"
TAIL = 64 * 2**10  # bytes of a log that are looked through for its last words


class Job:
    """Work kept in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / LOG

    @property
    def exists(self) -> bool:
        return (self.folder / JOB).is_file()

    @property
    def asked(self) -> dict[str, Any]:
        """What `start` was given as `note`, and "created": when."""
        return read(self.folder / JOB)

    def start(self, arguments: Sequence[str], cwd: Path, note: Mapping[str, Any]) -> None:
        """Run `python ARGUMENTS` in a session of its own; what it prints is appended to the log. Raises InputError when
        the job is at work already."""
        if self.alive:
            raise InputError("this is already at work; stop it first")
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / STOP).unlink(missing_ok=True)
        (self.folder / PROCESS).unlink(missing_ok=True)
        created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        write_json(self.folder / JOB, {**note, "created": created})
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", "NO_COLOR": "1"}
        with open(self.log, "ab") as log:
            child = subprocess.Popen(
                [sys.executable, *arguments], cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, start_new_session=True, close_fds=True,
            )  # fmt: skip
        began = _began(child.pid)
        write_json(self.folder / PROCESS, {"pid": child.pid, "began": began})
        threading.Thread(target=child.wait, daemon=True).start()  # so that it is no zombie while this server lives

    @property
    def alive(self) -> bool:
        return self._process() is not None

    def _process(self) -> psutil.Process | None:
        """The process at work. A later process with the same number began at another time."""
        known = read(self.folder / PROCESS)
        pid, began = known.get("pid"), known.get("began")
        if not isinstance(pid, int) or not isinstance(began, int | float):
            return None
        try:
            process = psutil.Process(pid)
            same = abs(process.create_time() - began) < 2.0 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return None
        return process if same else None

    def stop(self) -> None:
        """Ask it to end: a training writes a checkpoint first. Raises InputError when it is not at work."""
        process = self._process()
        if process is None:
            raise InputError("this is not at work, so there is nothing to stop")
        (self.folder / STOP).touch()
        process.send_signal(signal.SIGTERM)

    @property
    def stopped(self) -> bool:
        """Whether a person asked it to end."""
        return (self.folder / STOP).exists()

    def last_words(self) -> str:
        """The sentence with which it ended, if it said one."""
        try:
            with open(self.log, "rb") as f:
                f.seek(max(0, os.fstat(f.fileno()).st_size - TAIL))
                lines = f.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return ""
        return next((line.removeprefix("genloom: ") for line in reversed(lines) if line.startswith("genloom: ")), "")


def _began(pid: int) -> float:
    """When a process of ours began; 0 for one that has ended already."""
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return 0.0


def read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
