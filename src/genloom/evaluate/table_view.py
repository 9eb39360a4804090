"""What a report shows of a table: columns laid over each other, differences of correlations, what gives samples away,
and outcomes of groups, as JSON and as drawings."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup, escape

from genloom.metrics.intervals import wilson_interval
from genloom.metrics.tables import column_shapes, correlation, is_number, told_apart

if TYPE_CHECKING:
    import pandas as pd

BINS, LEVELS, COLUMNS, GROUPS = 24, 8, 40, 8  # of a drawing; levels of a column whose groups are told
INK, SHADE, LINE, WARM, COLD = "currentColor", "#9aa3b2", "#1f77b4", "#c0392b", "#2471a3"


def view_of(samples: pd.DataFrame, reference: pd.DataFrame, target: str | None, seed: int) -> dict[str, Any]:
    """The JSON of samples and held-out rows, both plain frames."""
    shapes = column_shapes(reference, samples)
    names = sorted(shapes, key=lambda c: (shapes[c] == shapes[c], shapes[c]))[:COLUMNS]
    told = told_apart(reference, samples, seed)
    numbers = [c for c in reference.columns if is_number(reference[c])][:COLUMNS]
    pairs = {(a, b): correlation(samples, a, b) - correlation(reference, a, b) for a, b in combinations(numbers, 2)}
    return {
        "columns": [_column(c, reference[c], samples[c], shapes[c]) for c in names],
        "correlation": {
            "names": numbers,
            "difference": [[_finite(pairs.get((a, b), pairs.get((b, a), 0.0))) for b in numbers] for a in numbers],
        },
        "told_apart": [{"name": c, "share": g} for c, g in sorted(told.gains.items(), key=lambda e: -e[1])[:12]],
        "outcomes": [] if target is None else _outcomes(samples, reference, target),
    }  # fmt: skip


def _finite(value: float) -> float:
    return round(value, 4) if value == value else 0.0


def _column(name: str, real: pd.Series, made: pd.Series, score: float) -> dict[str, Any]:
    if is_number(real):
        known = real.dropna()
        low, high = (float(known.quantile(q)) for q in (0.0, 1.0)) if len(known) else (0.0, 1.0)
        edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
        counts = [np.histogram(s.dropna().clip(edges[0], edges[-1]), edges)[0] / max(1, len(s)) for s in (real, made)]
        labels = [f"{edges[0]:.4g}", f"{edges[-1]:.4g}"]
    else:
        top = list(real.value_counts().index[:LEVELS])
        counts = [np.array([(s == level).mean() for level in top] + [(~s.isin(top)).mean()]) for s in (real, made)]
        labels = [str(level)[:24] or "missing" for level in top] + ["others"]
        if counts[0][-1] == counts[1][-1] == 0:
            counts, labels = [c[:-1] for c in counts], labels[:-1]
    return {
        "name": name, "number": is_number(real), "labels": labels, "score": _finite(score),
        "real": [round(float(v), 5) for v in counts[0]], "samples": [round(float(v), 5) for v in counts[1]],
    }  # fmt: skip


def _outcomes(samples: pd.DataFrame, reference: pd.DataFrame, target: str) -> list[dict[str, Any]]:
    """Of each group of a category, how often the target is its rarer common level (above its median, of a number)."""
    if is_number(reference[target]):
        middle = float(reference[target].median())
        what, hits = f"{target} above {middle:.4g}", [f[target] > middle for f in (reference, samples)]
    else:
        shares = reference[target].value_counts(normalize=True)
        common = shares[shares >= 0.05]
        if len(common) < 2:
            return []
        level = common.index[-1]
        what, hits = f"{target} = {level}", [f[target] == level for f in (reference, samples)]
    out = []
    for name in reference.columns:
        if name == target or is_number(reference[name]):
            continue
        for group in reference[name].value_counts().index[:GROUPS]:
            own = [h[f[name] == group] for h, f in zip(hits, (reference, samples), strict=True)]
            if reference[name].nunique() > GROUPS or min(map(len, own)) < 20:
                continue
            rates = [float(o.mean()) for o in own]
            ends = [wilson_interval(r, len(o)) for r, o in zip(rates, own, strict=True)]
            apart = ends[0][1] < ends[1][0] or ends[1][1] < ends[0][0]
            out.append({
                "column": name, "group": str(group) or "missing", "what": what, "real": rates[0], "samples": rates[1],
                "real_interval": list(ends[0]), "samples_interval": list(ends[1]), "apart": apart,
            })  # fmt: skip
    return out


# -- drawings ----------------------------------------------------------------------------------------------------------


def overlays(view: Mapping[str, Any]) -> list[Markup]:
    """A drawing of each column: held-out rows as an area, samples as a line."""
    return [_overlay(column) for column in view.get("columns", [])]


def _overlay(column: Mapping[str, Any]) -> Markup:
    width, height, foot = 260, 92, 16
    real, made = column["real"], column["samples"]
    top = 1.04 * max([*real, *made, 1e-9])
    step = width / len(real)
    bars, marks = [], []
    for i, (a, b) in enumerate(zip(real, made, strict=True)):
        tall = height * a / top
        bars.append(
            f'<rect x="{i * step + 1:.1f}" y="{height - tall:.1f}" width="{step - 2:.1f}" height="{tall:.1f}"/>'
        )
        y = height - height * b / top
        marks.append(f"M{i * step + 1:.1f} {y:.1f}h{step - 2:.1f}")
    labels = column["labels"]
    shown = [labels[0], labels[-1]] if column["number"] else [labels[0], f"… {len(labels) - 1} more"]
    words = escape(f"{column['name']}: {column['score']:.3f}")
    return Markup(
        f'<figure class="chart"><svg viewBox="0 0 {width} {height + foot}" width="{width}" role="img" '
        f'aria-label="{words}"><g fill="{SHADE}" opacity=".55">{"".join(bars)}</g>'
        f'<path d="{"".join(marks)}" stroke="{LINE}" stroke-width="2.5" fill="none"/>'
        f'<g fill="{INK}"><text x="0" y="{height + 12}" style="font-size:8px">{escape(shown[0])}</text>'
        f'<text x="{width}" y="{height + 12}" text-anchor="end" style="font-size:8px">{escape(shown[1])}</text>'
        "</g></svg>"
        f"<figcaption>{words}</figcaption></figure>"
    )


def heat(view: Mapping[str, Any]) -> Markup | None:
    """Differences of correlations, samples less held-out rows: red where a pair goes together more, blue where less."""
    found = view.get("correlation", {})
    names, table = found.get("names", []), found.get("difference", [])
    if len(names) < 2:
        return None
    cell, left = 46, 150
    size, parts = cell * len(names), []
    for i, row in enumerate(table):
        parts.append(
            f'<text x="{left - 6}" y="{i * cell + 27}" text-anchor="end" style="font-size:12px">'
            f"{escape(names[i][:22])}</text>"
        )
        for j, value in enumerate(row):
            if i == j:
                continue
            color, shade = WARM if value > 0 else COLD, min(1.0, abs(value) / 0.2)
            title = escape(f"{names[i]}, {names[j]}: {value:+.3f}")
            parts.append(
                f'<rect x="{left + j * cell}" y="{i * cell}" width="{cell - 2}" height="{cell - 2}" fill="{color}" '
                f'fill-opacity="{shade:.2f}" stroke="{SHADE}" stroke-opacity=".4"><title>{title}</title></rect>'
                f'<text x="{left + j * cell + cell / 2 - 1}" y="{i * cell + 26}" text-anchor="middle" '
                f'style="font-size:11px">'
                f"{value:+.2f}</text>"
            )
    return Markup(
        f'<svg viewBox="0 0 {left + size} {size}" style="width:{left + size}px;max-width:none" role="img" '
        f'aria-label="differences of '
        f'correlations" fill="{INK}">{"".join(parts)}</svg>'
    )
