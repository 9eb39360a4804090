"""The live panel and the plain lines."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from genloom import progress

INFO: dict[str, Any] = {
    "name": "digits-gan",
    "model": "gan",
    "data": {"name": "数字"},
    "parameters": {"critic": 12345, "generator": 678},
    "device": "cpu",
    "precision": "fp32",
    "steps": None,
    "budget": 90.0,
    "step": 0,
}
SUMMARY = {"steps": 200, "seconds": 90.2, "examples_per_second": 1234.5}


def record(step: int, fraction: float, seconds: float, loss: float = 0.5) -> dict[str, Any]:
    return {
        "step": step,
        "fraction": fraction,
        "seconds": seconds,
        "rate": {"critic": 1.0},
        "losses": {"critic": loss, "generator": 2.0},
        "logs": {"diversity": 0.93},
        "examples_per_second": 1234.5,
        "data_wait": 0.012,
    }


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59.6, "1m 00s"), (130, "2m 10s"), (3900, "1h 05m"), (float("nan"), "?"), (-1, "0s")],
)
def test_format_duration(seconds: float, text: str) -> None:
    assert progress.format_duration(seconds) == text


def test_pace_follows_the_recent_speed_and_survives_a_roll_back() -> None:
    pace = progress.Pace(window=3)
    assert pace.left(0.0, 0.0) is None
    assert pace.left(0.1, 10.0) == pytest.approx(90.0)
    pace.left(0.2, 20.0)
    pace.left(0.3, 40.0)
    assert pace.left(0.4, 60.0) == pytest.approx(0.6 * 200)  # 20 s a tenth, in the window
    assert pace.left(0.2, 70.0) == pytest.approx(0.8 * 350)  # went back: only what is known since


def test_a_resumed_training_is_not_judged_by_its_first_record_alone() -> None:
    pace = progress.Pace()
    assert pace.left(0.5, 300.0) == pytest.approx(300.0)
    assert pace.left(0.6, 310.0) == pytest.approx(40.0)


def test_lines_say_every_loss_and_are_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    stream = io.StringIO()
    lines = progress.Lines(stream)
    lines.started(INFO)
    for i in range(1, 8):
        now += 2.0
        lines.step(record(10 * i, i / 10, 2.0 * i))
    lines.samples(70, Image.new("L", (4, 4)), Path("runs/样本.png"))
    lines.finished(SUMMARY)
    printed = stream.getvalue().splitlines()
    assert "gan on 数字" in printed[0]
    assert "12,345 critic + 678 generator" in printed[0]
    steps = [line for line in printed if "loss:" in line]
    assert [line.split()[1] for line in steps] == ["10", "60"]  # ten seconds apart
    assert "critic 0.5" in steps[0]
    assert "generator 2" in steps[0]
    assert "18s left" in steps[0]
    assert "data wait 1.2%" in steps[0]
    assert printed[-2].endswith("runs/样本.png")
    assert printed[-1] == "trained 200 steps in 1m 30s (1,234 examples/s)"


def panel(width: int = 100) -> tuple[progress.Panel, io.StringIO]:
    stream = io.StringIO()
    return progress.Panel(
        Console(file=stream, force_terminal=True, width=width, color_system="truecolor", _environ={})
    ), stream


@pytest.mark.parametrize("width", [40, 100])
def test_the_panel_shows_bar_losses_speed_samples_and_notices(width: int) -> None:
    shown, stream = panel(width)
    shown.started(INFO)
    shown.step(record(10, 0.1, 9.0, loss=1.5))
    shown.step(record(20, 0.2, 18.0, loss=0.25))
    shown.samples(20, Image.new("L", (200, 100), 200), Path("样本.png"))
    shown.notice("look [bold]here[/bold]")
    shown.finished(SUMMARY)
    text = stream.getvalue()
    for part in (
        "20%",
        "1m 12s left",
        "critic 0.25",
        "generator 2",
        "diversity",
        "1,234 examples/s",
        "▀",
        "trained 200 steps",
    ):
        assert part in text, part
    assert "look [bold]here[/bold]" in text  # a person's file name is never read as markup
    assert "(from 1.5)" in text
    shown.close()


def test_half_blocks_show_the_pixels() -> None:
    pixels = np.zeros((4, 2, 3), np.uint8)
    pixels[0, 0] = (255, 0, 0)
    pixels[1, 0] = (0, 0, 255)
    text = progress.half_blocks(Image.fromarray(pixels), 80, 10)
    assert text.plain == "▀▀\n▀▀"
    style = text.spans[0].style
    assert style.color.triplet == (255, 0, 0)  # type: ignore[union-attr]
    assert style.bgcolor.triplet == (0, 0, 255)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("size", "width"),
    [((300, 200), 40), ((7, 5), 7), ((1, 1), 1), ((1000, 10), 40)],
)
def test_half_blocks_fit(size: tuple[int, int], width: int) -> None:
    lines = progress.half_blocks(Image.new("RGBA", size), 40, 6).plain.splitlines()
    assert 1 <= len(lines) <= 6
    assert {len(line) for line in lines} == {width}


def test_half_blocks_show_the_whole_of_a_wide_grid_and_cut_a_tall_one() -> None:
    wide, tall = (progress.half_blocks(Image.new("L", s), 118, 20).plain.splitlines() for s in ((500, 200), (200, 500)))
    assert (len(wide[0]), len(wide)) == (100, 20)
    assert (len(tall[0]), len(tall)) == (progress.LEGIBLE, 20)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("name", "value"), [("TERM", "dumb"), ("NO_COLOR", "1")])
def test_plain_lines_where_a_panel_cannot_be(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert isinstance(progress.watcher_for(Terminal()), progress.Panel)
    assert isinstance(progress.watcher_for(io.StringIO()), progress.Lines)
    monkeypatch.setenv(name, value)
    assert isinstance(progress.watcher_for(Terminal()), progress.Lines)


def test_the_terminal_is_put_in_order_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    shown, stream = panel()
    monkeypatch.setattr(progress, "watcher_for", lambda _: shown)
    with pytest.raises(RuntimeError), progress.watcher() as observer:
        observer.started(INFO)
        raise RuntimeError
    assert stream.getvalue().rstrip().endswith("\x1b[?25h")  # the cursor is visible again


def test_what_is_counted_is_a_line_now_and_then_or_a_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "COUNT_EVERY", 0.0)
    with progress.counter("rows") as told:
        told(250_000, 1_000_000)
    assert capsys.readouterr().err.startswith("250,000 of 1,000,000 rows (25%) · ")

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    with progress.counter("rows") as told:
        told(250_000, 1_000_000)
        told(1_000_000, 1_000_000)
    assert "1,000,000 of 1,000,000 rows" in screen.getvalue() and "━" in screen.getvalue()
