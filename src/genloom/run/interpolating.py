"""Ways through a latent space from one example to another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from genloom.core.errors import InputError
from genloom.core.spec import Row, Tokens
from genloom.run.generate import not_empty

if TYPE_CHECKING:
    from genloom.run.trained import Run


def interpolated(
    run: Run, n: int, rows: int, seed: int, label: str | int | None, between: Sequence[Any] | None
) -> list[Any]:
    """As Run.interpolate says."""
    if n < 2:
        raise InputError(f"an interpolation has at least 2 steps, got {n}")
    run.latent()
    table = isinstance(run.family.spec, Row)
    if table and label is not None:
        raise InputError("rows of tables have no classes; leave the label out, or give rows to go between")
    codes = run.encode(between if between is not None else _ends(run, 2 * rows, label, seed))
    if len(codes) < 2 or len(codes) % 2:
        raise InputError(f"interpolation goes between pairs of examples; got {len(codes)}: give two, or four, ...")
    way = np.linspace(0, 1, n, dtype=np.float32)[:, None]
    ways = [a + way * (b - a) for a, b in zip(codes[::2], codes[1::2], strict=True)]
    if not table:
        return [run.decode(z) for z in ways]
    made = run.decode(np.concatenate(ways))  # at once: what is made anew differs in all of them
    return [made.iloc[i : i + n].reset_index(drop=True) for i in range(0, len(made), n)]


def _ends(run: Run, n: int, label: str | int | None, seed: int) -> list[Any]:
    """n samples to go between. An empty text cannot be read back: one that follows it takes its place."""
    if not isinstance(run.family.spec, Tokens):
        return run.sample(n, label=label, seed=seed)
    return not_empty(run.sample(4 * n, label=label, seed=seed), n, run.name)
