"""The comparison of runs in the studio."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from genloom.studio import security
from genloom.studio.app import new_app
from genloom.studio.pages import curves, kept
from genloom.studio.pages.compare import GRID, laid
from genloom.studio.pages.curves import Curve, Curves
from genloom.studio.pages.router import pages
from genloom.studio.pages.standing import standing
from genloom.studio.pages.workspace import Workspace
from judged import evaluation, figure


def make(space: Workspace, name: str, seconds: float, frechet: float | None, **history: float) -> Path:
    folder = space.runs / name
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model": "flow", "kind": "image", "data": {"path": "digits"}}))
    told = {"data": {"name": "digits"}, "finished": "2026-01-02T00:00:00Z", "started": "2026-01-01T00:00:00Z"}
    (folder / "manifest.json").write_text(json.dumps({**told, "seconds": seconds, "parameters": {"flow": 10}}))
    if frechet is not None:
        (folder / "evaluation.json").write_text(json.dumps(evaluation(figure("frechet", frechet)).to_json()))
    lines = [{"step": i, "seconds": 2 * i, "losses": {"flow": 1 / i}, "fraction": 1.0} for i in range(1, 41)]
    (folder / "history.jsonl").write_text("".join(json.dumps(r) + "\n" for r in lines))
    return folder


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    space = Workspace(tmp_path)
    make(space, "quick", 10, 9.0)
    make(space, "slow", 90, 3.0)
    make(space, "worse", 95, 8.0)
    make(space, "unjudged", 5, None)
    return space


@pytest.fixture
def client(space: Workspace) -> Iterator[TestClient]:
    with TestClient(new_app(security.safety("127.0.0.1"), [pages(space.root)]), base_url="http://127.0.0.1:7777") as c:
        yield c


def found(client: TestClient) -> dict[str, Any]:
    block = re.search(r"data-found>(.*?)</script>", client.get("/compare").text, re.S)
    assert block is not None
    told: dict[str, Any] = json.loads(unescape(block[1]))
    return told


def test_the_table_has_facts_figures_and_the_first_curves(client: TestClient) -> None:
    told = found(client)
    rows = {r["name"]: r for r in told["runs"]}
    assert set(rows) == {"quick", "slow", "worse", "unjudged"}
    assert rows["slow"]["values"]["figure.frechet"] == 3.0 and rows["slow"]["values"]["seconds"] == 90
    assert rows["slow"]["values"]["loss"] == 1 / 40 and "figure.frechet" not in rows["unjudged"]["values"]
    column = next(c for c in told["columns"] if c["key"] == "figure.frechet")
    assert column["title"] and column["goal"] == "lower"
    assert len(told["first"]["curves"]) == 4


def test_a_figure_that_changed_is_read_again(client: TestClient, space: Workspace) -> None:
    found(client)
    time.sleep(0.01)
    path = space.runs / "slow" / "evaluation.json"
    path.write_text(json.dumps(evaluation(figure("frechet", 2.0)).to_json()))
    assert next(r for r in found(client)["runs"] if r["name"] == "slow")["values"]["figure.frechet"] == 2.0
    manifest = json.loads((space.runs / "slow" / "manifest.json").read_text())
    (space.runs / "slow" / "manifest.json").write_text(json.dumps({**manifest, "seconds": 91}))
    assert standing(space, "slow").seconds == 91


def test_a_later_server_reads_what_is_kept(space: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "WORTH", 1)
    with TestClient(new_app(security.safety("127.0.0.1"), [pages(space.root)]), base_url="http://127.0.0.1:7777") as c:
        first = found(c)
    names = {"standings.json", "judged.json"}
    assert names <= {p.name for p in space.own.iterdir()}

    def never(*_: object) -> None:
        raise AssertionError("it was read again")

    with monkeypatch.context() as patched:
        patched.setattr("genloom.studio.pages.standing._standing", never)
        patched.setattr("genloom.studio.pages.compare._judged", never)
        again = TestClient(new_app(security.safety("127.0.0.1"), [pages(space.root)]), base_url="http://127.0.0.1:7777")
        with again as c:
            assert found(c) == first
    for name in names:  # damaged: all is read again
        (space.own / name).write_text('{"format": 1, "held": {"quick": [3]}}')
    with TestClient(new_app(security.safety("127.0.0.1"), [pages(space.root)]), base_url="http://127.0.0.1:7777") as c:
        assert found(c) == first


def test_no_run_on_the_front_is_beaten(client: TestClient) -> None:
    rng = np.random.default_rng(0)
    points = [[f"r{i}", *map(float, rng.integers(0, 12, 2))] for i in range(60)]
    answer = client.post("/compare/front", json={"points": points, "goals": ["lower", "higher"]}).json()
    beaten = {n for n, x, y in points for _, a, b in points if a <= x and b >= y and (a < x or b > y)}  # by brute force
    assert set(answer) == {n for n, _, _ in points} - beaten
    for bad in ({}, {"points": [[1]], "goals": ["lower", "lower"]}, {"points": [], "goals": ["best", "lower"]}):
        assert client.post("/compare/front", json=bad, headers={"accept": "application/json"}).status_code == 400


@pytest.mark.parametrize("over", ["step", "seconds"])
def test_curves_lie_on_one_axis(over: str) -> None:
    short, long = Curve(), Curve()
    short.add([{"step": i, "seconds": 3 * i, "losses": {"a": float(i)}} for i in range(1, 11)])
    long.add([{"step": i, "seconds": i, "losses": {"b": 100.0 - i}} for i in range(1, 101)])
    told = laid([("short", short), ("long", long), ("none", Curve())], "loss", over)
    x = np.array(told["x"])
    assert len(x) == GRID and x[-1] == 100 and [c["name"] for c in told["curves"]] == ["short", "long"]
    end = 10 if over == "step" else 30
    for value, at in zip(told["curves"][0]["values"], x, strict=True):
        assert (
            value is None
            if at > end + 0.5
            else value is None or value == pytest.approx(np.clip(at * 10 / end, 1, 10), abs=0.01)
        )
    assert told["curves"][1]["values"][-1] == 0
    assert laid([("short", short)], "losses.b", over) == {"x": [], "curves": []}


def test_curves_of_many_or_of_strangers_are_refused(client: TestClient) -> None:
    for runs, code in ((["quick"] * 101, 400), (["../x"], 404), (["nothing"], 404), ("quick", 400)):
        assert client.post("/compare/curves", json={"runs": runs}).status_code == code
    told = client.post("/compare/curves", json={"runs": ["quick"], "series": "losses.flow", "over": "seconds"}).json()
    assert told["x"][-1] == 80 and told["series"] == ["losses.flow"]


def test_what_was_put_off_is_read_by_one_thread_that_ends(space: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "LONG", 100)
    monkeypatch.setattr(curves, "PUT_OFF", 2.0)
    read, before = Curves(space.own / "curves"), threading.active_count()
    names = ["quick", "slow", "worse"]
    assert not any(read.of(space.runs / n).exact for n in names * 3)
    assert threading.active_count() <= before + 1
    begun = time.monotonic()
    while not all(read.of(space.runs / n).exact for n in names) or threading.active_count() > before:
        assert time.monotonic() - begun < 60
        time.sleep(0.05)
