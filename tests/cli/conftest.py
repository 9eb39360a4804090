"""Runs the command line in this process, and trains one tiny run of each kind for the whole folder."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from genloom.cli import main


class Result(NamedTuple):
    """What a command printed and its exit code."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document, after checking that stdout is one line and nothing else."""
        assert self.out.count("\n") == 1, self.out
        document: dict[str, Any] = json.loads(self.out)
        return document


def genloom(*arguments: object) -> Result:
    """Run `genloom ARGUMENTS` in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as stopped:
        main([str(a) for a in arguments])
    assert isinstance(stopped.value.code, int)
    return Result(stopped.value.code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def cli() -> Callable[..., Result]:
    return genloom


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("运行")


FLOW = ("--model", "flow", "--set", "family.width=8", "--set", "train.batch=32")
VAE = ("--model", "vae", "--set", "train.batch=32")


def _train(folder: Path, *settings: str) -> Path:
    done = genloom("train", "digits", *settings, "--steps", 6, "--out", folder, "--json")
    assert done.code == 0, done.err
    assert done.document["run"] == str(folder)
    return folder


@pytest.fixture(scope="session")
def flow(runs: Path) -> Path:
    """A class-conditional flow trained on digits for six steps."""
    return _train(runs / "digits-flow", *FLOW)


@pytest.fixture(scope="session")
def vae(runs: Path) -> Path:
    """A model with a latent space trained on digits for six steps."""
    return _train(runs / "digits-vae", *VAE)
