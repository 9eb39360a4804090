"""Durations as people write them."""

from __future__ import annotations

import re

from genloom.core.errors import InputError


def seconds(budget: str | float) -> float:
    """A duration such as "10m", "90s", "1h30m", "600" or 600 in seconds. Raises InputError."""
    if isinstance(budget, int | float):
        return float(budget)
    match = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?", budget.strip())
    total = sum(float(v or 0) * f for v, f in zip(match.groups(), (3600, 60, 1), strict=True)) if match else 0
    if total <= 0:
        raise InputError(f"a budget is a time such as 90s, 10m or 1h30m; got {budget!r}")
    return total
