"""What only a process of its own can show: start-up time, signals, pipes, shell completion, `python -m genloom`."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import genloom

COMMAND = [sys.executable, "-m", "genloom"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(genloom.__file__).parents[1]), "OMP_NUM_THREADS": "1"}


def run(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**ENVIRONMENT, **changes},
        encoding="utf-8",
    )


def cpu_of_children() -> float:
    used = os.times()
    return used.children_user + used.children_system


def test_help_is_fast_and_documents_the_exit_codes() -> None:
    """CPU time, which other work on the machine does not lengthen much as it does the time on the clock."""
    times = []
    for _ in range(3):
        begin = cpu_of_children()
        done = run("--help")
        times.append(cpu_of_children() - begin)
    assert done.returncode == 0
    for word in (
        "train",
        "sample",
        "evaluate",
        "explain",
        "reconstruct",
        "interpolate",
        "list",
        "describe",
        "130",
        "143",
    ):
        assert word in done.stdout
    assert min(times) < 0.5


def test_version() -> None:
    assert run("--version").stdout == f"genloom {genloom.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["tran"], "did you mean 'train'"),
        (["train", "digits", "--bugdet", "1m"], "did you mean --budget?"),
        (["train", "digits", "--steps", "many"], "'--steps'"),
        (["sample"], "'RUN'"),
        (["list", "runz"], "'runs'"),
    ],
)
def test_wrong_usage_is_one_sentence_and_code_2(arguments: list[str], part: str) -> None:
    done = run(*arguments, "--json")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert part.lower() in done.stderr.lower()
    assert json.loads(done.stdout)["error"]["kind"] == "usage"


def test_a_closed_pipe_is_not_an_error_message() -> None:
    process = subprocess.Popen([*COMMAND, "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.wait()


def test_a_terminal_without_unicode_still_gets_the_answer(tmp_path: Path) -> None:
    (tmp_path / "跑" / "resume").mkdir(parents=True)
    (tmp_path / "跑" / "config.json").write_text('{"model": "flow"}', "utf-8")
    ascii_only = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    assert (
        json.loads(run("list", "runs", "--folder", str(tmp_path), "--json", **ascii_only).stdout)["runs"][0]["name"]
        == "跑"
    )
    done = run("list", "runs", "--folder", str(tmp_path), **ascii_only)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u8dd1" in done.stdout


@pytest.mark.parametrize(
    ("words", "answer"),
    [("genloom train --model fl", "flow"), ("genloom describe dig", "digits"), ("genloom tr", "train")],
)
def test_the_shell_completes_values(words: str, answer: str) -> None:
    done = run(_GENLOOM_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(len(words.split()) - 1))
    assert answer in done.stdout.split(), done.stderr


def wait_for(condition: Callable[[], Any], process: subprocess.Popen[str]) -> None:
    begin = time.monotonic()
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() - begin < 60, "the training did not start"
        time.sleep(0.05)


def stop_a_training(folder: Path, number: signal.Signals) -> tuple[subprocess.Popen[str], str, str]:
    """Start a long training and send it a signal when it has recorded two steps."""
    settings = ["family.width=8", "train.batch=16", "train.log_every=0.05", "train.grids=0"]
    sets = [part for setting in settings for part in ("--set", setting)]
    process = subprocess.Popen(
        [*COMMAND, "train", "digits", "--model", "flow", *sets, "--steps", "1000000", "--out", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    history = folder / "history.jsonl"
    wait_for(lambda: history.exists() and history.read_text().count("\n") >= 2, process)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "Traceback" not in err
    return process, out, err


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_sigterm_ends_a_training_with_143_and_a_way_to_go_on(tmp_path: Path) -> None:
    _, out, err = stop_a_training(tmp_path / "run", signal.SIGTERM)
    assert out == ""
    assert f"genloom train digits --out {tmp_path / 'run'} --resume" in err.splitlines()[-1]
    assert list((tmp_path / "run" / "resume").glob("step-*.safetensors"))


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_ctrl_c_ends_a_training_with_130_and_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    _, _, err = stop_a_training(folder, signal.SIGINT)
    stopped_at = int(re.search(r"after step (\d+)", err.splitlines()[-1])[1])  # type: ignore[index]
    done = run("train", "--out", str(folder), "--resume", "--steps", str(stopped_at + 20), "--json")
    assert done.returncode == 0, done.stderr
    assert f"from step {stopped_at:,}" in done.stderr
    steps = [json.loads(line)["step"] for line in (folder / "history.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps))
    assert steps[-1] == stopped_at + 20
