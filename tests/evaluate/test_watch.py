"""Copying watched in training: a model that learns its examples by heart is stopped, one with plenty of data is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import genloom
from evaluate.conftest import Memory
from evaluate.languages import Letters, Prepared, sequences
from evaluate.test_copying_sequences import rows, texts
from genloom.core.batch import ConditionSpec
from genloom.evaluate.audit_grids import audit_grids
from genloom.evaluate.watch import Watch

FLOW = {"family.width": 24, "family.levels": 2, "family.patch": 1}
QUICK = {
    "data.validation": 0.0, "train.batch": 32, "train.warmup": 10, "train.grids": 0, "train.ema": 0.95,
    "train.precision": "fp32", "train.log_every": 1e-9, "train.audit_share": 0.5, "train.stop_on_copying": True,
}  # fmt: skip


class Heard:
    """An observer that keeps notices and the rate of copies."""

    def __init__(self) -> None:
        self.notices: list[str] = []
        self.rates: list[float] = []

    def started(self, info: dict[str, Any]) -> None: ...

    def step(self, record: dict[str, Any]) -> None:
        self.rates += [record["logs"]["copies"]] if "copies" in record["logs"] else []

    def samples(self, step: int, shown: Any, path: Path) -> None: ...

    def notice(self, text: str) -> None:
        self.notices.append(text)

    def finished(self, summary: dict[str, Any]) -> None: ...


def pictures(n: int) -> np.ndarray:
    return (load_digits().images[:n] * 255 / 16).astype(np.uint8)


def test_a_model_that_learns_a_few_digits_by_heart_is_stopped(tmp_path: Path) -> None:
    heard = Heard()
    settings = {**QUICK, **FLOW, "data.test": 0.49, "train.audit_times": 4}
    run = genloom.train(
        pictures(60), model="flow", steps=400, out=tmp_path / "run", settings=settings, observers=[heard]
    )
    audits = run.manifest["audits"]
    assert audits["stopped"] and audits["verdict"] == "copying" and run.manifest["steps"] < 400
    assert audits["made"] == len(heard.rates) and heard.rates[0] < 0.1 < heard.rates[-1]
    told = [n for n in heard.notices if "stopped at step" in n]
    assert len(told) == 1 and "This model copies" in told[0] and f"the weights of {audits['kept']}" in told[0]
    assert "stopped on copying" in run.folder.report.read_text("utf-8")


def test_one_with_plenty_of_data_is_not(tmp_path: Path) -> None:
    heard = Heard()
    settings = {**QUICK, **FLOW, "data.test": 0.3, "train.audit_times": 3, "train.audit_share": 1.0}
    run = genloom.train(
        pictures(1797), model="flow", steps=40, out=tmp_path / "run", settings=settings, observers=[heard]
    )
    audits = run.manifest["audits"]
    assert not audits["stopped"] and audits["verdict"] == "none" and audits["made"] == 2
    assert audits["kept"] == "last" and run.manifest["steps"] == 40
    assert not [n for n in heard.notices if "copies" in n]


def test_a_model_that_learns_lines_by_heart_is_stopped(tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("\n".join(texts(60, 0)), "utf-8")
    settings = {
        **QUICK, "data.test": 0.45, "train.batch": 8, "train.audit_share": 1.0, "train.audit_times": 4,
        "modality.unit": "line", "modality.tokenizer": "char", "family.cell": "lstm", "family.width": 32,
        "family.hidden": 128, "family.context": 64, "family.ngram_rows": 1024, "family.dropout": 0.0,
        "family.ngram_epochs": 0.0, "family.ngram_dropout": 0.0,
    }  # fmt: skip
    heard = Heard()
    run = genloom.train(
        tmp_path / "lines.txt", model="autoregressive", steps=400, out=tmp_path / "run", settings=settings,
        observers=[heard],
    )  # fmt: skip
    assert run.manifest["audits"]["stopped"] and run.manifest["steps"] < 400
    assert any("because the model copies" in n for n in heard.notices)


def test_a_watch_says_what_the_full_audit_says_and_measures_the_data_once(digits: Any) -> None:
    data = replace(digits, test=Memory(digits.test.x[:500]))
    watch = Watch(data)
    assert watch.problem() == "" and watch.samples == 100
    x = torch.cat([data.train.x[:50], digits.test.x[500:550]])
    short, full = watch(x), audit_grids(x, data, None)
    assert short["verdict"] == full["verdict"] == "copying"
    assert short["interval"][0] <= 0.5 <= short["interval"][1] and short["exact"]["count"] == 50
    known = watch._references["values"]
    assert watch(x) == short and watch._references["values"] is known


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_a_watch_finds_planted_lines(share: float) -> None:
    modality = Letters(False, 2 + max(map(len, texts(800, 0) + texts(300, 1))))
    parts = (sequences(modality, p) for p in (texts(800, 0), [], texts(300, 1)))
    watch = Watch(Prepared("行", "lines", modality, ConditionSpec(), *parts))
    copies = round(200 * share)
    found = watch(rows(watch.data, [*texts(800, 0)[:copies], *texts(200 - copies, 3)]))  # type: ignore[arg-type]
    assert found["verdict"] in ("some", "copying")
    assert found["interval"][0] <= share <= found["interval"][1]


def test_a_watch_says_where_nothing_can_be_told(digits: Any) -> None:
    few = Watch(replace(digits, validation=Memory(digits.test.x[:0]), test=Memory(digits.test.x[:7])))
    assert "7 held-out examples are too few" in few.problem()
    modality = Letters(True, 40)
    parts = (sequences(modality, [t]) for t in ("abc " * 900, "", "abd " * 20))
    stream = Watch(Prepared("s", "s", modality, ConditionSpec(), *parts))
    assert "80 held-out tokens are too few" in stream.problem()
