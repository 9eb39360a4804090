"""Several runs side by side: one table, their curves over each other, and which are best in two figures at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from numpy.typing import NDArray
from pydantic_core import from_json

from genloom.comparison.pareto import front
from genloom.core.errors import InputError
from genloom.evaluate.evaluation import SCHEMA
from genloom.studio.pages.curves import PLAIN, Curve
from genloom.studio.pages.kept import Kept
from genloom.studio.pages.render import json_of, page
from genloom.studio.pages.standing import Standing, all_standings
from genloom.studio.pages.studio import Studio
from genloom.studio.pages.workspace import Workspace

GRID = 240  # places of the common axis on which curves lie over each other
FIRST, AT_ONCE = 12, 100  # curves when the page opens, and of one answer
MOST_FIGURES = 16  # columns
# Numbers of every run, and which way is better.
FACTS: dict[str, Literal["lower", "higher"]] = {
    "seconds": "lower", "steps": "higher", "parameters": "lower", "loss": "lower", "per_second": "higher",
}  # fmt: skip
Floats = NDArray[np.float64]


class Table:
    """What is compared, kept by evaluation until that changes."""

    def __init__(self, space: Workspace) -> None:
        self.space = space
        self.kept = Kept(space.own / "judged.json")

    def judged(self, run: str) -> dict[str, Any]:
        """figures: value, title and direction of each that was measured; copying: the verdict; drawn: samples a second;
        empty for a run that was not judged."""
        path = self.space.runs / run / "evaluation.json"
        try:
            changed = (path.stat().st_mtime_ns,)
        except OSError:
            return {}
        kept: dict[str, Any] | None = self.kept.get(run, changed)
        if kept is None:
            kept = _judged(path)
            self.kept.put(run, changed, kept)
        return kept

    def figures(self, run: str) -> dict[str, tuple[float, str, str]]:
        found: dict[str, tuple[float, str, str]] = self.judged(run).get("figures", {})
        return found

    def row(self, s: Standing) -> dict[str, Any]:
        judged = self.judged(s.name)
        values: dict[str, Any] = {
            "seconds": s.seconds, "steps": s.step, "parameters": s.parameters, "per_second": judged.get("drawn"),
            "loss": next(iter(s.losses.values()), None),
        }  # fmt: skip
        values |= {f"figure.{k}": v for k, (v, _, _) in self.figures(s.name).items()}
        return {
            "name": s.name, "state": s.state, "model": s.model, "data": s.data, "copying": judged.get("copying"),
            "values": {k: v for k, v in values.items() if isinstance(v, int | float)},
        }  # fmt: skip

    def columns(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Those that some run has: the facts, then the figures that most runs have."""
        told = {k: (t, d) for r in rows for k, (_, t, d) in self.figures(r["name"]).items()}
        have = Counter(k for r in rows for k in r["values"])
        facts = [{"key": k, "title": "", "goal": goal} for k, goal in FACTS.items() if have[k]]
        order = sorted(told, key=lambda k: -have[f"figure.{k}"])[:MOST_FIGURES]
        return facts + [{"key": f"figure.{k}", "title": told[k][0], "goal": told[k][1]} for k in order]


def _judged(path: Path) -> dict[str, Any]:
    """What `Table.judged` tells. Not through an Evaluation: of a thousand runs that would be half of the time."""
    try:
        document = from_json(path.read_bytes())
        if document["schema"] != SCHEMA:
            return {}
        figures = {f["name"]: (f["value"], f["title"], f["direction"]) for f in document["figures"]}
        cost = (document.get("cost") or {}).get("sampling") or {}
        return {
            "figures": {name: told for name, told in figures.items() if told[0] is not None},
            "copying": (document.get("copying") or {}).get("verdict"), "drawn": cost.get("per_second"),
        }  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def laid(curves: list[tuple[str, Curve]], series: str, over: str) -> dict[str, Any]:
    """Curves on one axis. series: the name of a series, or "loss" for the first loss of each. over: "step" or
    "seconds". A curve says nothing before its first and after its last point."""
    found: list[tuple[str, Floats, Floats, bool]] = []
    for name, curve in curves:
        key = next((k for k in curve.series if k.startswith("losses.")), "") if series == "loss" else series
        if key not in curve.series:
            continue
        x = curve.series["seconds"][2] if over == "seconds" and "seconds" in curve.series else curve.steps
        y = curve.series[key][2]
        held = np.isfinite(x) & np.isfinite(y)
        if held.any():
            order = np.argsort(x[held], kind="stable")
            found.append((name, x[held][order], y[held][order], curve.exact))
    if not found:
        return {"x": [], "curves": []}
    axis = np.linspace(0, max(float(x[-1]) for _, x, _, _ in found), GRID)
    step = axis[1] - axis[0]
    out = []
    for name, x, y, exact in found:
        values = np.interp(axis, x, y)
        values[(axis < x[0] - step) | (axis > x[-1] + step)] = np.nan
        told = [float(f"{v:.5g}") if np.isfinite(v) else None for v in values]
        out.append({"name": name, "values": told, "exact": exact})
    return {"x": [float(f"{v:.6g}") for v in axis], "curves": out}


def add(router: APIRouter, studio: Studio) -> None:
    space, table = studio.space, Table(studio.space)

    def look(names: list[str], series: str, over: str) -> dict[str, Any]:
        with studio.curves.first():
            found = [(n, studio.curves.of(space.runs / n)) for n in names]
        known = dict.fromkeys(k for _, c in found for k in c.series if k not in PLAIN)
        return {**laid(found, series, over), "series": list(known)}

    @router.get("/compare")
    def compare(request: Request) -> Response:
        with studio.curves.first():
            rows = [table.row(s) for s in all_standings(space)]
            table.kept.save([r["name"] for r in rows])
            first = look([r["name"] for r in rows[:FIRST]], "loss", "step")
        found = {"columns": table.columns(rows), "runs": rows, "first": first, "ticked": FIRST}
        return page(request, "compare.html.j2", found=found)

    @router.post("/compare/curves")
    async def curves(request: Request) -> Response:
        asked = await json_of(request)
        names = asked.get("runs")
        if not isinstance(names, list) or len(names) > AT_ONCE:
            raise InputError(f"curves are given of at most {AT_ONCE} runs at once")
        known = [space.run(str(n)).name for n in names]
        told = await asyncio.to_thread(look, known, str(asked.get("series", "loss")), str(asked.get("over", "step")))
        return JSONResponse(told)

    @router.post("/compare/front")
    async def best(request: Request) -> Response:
        """Which of points [name, x, y] are on the Pareto front; goals: "lower" or "higher" for x and y."""
        asked = await json_of(request)
        try:
            points = [(str(n), float(x), float(y)) for n, x, y in asked["points"]]
            goals = tuple(asked["goals"])
        except (KeyError, TypeError, ValueError):
            raise InputError("points are names with two numbers, goals two words") from None
        if len(points) > 100_000 or len(goals) != 2 or not set(goals) <= {"lower", "higher"}:
            raise InputError("goals are two of lower and higher, for at most 100,000 points")
        return JSONResponse([points[i][0] for i in front([p[1:] for p in points], (goals[0], goals[1]))])
