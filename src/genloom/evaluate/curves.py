"""Line charts as inline SVG: no script, no font and no file besides, coloured by the page's style sheet."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

WIDTH, HEIGHT = 560, 250
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 12, 34
MOST_POINTS = 400
LOG_FROM = 30.0  # ratio of the largest to the smallest smoothed value from which a logarithmic axis shows more


@dataclass(frozen=True)
class Series:
    """Values y [N] at steps x [N]."""

    name: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]

    def finite(self) -> Series:
        keep = np.isfinite(self.x) & np.isfinite(self.y)
        return Series(self.name, self.x[keep], self.y[keep])


@dataclass(frozen=True)
class Axis:
    """Maps low to `start` and high to `end` on the page."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def place(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        low, high = (math.log10(self.low), math.log10(self.high)) if self.log else (self.low, self.high)
        v = np.log10(np.maximum(values, self.low)) if self.log else values
        return self.start + (np.clip(v, low, high) - low) / (high - low) * (self.end - self.start)

    def ticks(self, most: int = 5) -> list[float]:
        """Round numbers between low and high."""
        if self.log:
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            every = max(1, math.ceil((last - first) / most))
            marks = [10.0**e for e in range(first, last + 1, every)]
            if sum(self.low <= m <= self.high for m in marks) < 3:
                marks = [m * 10.0**e for e in range(first, last + 1) for m in (1, 2, 5)]
        else:
            step = _round_step((self.high - self.low) / most)
            marks = [step * i for i in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]
        slack = 1e-9 * abs(self.high)
        return [m for m in marks if self.low - slack <= m <= self.high + slack]


def _round_step(rough: float) -> float:
    size = 10.0 ** math.floor(math.log10(rough))
    return next(m * size for m in (1, 2, 5, 10) if m * size >= rough * (1 - 1e-9))


def smooth(y: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Moving average [N] over `window` values, fewer at the ends."""
    sums, place, half = np.cumsum(np.concatenate([[0.0], y])), np.arange(len(y)), window // 2
    left = np.minimum(half, place)
    # Few values to the right at the start: a steep first descent must not be pulled down far.
    right = np.minimum(np.minimum(half, len(y) - 1 - place), place + half // 4)
    return np.asarray((sums[place + right + 1] - sums[place - left]) / (left + right + 1))


def thin(s: Series) -> Series:
    """At most 400 points, each the mean of its neighbours."""
    if len(s.x) <= MOST_POINTS:
        return s
    parts = np.array_split(np.arange(len(s.x)), MOST_POINTS)
    return Series(s.name, np.array([s.x[p].mean() for p in parts]), np.array([s.y[p].mean() for p in parts]))


def chart(title: str, series: list[Series], plain: bool = False, over: str = "steps") -> Markup | None:
    """A chart of one or several series over the steps (or what `over` says); None with fewer than two points.

    The raw values are drawn faintly, their moving average on top; the vertical axis is logarithmic where all values
    are positive and spread widely, and leaves out the wildest 1% of raw values. plain: the values as they are, on a
    linear axis.
    """
    known = [thin(f) for s in series if len((f := s.finite()).x) >= 2]
    if not known:
        return None
    lines = [Series(s.name, s.x, s.y if plain else smooth(s.y, max(1, len(s.y) // 15))) for s in known]
    x = Axis(min(s.x.min() for s in known), max(max(s.x.max() for s in known), 1e-9), LEFT, WIDTH - RIGHT)
    if x.high <= x.low:
        return None
    y = _vertical(known, lines, plain)
    body = [_grid(x, y)]
    for i, (raw, line) in enumerate(zip(known, lines, strict=True)):
        if not plain:
            body.append(_line(raw, x, y, f"raw c{i % 6}"))
        body.append(_line(line, x, y, f"line c{i % 6}"))
    last = ", ".join(f"{s.name} {label(float(s.y[-1]))}" for s in lines)
    picture = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, HEIGHT, f"{title} over the {over}; at the end {last}", Markup("").join(body)
    )
    return Markup('<figure class="chart"><figcaption>{}{}{}</figcaption>{}</figure>').format(
        title, Markup(' <span class="dim">log axis</span>') if y.log else "", _legend(lines), picture
    )


def _vertical(raw: list[Series], lines: list[Series], linear: bool) -> Axis:
    firm = np.concatenate([s.y for s in lines])
    everything = np.concatenate([s.y for s in raw])
    low, high = min(firm.min(), np.quantile(everything, 0.01)), max(firm.max(), np.quantile(everything, 0.99))
    log = bool(not linear and everything.min() > 0 and firm.max() / firm.min() > LOG_FROM)
    if high <= low:
        pad = abs(low) * 0.1 or 1.0
        low, high = low - pad, high + pad
    elif not log:
        low, high = low - 0.04 * (high - low), high + 0.04 * (high - low)
    return Axis(float(low), float(high), HEIGHT - BOTTOM, TOP, log)


def _grid(x: Axis, y: Axis) -> Markup:
    parts = []
    for value, place in zip(y.ticks(), y.place(np.array(y.ticks())), strict=True):
        parts.append(
            Markup('<line class="rule" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(
                LEFT, WIDTH - RIGHT, place, place
            )
        )
        parts.append(
            Markup('<text x="{}" y="{:.1f}" text-anchor="end">{}</text>').format(LEFT - 8, place + 4, label(value))
        )
    for value, place in zip(x.ticks(), x.place(np.array(x.ticks())), strict=True):
        anchor = "end" if place > WIDTH - RIGHT - 16 else "middle"
        parts.append(
            Markup('<text x="{:.1f}" y="{}" text-anchor="{}">{}</text>').format(
                place, HEIGHT - 12, anchor, label(value)
            )
        )
    return Markup("").join(parts)


def _line(s: Series, x: Axis, y: Axis, style: str) -> Markup:
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x.place(s.x), y.place(s.y), strict=True))
    return Markup('<polyline class="{}" points="{}"/>').format(style, points)


def _legend(lines: list[Series]) -> Markup:
    if len(lines) < 2:
        return Markup("")
    return Markup("").join(
        Markup(' <span class="key c{}">{}</span>').format(i % 6, escape(s.name)) for i, s in enumerate(lines)
    )


def label(value: float) -> str:
    """A short number: 12k, 0.05, 3.2e-05."""
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:.4g}M"
    if size >= 1e4:
        return f"{value / 1e3:.4g}k"
    if size and size < 1e-3:
        return f"{value:.1e}".replace("e-0", "e-")
    return f"{value:.4g}"
