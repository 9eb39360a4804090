"""Contenders as points on a plane, as inline SVG in the style of the report's charts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from genloom.comparison.labels import Box, gap, place, width_of
from genloom.comparison.pareto import Goal, front
from genloom.evaluate.curves import LOG_FROM, Axis, label
from genloom.evaluate.units import number

WIDTH, HEIGHT = 460, 350
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 22, 48
COLOURS = 6  # of the page's style
REAL = "real data"
LEADER = 16.0  # pixels from a point from which its name gets a line to it


@dataclass(frozen=True)
class Point:
    """A contender on the plane. colour: its number on the page; low, high: the interval of y."""

    label: str
    x: float
    y: float
    colour: int
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Scale:
    """An axis. goal: which way is better, None where neither is; log None: where values spread widely. real: what real
    data has; within: limits that the axis keeps to."""

    title: str
    goal: Goal | None
    log: bool | None = None
    real: float | None = None
    within: tuple[float, float] | None = None

    @property
    def shown(self) -> str:
        return self.title + ({"lower": " (lower is better)", "higher": " (higher is better)"}.get(self.goal or "", ""))


def plane(title: str, points: Sequence[Point], x: Scale, y: Scale) -> Markup | None:
    """The points with their intervals and names, and the Pareto front where both axes have a better side. None with
    fewer than two points."""
    if len(points) < 2:
        return None
    across = _axis([p.x for p in points], x, LEFT, WIDTH - RIGHT)
    ends = [v for p in points for v in (p.low, p.high) if v is not None]
    up = _axis([p.y for p in points] + ends, y, HEIGHT - BOTTOM, TOP)
    at = [(_at(across, p.x), _at(up, p.y)) for p in points]
    real, named = _real(x, y, across, up)
    body = [_rules(across, up), _titles(x, y, up.log, across.log), real]
    best: list[int] = []
    if x.goal and y.goal:
        best = front([(p.x, p.y) for p in points], (x.goal, y.goal))
        body.append(_front([at[i] for i in best]))
    bars = [Box(a - 1, min(_at(up, p.low), _at(up, p.high)), 2, abs(_at(up, p.low) - _at(up, p.high)))
            for p, (a, _) in zip(points, at, strict=True) if p.low is not None and p.high is not None]  # fmt: skip
    page = Box(LEFT + 4, TOP, WIDTH - LEFT - RIGHT - 4, HEIGHT - TOP - BOTTOM - 2)
    boxes = place(at, [p.label for p in points], page, [*bars, *named])
    for i, (point, (a, b), box) in enumerate(zip(points, at, boxes, strict=True)):
        body.append(_point(point, a, b, up, i in best))
        body.append(_name(point, a, b, box))
    names = ", ".join(f"{p.label} at {number(p.x)} and {number(p.y)}" for p in points)
    on = f"; on the Pareto front: {', '.join(points[i].label for i in best)}" if best else ""
    said = f"{title}: {x.title} and {y.title}: {names}{on}"
    picture = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, HEIGHT, said, Markup("").join(body)
    )
    return Markup('<figure class="chart plane"><figcaption>{}</figcaption>{}</figure>').format(title, picture)


def _axis(values: Sequence[float], scale: Scale, start: float, end: float) -> Axis:
    known = [v for v in [*values, scale.real] if v is not None]
    low, high = min(known), max(known)
    log = low > 0 and (scale.log if scale.log is not None else high / low > LOG_FROM)
    if log:
        room = max((high / low) ** 0.1, 1.25)
        return Axis(low / room, high * room, start, end, log=True)
    room = 0.1 * (high - low) or 0.1 * abs(high) or 0.1
    low, high = low - room, high + room
    if scale.within is not None:
        low, high = max(low, scale.within[0] - 0.04), min(high, scale.within[1] + 0.04)
    return Axis(low, high, start, end)


def _at(axis: Axis, value: float | None) -> float:
    return float(axis.place(np.array([value if value is not None else axis.low], np.float64))[0])


def _rules(x: Axis, y: Axis) -> Markup:
    tick, parts = Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>'), []
    for v in y.ticks():
        parts.append(_line("rule", LEFT, _at(y, v), WIDTH - RIGHT, _at(y, v)))
        parts.append(tick.format(LEFT - 7, _at(y, v) + 4, "end", label(v)))
    for v in x.ticks():
        parts.append(_line("rule", _at(x, v), TOP, _at(x, v), HEIGHT - BOTTOM))
        parts.append(tick.format(_at(x, v), HEIGHT - BOTTOM + 18, "middle", label(v)))
    return Markup("").join(parts)


def _titles(x: Scale, y: Scale, log_y: bool, log_x: bool) -> Markup:
    text = Markup('<text class="axis" x="{}" y="{}" text-anchor="{}">{}</text>')
    return text.format(WIDTH - RIGHT, HEIGHT - 8, "end", x.shown + (", log" if log_x else "")) + text.format(
        2, 13, "start", y.shown + (", log" if log_y else "")
    )


def _real(x: Scale, y: Scale, across: Axis, up: Axis) -> tuple[Markup, list[Box]]:
    """Where real data is, and the place that its name takes: a line across where y alone is known of it, a cross where
    both are."""
    if y.real is None:
        return Markup(""), []
    b = _at(up, y.real)
    below = b < TOP + 20
    down = b + (16 if below else -6)
    if x.real is None:
        mark, at, anchor = _line("real", LEFT, b, WIDTH - RIGHT, b), WIDTH - RIGHT - 4.0, "end"
    else:
        a = _at(across, x.real)
        mark = _line("cross", a - 6, b, a + 6, b) + _line("cross", a, b - 6, a, b + 6)
        at, anchor = (a + 10, "start") if a < (LEFT + WIDTH) / 2 else (a - 10, "end")
    name = Markup('<text class="axis" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>')
    wide = width_of(REAL)
    taken = Box(at - (wide if anchor == "end" else 0), down - 12, wide, 16)
    return mark + name.format(at, down, anchor, REAL), [taken, Box(at - 10 if x.real else at, b - 6, 20, 12)]


def _front(at: Sequence[tuple[float, float]]) -> Markup:
    """Stairs from each point of the front to the next: all on their far side is beaten by one of them."""
    corners = [c for one, two in itertools.pairwise(at) for c in (one, (two[0], one[1]))] + list(at[-1:])
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in corners)
    return Markup('<polyline class="front" points="{}"/>').format(points) if len(at) > 1 else Markup("")


def _point(p: Point, a: float, b: float, up: Axis, on_front: bool) -> Markup:
    style = f"c{p.colour % COLOURS}"
    bar = Markup("")
    if p.low is not None and p.high is not None:
        bar = _line(f"reach {style}", a, _at(up, p.low), a, _at(up, p.high))
    dot = Markup('<circle class="{} {}" cx="{:.1f}" cy="{:.1f}" r="{}"/>')
    return bar + dot.format("full" if on_front else "hollow", style, a, b, 5.5)


def _name(p: Point, a: float, b: float, box: Box) -> Markup:
    style = f"c{p.colour % COLOURS}"
    line = Markup("")
    if gap(box, (a, b)) > LEADER:
        near = (min(max(a, box.left), box.right), min(max(b, box.top), box.bottom))
        line = _line(f"leader {style}", a, b, *near)
    text = Markup('<text class="name {}" x="{:.1f}" y="{:.1f}">{}</text>')
    return line + text.format(style, box.left, box.top + 12.5, p.label)


def _line(style: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(style, x1, y1, x2, y2)
