"""Whole comparisons of tiny models: one that fails, one that goes on, runs that must not be compared, the page."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import genloom
from genloom.cli import main
from genloom.comparison import Comparison
from genloom.core.errors import InputError
from genloom.core.run import RunFolder

SETS = ["family.encoder_width=8", "train.batch=8", "train.grids=0"]  # a gan has no encoder: it fails


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Features that are learnt quickly, in a cache of their own."""
    from genloom.evaluate import networks

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENLOOM_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(networks, "LEAST_STEPS", 40)
        patch.setattr(networks, "MOST_EPOCHS", 1)
        yield


def compared(folder: Path, **changes: Any) -> Comparison:
    given = {"models": "vae,gan,autoencoder", "steps": 3, "settings": SETS, "n": 200, "out": folder}
    return genloom.compare("digits", **{**given, **changes})


@pytest.fixture(scope="module")
def folder(cache: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("比较") / "digits"
    compared(folder)
    return folder


def document(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "comparison.json").read_text("utf-8"))
    return found


def evaluation(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "evaluation.json").read_text("utf-8"))
    return found


def times(folder: Path) -> dict[str, int]:
    """When what is costly to make was written."""
    made = [*folder.glob("*/model.safetensors"), *folder.glob("*/evaluation.json"), *folder.glob("*/history.jsonl")]
    return {str(p): p.stat().st_mtime_ns for p in made}


def test_one_that_fails_does_not_end_the_others(folder: Path) -> None:
    found = document(folder)
    assert found["schema"] == "genloom.comparison/1"
    errors = {r["name"]: r["error"] for r in found["runs"]}
    assert list(errors) == ["vae-seed0", "gan-seed0", "autoencoder-seed0"]
    assert "there is no setting 'family.encoder_width'" in errors.pop("gan-seed0")
    assert set(errors.values()) == {""}
    assert set(found["cost"]) == {"vae", "autoencoder"}
    assert "gan-seed0 failed: there is no setting" in found["verdict"]
    assert (folder / "logs" / "vae-seed0.log").read_text("utf-8")


def test_all_are_judged_in_one_feature_space_by_the_same_references(folder: Path) -> None:
    one, two = (evaluation(folder / name) for name in ("vae-seed0", "autoencoder-seed0"))
    assert one["features"] == two["features"] and len(one["features"]["digest"]) == 64
    assert (one["data"], one["reference"]) == (two["data"], two["reference"])
    for a, b in zip(one["figures"], two["figures"], strict=False):
        assert (a["ceiling"], a["floor"], a["n"]) == (b["ceiling"], b["floor"], b["n"])
    assert one["samples"]["n"] == two["samples"]["n"] == 200
    assert one["samples"]["weights"] == RunFolder(folder / "vae-seed0").manifest()["files"]["model.safetensors"]


def test_the_same_command_trains_and_judges_nothing_again(folder: Path) -> None:
    before, said = times(folder), document(folder)
    compared(folder, models=["vae", "autoencoder"])
    assert times(folder) == before
    now = document(folder)
    assert [r["name"] for r in now["runs"]] == ["vae-seed0", "autoencoder-seed0"]
    assert {f["name"]: f["values"]["vae"] for f in now["figures"]} == {
        f["name"]: f["values"]["vae"] for f in said["figures"]
    }


def test_another_number_of_samples_judges_again_but_trains_nothing(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    before = times(copy)
    compared(copy, models="vae,autoencoder", n=150)
    changed = {Path(p).name for p, t in times(copy).items() if t != before[p]}
    assert changed == {"evaluation.json"}
    assert evaluation(copy / "vae-seed0")["samples"]["n"] == 150


def test_seeds_are_added_and_give_medians(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    before = times(copy)
    compared(copy, models="vae", seeds="0,1")
    assert {p: t for p, t in times(copy).items() if p in before} == before
    (frechet,) = [f for f in document(copy)["figures"] if f["name"] == "precision"]
    each = [
        next(f["value"] for f in evaluation(copy / f"vae-seed{s}")["figures"] if f["name"] == "precision")
        for s in (0, 1)
    ]
    assert frechet["values"]["vae"]["value"] == pytest.approx(sum(each) / 2)
    assert frechet["values"]["vae"]["spread"] == sorted(each)


def test_another_plan_in_the_same_folder_is_refused(folder: Path) -> None:
    before = times(folder)
    with pytest.raises(InputError, match="was begun with 3 steps, now it is 4 steps"):
        compared(folder, steps=4)
    assert times(folder) == before


# -- runs that are there ---------------------------------------------------------------------------


def pair(folder: Path) -> list[Path]:
    return [folder / "vae-seed0", folder / "autoencoder-seed0"]


def test_runs_that_are_there_are_compared_as_they_are(folder: Path, tmp_path: Path) -> None:
    before = times(folder)
    found = genloom.compare(pair(folder), out=tmp_path / "out")
    assert times(folder) == before
    assert [r["label"] for r in found.document["runs"]] == ["vae-seed0", "autoencoder-seed0"]
    assert found.page == tmp_path / "out" / "comparison.html" and found.page.is_file()


def test_two_names_of_one_run_are_refused(folder: Path, tmp_path: Path) -> None:
    link = tmp_path / "alias"
    link.symlink_to(folder / "vae-seed0")
    with pytest.raises(InputError, match=r"alias and .*vae-seed0 are the same run"):
        genloom.compare([folder / "vae-seed0", link], out=tmp_path / "out")
    with pytest.raises(InputError, match="is named twice"):
        genloom.compare([folder / "vae-seed0", folder / "vae-seed0"], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def edited(run: Path, target: Path, **changes: Any) -> Path:
    """A copy of a run with another manifest."""
    copy = shutil.copytree(run, target)
    folder = RunFolder(copy)
    folder.update_manifest(**{k: {**folder.manifest()[k], **v} for k, v in changes.items()})
    return copy


def test_runs_of_different_data_are_refused_and_named(folder: Path, tmp_path: Path) -> None:
    other = edited(folder / "vae-seed0", tmp_path / "other", data={"name": "letters", "digest": "0"})
    with pytest.raises(InputError, match=r"vae-seed0 and .*other were .* different data \(digits and letters\)"):
        genloom.compare([folder / "vae-seed0", other], out=tmp_path / "out")
    split = edited(folder / "vae-seed0", tmp_path / "split", data={"digest": "0"})
    with pytest.raises(InputError, match="prepared or split in different ways"):
        genloom.compare([folder / "vae-seed0", split], out=tmp_path / "out")


def test_runs_of_other_versions_are_compared_with_a_notice(folder: Path, tmp_path: Path) -> None:
    old = edited(folder / "vae-seed0", tmp_path / "old", versions={"genloom": "0.0.9"})
    found = genloom.compare([old, folder / "autoencoder-seed0"], out=tmp_path / "out")
    (notice,) = [n for n in found.document["notices"] if "versions of genloom" in n]
    assert "0.0.9 (old)" in notice


def test_a_run_that_is_not_trained_to_its_end_is_refused(folder: Path, tmp_path: Path) -> None:
    half = shutil.copytree(folder / "vae-seed0", tmp_path / "half")
    (half / "model.safetensors").unlink()
    with pytest.raises(InputError, match="half has no weights"):
        genloom.compare([half, folder / "autoencoder-seed0"], out=tmp_path / "out")


# -- the page --------------------------------------------------------------------------------------


class Page(HTMLParser):
    """The tags and texts of a page, after checking that its tags nest."""

    void = ("meta", "img", "br", "line", "circle")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data if "style" not in self.open else ""


def test_the_page_is_whole_and_asks_nothing_of_any_server(folder: Path) -> None:
    compared(folder)
    html = (folder / "comparison.html").read_text("utf-8")
    page = Page(html)
    addresses = [v for _, a in page.tags for k, v in a.items() if k in ("src", "href", "xlink:href") and v]
    assert all(v.startswith("data:image/png;") or "://" not in v for v in addresses)
    links = [v for v in addresses if not v.startswith("data:")]
    assert links and all((folder / v).is_file() for v in links)
    assert "default-src 'none'" in html and "<script" not in html
    assert sum(tag == "img" for tag, _ in page.tags) == 2
    for text in ("Frechet distance", "real data", "no skill", "gan-seed0 failed", "Energy of training", "Verdict"):
        assert text in page.text
    assert sum(a.get("class") == "front" for tag, a in page.tags if tag == "polyline") <= 3
    assert sum("plane" in str(a.get("class")) for tag, a in page.tags if tag == "figure") == 3


# -- the command -----------------------------------------------------------------------------------


def command(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        main(["compare", *map(str, words)])
    out, err = capsys.readouterr()
    assert isinstance(stopped.value.code, int)
    return stopped.value.code, out, err


def test_the_command_prints_a_table_or_one_line_of_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sets = [w for s in SETS for w in ("--set", s)]
    words = ["digits", "--models", "vae,gan,autoencoder", "--steps", 3, *sets, "-n", 200, "--out", folder]
    code, out, err = command(capsys, *words)
    assert code == 1  # the gan failed again
    assert out.splitlines()[0].split()[:2] == ["model", "frechet"]
    assert "gan-seed0: failed: there is no setting" in err
    assert str(folder / "comparison.html") in err.splitlines()[-1]
    code, out, _ = command(capsys, *words, "--json")
    assert (code, out.count("\n"), json.loads(out)["schema"]) == (1, 1, "genloom.comparison/1")


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["digits", "--models", "vae,gna"], "did you mean 'gan'"),
        (["digits", "--models", "vae"], "vae alone is no comparison"),
        (["digits", "--models", "vae,gan", "--budget", "1m", "--steps", "3"], "give --budget or --steps, not both"),
        (["no-such-data", "--models", "vae,gan"], "no-such-data"),
        (["no-run", "other-run"], "there is no run no-run"),
        (["digits", "--models", "vae,gan", "--seeds", "one"], "whole numbers"),
        (["digits", "--models", "vae,gan", "--set", "train"], "--set takes section.name=value"),
    ],
)
def test_bad_input_is_one_sentence(
    words: list[str], part: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = command(capsys, *words, "--out", tmp_path / "out")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert part in err
    assert not (tmp_path / "out").exists()
