"""Curves in few points, against the whole history by brute force."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genloom.studio.pages import curves
from genloom.studio.pages.curves import Curve, Curves


def records(n: int, seed: int = 0) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    out: list[dict[str, Any]] = []
    for i in range(n):
        record: dict[str, Any] = {"step": 3 * i + 1, "losses": {"flow": draw.gauss(0, 1)}, "examples_per_second": 10.0}
        if draw.random() < 0.3:
            record["logs"] = {"nll": draw.random()}
        out.append(record)
    return out


def write(path: Path, told: list[dict[str, Any]]) -> None:
    path.mkdir(exist_ok=True)
    (path / "history.jsonl").write_text("".join(json.dumps(r) + "\n" for r in told))


def expected(told: list[dict[str, Any]], width: int, name: str) -> list[tuple[float, float, float]]:
    group, _, key = name.partition(".")
    out = []
    for i in range(0, len(told), width):
        values = [r[group][key] for r in told[i : i + width] if key in r.get(group, {})]
        out.append((min(values), max(values), values[-1]) if values else (np.nan,) * 3)
    return out


@pytest.mark.parametrize("pieces", [[5000], [1, 1023, 1, 3975], [17] * 294 + [2], [1] * 1100 + [3900]])
def test_stretches_are_those_of_brute_force_however_the_records_come(pieces: list[int]) -> None:
    told, curve, at = records(5000), Curve(), 0
    for n in pieces:
        curve.add(told[at : at + n])
        at += n
    assert curve.width == 8 and len(curve.steps) == 625
    assert curve.steps.tolist() == [told[min(i + 7, 4999)]["step"] for i in range(0, 5000, 8)]
    for name in ("losses.flow", "logs.nll"):
        np.testing.assert_array_equal(curve.series[name].T, expected(told, 8, name))


def test_a_page_gets_few_points_with_the_same_extremes() -> None:
    curve = Curve()
    curve.add(records(3000))
    told = curve.to_json(100)
    assert len(told["steps"]) <= 100 and told["steps"][-1] == records(3000)[-1]["step"]
    values = [r["losses"]["flow"] for r in records(3000)]
    assert min(told["series"]["losses.flow"]["low"]) == pytest.approx(min(values), rel=1e-5)
    assert max(told["series"]["losses.flow"]["high"]) == pytest.approx(max(values), rel=1e-5)


def test_what_is_not_finite_is_null_and_half_a_line_waits(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write(run, [{"step": 1, "losses": {"a": float("nan")}}, {"step": 2, "losses": {"a": 1.0}}])
    kept = Curves(tmp_path / "kept")
    with open(run / "history.jsonl", "a") as f:
        f.write('{"step": 3, "los')
        f.flush()
        assert kept.of(run).to_json(10)["series"]["losses.a"]["last"] == [None, 1.0]
        f.write('ses": {"a": 2.0}}\nnot JSON\n{"losses": {}}\n')
    assert kept.of(run).to_json(10)["series"]["losses.a"]["last"] == [None, 1.0, 2.0]


def test_a_history_written_anew_is_read_anew(tmp_path: Path) -> None:
    run, kept = tmp_path / "run", Curves(tmp_path / "kept")
    write(run, records(50))
    assert len(kept.of(run).steps) == 50
    write(run, records(90, seed=1))
    assert kept.of(run).to_json(100)["series"]["losses.flow"]["last"][0] == pytest.approx(
        records(1, seed=1)[0]["losses"]["flow"], rel=1e-5
    )
    assert Curves(tmp_path / "kept").of(tmp_path / "nothing").to_json(9)["steps"] == []


def test_a_later_server_goes_on_from_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    write(run, records(4000))
    whole = Curves(tmp_path / "kept").of(run, wait=True)
    with open(run / "history.jsonl", "a") as f:
        f.write(json.dumps({"step": 99_999, "losses": {"flow": 7.0}}) + "\n")
    read: list[int] = []
    parsed = curves.parsed
    monkeypatch.setattr(curves, "parsed", lambda lines: read.append(len(lines)) or parsed(lines))
    later = Curves(tmp_path / "kept").of(run)
    assert read == [1] and later.steps[-1] == 99_999
    np.testing.assert_array_equal(later.series["losses.flow"][:, :-1], whole.series["losses.flow"])


def test_of_a_long_history_a_sketch_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "LONG", 1000)
    run, kept = tmp_path / "run", Curves(tmp_path / "kept")
    write(run, records(2000))
    first = kept.of(run)
    assert not first.exact and 50 <= len(first.steps) <= curves.SKETCH
    assert set(first.steps) <= {float(r["step"]) for r in records(2000)} and first.steps[0] == 1
    whole = kept.of(run, wait=True)
    assert whole.exact and whole.width == 2 and whole.steps[-1] == 3 * 1999 + 1
    assert kept.of(run).exact
