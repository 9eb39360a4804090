"""A comparison that is stopped or killed in the middle: nothing is lost, and the same command goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import genloom
from genloom.comparison.entries import Contender, Entry, Plan
from genloom.comparison.lock import Lock
from genloom.comparison.training import command, progress_of
from genloom.core.errors import InputError

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals and flock are POSIX")

SETS = ["family.encoder_width=8", "family.decoder_width=8", "train.batch=4", "train.grids=0", "train.log_every=0.05"]
STEPS = 120
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(genloom.__file__).parents[1]), "OMP_NUM_THREADS": "1"}


def begin(folder: Path, steps: int) -> subprocess.Popen[str]:
    """A comparison in a process of its own, when its first training has recorded two steps."""
    sets = [w for s in SETS for w in ("--set", s)]
    words = ["compare", "digits", "--models", "vae,autoencoder", "--steps", str(steps), *sets, "--out", str(folder)]
    process = subprocess.Popen(
        [sys.executable, "-m", "genloom", *words], stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    history = folder / "vae-seed0" / "history.jsonl"
    wait_for(lambda: history.exists() and history.read_text().count("\n") >= 2, process)
    return process


def wait_for(condition: Callable[[], Any], process: subprocess.Popen[str]) -> None:
    start = time.monotonic()
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() - start < 240, "nothing happened"
        time.sleep(0.02)


def steps_of(run: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (run / "history.jsonl").read_text().splitlines()]


def test_sigterm_writes_a_checkpoint_and_the_same_command_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    process = begin(folder, STEPS)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 143
    assert "Traceback" not in err
    last = err.splitlines()[-1]
    assert f"go on with: genloom compare digits --models vae,autoencoder --steps {STEPS}" in last
    assert last.endswith(f"--out {folder}")
    assert progress_of(folder / "vae-seed0") == "begun" and not (folder / "autoencoder-seed0").exists()
    stopped_at = steps_of(folder / "vae-seed0")[-1]
    found = genloom.compare("digits", models="vae,autoencoder", steps=STEPS, settings=SETS, n=60, out=folder)
    assert found.failed == {}
    steps = steps_of(folder / "vae-seed0")
    assert steps == sorted(set(steps)) and steps[-1] == STEPS and stopped_at < STEPS
    assert ", from step " in (folder / "logs" / "vae-seed0.log").read_text("utf-8")


def test_a_training_that_a_killed_comparison_left_behind_is_ended_with_a_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    process = begin(folder, 1_000_000)
    with pytest.raises(InputError, match="another comparison is at work"), Lock(folder / ".lock", print):
        pass
    process.kill()
    process.wait()
    said: list[str] = []
    with Lock(folder / ".lock", said.append):
        child = json.loads((folder / ".lock").read_text())
    assert "still at work" in said[0] and child["training"] is None
    assert progress_of(folder / "vae-seed0") == "begun"
    plan = Plan("digits", "image", ("steps", 1e6), tuple(SETS))
    assert command(Entry(Contender("vae"), 0), plan, folder / "vae-seed0")[-1] == "--resume"
