"""`genloom serve`: bad input in one sentence, and a server in a process of its own from its first to its last line."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genloom.cli.serving import size_of
from genloom.core.errors import InputError

Cli = Callable[..., Any]


@pytest.fixture(scope="module")
def run(cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served") / "digits"
    settings = ("--model", "flow", "--set", "family.width=8", "--set", "train.batch=32")
    done = cli("train", "digits", *settings, "--steps", 2, "--out", folder, "--json")
    assert done.code == 0, done.err
    return folder


def test_mistakes_are_one_sentence(cli: Cli, run: Path, tmp_path: Path) -> None:
    short, template = tmp_path / "short", tmp_path / "bad.jinja"
    short.write_text("abc", "utf-8")
    template.write_text("{% for %}", "utf-8")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for arguments, words in (
            (["nope"], "there is no run"),
            ([run, run], "both called digits"),
            ([run, "--host", "0.0.0.0"], "--token-file"),
            ([run, "--host", "example.com"], "address in numbers"),
            ([run, "--token-file", tmp_path / "none"], "there is no file"),
            ([run, "--token-file", short], "at least 16"),
            ([run, "--chat-template", template], "not a template"),
            ([run, "--memory", "much"], "as in 500M or 2G"),
            ([run, "--memory", "10K"], "give a larger --memory"),
            ([run, "--port", taken.getsockname()[1]], "another --port"),
        ):
            done = cli("serve", *arguments)
            assert (done.code, done.out) == (2, ""), (arguments, done)
            assert words in done.err and "Traceback" not in done.err and done.err.count("\n") == 1, done.err


def test_a_server_from_its_first_to_its_last_line(run: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("abcdefghijklmnop-0123\n", "utf-8")
    command = [sys.executable, "-m", "genloom", "serve", run, "--port", "0", "--token-file", token, "--json"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        command, text=True, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None and process.stderr is not None
            document = json.loads(process.stdout.readline())
            assert (document["schema"], document["models"]) == ("genloom.serve/1", ["digits"])
            assert get(f"{document['address']}/health", "") == (200, {"status": "ok"})
            assert get(f"{document['address']}/v1/models", "")[0] == 401
            status, models = get(f"{document['address']}/v1/models", token.read_text().strip())
            assert status == 200 and [m["id"] for m in models["data"]] == ["digits"]
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130
            assert "Traceback" not in process.stderr.read()
        finally:
            process.kill()


def get(address: str, token: str) -> tuple[int, Any]:
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as e:
        return e.code, json.load(e)


def test_sizes() -> None:
    assert [size_of(t) for t in ("0", "10", "500M", "1.5g", "2GiB")] == [0, 10, 500 * 2**20, 3 * 2**29, 2 * 2**30]
    with pytest.raises(InputError):
        size_of("-1")
