"""What a person sees while a model trains: a panel on a terminal, a line now and then in a log file.

Both are observers of the training loop (`genloom.core.observe.Observer`) and write to stderr only.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from PIL.Image import Image
    from rich.console import Console, RenderableType
    from rich.text import Text

    from genloom.core.modality import Shown
    from genloom.core.observe import Observer

LINE_EVERY, COUNT_EVERY = 10.0, 5.0  # seconds between two lines in a log file
PICTURE_COLUMNS, PICTURE_LINES = 120, 20  # largest size of the samples in the terminal
LEGIBLE = 60  # columns below which a grid of samples cannot be read: rather cut it than shrink it further


def format_duration(seconds: float) -> str:
    """The two largest units: "1h 05m", "2m 10s", "9s"; "?" for a time that is not finite."""
    if not math.isfinite(seconds):
        return "?"
    minutes, left = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minutes:02d}m"
    return f"{minutes}m {left:02d}s" if minutes else f"{left}s"


class Pace:
    """Time left, judged from the last records: speed changes with a training's stage and the machine's load."""

    def __init__(self, window: int = 30) -> None:
        self._seen: deque[tuple[float, float]] = deque(maxlen=window)

    def left(self, fraction: float, seconds: float) -> float | None:
        """Seconds left when `fraction` is done after `seconds`; None while that cannot be said."""
        if self._seen and fraction < self._seen[-1][0]:  # went back to a checkpoint
            self._seen.clear()
        self._seen.append((fraction, seconds))
        first_fraction, first_seconds = self._seen[0]
        if fraction <= first_fraction:
            return (1 - fraction) * seconds / fraction if fraction > 0 else None
        return (1 - fraction) * (seconds - first_seconds) / (fraction - first_fraction)


def describe_start(info: dict[str, Any]) -> str:
    """One line on what is being trained, from the loop's `started` information."""
    if not info["parameters"]:
        return f"{info['model']} on {info['data']['name']} · fitted in one go, without steps · {info['device']}"
    parameters = " + ".join(f"{count:,} {player}" for player, count in info["parameters"].items())
    length = f"{info['steps']:,} steps" if info["steps"] is not None else format_duration(info["budget"] or 0)
    begin = f", from step {info['step']:,}" if info["step"] else ""
    return (
        f"{info['model']} on {info['data']['name']} · {parameters} parameters · {length}{begin} · {info['device']}, "
        f"{info['precision']}"
    )


def describe_step(record: dict[str, Any], left: float | None) -> str:
    """One line on where a training stands, from a record of history.jsonl."""
    losses = "  ".join(f"{player} {loss:.4g}" for player, loss in record["losses"].items())
    time_left = "" if left is None else f"  {format_duration(left)} left"
    return (
        f"step {record['step']:,}  {record['fraction']:.0%}  loss: {losses}  "
        f"{record['examples_per_second']:,.0f} examples/s{time_left}  data wait {record['data_wait']:.1%}"
    )


def describe_end(summary: dict[str, Any]) -> str:
    if not summary["steps"]:
        return f"fitted in {format_duration(summary['seconds'])}"
    return (
        f"trained {summary['steps']:,} steps in {format_duration(summary['seconds'])} "
        f"({summary['examples_per_second']:,.0f} examples/s)"
    )


class Lines:
    """Plain lines, at most one every ten seconds: for log files and terminals that cannot move the cursor."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._pace = stream, Pace()
        self._printed = -LINE_EVERY

    def _print(self, text: str) -> None:
        print(text, file=self._stream, flush=True)

    def started(self, info: dict[str, Any]) -> None:
        self._print(describe_start(info))

    def step(self, record: dict[str, Any]) -> None:
        left = self._pace.left(record["fraction"], record["seconds"])
        now = time.monotonic()
        if now - self._printed >= LINE_EVERY or record["fraction"] >= 1:
            self._printed = now
            self._print(describe_step(record, left))

    def samples(self, step: int, shown: Shown, path: Path) -> None:
        self._print(f"step {step:,}  samples: {path}")

    def notice(self, text: str) -> None:
        self._print(text)

    def finished(self, summary: dict[str, Any]) -> None:
        self._print(describe_end(summary))


class Panel:
    """A live panel: bar, losses of every player, speed, time left, and the last samples drawn in the terminal."""

    def __init__(self, console: Console) -> None:
        from rich.live import Live

        self._console, self._pace = console, Pace()
        self._live = Live(console=console, auto_refresh=False, transient=False)
        self._title = "genloom"
        self._record: dict[str, Any] | None = None
        self._left: float | None = None
        self._first: dict[str, float] = {}
        self._picture: Text | None = None
        self._caption = ""

    def started(self, info: dict[str, Any]) -> None:
        self._title = describe_start(info)
        self._live.start()
        self._refresh()

    def step(self, record: dict[str, Any]) -> None:
        self._left = self._pace.left(record["fraction"], record["seconds"])
        self._first = {**record["losses"], **self._first}
        self._record = record
        self._refresh()

    def samples(self, step: int, shown: Shown, path: Path) -> None:
        from rich.text import Text

        lines = max(4, min(PICTURE_LINES, self._console.height - 8))
        if isinstance(shown, str):
            self._picture = Text("\n".join(shown.splitlines()[:lines]), no_wrap=True, overflow="ellipsis")
        else:
            self._picture = half_blocks(shown, min(PICTURE_COLUMNS, self._console.width - 4), lines)
        self._caption = f"samples at step {step:,}: {path}"
        self._refresh()

    def notice(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)

    def finished(self, summary: dict[str, Any]) -> None:
        self.close()
        self.notice(describe_end(summary))

    def close(self) -> None:
        """Leave the terminal as it was; safe to call twice."""
        self._live.stop()

    def _refresh(self) -> None:
        self._live.update(self._render(), refresh=True)

    def _render(self) -> RenderableType:
        from rich import box
        from rich.console import Group
        from rich.panel import Panel as Frame
        from rich.text import Text

        parts: list[RenderableType] = []
        if self._record is None:
            parts.append(Text("measuring the first steps ..."))
        else:
            parts += [self._bar(self._record), self._losses(self._record), self._speed(self._record)]
        if self._picture is not None:
            parts += [Text(self._caption, style="dim", overflow="ellipsis", no_wrap=True), self._picture]
        return Frame(Group(*parts), title=Text(self._title), title_align="left", box=box.ROUNDED, padding=(0, 1))

    def _bar(self, record: dict[str, Any]) -> RenderableType:
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        row = Table.grid(padding=(0, 1), expand=True)
        row.add_column(ratio=1)
        row.add_column(no_wrap=True)
        left = "" if self._left is None else f" · {format_duration(self._left)} left"
        row.add_row(
            ProgressBar(total=1.0, completed=record["fraction"]),
            f"{record['fraction']:.0%} · step {record['step']:,}{left}",
        )
        return row

    def _losses(self, record: dict[str, Any]) -> RenderableType:
        from rich.text import Text

        text = Text("loss  ", style="bold")
        for player, loss in record["losses"].items():
            text.append(f"{player} {loss:.4g}", style="cyan")
            text.append(f" (from {self._first[player]:.4g})   ", style="dim")
        for name, value in record["logs"].items():
            text.append(f"{name} {value:.4g}   ", style="not bold")
        return text

    def _speed(self, record: dict[str, Any]) -> RenderableType:
        from rich.text import Text

        return Text(
            f"{record['examples_per_second']:,.0f} examples/s · data wait {record['data_wait']:.1%} · "
            f"{format_duration(record['seconds'])} so far"
        )


def half_blocks(picture: Image, columns: int, lines: int) -> Text:
    """A picture as text: each character is two pixels, one above the other (U+2580).

    It is scaled down to fit into `columns` characters and `lines` lines, never enlarged. One that would become too
    narrow to be read is scaled to LEGIBLE columns and cut at the bottom.
    """
    from PIL.Image import Resampling
    from rich.color import Color
    from rich.style import Style
    from rich.text import Text

    image = picture.convert("RGB")
    fitting = round(image.width * 2 * lines / image.height)
    width = min(image.width, columns, max(fitting, LEGIBLE))
    if width < image.width:
        height = max(2, round(image.height * width / image.width))
        image = image.resize((width, height), Resampling.BOX)
    height = min(2 * lines, image.height + image.height % 2)
    pixels = image.crop((0, 0, image.width, height)).load()
    assert pixels is not None
    text = Text(no_wrap=True)
    for y in range(0, height, 2):
        for x in range(image.width):
            upper, lower = (Color.from_rgb(*pixels[x, row]) for row in (y, y + 1))  # type: ignore[misc]
            text.append("▀", Style(color=upper, bgcolor=lower))
        if y + 2 < height:
            text.append("\n")
    return text


def draws(stream: TextIO) -> bool:
    """Whether `stream` is a terminal whose cursor can be moved (not with NO_COLOR, TERM=dumb, or a file)."""
    dumb = os.environ.get("TERM", "") in ("dumb", "unknown") or bool(os.environ.get("NO_COLOR"))
    return stream.isatty() and not dumb


def watcher_for(stream: TextIO) -> Panel | Lines:
    """The panel where `stream` is a terminal that can show it, plain lines elsewhere."""
    if not draws(stream):
        return Lines(stream)
    from rich.console import Console

    return Panel(Console(file=stream))


@contextlib.contextmanager
def counter(what: str) -> Iterator[Callable[[int, int], None]]:
    """Told how many of how many are done: a bar on a terminal, elsewhere a line every few seconds. what: they are."""
    if not draws(sys.stderr):
        yield Count(sys.stderr, what)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    counted = TextColumn("{task.completed:,.0f} of {task.total:,.0f} {task.description} {task.fields[rate]}")
    begin = time.monotonic()
    with Progress(BarColumn(), counted, TimeRemainingColumn(), console=Console(file=sys.stderr)) as bar:
        task = bar.add_task(what, total=1, rate="")

        def told(done: int, total: int) -> None:
            rate = done / max(time.monotonic() - begin, 1e-9)
            bar.update(task, completed=done, total=total, rate=f"· {rate:,.0f} a second ·")

        yield told


class Count:
    """A line every few seconds: how many are done, how fast, how long it will take."""

    def __init__(self, stream: TextIO, what: str) -> None:
        self._stream, self._what = stream, what
        self._begin = self._printed = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._printed < COUNT_EVERY:
            return
        self._printed = now
        rate = done / max(now - self._begin, 1e-9)
        left = format_duration((total - done) / max(rate, 1e-9))
        said = f"{done:,} of {total:,} {self._what} ({done / max(1, total):.0%}) · {rate:,.0f} a second · {left} left"
        print(said, file=self._stream, flush=True)


@contextlib.contextmanager
def watcher() -> Iterator[Panel | Lines]:
    """An observer for the person at this terminal; the terminal is put in order again whatever happens."""
    observer = watcher_for(sys.stderr)
    try:
        yield observer
    finally:
        if isinstance(observer, Panel):
            observer.close()


if TYPE_CHECKING:
    _panel: type[Observer] = Panel
    _lines: type[Observer] = Lines
