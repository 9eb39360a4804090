"""What a person sees while models are compared: a live table on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TextIO

from genloom.comparison.watching import Row, State
from genloom.progress import LINE_EVERY, Lines, Pace, format_duration, watcher_for

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from genloom.comparison.watching import Watcher


class Paces:
    """Time left of each training, from its rows."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[int, Pace, float | None]] = {}

    def left(self, row: Row) -> str:
        if row.state is not State.TRAINING or not row.step:
            return ""
        step, pace, left = self._of.get(row.name, (0, Pace(), None))
        if step != row.step:  # a new record
            left = pace.left(row.fraction, row.seconds)
            self._of[row.name] = (row.step, pace, left)
        return "" if left is None else format_duration(left)


def losses(row: Row) -> str:
    return "  ".join(f"{player} {loss:.4g}" for player, loss in row.losses.items())


class PlainRows:
    """A line when a training changes its state, and every ten seconds while one trains."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._paces = stream, Paces()
        self._states: dict[str, State] = {}
        self._printed = time.monotonic()

    def notice(self, text: str) -> None:
        print(text, file=self._stream, flush=True)

    def show(self, rows: Sequence[Row]) -> None:
        for row in rows:
            left = self._paces.left(row)
            changed = self._states.get(row.name, State.WAITING) is not row.state
            due = row.state is State.TRAINING and row.step and time.monotonic() - self._printed >= LINE_EVERY
            if changed or due:
                self._states[row.name], self._printed = row.state, time.monotonic()
                self.notice(self._line(row, left))

    def _line(self, row: Row, left: str) -> str:
        if row.state is State.FAILED:
            return f"{row.name}: failed: {row.error}"
        parts = [f"{row.name}: {row.state}"]
        if row.step and row.state in (State.TRAINING, State.TRAINED):
            parts += [f"step {row.step:,}", f"{row.fraction:.0%}", f"loss: {losses(row)}"]
        return "  ".join([*parts, *([f"{left} left"] if left else [])])


class LiveTable:
    """A row for each training: state, step, share done, loss, time left."""

    def __init__(self, console: Console) -> None:
        from rich.live import Live

        self._console, self._paces = console, Paces()
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._live.start()

    def notice(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)

    def show(self, rows: Sequence[Row]) -> None:
        self._live.update(self._render(rows), refresh=True)

    def close(self) -> None:
        """Leave the terminal as it was; safe to call twice."""
        self._live.stop()

    def _render(self, rows: Sequence[Row]) -> Table:
        from rich import box
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
        for name in ("run", "", "done", "step", "loss", "left"):
            table.add_column(name, justify="right" if name in ("step", "left") else "left", no_wrap=name != "loss")
        styles = {State.FAILED: "red", State.DONE: "green", State.WAITING: "dim"}
        for row in rows:
            done = 1.0 if row.state in (State.TRAINED, State.JUDGING, State.DONE) else row.fraction
            table.add_row(
                Text(row.name),
                Text(row.state, style=styles.get(row.state, "bold")),
                ProgressBar(total=1.0, completed=done, width=16),
                f"{row.step:,}" if row.step else "",
                Text(row.error or losses(row)),
                self._paces.left(row),
            )
        return table


@contextlib.contextmanager
def watching() -> Iterator[LiveTable | PlainRows]:
    """A watcher for the person at this terminal; the terminal is put in order again whatever happens."""
    if isinstance(watcher_for(sys.stderr), Lines):
        yield PlainRows(sys.stderr)
        return
    from rich.console import Console

    table = LiveTable(Console(file=sys.stderr))
    try:
        yield table
    finally:
        table.close()


if TYPE_CHECKING:
    _table: type[Watcher] = LiveTable
    _rows: type[Watcher] = PlainRows
