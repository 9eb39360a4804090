"""`genloom inspect` on the command line: what it prints, writes and refuses, and that it says what training says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import genloom as package
from pictures import encoded, write

Cli = Callable[..., Any]
SMALL = ("--set", "family.width=8", "--set", "train.batch=16")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty pictures in two classes, with a copy, and one file that is none."""
    root = write(tmp_path_factory.mktemp("照片") / "photos", [f"{c}/{k}.png" for c in ("a", "b") for k in range(20)])
    (root / "a" / "copy.png").write_bytes((root / "a" / "0.png").read_bytes())
    (root / "b" / "broken.png").write_bytes(b"not a picture")
    return root


def test_it_prints_findings_and_writes_a_page_and_a_preview(cli: Cli, photos: Path, tmp_path: Path) -> None:
    page, preview = tmp_path / "page.html", tmp_path / "preview.png"
    done = cli("inspect", photos, *SMALL, "--set", "modality.flip=true", "--html", page, "--augment", preview, "-n", 3)
    assert done.code == 0, done.err
    for said in ("photos: image, 41 examples", "This data can be trained on: 3 warnings.", "repeats another one"):
        assert said in done.out, said
    assert "broken.png" in done.out and "speed here" in done.out and "2 classes" in done.out
    html = page.read_text("utf-8")
    assert html.count('src="data:image/') >= 2
    assert 'src="http' not in html and "url(" not in html
    assert "copy.png" in html and "As augmentation changes it" in html
    sheet = Image.open(preview)
    assert sheet.width > 2 * sheet.height  # three rows of eight
    assert not list(Path().glob("runs/photos*"))


def test_json_is_one_versioned_document(cli: Cli, photos: Path) -> None:
    document = cli("inspect", photos, *SMALL, "--json").document
    assert document["schema"] == "genloom.inspect/1"
    assert (document["usable"], document["items"], document["readable"]) == (True, 42, 41)
    assert document["classes"] == {"a": 21, "b": 20}
    assert [Path(q["origin"]).name for q in document["quarantined"]] == ["broken.png"]
    found = {f["code"]: f for f in document["findings"]}
    assert set(found) == {"unreadable", "exact-duplicates", "few"}
    assert set(found["few"]) == {"code", "severity", "what", "advice", "count", "examples"}
    estimate = document["estimate"]
    assert (estimate["model"], estimate["batch"]) == ("flow", 16)
    assert estimate["train"] + estimate["validation"] + estimate["test"] == 41
    assert estimate["rounds"] == pytest.approx(estimate["steps"] * 16 / estimate["train"], abs=0.01)


@pytest.fixture(scope="module")
def unusable(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("unusable")
    (root / "empty").mkdir()
    for k in range(3):
        (root / "bad").mkdir(exist_ok=True)
        (root / "bad" / f"{k}.png").write_bytes(encoded(k)[:40])
    write(root / "one", ["a.png"])
    write(root / "mostly", ["a.png", "b.png"])
    for k in range(4):
        (root / "mostly" / f"x{k}.png").write_bytes(b"")
    (root / "short.txt").write_text("not much\n\nof a text\n", "utf-8")
    return {p.name: p for p in root.iterdir()}


@pytest.mark.parametrize("name", ["empty", "bad", "one", "mostly", "short.txt"])
def test_what_training_refuses_is_an_error_in_the_same_words(cli: Cli, unusable: dict[str, Path], name: str) -> None:
    refused = cli("train", unusable[name], "--steps", 1, "--out", unusable[name].parent / "run")
    assert refused.code == 2
    looked = cli("inspect", unusable[name], "--json")
    assert looked.code == 2
    first = looked.document["findings"][0]
    assert (first["severity"], looked.document["usable"]) == ("error", False)
    assert refused.err.splitlines()[-1] == f"genloom: {first['what']}"
    assert cli("inspect", unusable[name]).code == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("digit",), "there is no file or folder digit; did you mean the named set 'digits'?"),
        (("digits", "--set", "modality.flp=true"), "flip"),
        (("digits", "--model", "gann"), "gan"),
        (("digits", "--budget", "soon"), "a budget is a time"),
        (("digits", "--html", "no-such-folder/page.html"), "--html cannot write"),
        (("digits", "--augment", "."), "--augment cannot write"),
    ],
)
def test_mistakes_are_told_before_the_data_is_read(cli: Cli, arguments: tuple[str, ...], said: str) -> None:
    done = cli("inspect", *arguments)
    assert done.code == 2
    assert said in done.err
    assert "looking" not in done.err and done.out == ""


def test_augmentation_that_is_off_is_told(cli: Cli, photos: Path, tmp_path: Path) -> None:
    done = cli("inspect", photos, *SMALL, "--augment", tmp_path / "preview.png")
    assert done.code == 2
    assert "augmentation changes nothing" in done.err
    assert not (tmp_path / "preview.png").exists()


def test_text_and_the_python_api(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    words = ["river", "stone", "winter", "garden", "letter"]
    lines = [" ".join(rng.choice(words, 8)) + f" {k}" for k in range(120)]
    found = package.inspect([*lines, "mail jane@mail.org"], budget="1m", settings={"family.hidden": 16})
    assert found.usable
    assert {f.code for f in found.findings} >= {"personal-email"}
    assert found.estimate["model"] == "autoregressive"
    assert found.estimate["tokens"] == found.prepared.train.total
    html = found.write_page(tmp_path / "页.html").read_text("utf-8")
    assert "jane@mail.org" in html  # the text itself is shown to its owner, the quote is masked
    assert "j…@m….org" in html
