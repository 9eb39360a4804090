"""A training that goes on from an earlier run, asked for from the page."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from genloom import api
from genloom.studio import security
from genloom.studio.app import new_app
from genloom.studio.pages.new import asked, of_run
from genloom.studio.pages.router import pages
from genloom.studio.pages.standing import job_of, standing
from genloom.studio.pages.workspace import Workspace
from played import NAMES

ASKED = {"data": "own:names.txt", "model": "autoregressive", "unit": "steps", "length": "3"}


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    space = Workspace(tmp_path_factory.mktemp("studio"))
    (space.data / "names.txt").write_text("\n".join(NAMES))
    cell = {"family.cell": "gru", "family.width": 16, "family.hidden": 32, "train.batch": 16, "train.grids": 0}
    api.train(space.data / "names.txt", model="autoregressive", steps=4, settings=cell, out=space.runs / "first")
    return space


@pytest.fixture(scope="module")
def client(space: Workspace) -> TestClient:
    app = new_app(security.safety("127.0.0.1"), [pages(space.root)])
    return TestClient(app, base_url="http://127.0.0.1:7777", follow_redirects=False)


def test_a_training_goes_on_from_a_run_by_small_changes(client: TestClient, space: Workspace) -> None:
    page = client.get("/new", params={**ASKED, "start": "first"}).text
    assert "<option selected>first</option>" in page and 'name="lora"' in page
    assert 'name="family.hidden" type="number"' in page and 'placeholder="32"' in page  # as the run has it
    answer = client.post("/new", data={**ASKED, "start": "first", "lora": "yes", "name": "second"})
    assert answer.status_code == 303, answer.text
    while job_of(space, "second").alive:
        time.sleep(0.1)
    assert standing(space, "second").state == "finished", job_of(space, "second").last_words()
    old, new = (json.loads((space.runs / n / "config.json").read_text()) for n in ("first", "second"))
    assert Path(new["start"]).name == "first" and new["family"]["lora"]["rank"] > 0
    assert new["family"]["hidden"] == old["family"]["hidden"] == 32
    begun = json.loads((space.runs / "second" / "manifest.json").read_text())["start"]
    assert (
        begun["weights"]
        == json.loads((space.runs / "first" / "manifest.json").read_text())["files"]["model.safetensors"]
    )
    again = asked(space, of_run(space, "second"))  # duplicated as it was
    assert (again.start, again.lora, again.steps) == ("first", True, 3)
    assert {"--from", "runs/first", "--lora"} <= set(again.arguments())


@pytest.mark.parametrize(
    ("start", "model"), [("nothing", "autoregressive"), ("../first", "autoregressive"), ("first", "vae")]
)
def test_runs_that_no_training_can_go_on_from_are_told(client: TestClient, start: str, model: str) -> None:
    answer = client.post("/new", data={**ASKED, "start": start, "model": model, "name": "third"})
    assert answer.status_code == 400 and "to go on from" in answer.text
    assert 'name="start"' not in client.get("/new?data=named:digits").text  # no run of images is there
