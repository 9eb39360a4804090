"""Judging a run: without held-out data, after its data is gone, of another version, with pretrained features."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import genloom
from evaluate.test_inception import random_weights
from genloom.core.errors import InputError
from genloom.evaluate import networks
from pictures import write

FAST = {"train.batch": 16, "train.grids": 0, "family.width": 8, "modality.size": 16}


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENLOOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GENLOOM_FEATURES", raising=False)
    monkeypatch.setattr(networks, "LEAST_STEPS", 8)
    monkeypatch.setattr(networks, "MOST_EPOCHS", 0)


def trained(tmp_path: Path, n: int = 70, **settings: Any) -> Any:
    data = write(tmp_path / "图片", [f"{i}.png" for i in range(n)])
    return genloom.train(data, model="flow", steps=3, out=tmp_path / "run", settings={**FAST, **settings})


def test_a_run_that_held_nothing_out_is_judged_and_reported(tmp_path: Path) -> None:
    run = trained(tmp_path, 30, **{"data.test": 0, "data.validation": 0})
    found = run.evaluate(n=20)
    assert found["frechet"].note == "no held-out split"
    report = run.folder.report.read_text("utf-8")
    card = (run.path / "README.md").read_text("utf-8")
    assert "nothing is held out to compare them with" in report and "no held-out split" in report
    assert "Copying was not tested" in report and "Copying was not tested" in card and "no held-out split" in card


def test_figures_stay_when_the_data_is_gone(tmp_path: Path) -> None:
    run = trained(tmp_path, 100, **{"data.test": 0.3})
    run.evaluate(n=25)
    judged = run.folder.evaluation.read_bytes()
    assert json.loads(judged)["copying"]["pairs"]
    shutil.rmtree(tmp_path / "图片")
    shutil.rmtree(tmp_path / "cache")
    report = run.folder.report.read_bytes()
    with pytest.raises(InputError, match="图片"):
        run.evaluate(n=25)
    assert run.folder.evaluation.read_bytes() == judged and run.folder.report.read_bytes() == report
    shutil.rmtree(run.path / "samples" / "copies")
    run.write_report()
    html = run.folder.report.read_text("utf-8")
    assert "its picture is not in the run folder; evaluate again where the data is" in html
    assert "Kernel distance" in html and "25 samples" in html


def test_a_run_of_another_version_is_told(tmp_path: Path) -> None:
    run = trained(tmp_path)
    assert not any("judged with genloom" in n for n in run.evaluate(n=20).notices)
    run.folder.update_manifest(versions={**run.manifest["versions"], "genloom": "0.0.1"})
    assert any("trained with genloom 0.0.1, judged with genloom" in n for n in run.evaluate(n=20).notices)
    assert "trained with genloom 0.0.1" in run.folder.report.read_text("utf-8")


def test_pretrained_features_from_the_command_line(tmp_path: Path) -> None:
    from cli.conftest import genloom as command

    run = trained(tmp_path, 30)
    weights = tmp_path / "inception.pth"
    torch.save(random_weights(), weights)
    done = command("evaluate", run.path, "-n", 6, "--features", "inception", "--features-weights", weights, "--json")
    assert done.code == 0, done.err
    features = done.document["features"]
    assert features["kind"] == "inception" and len(features["weights"]) == 64 and features["published"] is False
    assert features["weights"][:12] in run.folder.report.read_text("utf-8")
    assert features["weights"][:12] in (run.path / "README.md").read_text("utf-8")
    before = run.folder.evaluation.read_bytes()
    for options, part in [
        (("--features", "inception", "--features-weights", tmp_path / "nowhere.pth"), "nowhere.pth"),
        (("--features", "fid"), "'fid' is not one of"),
        (("--features", "learned", "--features-weights", weights), "take no weights"),
    ]:
        done = command("evaluate", run.path, *options, "--json")
        assert done.code == 2 and part in done.document["error"]["message"]
    assert run.folder.evaluation.read_bytes() == before


def test_a_list_of_images_can_be_judged_against(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 255, (12, 8, 8), dtype=np.uint8)
    settings = {**FAST, "modality.size": 8, "data.test": 0, "data.validation": 0}
    run = genloom.train(x, model="flow", steps=3, out=tmp_path / "run", settings=settings)
    with pytest.raises(InputError, match="in memory"):
        run.evaluate()
    assert run.evaluate(x, n=5)["kernel"].note == "no held-out split"
