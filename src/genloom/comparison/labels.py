"""Places for the names of points on a chart, so that none covers another."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

HEIGHT = 16.0  # of a line of text
NARROW, WIDE = 8.2, 14.0  # of a letter, and of one of a script such as Chinese, in bold 13-pixel text
RADIUS = 6.0  # of a point
RINGS = (9.0, 18.0, 30.0, 44.0, 60.0, 80.0, 104.0, 132.0)
DIRECTIONS = 16


@dataclass(frozen=True)
class Box:
    """A rectangle on the page, y downwards."""

    left: float
    top: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.left + self.width

    @property
    def bottom(self) -> float:
        return self.top + self.height

    def shared(self, other: Box) -> float:
        """Area that both cover."""
        wide = min(self.right, other.right) - max(self.left, other.left)
        high = min(self.bottom, other.bottom) - max(self.top, other.top)
        return wide * high if wide > 0 and high > 0 else 0.0


def width_of(text: str) -> float:
    """About how wide a text is drawn, in pixels."""
    return sum(WIDE if unicodedata.east_asian_width(c) in "WF" else NARROW for c in text)


def place(
    points: Sequence[tuple[float, float]], texts: Sequence[str], page: Box, keep: Sequence[Box] = ()
) -> list[Box]:
    """A box for the text of each point: the nearest within `page` that covers no other text and no point.

    keep: what should stay visible too, such as the bars of intervals. Where there is no free place, that which covers
    least is taken.
    """
    dots = [Box(x - RADIUS, y - RADIUS, 2 * RADIUS, 2 * RADIUS) for x, y in points]
    out: list[Box] = []
    for point, text in zip(points, texts, strict=True):
        candidates = _around(point, width_of(text), page)
        out.append(min(candidates, key=lambda c: _cost(c, point, out, dots, keep)))
    return out


def _around(point: tuple[float, float], width: float, page: Box) -> list[Box]:
    """Boxes around a point, the nearest first, moved into the page."""
    x, y = point
    out = []
    for ring in RINGS:
        for i in range(DIRECTIONS):
            angle = 2 * math.pi * i / DIRECTIONS  # from the right of the point
            across, down = math.cos(angle), math.sin(angle)
            left = x + ring * across - width * (1 - across) / 2
            top = y + ring * down - HEIGHT * (1 - down) / 2
            left = min(max(left, page.left), page.right - width)
            out.append(Box(left, min(max(top, page.top), page.bottom - HEIGHT), width, HEIGHT))
    return out


def _cost(
    box: Box, point: tuple[float, float], texts: Sequence[Box], dots: Sequence[Box], keep: Sequence[Box]
) -> float:
    covered = sum(box.shared(t) for t in texts) + sum(box.shared(d) for d in dots)
    return 1000 * covered + 3 * sum(box.shared(k) for k in keep) + gap(box, point)


def gap(box: Box, point: tuple[float, float]) -> float:
    """Distance from a point to the nearest edge of a box."""
    across = max(box.left - point[0], 0.0, point[0] - box.right)
    down = max(box.top - point[1], 0.0, point[1] - box.bottom)
    return math.hypot(across, down)
