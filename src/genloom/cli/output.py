"""What the commands print: data on stdout, everything for the eye of a person on stderr."""

from __future__ import annotations

import json
import math
import os
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def say(text: str) -> None:
    """A line for the person, on stderr."""
    print(text, file=sys.stderr, flush=True)


def emit(document: Mapping[str, Any]) -> None:
    """One JSON document on one line on stdout."""
    ascii_only = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    print(json.dumps(plain(document), ensure_ascii=ascii_only, allow_nan=False), flush=True)


def plain(value: Any) -> Any:
    """`value` as JSON knows it: paths and types as text, NumPy's numbers as Python's, those not finite as null."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if value is None or isinstance(value, str | bool | int):
        return value
    if hasattr(value, "item"):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)


def table(rows: Sequence[Sequence[str]], indent: str = "  ") -> str:
    """Left-aligned columns; the last is wrapped to the width of the terminal, at 100 columns where there is none."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    columns = max((len(row) for row in rows), default=0)
    grid = Table(box=box.SIMPLE, show_header=False, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
    for i in range(columns):
        grid.add_column(no_wrap=i == 0, overflow="fold", ratio=1 if i == columns - 1 else None)
    for row in rows:
        grid.add_row(*(Text(cell) for cell in row))
    console = Console(width=None if sys.stdout.isatty() else 120, color_system=None)
    with console.capture() as captured:
        console.print(grid)
    return "\n".join(indent + line.rstrip() for line in captured.get().splitlines())


def leaves(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested mappings as dotted names with their values."""
    out: list[tuple[str, Any]] = []
    for key, value in tree.items():
        name = f"{prefix}{key}"
        out += leaves(value, f"{name}.") if isinstance(value, Mapping) and value else [(name, value)]
    return out


def text_of(value: Any) -> str:
    """A value as a person would type it after --set."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ", ".join(text_of(v) for v in value)
    if isinstance(value, Mapping):
        return " ".join(f"{name}={text_of(v)}" for name, v in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)


def fail(kind: str, message: str, code: int, as_json: bool) -> int:
    """Report an error in one sentence and return the exit code."""
    say(f"genloom: {message}")
    if as_json:
        emit({"schema": "genloom.error/1", "error": {"kind": kind, "message": message, "exit_code": code}})
    return code


def unexpected(error: BaseException) -> str:
    """A sentence about an error nobody foresaw; its traceback goes to a file, or to stderr with GENLOOM_DEBUG=1."""
    text = "".join(traceback.format_exception(error))
    what = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no message'}"
    if os.environ.get("GENLOOM_DEBUG", "0") not in ("", "0"):
        say(text)
        return f"an error in genloom itself ({what})"
    return f"an error in genloom itself ({what}); {_keep(text)}"


def _keep(text: str) -> str:
    try:
        with tempfile.NamedTemporaryFile("w", prefix="genloom-", suffix=".log", delete=False, encoding="utf-8") as log:
            log.write(text)
    except OSError:
        return "set GENLOOM_DEBUG=1 to see where"
    return f"the details are in {Path(log.name)}, please send them with a report"
