"""`genloom verify` and `genloom reproduce`, and what the other commands mark."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from genloom.provenance import mark

pytest.importorskip("cryptography")
Cli = Callable[..., Any]


@pytest.fixture(scope="module")
def samples(cli: Cli, vae: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three samples of a vae, two labels in turn."""
    out = tmp_path_factory.mktemp("样本")
    done = cli("sample", vae, "-n", 3, "--seed", 2, "--label", 3, "--label", 7, "-o", out, "--json")
    assert done.code == 0, done.err
    return [Path(f) for f in done.document["files"]]


def test_samples_hold_and_name_their_run(cli: Cli, vae: Path, samples: list[Path]) -> None:
    done = cli("verify", *samples, "--json")
    assert done.code == 0, done.err
    document = done.document
    assert (document["schema"], document["holds"]) == ("genloom.verify/1", True)
    weights = json.loads((vae / "manifest.json").read_text("utf-8"))["files"]["model.safetensors"]
    for i, verdict in enumerate(document["files"]):
        facts = {k: verdict["facts"].get(k) for k in ("run", "weights", "task", "seed", "index", "label")}
        assert facts == dict(run=vae.name, weights=weights, task="sample", seed=2, index=i, label="373"[i])
        assert verdict["state"] == "holds" and verdict["own"]
    assert cli("verify", samples[0]).out.startswith(f"{samples[0]}: holds: made by genloom's run {vae.name}")


def test_the_pictures_are_those_of_the_api(vae: Path, samples: list[Path]) -> None:
    import genloom

    expected = genloom.load(vae).sample(3, label=["3", "7"], seed=2)
    for path, picture in zip(samples, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(path)), np.asarray(picture))


def test_altered_unmarked_and_missing_files(cli: Cli, samples: list[Path], tmp_path: Path) -> None:
    shutil.copytree(samples[0].parent, tmp_path / "copy")
    path = tmp_path / "copy" / samples[1].name
    data = path.read_bytes()
    path.write_bytes(data[:-9] + bytes([data[-9] ^ 255]) + data[-8:])
    done = cli("verify", path, samples[0])
    assert done.code == 1 and f"{path}: altered" in done.out and f"{samples[0]}: holds" in done.out
    Image.new("L", (8, 8)).save(tmp_path / "plain.png")
    assert cli("verify", tmp_path / "plain.png", "--json").document["files"][0]["state"] == "unmarked"
    missing = cli("verify", tmp_path / "none.png", "--json")
    assert missing.code == 2 and "none.png cannot be read" in missing.document["error"]["message"]


def test_reproduce_makes_the_same_bytes(cli: Cli, vae: Path, samples: list[Path], tmp_path: Path) -> None:
    done = cli("reproduce", *samples[1:], "--run", vae, "-o", tmp_path / "again", "--json")
    assert done.code == 0, done.err
    document = done.document
    assert (document["schema"], document["same"]) == ("genloom.reproduce/1", True)
    assert all(f["same"] and f["intact"] and f["differences"] == [] for f in document["files"])
    for path in samples[1:]:
        again = tmp_path / "again" / path.name
        np.testing.assert_array_equal(np.asarray(Image.open(path)), np.asarray(Image.open(again)))
        assert mark.find(again.read_bytes(), ".png") == mark.find(path.read_bytes(), ".png")
        assert cli("verify", again).code == 0


def test_a_lost_or_altered_file_is_made_again(cli: Cli, vae: Path, samples: list[Path], tmp_path: Path) -> None:
    shutil.copytree(samples[0].parent, tmp_path / "copy")
    lost, altered = (tmp_path / "copy" / p.name for p in samples[:2])
    lost.unlink()
    Image.new("L", (8, 8)).save(altered)
    done = cli("reproduce", lost, altered, "--run", vae, "-o", tmp_path / "back", "--json")
    assert done.code == 0, done.err
    assert [(f["same"], f["intact"]) for f in done.document["files"]] == [(True, False)] * 2
    np.testing.assert_array_equal(
        np.asarray(Image.open(tmp_path / "back" / lost.name)), np.asarray(Image.open(samples[0]))
    )


def test_grids_and_interpolations_in_the_run_are_found_by_their_place(cli: Cli, vae: Path) -> None:
    grid = cli("sample", vae, "-n", 3, "--grid", "--json").document["files"][0]
    ways = cli("interpolate", vae, "-n", 3, "--rows", 2, "--json").document["files"][0]
    done = cli("reproduce", grid, ways, "--json")
    assert done.code == 0, done.err
    assert [Path(f["run"]) == vae for f in done.document["files"]] == [True, True]


def test_reconstructions_hold_but_their_pictures_are_not_kept(
    cli: Cli, vae: Path, samples: list[Path], tmp_path: Path
) -> None:
    done = cli("reconstruct", vae, samples[0], "-o", tmp_path, "--json")
    (made,) = done.document["files"]
    assert cli("verify", made).code == 0
    refused = cli("reproduce", made, "--run", vae)
    assert refused.code == 2 and "only the digests" in refused.err


@pytest.mark.parametrize("case", ["no record", "changed record", "other run", "no run"])
def test_what_cannot_be_made_again_is_one_sentence(
    cli: Cli, vae: Path, flow: Path, samples: list[Path], tmp_path: Path, case: str
) -> None:
    shutil.copytree(samples[0].parent, tmp_path / "copy")
    path = tmp_path / "copy" / samples[0].name
    (record,) = path.parent.glob("provenance-*.json")
    if case == "no record":
        record.unlink()
    elif case == "changed record":
        record.write_text(record.read_text("utf-8").replace('"seed": 2', '"seed": 3'), "utf-8")
    run = {"other run": ["--run", flow], "no run": []}.get(case, ["--run", vae])
    done = cli("reproduce", path, *run)
    says = {"no record": "no record beside it", "changed record": "does not hold", "other run": "not the run that made"}
    assert done.code == 2 and says.get(case, "say where it is with --run") in done.err, done.err
    assert "Traceback" not in done.err


def test_no_mark_leaves_files_plain_and_is_noted_in_the_manifest(cli: Cli, vae: Path, tmp_path: Path) -> None:
    done = cli("sample", vae, "-n", 2, "--seed", 9, "--no-mark", "-o", tmp_path, "--json")
    assert done.code == 0, done.err
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".png", ".png"]
    for path in tmp_path.iterdir():
        assert mark.find(path.read_bytes(), ".png") is None
    noted = json.loads((vae / "manifest.json").read_text("utf-8"))["unmarked"][-1]
    assert (noted["task"], noted["asked"]["n"], noted["asked"]["seed"]) == ("sample", 2, 9)
    assert cli("describe", vae).code == 0


def test_pictures_drawn_in_training_carry_the_light_mark(vae: Path) -> None:
    pictures = sorted((vae / "samples").glob("*.png"))
    assert (vae / "samples" / "final.png") in pictures
    for path in pictures:
        facts = mark.find(path.read_bytes(), ".png")
        assert facts is not None and facts["run"] == vae.name, path
    final = mark.find((vae / "samples" / "final.png").read_bytes(), ".png")
    assert final is not None and final["task"] in ("train", "sample") and final["weights"]


def test_training_draws_plain_pictures_if_asked(cli: Cli, tmp_path: Path) -> None:
    sets = ("--set", "train.marks=false", "--set", "train.batch=32")
    done = cli("train", "digits", "--model", "vae", *sets, "--steps", 2, "--out", tmp_path / "run")
    assert done.code == 0, done.err
    assert mark.find((tmp_path / "run" / "samples" / "final.png").read_bytes(), ".png") is None
    assert json.loads((tmp_path / "run" / "manifest.json").read_text("utf-8"))["marks"] is False


def test_words_of_strangers_do_not_reach_the_terminal_as_they_are(cli: Cli, tmp_path: Path) -> None:
    hostile = mark.Mark("\x1b[2Jrun\n", "sample")
    (tmp_path / "x.obj").write_bytes(mark.put(b"v 0 0 0\n", ".obj", hostile))
    done = cli("verify", tmp_path / "x.obj")
    assert done.code == 1 and "\x1b" not in done.out and done.out.count("\n") == 1


def test_an_identity_that_cannot_be_made_is_told_before_sampling(
    cli: Cli, vae: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("GENLOOM_IDENTITY", str(tmp_path / "file" / "x"))
    done = cli("sample", vae, "-n", 1, "-o", tmp_path / "out")
    assert done.code == 2 and "--no-mark" in done.err
    assert not (tmp_path / "out").exists()
    assert cli("sample", vae, "-n", 1, "--no-mark", "-o", tmp_path / "out").code == 0
