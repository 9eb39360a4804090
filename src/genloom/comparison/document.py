"""comparison.json: everything that the table and the page say, with a versioned schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genloom.comparison import standing
from genloom.comparison.differences import differences, notices
from genloom.comparison.judging import Setup
from genloom.comparison.members import MEASURES, Member, costs, leaders
from genloom.comparison.pareto import front
from genloom.comparison.standing import Line, lead_of
from genloom.comparison.words import verdict
from genloom.evaluate.evaluation import Evaluation
from genloom.evaluate.story import mapping

SCHEMA = "genloom.comparison/1"
RESULT, PAGE = "comparison.json", "comparison.html"
ONE_SEED = (
    "intervals are those of the samples drawn; how much another seed of training would change is not in them: give "
    "several with --seeds"
)


def document_of(folder: Path, data: str, members: Sequence[Member], length: Mapping[str, float]) -> dict[str, Any]:
    """The result of a comparison as JSON. length: {"budget": seconds} or {"steps": number} of each training, empty for
    runs that were there before."""
    known = figure_lines(members)
    lead = lead_of(known)
    cost = costs(members)
    judged = [m.evaluation for m in members if m.evaluation is not None]
    setup = Setup.of(judged[0]) if judged else None
    several = len(members) > len({m.label for m in members})
    said = [] if several or len(judged) < 2 else [ONE_SEED]
    own = {w for e in judged for w in mapping(e.groups).get("warnings") or []}  # of what one model lost
    shared = [n for e in judged[:1] for n in e.notices if n not in own and all(n in x.notices for x in judged)]
    return {
        "schema": SCHEMA,
        "data": {"name": data, "digest": setup.data if setup else None},
        "length": dict(length),
        "samples": {"n": setup.n, "seed": setup.seed} if setup else None,
        "features": judged[0].features if judged else None,
        "reference": judged[0].reference if judged else None,
        "baseline": judged[0].baseline if judged else None,
        "verdict": verdict(data, lead, members),
        "lead": lead.name if lead else None,
        "figures": [standing.to_json(line) for line in known],
        "cost": {label: dict(c) for label, c in cost.items()},
        "fastest": leaders(cost, "samples_per_second"),
        "smallest": leaders(cost, "parameters"),
        "pareto": pareto(lead, cost),
        "runs": [_run(m, folder) for m in members],
        "differences": {name: values for name, values in differences(members)},
        "notices": [*notices(members), *shared, *said],
        "page": str(folder / PAGE),
    }


def figure_lines(members: Sequence[Member]) -> list[Line]:
    by: dict[str, list[Evaluation]] = {}
    for m in members:
        if m.evaluation is not None:
            by.setdefault(m.label, []).append(m.evaluation)
    return standing.lines(by)


def plottable(lead: Line | None, cost: Mapping[str, Mapping[str, float | None]], measure: str) -> list[str]:
    """The labels that have both a value of the lead and of the measure."""
    if lead is None:
        return []
    return [label for label, v in lead.values.items() if v.value is not None and cost.get(label, {}).get(measure)]


def pareto(lead: Line | None, cost: Mapping[str, Mapping[str, float | None]]) -> list[dict[str, Any]]:
    """The fronts of the lead figure against sampling speed and size."""
    out = []
    for measure in ("samples_per_second", "parameters"):
        labels = plottable(lead, cost, measure)
        if lead is None or lead.direction == "reference" or len(labels) < 2:
            continue
        better = MEASURES[measure][2]
        points = [(float(cost[label][measure] or 0), float(lead.values[label].value or 0)) for label in labels]
        on = front(points, ("lower" if better == "lower" else "higher", lead.direction))
        out.append({"x": measure, "y": lead.name, "front": [labels[i] for i in on]})
    return out


def _run(m: Member, folder: Path) -> dict[str, Any]:
    config, manifest = m.config, m.manifest
    copying = mapping(m.evaluation.copying) if m.evaluation else {}
    return {
        "name": m.name,
        "label": m.label,
        "path": str(m.folder),
        "model": config.get("model"),
        "recipe": config.get("recipe"),
        "seed": config.get("seed"),
        "error": m.error,
        "copying": {k: copying.get(k) for k in ("verdict", "rate", "interval", "sentence")} if copying else None,
        "cost": m.cost() if m.evaluation else None,
        "versions": manifest.get("versions"),
        "device": manifest.get("device"),
        "threads": manifest.get("threads"),
        "features": m.evaluation.features.get("digest") if m.evaluation else None,
    }
