"""Numbers, times and settings as people read them."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any


def text(value: Any) -> str:
    if value is None or value == "":
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(text, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def number(value: float | None) -> str:
    """Three or four figures that mean something; a dash for None."""
    if value is None or not math.isfinite(value):
        return "–"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 0.1 or abs(value) >= 10 else f"{value:.3f}"


def integer(value: Any) -> str:
    return f"{value:,.0f}" if isinstance(value, int | float) and math.isfinite(value) else ""


def moment(written: Any) -> str:
    """An ISO 8601 time as 2026-01-31 10:03 UTC; anything else as it is."""
    try:
        when = datetime.fromisoformat(str(written))
    except ValueError:
        return str(written or "")
    return f"{when:%Y-%m-%d %H:%M} {when.tzname() or ''}".strip()


def duration(seconds: Any) -> str:
    """A time such as 9 min 58 s."""
    if not isinstance(seconds, int | float) or not math.isfinite(seconds):
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
