"""What goes to stdout and stderr, and how values become JSON."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from genloom.cli import output


def test_emit_is_one_line_of_strict_json(capsys: pytest.CaptureFixture[str]) -> None:
    output.emit(
        {
            "path": Path("跑") / "a\nb",
            "nan": math.nan,
            "inf": np.float32(np.inf),
            "n": np.int64(3),
            "items": (1.5, {"x"}),
            "no": None,
            "yes": True,
        }
    )
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    document = json.loads(printed, parse_constant=pytest.fail)
    assert document == {
        "path": str(Path("跑") / "a\nb"),
        "nan": None,
        "inf": None,
        "n": 3,
        "items": [1.5, ["x"]],
        "no": None,
        "yes": True,
    }


def test_leaves_are_dotted_and_keep_empty_mappings() -> None:
    assert output.leaves({"a": {"b": 1, "c": {}}, "d": 2}) == [("a.b", 1), ("a.c", {}), ("d", 2)]


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "true"), (None, "none"), (0.002, "0.002"), (600.0, "600"), (["3", "五"], "3, 五"), (7, "7")],
)
def test_text_of(value: object, text: str) -> None:
    assert output.text_of(value) == text


def test_table_keeps_markup_and_every_word() -> None:
    text = output.table([("family.width", "32 channels", "[bold]not markup[/bold] " + "word " * 60)])
    assert "[bold]not markup[/bold]" in " ".join(text.split())
    assert text.count("word") == 60
    assert max(map(len, text.splitlines())) <= 122


def test_an_unexpected_error_is_one_sentence_with_its_traceback_in_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("GENLOOM_DEBUG", raising=False)
    try:
        raise RuntimeError("first line\nsecond line")
    except RuntimeError as e:
        sentence = output.unexpected(e)
    (log,) = tmp_path.glob("genloom-*.log")
    assert "RuntimeError: first line" in sentence
    assert "second" not in sentence
    assert str(log) in sentence
    assert "Traceback (most recent call last)" in log.read_text("utf-8")


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("GENLOOM_DEBUG", "1")
    try:
        raise RuntimeError("here")
    except RuntimeError as e:
        output.unexpected(e)
    assert "Traceback (most recent call last)" in capsys.readouterr().err
