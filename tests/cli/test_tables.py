"""Tables on the command line, as a person types."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pandas")
pytest.importorskip("lightgbm")

Cli = Callable[..., Any]


def people(path: Path, n: int = 400) -> Path:
    draw = np.random.default_rng(0)
    lines = [
        f"{a},{'FM'[a % 2]},{c}" for a, c in zip(draw.integers(18, 80, n), draw.choice(["x", "y"], n), strict=True)
    ]
    path.write_text("age,sex,city\n" + "\n".join(lines) + "\n")
    return path


def test_train_sample_fill(cli: Cli, tmp_path: Path) -> None:
    kinds = tmp_path / "kinds.toml"
    kinds.write_text("age = 'number'\n")
    run = tmp_path / "人"
    trained = cli("train", people(tmp_path / "p.csv"), "--target", "city", "--kinds", kinds, "-o", run)
    assert trained.code == 0 and "fitted in" in trained.err, trained.err
    config = json.loads((run / "config.json").read_text("utf-8"))
    assert config["model"] == "forest" and config["modality"]["target"] == "city"
    shown = cli("sample", run, "-n", 5).out.splitlines()
    assert shown[0] == "age,sex,city" and len(shown) == 6
    document = cli("sample", run, "-n", 3, "--where", "sex=F", "--json").document
    assert [row["sex"] for row in document["rows"]] == ["F"] * 3
    written = cli("sample", run, "-n", 7, "-o", tmp_path / "s.tsv")
    assert Path(written.out.strip()).read_text().count("\t") == 16 and list(tmp_path.glob("provenance-*.json"))
    assert cli("verify", tmp_path / "s.tsv").code == 0
    holes = tmp_path / "holes.csv"
    holes.write_text("sex,age\nF,\n,44\n")
    filled = cli("sample", run, "--fill", holes).out.splitlines()
    assert filled[1].split(",")[1] == "F" and filled[2].split(",")[0] == "44"
    wrong = cli("sample", run, "--where", "sex=W")
    assert wrong.code == 2 and "no level of sex 'W'" in wrong.err and wrong.err.count("\n") == 1


def test_a_private_training_says_what_it_promises(cli: Cli, tmp_path: Path) -> None:
    pytest.importorskip("opacus")
    small = ("--set", "family.width=16", "--set", "family.depth=1", "--set", "train.batch=32", "--steps", 5)
    done = cli("train", people(tmp_path / "p.csv"), "--private", "epsilon=3", "-o", tmp_path / "run", *small)
    assert done.code == 0, done.err
    promise = json.loads((tmp_path / "run" / "manifest.json").read_text())["privacy"]
    assert promise["epsilon"] <= 3
    card = (tmp_path / "run" / "README.md").read_text("utf-8")
    assert "## Differential privacy" in card and "not the levels, ranges and quantiles" in card


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (("--target", "cty"), "there is no column 'cty'; did you mean 'city'?"),
        (("--model", "fsq"), "takes Grid, but p is Row"),
        (("--set", "modality.constraints=[a<b]"), "there is no column 'a'"),
        (("--private", "epsilon=3", "--budget", "5s"), "private training counts its steps"),
        (("--private", "epsilon=3", "--model", "forest", "--steps", "5"), "cannot promise differential privacy"),
    ],
)
def test_what_cannot_be_trained_is_one_sentence(
    cli: Cli, tmp_path: Path, arguments: tuple[str, ...], match: str
) -> None:
    done = cli("train", people(tmp_path / "p.csv", 60), "-o", tmp_path / "run", *arguments)
    assert done.code == 2 and match in done.err, done.err
