"""comparison.html: the result in one file that asks nothing of any server, in the style of the report."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from markupsafe import Markup

from genloom.comparison.document import PAGE, figure_lines, plottable
from genloom.comparison.members import MEASURES, Member, leaders
from genloom.comparison.plots import Point, Scale, plane
from genloom.comparison.standing import Line
from genloom.comparison.training import LOGS
from genloom.core.files import write_atomic
from genloom.core.observe import read_history
from genloom.evaluate.curves import Series, chart, smooth
from genloom.evaluate.pictures import samples_of, writings_of
from genloom.evaluate.report import templates
from genloom.evaluate.story import mapping
from genloom.evaluate.units import duration, integer, number

BETTER = {
    "lower": "lower is better",
    "higher": "higher is better",
    "reference": "nearer to real data is better",
    "": "",
}
SHARES = (0.0, 1.0)
SIDES = (("precision", "recall", "Fidelity and variety"), ("self_bleu", "bleu_4", "Variety and fluency"))
MOST_TEXT = 900  # characters of a model's texts that stand beside the others'


@dataclass(frozen=True)
class Cell:
    """What a table says of one contender. mark: "best", "tied" or none."""

    text: str
    detail: str = ""
    mark: str = ""
    note: str = ""


@dataclass(frozen=True)
class TableRow:
    title: str
    meaning: str
    better: str
    cells: dict[str, Cell]
    real: str = ""
    floor: str = ""


def write_page(folder: Path, document: Mapping[str, Any], members: Sequence[Member]) -> Path:
    """Write comparison.html. Raises GenloomError when it cannot be written."""
    path = folder / PAGE
    write_atomic(path, render(folder, document, members).encode())
    return path


def render(folder: Path, document: Mapping[str, Any], members: Sequence[Member]) -> str:
    known = figure_lines(members)
    labels = list(dict.fromkeys(m.label for m in members if m.evaluation is not None))
    lead = next((line for line in known if line.name == document["lead"]), None)
    first = {m.label: m for m in reversed(members) if m.evaluation is not None}
    return templates("genloom.comparison").get_template("comparison.html.j2").render(
        data=document["data"]["name"],
        labels=labels,
        subtitle=_subtitle(document, members),
        verdict=document["verdict"],
        facts=_facts(document),
        document=document,
        groups=[("Quality", [_figure(line) for line in known]), ("Copying", [_copying(members, labels)]),
                ("Speed, size and cost", _costs(document))],
        planes=[p for p in _planes(lead, known, document["cost"], labels) if p is not None],
        shown=[(label, *_samples(first[label])) for label in labels],
        charts=[c for c in _charts(first, labels) if c is not None],
        differences=document["differences"],
        runs=[_run(m, folder) for m in members],
        failed=[m for m in members if m.error],
    )  # fmt: skip


def _subtitle(document: Mapping[str, Any], members: Sequence[Member]) -> str:
    length = document["length"]
    each = f"{duration(length['budget'])} each" if "budget" in length else ""
    each = f"{integer(length['steps'])} steps each" if "steps" in length else each
    seeds = len(members) / max(1, len({m.label for m in members}))
    parts = [f"data {document['data']['name']}", each, f"{seeds:.0f} seeds each" if seeds > 1 else ""]
    return " · ".join(p for p in parts if p)


def _facts(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    samples, reference = mapping(document["samples"]), mapping(document["reference"])
    labels = {r["label"] for r in document["runs"]}
    pairs = [
        ("compared", integer(len(labels))),
        ("samples of each", integer(samples.get("n"))),
        ("held-out examples", integer(reference.get("n"))),
    ]
    return [(k, v) for k, v in pairs if v]


# -- the table ------------------------------------------------------------------------------


def _figure(line: Line) -> TableRow:
    cells = {}
    for label, v in line.values.items():
        if v.value is None:
            cells[label] = Cell("–", note=v.note)
            continue
        interval = f"{number(v.interval[0])} to {number(v.interval[1])}" if v.interval else ""
        seeds = f"seeds {number(v.spread[0])} to {number(v.spread[1])}" if v.spread else ""
        cells[label] = Cell(number(v.value), interval, line.mark(label), seeds)
    ends = [_ends([getattr(v, side) for v in line.values.values()]) for side in ("ceiling", "floor")]
    return TableRow(line.title, line.meaning, BETTER[line.direction], cells, *ends)


def _ends(values: Sequence[float | None]) -> str:
    """A reference that all share, or its range where it depends on the samples' lengths."""
    known = sorted({number(v) for v in values if v is not None}, key=lambda s: float(s.replace(",", "")))
    return known[0] if len(known) == 1 else f"{known[0]} to {known[-1]}" if known else "–"


def _copying(members: Sequence[Member], labels: Sequence[str]) -> TableRow:
    cells = {}
    for label in labels:
        found = [mapping(m.evaluation.copying) for m in members if m.label == label and m.evaluation is not None]
        worst = max(found, key=lambda c: ("not tested", "none", "some", "copying").index(str(c.get("verdict"))))
        rate, interval = worst.get("rate"), worst.get("interval")
        detail = f"{interval[0]:.1%} to {interval[1]:.1%}" if rate is not None and interval else ""
        why = f"{worst.get('reason')}" if worst.get("verdict") == "not tested" else ""
        cells[label] = Cell(str(worst.get("verdict")), detail, note=why)
    meaning = (
        "Are samples nearer to training examples than held-out data explains? With the interval of the rate; of "
        "several seeds the worst."
    )
    return TableRow("Verdict", meaning, "", cells)


def _costs(document: Mapping[str, Any]) -> list[TableRow]:
    out = []
    for name, (title, meaning, better) in MEASURES.items():
        values = {label: c.get(name) for label, c in document["cost"].items()}
        if not any(v is not None for v in values.values()):
            continue
        best = leaders(document["cost"], name) if better else []
        best = [] if len(best) == len(values) else best
        marks = {label: "best" if len(best) == 1 else "tied" for label in best}
        cells = {label: Cell(_amount(name, v), mark=marks.get(label, "")) for label, v in values.items()}
        out.append(TableRow(title, meaning, BETTER[better], cells))
    return out


def _amount(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    if name.endswith("_bytes"):
        return f"{value / 1e6:,.1f} MB" if value < 1e8 else f"{value / 1e6:,.0f} MB"
    if name == "seconds":
        return duration(value)
    if name == "watt_hours":
        return f"{number(value)} Wh"
    return integer(value) if name in ("parameters", "steps") or value >= 100 else number(value)


# -- pictures ------------------------------------------------------------------------------


def _planes(
    lead: Line | None, known: Sequence[Line], cost: Mapping[str, Mapping[str, float | None]], labels: Sequence[str]
) -> list[Markup | None]:
    """Quality against speed and against size, and the two sides of quality against each other."""
    out: list[Markup | None] = []
    colours = {label: i for i, label in enumerate(labels)}
    if lead is not None:
        goal = None if lead.direction == "reference" else lead.direction
        real = next((v.ceiling for v in lead.values.values() if v.ceiling is not None), None)
        y = Scale(lead.title, goal, real=real)
        for measure, title in (("samples_per_second", "Quality and speed"), ("parameters", "Quality and size")):
            points = []
            for label in plottable(lead, cost, measure):
                v = lead.values[label]
                low, high = v.interval or (None, None)
                points.append(Point(label, float(cost[label][measure] or 0), v.value or 0.0, colours[label], low, high))
            better = MEASURES[measure][2]
            x = Scale(MEASURES[measure][0], "lower" if better == "lower" else "higher", log=True)
            out.append(plane(title, points, x, y))
    lines = {line.name: line for line in known}
    for across, up, title in SIDES:
        if across in lines and up in lines:
            out.append(_sides(lines[across], lines[up], title, colours))
    return out


def _sides(across: Line, up: Line, title: str, colours: Mapping[str, int]) -> Markup | None:
    points = []
    for label, v in up.values.items():
        x = across.values[label].value
        if v.value is not None and x is not None:
            low, high = v.interval or (None, None)
            points.append(Point(label, x, v.value, colours[label], low, high))
    scales = []
    for line in (across, up):
        real = next((v.ceiling for v in line.values.values() if v.ceiling is not None), None)
        goal = None if line.direction == "reference" else line.direction
        scales.append(Scale(line.title, goal, log=False, real=real, within=SHARES))
    return plane(title, points, scales[0], scales[1])


def _samples(m: Member) -> tuple[Any, str]:
    """(picture, text) of the finished model: one of them, or neither."""
    picture, _ = samples_of(m.folder / "samples")
    written, _ = writings_of(m.folder / "samples")
    text = written.text if written else ""
    return picture, text if len(text) <= MOST_TEXT else text[:MOST_TEXT].rstrip() + " …"


def _charts(first: Mapping[str, Member], labels: Sequence[str]) -> list[Markup | None]:
    """Over the time of training: the main loss of each on a scale of its own, the loss on held-out examples where it
    was watched, and the speed."""
    histories = {label: read_history(first[label].folder / "history.jsonl") for label in labels}
    losses, validation, speed = [], [], []
    for label, records in histories.items():
        player = next((p for r in records for p in mapping(r.get("losses"))), None)
        losses.append(_scaled(_over_time(label, records, lambda r, p=player: mapping(r.get("losses")).get(p))))
        validation.append(_over_time(label, records, lambda r: mapping(r.get("logs")).get("validation")))
        speed.append(_over_time(label, records, lambda r: r.get("examples_per_second")))
    return [
        chart("Loss, each on its own scale", [s for s in losses if len(s.x) > 1], plain=True, over="seconds"),
        chart("Loss on held-out examples", [s for s in validation if len(s.x) > 1], plain=True, over="seconds"),
        chart("Training examples per second", [s for s in speed if len(s.x) > 1], over="seconds"),
    ]


def _over_time(label: str, records: Sequence[Mapping[str, Any]], value: Any) -> Series:
    points = [(r.get("seconds"), value(r)) for r in records]
    known = [(float(t), float(v)) for t, v in points if isinstance(t, int | float) and isinstance(v, int | float)]
    x, y = np.array(known, dtype=np.float64).reshape(-1, 2).T
    return Series(label, x, y).finite()


def _scaled(s: Series) -> Series:
    """Smoothed, its lowest value at 0 and its highest at 1."""
    if len(s.x) < 2:
        return s
    y = smooth(s.y, max(1, len(s.y) // 15))
    span = float(y.max() - y.min())
    return Series(s.name, s.x, (y - y.min()) / span if span > 0 else y * 0)


def _run(m: Member, folder: Path) -> dict[str, str]:
    """The row of a run: where it is, and links to its report and log where they are beside the page."""
    manifest, versions = m.manifest, mapping(m.manifest.get("versions"))
    report, log = m.folder / "report.html", folder / LOGS / f"{m.name}.log"
    device = " ".join(str(manifest[k]) for k in ("device", "precision") if manifest.get(k))
    return {
        "name": m.name,
        "report": _link(report, folder) if report.is_file() else "",
        "log": _link(log, folder) if log.is_file() else "",
        "seed": str(m.config.get("seed", "–")),
        "steps": integer(manifest.get("steps")) or "–",
        "time": duration(manifest.get("seconds")) or "–",
        "device": device or "–",
        "version": str(versions.get("genloom", "–")),
    }


def _link(path: Path, folder: Path) -> str:
    """A relative address, so that a folder that is moved keeps its links."""
    return quote(Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix())
