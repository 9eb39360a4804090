"""The curves of quality against diversity as a report draws them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from markupsafe import Markup

from genloom.evaluate.curves import Way, plane

REAL = "real data"


def drawn_curves(found: Mapping[str, Any] | None) -> list[Markup]:
    """A chart for each order of n-grams, of an evaluation's `diversity`; none for what is missing or damaged."""
    try:
        return [] if found is None else _drawn(found)
    except (KeyError, TypeError, ValueError, IndexError):
        return []


def _drawn(found: Mapping[str, Any]) -> list[Markup]:
    sources = [(str(c["name"]), c["points"]) for c in found["curves"]] + [(REAL, [found["real"]])]
    out = []
    for k, order in enumerate(found["orders"]):
        ways = [
            Way(
                name,
                np.array([p["self_bleu"][k] for p in points], dtype=np.float64),
                np.array([p["bleu"][k] for p in points], dtype=np.float64),
                tuple(REAL if p["temperature"] is None else f"temperature {p['temperature']:g}" for p in points),
            )
            for name, points in sources
        ]
        drawn = plane(f"BLEU-{order} against self-BLEU-{order}", ways, f"self-BLEU-{order}", f"BLEU-{order}")
        out += [] if drawn is None else [drawn]
    return out
