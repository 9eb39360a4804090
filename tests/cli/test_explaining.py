"""`genloom explain` from the command line, its part of the report, and `train --stop-on-copying`."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import genloom
from cli.test_text import SMALL, play
from genloom.core.files import write_json
from genloom.evaluate.explanation import EXPLANATION
from genloom.evaluate.report import write_report

Cli = Callable[..., Any]


@pytest.fixture(scope="module")
def words(cli: Cli, runs: Path) -> tuple[Path, Path]:
    """A run on a play, some of it Chinese, and the play."""
    text = runs / "words.txt"
    text.write_text(play(150), "utf-8")
    done = cli("train", text, "--steps", 4, "--out", runs / "words", *SMALL, "--set", "train.grids=0")
    assert done.code == 0, done.err
    return runs / "words", text


def test_samples_beside_their_nearest_training_examples(cli: Cli, flow: Path, tmp_path: Path) -> None:
    done = cli("explain", flow, "-n", 2, "-k", 3, "-o", tmp_path, "--json")
    assert done.code == 0, done.err
    document = done.document
    assert document["schema"] == "genloom.explain/1" and document["latents"] is document["surprise"] is None
    near = document["nearest"]
    assert [len(r["neighbours"]) for r in near["rows"]] == [3, 3] and near["held_out"]["count"] > 100
    for row in near["rows"]:
        distances = [n["distance"] for n in row["neighbours"]]
        assert distances == sorted(distances) and 0 <= row["held_out_nearer"] <= 1
        assert row["neighbours"][0]["origin"].startswith("digits[")
    assert Image.open(near["picture"]).width > 4 * 64 and Path(near["picture"]).parent == tmp_path
    assert (tmp_path / EXPLANATION).is_file()
    assert cli("verify", near["picture"]).code == 0  # it shows samples, so it is marked


def test_a_training_example_is_told_to_be_one(cli: Cli, flow: Path, tmp_path: Path) -> None:
    run = genloom.load(flow)
    train = run.data().train
    files = [tmp_path / f"图{i}.png" for i in range(2)]
    run.modality.decode(train.batch(np.array([7])).x[0]).save(files[0])
    Image.new("L", (8, 8), 200).save(files[1])
    rows = cli("explain", flow, *files, "-o", tmp_path / "out", "--json").document["nearest"]["rows"]
    assert [r["name"] for r in rows] == ["图0.png", "图1.png"]
    assert [r["exact"] for r in rows] == [True, False]
    assert rows[0]["neighbours"][0]["distance"] == 0 and rows[0]["neighbours"][0]["training"] == 7
    assert rows[0]["neighbours"][0]["origin"] == train.origins[7] and rows[0]["held_out_nearer"] == 0
    shown = cli("explain", flow, files[0], "-o", tmp_path / "out").out
    assert "distance in values" in shown and "held-out examples to their nearest" in shown


def test_latents_and_what_a_run_can_tell_where_its_data_is_gone(cli: Cli, vae: Path, tmp_path: Path) -> None:
    done = cli("explain", vae, "--latents", "-o", tmp_path / "a", "--json")
    assert done.code == 0, done.err
    latents = done.document["latents"]
    assert latents["unit"] == "nats" and len(latents["steps"]) == 9 and done.document["nearest"] is None
    activity = [r["activity"] for r in latents["rows"]]
    assert activity == sorted(activity, reverse=True) and latents["around"] == "a held-out example"
    gone = tmp_path / "gone"
    shutil.copytree(vae, gone)
    config = json.loads((gone / "config.json").read_text("utf-8"))
    config["data"]["path"] = str(tmp_path / "nowhere")
    write_json(gone / "config.json", config)
    done = cli("explain", gone, "-o", tmp_path / "b", "--json")
    assert done.code == 0, done.err
    assert "the training data is not there" in done.err and done.err.count("not there") == 1
    assert "not there" in done.document["nearest"]["reason"] and done.document["latents"]["around"] == "sample 0"
    picture = tmp_path / "one.png"
    Image.new("L", (8, 8)).save(picture)
    done = cli("explain", gone, picture, "-o", tmp_path / "c")
    assert done.code == 2 and "the training data is not there" in done.err


def test_surprise_of_a_text(cli: Cli, words: tuple[Path, Path]) -> None:
    run, _ = words
    done = cli("explain", run, "--text", "the moon\\n月", "--json")
    assert done.code == 0, done.err
    (row,) = done.document["surprise"]["rows"]
    assert [p["text"] for p in row["pieces"]] == [*"the moon", "\n", "月"]
    assert row["nats"] == pytest.approx(sum(p["nats"] for p in row["pieces"]), abs=0.01)
    assert all(1 <= p["rank"] <= 64 and 0 <= p["chance"] <= 1 for p in row["pieces"])
    assert done.document["nearest"] is None
    shown = cli("explain", run, "--text", "the moon").out
    assert "␣" in shown and "perplexity" in shown
    done = cli("explain", run, "--text", "☃")
    assert done.code == 2 and "does not know '☃'" in done.err


def test_a_copied_text_is_found_where_it_is(cli: Cli, words: tuple[Path, Path], tmp_path: Path) -> None:
    run, text = words
    (tmp_path / "mine.txt").write_text(text.read_text("utf-8")[100:220], "utf-8")
    done = cli("explain", run, tmp_path / "mine.txt", "-k", 2, "--json")
    assert done.code == 0, done.err
    (row,) = done.document["nearest"]["rows"]
    assert len(row["shared"]) == 120 and row["held_out_nearer"] < 0.2
    assert row["neighbours"][0]["distance"] < row["neighbours"][1]["distance"] < 1


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--latents"], "no latents to move"),
        (["--text", "hello"], "does not predict tokens"),
        (["--by", "pixels"], "--by is values or features"),
        (["-k", "0"], "invalid value for '-k'"),
        (["nowhere.png"], "there is no file nowhere.png"),
    ],
)
def test_what_cannot_be_explained_is_one_sentence(cli: Cli, flow: Path, arguments: list[str], part: str) -> None:
    done = cli("explain", flow, *arguments)
    assert done.code == 2 and part in done.err and "Traceback" not in done.err


def test_the_report_shows_all_three(cli: Cli, flow: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(flow, run)
    shutil.rmtree(run / "samples" / "explained", ignore_errors=True)
    (run / "samples" / "explained").mkdir(parents=True)
    Image.new("L", (300, 50)).save(run / "samples" / "explained" / "near.png")
    picture = "samples/explained/near.png"
    near = [{"training": i, "distance": 1.0 + i, "origin": "<b>", "label": ""} for i in range(3)]
    pieces = [
        {"text": t, "nats": v, "rank": 3, "expected": "</span>", "chance": 0.5, "end": False}
        for t, v in (("床", 0.1), ("<i>", 2.0), ("\n", 9.0))
    ]
    document = {
        "schema": "genloom.explanation/1",
        "nearest": {
            "space": "values", "searched": 9,
            "held_out": {"count": 5, "quantiles": {"0.1": 0.5, "0.5": 1.5, "0.9": 2.0}},
            "rows": [{"name": "sample 0", "held_out_nearer": 0.25, "neighbours": near, "picture": picture}],
        },
        "latents": {
            "around": "a held-out example", "unit": "nats", "steps": [-2, 0, 2], "latents": 8, "used": 7,
            "rows": [{"latent": 5, "activity": 1.25, "spread": 1.0, "picture": picture}],
        },
        "surprise": {
            "vocabulary": 30,
            "rows": [{"source": "held-out text", "tokens": 3, "cut": 0, "nats": 11.1, "nats_per_token": 3.7,
                      "perplexity": 40.4, "uniform": 3.4, "pieces": pieces}],
        },
    }  # fmt: skip
    write_json(run / EXPLANATION, document)
    html = write_report(run).read_text("utf-8")
    assert "25% of held-out examples are as near" in html and "latent 5" in html and "1.25 nats" in html
    shades = re.findall(r'<span class="s(\d)" title="([^"]*)">([^<]*)<', html)
    assert shades == [
        ("0", "0.10 nats, rank 3", "床"), ("2", "2.00 nats, rank 3", "&lt;i&gt;"), ("4", "9.00 nats, rank 3", "↵\n")
    ]  # fmt: skip
    assert "<i>" not in html.replace("<i class", "") and "surprising: over 5 nats" in html
    assert html.count("data:image/png") >= 2
    write_json(run / EXPLANATION, {"schema": "genloom.explanation/9"})
    assert "latent 5" not in write_report(run).read_text("utf-8")


def test_stopping_on_copying_needs_data_to_tell_it_by(cli: Cli, tmp_path: Path) -> None:
    pictures = (load_digits().images[:60] * 255 / 16).astype(np.uint8)
    np.save(tmp_path / "few.npy", pictures)
    out = tmp_path / "run"
    done = cli("train", tmp_path / "few.npy", "--steps", 2, "--stop-on-copying", "--out", out)
    assert done.code == 2 and "cannot stop on copying" in done.err and "are too few" in done.err and not out.exists()
    done = cli("train", tmp_path / "few.npy", "--steps", 2, "--stop-on-copying", "--set", "train.audit_times=0")
    assert done.code == 2 and "train.audit_times above 0" in done.err
    done = cli("train", "--out", out, "--resume", "--stop-on-copying")
    assert done.code == 2 and "keeps its settings" in done.err
