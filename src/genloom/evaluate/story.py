"""What a report and a model card say in words of copying, groups and cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genloom.evaluate.audit import not_tested
from genloom.evaluate.cost import cost_of
from genloom.evaluate.evaluation import Evaluation
from genloom.evaluate.pictures import Picture, embed
from genloom.evaluate.units import duration, integer, number

UNTESTED = "Not judged yet, so copying is not tested"
WIDEST = 640  # pixels of a pair's picture


def mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def leaves(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Settings of a nested mapping with dotted names."""
    out: list[tuple[str, Any]] = []
    for key, value in tree.items():
        out += leaves(value, f"{prefix}{key}.") if isinstance(value, dict) and value else [(f"{prefix}{key}", value)]
    return out


def copying_of(evaluation: Evaluation | None, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The audit, or why there is none; always with "verdict" and "sentence"."""
    found = evaluation.copying if evaluation else None
    if found and isinstance(found.get("verdict"), str) and isinstance(found.get("sentence"), str):
        return {**not_tested(""), **found}
    data = mapping(manifest.get("data"))
    nothing = data.get("validation") == 0 and data.get("test") == 0
    reason = "the data has no held-out examples" if nothing else "the run was judged before genloom did so"
    sentence = f"{UNTESTED}." if not evaluation and not nothing else f"Copying was not tested: {reason}."
    return {**not_tested(reason), "sentence": sentence}


def headline(evaluation: Evaluation | None, manifest: Mapping[str, Any], near: int, of: int) -> str:
    """The whole judgement in plain words. near: of the `of` figures that can be placed, those nearer to real data than
    to no skill."""
    copying = copying_of(evaluation, manifest)["sentence"]
    if evaluation is None:
        return str(copying)
    quality = f"In {near} of {of} figures the samples are nearer to real data than to no skill. " if of else ""
    lost = [g["name"] for g in _rows(evaluation) if g.get("state") == "lost"]
    groups = f" Lost groups: {', '.join(map(str, lost))}." if lost else ""
    return f"{quality}{copying}{groups}"


def _rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    return [g for g in mapping(evaluation.groups).get("groups") or [] if isinstance(g, dict)]


@dataclass(frozen=True)
class ShownPair:
    """A sample beside its training example. picture None: `why` says so."""

    picture: Picture | None
    text: str
    why: str


def pairs_of(copying: Mapping[str, Any], folder: Path) -> list[ShownPair]:
    """The worst pairs with their pictures, where those are still in the run folder."""
    out = []
    for pair in copying.get("pairs") or []:
        if not isinstance(pair, dict) or "sample" not in pair:
            continue
        name = str(pair.get("picture") or "")
        inside = name.startswith("samples/") and ".." not in name
        picture = embed(folder / name, "left: sample, right: training example", WIDEST) if inside else None
        what = "equal" if pair.get("exact") else f"distance {number(pair.get('distance'))}"
        text = f"sample {integer(pair.get('sample'))}, training example {integer(pair.get('training'))}: {what}"
        if pair.get("relative") is not None and not pair.get("exact"):
            text += f" in {pair.get('space')}, {pair['relative']:.0%} of that to one further off"
        why = "" if picture else "its picture is not in the run folder; evaluate again where the data is"
        out.append(ShownPair(picture, text, why))
    return out


def percent(value: Any) -> str:
    return f"{value:.1%}" if isinstance(value, int | float) else "–"


def copying_facts(copying: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(name, value) of what the verdict rests on."""
    compared, equal = mapping(copying.get("compared")), mapping(copying.get("exact"))
    interval, attack = copying.get("interval"), mapping(copying.get("membership"))
    pairs = [
        ("verdict", str(copying.get("verdict") or "")),
        ("rate of copies", percent(copying["rate"]) if copying.get("rate") is not None else ""),
        ("95% interval", f"{percent(interval[0])} to {percent(interval[1])}" if interval else ""),
        ("p-value", number(copying["p_value"]) if copying.get("p_value") is not None else ""),
        ("samples that equal a training example", integer(equal.get("count"))),
        ("samples compared", integer(compared.get("samples"))),
        ("training examples searched", integer(compared.get("training"))),
        ("held-out examples beside them", integer(compared.get("held_out"))),
    ]
    if attack:
        low, high = attack["interval"]
        pairs.append(
            ("training told from held-out by its loss", f"{attack['auc']:.3f} ({low:.3f} to {high:.3f}); 0.5: not")
        )
    return [(k, v) for k, v in pairs if v]


def cost_facts(
    evaluation: Evaluation | None, manifest: Mapping[str, Any], config: Mapping[str, Any]
) -> list[tuple[str, str]]:
    """(name, value) of what the run and its samples cost."""
    known = mapping(evaluation.cost) if evaluation else {}
    cost = known if mapping(known.get("training")).get("seconds") is not None else {}
    cost = cost or cost_of(manifest, mapping(config.get("train")), known.get("sampling"))
    training, energy, drawing = (mapping(cost.get(k)) for k in ("training", "energy", "sampling"))
    memory = training.get("peak_memory_bytes")
    pairs = [
        ("training time", duration(training.get("seconds"))),
        ("examples seen", integer(training.get("examples"))),
        ("parameters", integer(training.get("parameters"))),
        ("most memory held", f"{memory / 1e6:,.0f} MB" if isinstance(memory, int | float) else ""),
        ("energy", f"{number(energy['watt_hours'])} Wh ({energy['assumption']})" if energy else ""),
        ("samples per second", number(drawing["per_second"]) if drawing else ""),
    ]
    if drawing.get("per_second_per_core") is not None:
        pairs.append(("samples per second and core", number(drawing["per_second_per_core"])))
    return [(k, v) for k, v in pairs if v]
