"""The whole path on scikit-learn's digits, through the command line; and a training that is killed goes on bit for
bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

import genloom
from genloom.core.errors import InputError
from genloom.core.spec import Grid
from genloom.families import family_names, find_family

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(genloom.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
FAST = {
    "train.precision": "fp32",
    "train.batch": 32,
    "train.warmup": 10,
    "train.grids": 0,
    "train.checkpoint_every": 0.1,
}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "genloom", *arguments]


def cli(*arguments: str) -> Any:
    """The JSON document that a command prints."""
    done = subprocess.run(
        command(*arguments, "--json"), env=ENVIRONMENT, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    return json.loads(done.stdout)


def sets(settings: dict[str, Any]) -> list[str]:
    return [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]


def test_train_sample_evaluate(tmp_path: Path) -> None:
    out = tmp_path / "数字"
    cli("train", "digits", "--model", "flow", "--steps", "150", "--out", str(out), *sets({**FAST, "train.ema": 0.98}))
    for name in (
        "config.json",
        "manifest.json",
        "model.safetensors",
        "history.jsonl",
        "report.html",
        "samples/final.png",
        "README.md",
    ):
        assert (out / name).stat().st_size > 0, name
    assert "not tested" in (out / "README.md").read_text("utf-8")
    files = cli("sample", str(out), "-n", "3", "--label", "7", "--seed", "1", "-o", str(tmp_path / "sevens"))["files"]
    assert [Image.open(f).size for f in files] == [(8, 8)] * 3
    judged = cli("evaluate", str(out), "-n", "300")
    figures = {f["name"]: f for f in judged["figures"]}
    frechet = figures["frechet"]
    assert frechet["ceiling"] < frechet["value"] < 0.5 * frechet["floor"]
    assert figures["label_agreement"]["value"] > 0.5
    assert judged["copying"]["verdict"] == "none" and len(judged["copying"]["interval"]) == 2
    assert all((out / p["picture"]).is_file() for p in judged["copying"]["pairs"])
    assert len(judged["groups"]["groups"]) == 10 and judged["cost"]["training"]["steps"] == 150
    assert judged["cost"]["sampling"]["per_second"] > 0 and judged["cost"]["energy"]["watt_hours"] > 0
    card = (out / "README.md").read_text("utf-8")
    assert "No copying found" in card and "CC BY 4.0" in card and "# 数字" in card
    report = (out / "report.html").read_text("utf-8")
    assert "数字" in report and "http://" not in report and "https://" not in report and "data:image/png" in report


ON_GRIDS = [n for n in family_names() if Grid in find_family(n).accepts]
SAME = [
    (name, precision, extra)
    for name, extra in [*((n, {}) for n in ON_GRIDS), ("flow", {"latent": True}), ("flow", {"autoguidance": 2.0})]
    for precision in ("fp32", "bf16")
]


@pytest.mark.parametrize(("model", "precision", "extra"), SAME, ids=lambda v: str(v))
def test_a_run_read_back_samples_what_it_did_when_trained(
    model: str, precision: str, extra: dict[str, Any], tmp_path: Path
) -> None:
    x = np.random.default_rng(0).integers(0, 255, (40, 10, 12), dtype=np.uint8)
    settings = {**FAST, "train.precision": precision, "family": extra}
    run = genloom.train(x, model=model, steps=3, out=tmp_path / "run", settings=settings)
    trained, loaded = (r.sample_tensor(20, seed=1)[0] for r in (run, genloom.load(tmp_path / "run")))
    assert torch.equal(trained, loaded)


def test_python_api(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 255, (10, 12, 3), dtype=np.uint8)) for _ in range(30)]
    run = genloom.train(pictures, model="vae", steps=5, out=tmp_path / "run", settings=FAST, seed=3)
    samples = run.sample(4, seed=2)
    assert [s.size for s in samples] == [(12, 10)] * 4 and samples[0].mode == "RGB"
    back = genloom.load(tmp_path / "run")
    assert [s.tobytes() for s in back.sample(4, seed=2)] == [s.tobytes() for s in samples]
    codes = back.encode(pictures[:3])
    assert codes.shape[0] == 3 and len(back.reconstruct(pictures[:3])) == 3
    rows = back.interpolate(5, rows=2, between=pictures[:4])
    assert len(rows) == 2 and len(rows[0]) == 5


@pytest.mark.parametrize("name", [n for n in family_names() if Grid in find_family(n).accepts])
def test_a_killed_training_goes_on_bit_for_bit(name: str, tmp_path: Path) -> None:
    """kill -9 at whatever step it has reached, then resume: the same weights as never having been killed."""
    whole = genloom.train("digits", model=name, steps=60, out=tmp_path / "whole", settings=FAST)
    out = tmp_path / "killed"
    process = subprocess.Popen(
        command("train", "digits", "--model", name, "--steps", "60", "--out", str(out), *sets(FAST)),
        env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        steps = [int(p.name.split("-")[1]) for p in out.glob("resume/step-*")]
        if steps and max(steps) > 0:
            break
        time.sleep(0.005)
    assert process.poll() is None, "the training ended before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "model.safetensors").exists()
    genloom.train(out=out, resume=True)
    one, two = (load_file(p / "model.safetensors") for p in (whole.path, out))
    assert one.keys() == two.keys()
    for key, value in one.items():
        assert np.array_equal(value, two[key]), key


def test_a_model_trained_without_the_classes_of_its_data(tmp_path: Path) -> None:
    settings = {**FAST, "family.conditional": False}
    run = genloom.train("digits", model="vae", steps=3, out=tmp_path / "run", settings=settings)
    assert len(run.sample(3)) == 3
    with pytest.raises(InputError, match="without labels"):
        run.sample(3, label="7")
