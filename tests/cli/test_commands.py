"""Every command on real, tiny runs: what it prints, what it writes, and its exit code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Cli = Callable[..., Any]


def digests(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def contents(folder: Path) -> list[dict[str, Any]]:
    """What the record says of its files, without the signatures in them, which are never the same twice."""
    (record,) = folder.glob("provenance-*.json")
    return [{"unsigned": f["sha256"], **f, "sha256": None} for f in json.loads(record.read_text("utf-8"))["files"]]


# -- train -----------------------------------------------------------------------------------------


def test_train_leaves_a_whole_run(flow: Path) -> None:
    for name in (
        "config.json",
        "manifest.json",
        "model.safetensors",
        "history.jsonl",
        "samples/final.png",
        "report.html",
    ):
        assert (flow / name).is_file(), name
    config = json.loads((flow / "config.json").read_text("utf-8"))
    assert (config["model"], config["train"]["steps"], config["family"]["width"]) == ("flow", 6, 8)
    assert json.loads((flow / "manifest.json").read_text("utf-8"))["steps"] == 6


def test_train_prints_the_run_on_stdout_and_the_rest_on_stderr(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    done = cli("train", "digits", "--model", "flow", "--set", "family.width=8", "--steps", 2, "--out", folder)
    assert done.code == 0, done.err
    assert done.out == f"{folder}\n"
    assert "flow on digits" in done.err
    assert f"genloom sample {folder}" in done.err


def test_an_existing_run_is_refused_and_not_touched(cli: Cli, flow: Path) -> None:
    before = digests(flow)
    done = cli("train", "digits", "--model", "flow", "--steps", 2, "--out", flow)
    assert done.code == 2
    assert "already holds a run" in done.err
    assert "--resume" in done.err
    assert digests(flow) == before


def test_dry_run_writes_nothing(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "planned"
    done = cli(
        "train",
        "digits",
        "--model",
        "flow",
        "--set",
        "family.width=8",
        "--budget",
        "10m",
        "--out",
        folder,
        "--dry-run",
        "--json",
    )
    assert done.code == 0, done.err
    plan = done.document["plan"]
    assert plan["config"]["train"]["budget"] == 600
    assert plan["data"]["classes"] == [str(i) for i in range(10)]
    assert plan["steps"] == pytest.approx(600 / plan["seconds_per_step"], rel=0.02)
    assert plan["parameters"]["flow"] > 0
    assert not folder.exists()


def test_dry_run_for_a_person(cli: Cli, tmp_path: Path) -> None:
    done = cli(
        "train",
        "digits",
        "--model",
        "flow",
        "--set",
        "family.width=8",
        "--steps",
        50,
        "--out",
        tmp_path / "p",
        "--dry-run",
    )
    assert done.code == 0
    shown = dict(line.split(maxsplit=1) for line in done.out.splitlines() if len(line.split()) > 1)
    assert shown["config.family.width"].strip() == "8"
    assert shown["steps"].strip() == "50"


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["no/such/folder"], ["no/such/folder"]),
        (["digits", "--model", "flwo"], ["flwo", "'flow'"]),
        (["digits", "--recipe", "digitsflow"], ["digitsflow", "'digits-flow'"]),
        (["digits", "--set", "family.widht=8"], ["family.widht", "'family.width'"]),
        (["digits", "--set", "family.width=4"], ["family.width", "8", "got 4"]),
        (["digits", "--set", "family.width"], ["section.name=value"]),
        (["digits", "--budget", "ten"], ["10m", "'ten'"]),
        (["digits", "--budget", "1m", "--steps", "3"], ["--budget", "--steps", "not both"]),
        (["digits", "--config", "no.toml"], ["no.toml"]),
        (["digits", "--resume", "--dry-run"], ["not both"]),
        ([], ["genloom list data"]),
    ],
)
def test_bad_input_to_train_is_one_sentence(cli: Cli, tmp_path: Path, arguments: list[str], parts: list[str]) -> None:
    folder = tmp_path / "run"
    done = cli("train", *arguments, "--out", folder, "--json")
    assert done.code == 2, done.err
    error = done.document
    assert error["schema"] == "genloom.error/1"
    assert error["error"]["exit_code"] == 2
    for part in parts:
        assert part in error["error"]["message"]
    assert done.err.splitlines()[-1] == f"genloom: {error['error']['message']}"
    assert "Traceback" not in done.err
    assert not folder.exists()


# -- sample ----------------------------------------------------------------------------------------


def test_sample_writes_the_same_files_for_the_same_seed(cli: Cli, flow: Path, tmp_path: Path) -> None:
    done = [cli("sample", flow, "-n", 5, "--seed", 3, "-o", tmp_path / name, "--json") for name in ("一", "two")]
    assert [d.code for d in done] == [0, 0], done[0].err
    document = done[0].document
    assert document["schema"] == "genloom.sample/1"
    assert len(document["files"]) == 5
    assert all(Path(f).parent == tmp_path / "一" for f in document["files"])
    assert Image.open(document["files"][0]).size == (8, 8)
    assert contents(tmp_path / "一") == contents(tmp_path / "two")
    cli("sample", flow, "-n", 5, "--seed", 4, "-o", tmp_path / "three")
    assert contents(tmp_path / "一") != contents(tmp_path / "three")


def test_sample_honours_labels_and_options(cli: Cli, flow: Path, tmp_path: Path) -> None:
    done = cli("sample", flow, "-n", 4, "--label", 3, "--label", 7, "--set", "steps=2", "-o", tmp_path, "--json")
    assert done.code == 0, done.err
    assert done.document["options"] == {"steps": 2}
    assert [Path(f).stem.rsplit("-", 1)[1] for f in done.document["files"]] == ["3", "7", "3", "7"]


def test_sample_grid_is_one_picture(cli: Cli, flow: Path, tmp_path: Path) -> None:
    done = cli("sample", flow, "-n", 6, "--grid", "-o", tmp_path)
    assert done.code == 0, done.err
    (picture,) = tmp_path.glob("*.png")
    assert done.out == f"{picture}\n"
    assert min(Image.open(picture).size) > 8


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--label", "eleven"], "eleven"),
        (["--set", "stepz=2"], "steps"),
        (["--set", "steps=0"], "steps"),
        (["-n", "0"], "-n"),
    ],
)
def test_bad_input_to_sample(cli: Cli, flow: Path, tmp_path: Path, arguments: list[str], part: str) -> None:
    done = cli("sample", flow, *arguments, "-o", tmp_path / "out")
    assert done.code == 2
    assert part in done.err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_a_run_is_found_by_its_name_in_runs(
    cli: Cli, flow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "mine").symlink_to(flow, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    assert cli("sample", "mine", "-n", 1, "-o", "out").code == 0
    done = cli("sample", "mint", "-n", 1)
    assert done.code == 2
    assert "did you mean 'mine'?" in done.err


def test_altered_weights_are_refused(cli: Cli, flow: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(flow, copy)
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    done = cli("sample", copy, "-n", 1, "-o", tmp_path / "out")
    assert done.code == 2
    assert "model.safetensors" in done.err
    weights.unlink()
    assert "no weights" in cli("sample", copy, "-n", 1).err


# -- latent space ----------------------------------------------------------------------------------


@pytest.fixture
def digits_folder(tmp_path: Path) -> Path:
    from sklearn.datasets import load_digits

    folder = tmp_path / "图"
    folder.mkdir()
    for i, image in enumerate(load_digits().images[:4]):
        Image.fromarray((image * 255 / 16).astype(np.uint8)).save(folder / f"数{i}.png")
    return folder


def test_reconstruct_writes_one_file_an_image(cli: Cli, vae: Path, digits_folder: Path, tmp_path: Path) -> None:
    done = cli("reconstruct", vae, digits_folder, "-o", tmp_path / "out", "--json")
    assert done.code == 0, done.err
    assert [Path(f).stem for f in done.document["files"]] == [f"{i:06d}-数{i}" for i in range(4)]
    assert Image.open(done.document["files"][0]).size == (8, 8)


def test_reconstruct_grid_shows_each_image_beside_its_reconstruction(
    cli: Cli, vae: Path, digits_folder: Path, tmp_path: Path
) -> None:
    done = cli("reconstruct", vae, digits_folder, "--grid", "-o", tmp_path / "out")
    assert done.code == 0, done.err
    assert Path(done.out.strip()).is_file()


def test_reconstruct_names_a_file_that_is_no_image(cli: Cli, vae: Path, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("not a picture")
    done = cli("reconstruct", vae, tmp_path / "text.png", "-o", tmp_path / "out")
    assert done.code == 2
    assert "text.png" in done.err
    done = cli("reconstruct", vae, tmp_path / "none.png", "-o", tmp_path / "out")
    assert done.code == 2
    assert "none.png" in done.err


def test_interpolate_between_samples_and_images(cli: Cli, vae: Path, digits_folder: Path, tmp_path: Path) -> None:
    done = cli("interpolate", vae, "-n", 5, "--rows", 2, "-o", tmp_path / "a", "--json")
    assert done.code == 0, done.err
    wide, high = Image.open(done.document["files"][0]).size
    assert wide > high
    ends = ["--between", digits_folder / "数0.png", "--between", digits_folder / "数1.png"]
    done = cli("interpolate", vae, *ends, "-o", tmp_path / "b", "--json")
    assert done.code == 0, done.err
    assert done.document["rows"] == 1
    done = cli("interpolate", vae, *ends[:2], "-o", tmp_path / "c")
    assert done.code == 2
    assert "pairs" in done.err


def test_a_model_without_latent_space_says_so(cli: Cli, flow: Path, digits_folder: Path) -> None:
    for arguments in (["reconstruct", flow, digits_folder], ["interpolate", flow]):
        done = cli(*arguments)
        assert done.code == 2
        assert "latent space" in done.err


# -- list and describe -----------------------------------------------------------------------------


def test_list_names_everything(cli: Cli, runs: Path, flow: Path) -> None:
    document = cli("list", "--folder", runs, "--json").document
    assert document["schema"] == "genloom.list/1"
    names = {kind: [item["name"] for item in items] for kind, items in document.items() if kind != "schema"}
    assert set(names) == {"families", "modalities", "recipes", "data", "runs"}
    assert {"flow", "gan", "vae", "autoencoder"} <= set(names["families"])
    assert "image" in names["modalities"]
    assert {"digits", "mnist"} <= set(names["data"])
    assert "digits-flow" in names["recipes"]
    assert flow.name in names["runs"]
    assert all(item["summary"] for items in document.values() if isinstance(items, list) for item in items)


def test_list_of_one_kind_for_a_person(cli: Cli, runs: Path, flow: Path) -> None:
    done = cli("list", "runs", "--folder", runs)
    line = next(line for line in done.out.splitlines() if line.startswith(flow.name))
    assert "flow on digits, 6 steps, finished" in line


def test_a_damaged_run_does_not_hide_the_others(cli: Cli, tmp_path: Path) -> None:
    for name, text in (("good", '{"model": "flow"}'), ("bad", "{")):
        (tmp_path / name / "resume").mkdir(parents=True)
        (tmp_path / name / "config.json").write_text(text)
    document = cli("list", "runs", "--folder", tmp_path, "--json").document
    assert {r["name"]: r["model"] for r in document["runs"]} == {"good": "flow", "bad": "?"}


def test_describe_shows_every_setting_of_every_name(cli: Cli, runs: Path, flow: Path) -> None:
    document = cli("list", "--folder", runs, "--json").document
    for kind, items in document.items():
        for item in items if kind not in ("schema", "runs") else []:
            done = cli("describe", item["name"], "--json")
            assert done.code == 0, done.err
            described = done.document
            assert described["schema"] == "genloom.describe/1"
            assert described["summary"]
            for setting in described.get("settings", []):
                assert setting["meaning"], setting["name"]
            assert cli("describe", item["name"]).code == 0
            for setting in described.get("sampling", []):  # one call to sample cannot change the network
                assert not setting["name"].startswith(("optimiser.", "compressor.")), setting["name"]
    settings = {s["name"]: s for s in cli("describe", "flow", "--json").document["settings"]}
    assert settings["family.width"]["unit"] == "channels"
    assert settings["family.width"]["limits"] == ["at least 8"]


def test_describe_a_run_and_the_common_settings(cli: Cli, flow: Path) -> None:
    document = cli("describe", flow, "--json").document
    assert (document["kind"], document["model"], document["steps"]) == ("run", "flow", 6)
    assert document["config"]["family"]["width"] == 8
    assert "train.batch" in cli("describe", "train").out
    done = cli("describe", "imgae")
    assert done.code == 2
    assert "did you mean 'image'?" in done.err
