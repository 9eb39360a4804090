"""Ways from one code to another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from genloom.core.errors import InputError
from genloom.core.spec import Tokens
from genloom.run.generate import not_empty

if TYPE_CHECKING:
    from genloom.run.trained import Run


def ways(
    run: Run, n: int, rows: int, seed: int, label: str | int | None, between: Sequence[Any] | None
) -> list[list[Any]]:
    """As Run.interpolate says. Raises InputError for fewer than 2 steps and for examples that are not pairs."""
    if n < 2:
        raise InputError(f"an interpolation has at least 2 steps, got {n}")
    if between is not None and (len(between) < 2 or len(between) % 2):
        raise InputError(f"interpolation goes between pairs of examples; got {len(between)}")
    ends = run.encode(between if between is not None else _ends(run, 2 * rows, label, seed))
    way = np.linspace(0, 1, n, dtype=np.float32)[:, None]
    return [run.decode(a + way * (b - a)) for a, b in zip(ends[::2], ends[1::2], strict=True)]


def _ends(run: Run, n: int, label: str | int | None, seed: int) -> list[Any]:
    """n samples to go between. An empty text cannot be read back: one that follows it takes its place."""
    if not isinstance(run.family.spec, Tokens):
        return list(run.sample(n, label=label, seed=seed))
    return not_empty(run.sample(4 * n, label=label, seed=seed), n, run.name)
