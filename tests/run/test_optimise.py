"""Optimising: the loss against its formula, goals that are wrong or impossible, every call told."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import pytest
import torch

import genloom
from genloom.cli import _run
from genloom.core.errors import GenloomError, InputError
from genloom.modalities.molecule import Molecule, MoleculeConfig
from genloom.run.goals import Goal, goal_of
from genloom.run.optimise import Pace, optimise

pytest.importorskip("rdkit")
MODALITY = Molecule.fit(MoleculeConfig(), ["CCO", "c1ccccc1"])
FAST: dict[str, Any] = {
    "family.cell": "lstm", "family.width": 24, "family.hidden": 96, "family.context": 32, "train.batch": 16,
    "train.grids": 0, "train.validate_times": 0, "train.ema": 0.9, "family.ngrams": 2, "modality.grammar": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return genloom.train("simple-molecules", steps=200, out=tmp_path_factory.mktemp("runs") / "run", settings=FAST)


@pytest.mark.parametrize(
    ("wishes", "reason"),
    [
        ({"maximise": ["qd"]}, "did you mean 'qed'"),
        ({"maximise": []}, "say what to optimise"),
        ({"maximise": ["qed"], "keep": ["qed>1.2"]}, "never above 1"),
        ({"maximise": ["qed"], "keep": ["weight<0"]}, "never below 0"),
        ({"maximise": ["qed"], "keep": ["logp<1", "logp>5"]}, "both logp<1 and logp>5"),
        ({"maximise": ["qed"], "minimise": ["qed"]}, "at once"),
        ({"maximise": ["qed"], "keep": ["logp"]}, "as in 'logp<5'"),
        ({"maximise": [], "similar_to": "CC("}, "no molecule to be similar to"),
        ({"maximise": ["nowhere.py:f"]}, "there is no file"),
    ],
)
def test_a_wrong_or_impossible_goal_is_one_sentence(wishes: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        goal_of(MODALITY, **wishes)


def test_the_score_is_the_product_of_its_parts() -> None:
    goal = goal_of(MODALITY, ["qed", "logp"], keep=["weight<100"])
    goal.scale = {"qed": (0.5, 0.1), "logp": (2.0, 2.0), "weight": (90.0, 20.0)}
    high = 1 / (1 + math.exp(-1))
    assert goal.score({"qed": 0.8, "logp": 4.0, "weight": 90.0}) == pytest.approx(0.8 * high)
    assert goal.score({"qed": 0.8, "logp": 4.0, "weight": 120.0}) == pytest.approx(0.8 * high * 0.5 * math.exp(-1))
    assert goal.score({"qed": 0.8, "logp": math.nan, "weight": 90.0}) == 0
    assert goal.kept({"qed": 0, "logp": 0, "weight": 99.9}) and not goal.kept({"qed": 0, "logp": 0, "weight": 100.0})


def test_a_score_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "def carbons(smiles):\n    return smiles.count('C')\n\ndef bad(s):\n    return 1 / 0\n"
    )
    goal = goal_of(MODALITY, [f"{tmp_path}/mine.py:carbons"])
    assert goal.measure("CCO") == {f"{tmp_path}/mine.py:carbons": 2.0}
    with pytest.raises(GenloomError, match="ZeroDivisionError"):
        goal_of(MODALITY, [f"{tmp_path}/mine.py:bad"]).measure("CCO")
    with pytest.raises(InputError, match="no function missing"):
        goal_of(MODALITY, [f"{tmp_path}/mine.py:missing"])


def test_optimising_raises_the_score_and_leaves_the_model(run: Any) -> None:
    before = {k: v.clone() for k, v in run.family.state_dict().items()}
    goal = goal_of(run.modality, ["atoms"])
    found = optimise(run.family, run.modality, goal, Pace(calls=400, batch=32), seed=1)
    assert all(torch.equal(v, before[k]) for k, v in run.family.state_dict().items())
    sizes = [c.numbers["atoms"] for c in found.calls]
    assert len(found.calls) <= 400 and [c.number for c in found.calls] == list(range(1, len(found.calls) + 1))
    assert len({c.identity for c in found.calls}) == len(found.calls)
    quarter = len(sizes) // 4
    assert sum(sizes[-quarter:]) > 1.1 * sum(sizes[:quarter])
    again = optimise(run.family, run.modality, Goal(goal.scores, ("atoms",), (), ()), Pace(calls=64, batch=32), seed=1)
    assert [c.identity for c in again.calls[:20]] == [c.identity for c in found.calls[:20]]


def test_the_gradient_is_that_of_the_loss(run: Any) -> None:
    x = torch.stack([run.modality.encode("CCO"), run.modality.encode("CCC")])
    nats = run.family.nats(x).sum(1)
    assert nats.requires_grad
    torch.testing.assert_close(nats.detach(), run.family.surprise(x).sum(1))


def test_the_command_tells_every_call(run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "best"
    wishes = ["--maximise", "qed", "--keep", "logp<9", "--calls", "64", "--best", "3"]
    code = _run(["optimise", str(run.path), *wishes, "-o", str(out), "--json"])
    assert code == 0 and '"schema": "genloom.optimise/1"' in capsys.readouterr().out
    with open(out / "calls.csv", newline="", encoding="utf-8") as f:
        rows = list(csv.DictReader(f))
    assert 0 < len(rows) <= 64 and {"call", "example", "score", "kept", "qed", "logp"} == set(rows[0])
    assert all(0 <= float(r["score"]) <= 1 for r in rows) and (out / "best-0001.sdf").is_file()
    assert _run(["optimise", str(run.path), "--maximise", "qed", "--keep", "qed>2", "-o", str(out)]) == 2
