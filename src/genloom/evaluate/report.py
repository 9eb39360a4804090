"""The report of a run: one HTML file that asks nothing of any server, made from the files of the run folder."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from genloom.core.config import DataConfig, Settings, TrainConfig, settings
from genloom.core.errors import InputError
from genloom.core.files import write_atomic
from genloom.core.observe import read_history
from genloom.core.run import CONFIG, MANIFEST, RunFolder
from genloom.evaluate.curves import Series, chart
from genloom.evaluate.evaluation import Evaluation, Figure
from genloom.evaluate.explanation import EXPLANATION, explanation_of, visible
from genloom.evaluate.pictures import legible, samples_of, writings_of
from genloom.evaluate.story import copying_facts, copying_of, cost_facts, headline, leaves, pairs_of, percent
from genloom.evaluate.table_view import heat, overlays
from genloom.evaluate.tradeoff import drawn_curves
from genloom.evaluate.units import duration, integer, moment, number, text

__all__ = ["bar", "duration", "integer", "moment", "number", "render", "templates", "text", "write_report"]

MOST_LOGS = 12
MOST_QUARANTINED = 50
FLOOR_AT, CEILING_AT = 4.0, 92.0  # where the two references stand on a bar, in % of its width


def write_report(folder: Path) -> Path:
    """Write report.html into a run folder from what is there; what is missing is left out. Returns its path.

    Raises InputError when the folder holds no run or its config.json is damaged, GenloomError when it cannot be
    written.
    """
    run = RunFolder.open(folder)
    html = render(run)
    write_atomic(run.report, html.encode())
    return run.report


def render(run: RunFolder) -> str:
    """The report of a run folder as HTML."""
    config = run.read_json(CONFIG)
    manifest = optional(run.path / MANIFEST)
    data = _mapping(manifest.get("data"))
    final, grids = samples_of(run.samples)
    written, drafts = writings_of(run.samples)
    evaluation, problem = read_evaluation(run.evaluation)
    rows = [FigureRow(f, bar(f)) for f in evaluation.figures] if evaluation else []
    placed = [r.bar for r in rows if r.bar]
    copying = copying_of(evaluation, manifest)
    return (
        templates()
        .get_template("report.html.j2")
        .render(
            name=run.path.resolve().name,
            subtitle=_subtitle(config, data),
            facts=_facts(manifest),
            final=final,
            grids=grids,
            written=written,
            aligned=config.get("kind") == "table",
            drafts=drafts,
            evaluation=evaluation,
            problem=problem,
            rows=rows,
            headline=headline(
                evaluation, manifest, sum(b.value > (FLOOR_AT + CEILING_AT) / 2 for b in placed), len(placed)
            ),
            copying=copying,
            copying_facts=copying_facts(copying) if evaluation else [],
            twins=pairs_of(copying, run.path),
            explanation=explanation_of(optional(run.path / EXPLANATION), run.path),
            groups=_mapping(evaluation.groups) if evaluation else {},
            task=_mapping(evaluation.task) if evaluation else {},
            diversity=_mapping(evaluation.diversity) if evaluation else {},
            table=_mapping(evaluation.table) if evaluation else {},
            overlays=overlays(_mapping(evaluation.table)) if evaluation else [],
            heat=heat(_mapping(evaluation.table)) if evaluation else None,
            planes=drawn_curves(evaluation.diversity) if evaluation else [],
            cost=cost_facts(evaluation, manifest, config),
            charts=_charts(read_history(run.history)),
            data_facts=_data_facts(data),
            notices=[str(n) for n in data.get("notices") or []],
            quarantined=_quarantined(data),
            most_quarantined=MOST_QUARANTINED,
            timings=_timings(manifest),
            sections=_sections(config),
            versions=_mapping(manifest.get("versions")),
        )
    )


def templates(*packages: str) -> Environment:
    """The templates of the report, and before them those of other packages that are pages in its style."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(name, "") for name in (*packages, "genloom.evaluate")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "integer": integer}
    environment.filters |= {"legible": legible, "percent": percent, "visible": visible}
    return environment


# -- reading ------------------------------------------------------------------------------


def optional(path: Path) -> dict[str, Any]:
    """The JSON object in a file, or an empty one when it is missing or damaged: a report shows what there is."""
    try:
        return _mapping(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError):
        return {}


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def read_evaluation(path: Path) -> tuple[Evaluation | None, str]:
    """The evaluation, or none and why."""
    if not path.is_file():
        return None, ""
    try:
        return Evaluation.from_json(optional(path)), ""
    except InputError as e:
        return None, str(e)


# -- figures ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bar:
    """Places on a bar that goes from no skill to real data, in % of its width: value and interval."""

    value: float
    low: float
    high: float
    floor: float = FLOOR_AT
    ceiling: float = CEILING_AT


@dataclass(frozen=True)
class FigureRow:
    figure: Figure
    bar: Bar | None

    @property
    def remark(self) -> str:
        """Its note, or that the figure cannot tell real data from the baseline."""
        f = self.figure
        if f.note or self.bar or f.value is None or f.ceiling is None or f.floor is None:
            return f.note
        return "the baseline does as well as real data here, so this figure says little"


def bar(figure: Figure) -> Bar | None:
    """Where the figure lies between its references; None without them or where no skill does as well.

    Distances reach over several powers of ten, so they are placed on a scale that is logarithmic away from the ceiling.
    """
    value, ceiling, floor = figure.value, figure.ceiling, figure.floor
    if value is None or ceiling is None or floor is None:
        return None
    low, high = figure.interval or (value, value)
    if not {"lower": floor > ceiling, "higher": floor < ceiling, "reference": floor != ceiling}[figure.direction]:
        return None
    unit = max(abs(ceiling), (high - low) / 2, 1e-4 * abs(floor))

    def place(v: float) -> float:
        t = (lambda u: math.asinh(u / unit)) if figure.direction == "lower" else (lambda u: u)
        share = (t(v) - t(floor)) / (t(ceiling) - t(floor))
        return round(min(100.0, max(0.0, FLOOR_AT + share * (CEILING_AT - FLOOR_AT))), 2)

    ends = sorted((place(low), place(high)))
    return Bar(place(value), ends[0], ends[1])


# -- curves ------------------------------------------------------------------------------


def _charts(history: list[dict[str, Any]]) -> list[Markup]:
    """A chart of each player's loss, of each logged figure, of the learning rates and of the speed."""
    drawn = [chart(f"Loss: {s.name}", [s]) for s in _series(history, "losses")]
    drawn += [chart(s.name, [s]) for s in _series(history, "logs")[:MOST_LOGS]]
    drawn.append(chart("Learning rate, share of its peak", _series(history, "rate"), plain=True))
    flat = [{"step": r["step"], "speed": {"examples per second": r.get("examples_per_second")}} for r in history]
    drawn += [chart("Examples per second", [s]) for s in _series(flat, "speed")]
    return [c for c in drawn if c is not None]


def _series(history: list[dict[str, Any]], group: str) -> list[Series]:
    """The named values of a group over the steps, in order of first appearance."""
    points: dict[str, list[tuple[float, float]]] = {}
    for record in history:
        for name, value in _mapping(record.get(group)).items():
            if isinstance(value, int | float):
                points.setdefault(str(name), []).append((float(record["step"]), float(value)))
    return [Series(name, *np.array(p, dtype=np.float64).T) for name, p in points.items()]


# -- tables ------------------------------------------------------------------------------


def _subtitle(config: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    recipe = config.get("recipe")
    parts = [
        f"model {config.get('model', 'unknown')}" + (f" from the recipe {recipe}" if recipe else ""),
        f"data {data['name']}" if data.get("name") else "",
        f"seed {config.get('seed', 0)}",
    ]
    return " · ".join(p for p in parts if p)


def _facts(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The few numbers that stand at the top."""
    parameters = [v for v in _mapping(manifest.get("parameters")).values() if isinstance(v, int)]
    pairs = [
        ("training time", duration(manifest.get("seconds"))),
        ("steps", integer(manifest.get("steps"))),
        ("parameters", integer(sum(parameters)) if parameters else ""),
        ("examples/s", integer(manifest.get("examples_per_second"))),
        ("device", " ".join(str(manifest[k]) for k in ("device", "precision") if manifest.get(k))),
    ]
    return [(k, v) for k, v in pairs if v]


def _data_facts(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    classes = data.get("classes") or []
    counts = data.get("counts") or []
    pairs = [(f"{s} examples", integer(data.get(s))) for s in ("train", "validation", "test")]
    if classes:
        numbered = [f"{c} ({integer(k)})" for c, k in zip(classes, counts, strict=False)]
        pairs.append(
            (f"{len(classes)} classes", ", ".join(numbered if len(counts) == len(classes) else map(str, classes)))
        )
    pairs.append(("digest", str(data.get("digest") or "")))
    return [(k, v) for k, v in pairs if v]


def _quarantined(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(origin, reason) of each item that could not be read."""
    items = data.get("quarantined") or []
    return [(str(i.get("origin", "")), str(i.get("reason", ""))) for i in items if isinstance(i, dict)]


def _timings(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    wait, audits = manifest.get("data_wait"), _mapping(manifest.get("audits"))
    pairs = [
        ("started", moment(manifest.get("started"))),
        ("finished", moment(manifest.get("finished"))),
        ("training time", duration(manifest.get("seconds"))),
        ("steps", integer(manifest.get("steps"))),
        ("skipped steps (not finite)", integer(manifest.get("skipped"))),
        ("examples per second", integer(manifest.get("examples_per_second"))),
        ("time spent waiting for data", f"{wait:.2%}" if isinstance(wait, int | float) else ""),
        ("device", str(manifest.get("device") or "")),
        ("number format", str(manifest.get("precision") or "")),
        ("threads", integer(manifest.get("threads"))),
    ]
    if audits:
        pairs.append(("audits for copies", f"{integer(audits.get('made'))}, {duration(audits.get('seconds'))} in all"))
        pairs.append(
            ("stopped on copying", f"yes; weights kept: {audits.get('kept')}" if audits.get("stopped") else "no")
        )
    pairs += [(f"parameters of {n}", integer(v)) for n, v in _mapping(manifest.get("parameters")).items()]
    return [(k, v) for k, v in pairs if v]


@dataclass(frozen=True)
class Setting:
    name: str
    value: str
    default: str
    unit: str
    meaning: str

    @property
    def changed(self) -> bool:
        return bool(self.meaning) and self.value != self.default


def _sections(config: Mapping[str, Any]) -> list[tuple[str, list[Setting]]]:
    """The settings of each section beside their defaults; of an unknown model or modality without them."""
    classes = {
        "data": DataConfig,
        "modality": _config_of(config, "kind"),
        "family": _config_of(config, "model"),
        "train": TrainConfig,
    }
    return [(n, _settings(_mapping(config.get(n)), c)) for n, c in classes.items() if _mapping(config.get(n))]


def _config_of(config: Mapping[str, Any], key: str) -> type[Settings] | None:
    """Settings class of the run's family ("model") or modality ("kind"), None where it is not installed."""
    from genloom.families import find_family
    from genloom.modalities import find_modality

    try:
        found: type[Settings] = (find_family if key == "model" else find_modality)(str(config.get(key))).Config
    except (InputError, ImportError):
        return None
    return found


def _settings(values: Mapping[str, Any], config: type[Settings] | None) -> list[Setting]:
    known = {s["name"]: s for s in settings(config)} if config else {}
    out = []
    for name, value in leaves(values):
        about = known.get(name, {"default": None, "unit": "", "meaning": ""})
        out.append(Setting(name, text(value), text(about["default"]), about["unit"], about["meaning"]))
    return out
