"""The verdict of a comparison in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from genloom.comparison.members import Member, costs, leaders
from genloom.comparison.standing import Line, Value
from genloom.evaluate.story import mapping
from genloom.evaluate.units import number

PROPER = ("Frechet", "BLEU", "Self-BLEU")  # what keeps its capital letter within a sentence


def verdict(data: str, lead: Line | None, members: Sequence[Member]) -> str:
    """One paragraph: who is best and who cannot be told from it, who is fastest and smallest, who copies and failed."""
    parts = [] if lead is None else [_quality(lead)]
    judged = [m for m in members if m.evaluation is not None]
    known = costs(judged)
    if len(known) > 1:
        parts += [p for p in (_fastest(known), _smallest(known)) if p]
    parts += _copying(judged)
    failed = [f" {m.name} failed: {_sentence(m.error)}" for m in members if m.error]
    return f"{data}: {'; '.join(parts) or 'nothing could be compared'}.{''.join(failed)}"


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _quality(lead: Line) -> str:
    assert lead.best is not None
    best = lead.values[lead.best]
    beside = [f"real data {number(best.ceiling)}"] if best.ceiling is not None else []
    beside += [f"no skill {number(best.floor)}"] if best.floor is not None else []
    title = lead.title if lead.title.startswith(PROPER) else lead.title[:1].lower() + lead.title[1:]
    said = f"{lead.best} is best by {title}"
    said += f" ({spread(best)}{'; ' + ', '.join(beside) if beside else ''})"
    if _no_better_than_floor(lead, best):
        said += " but no better than no skill"
    if lead.tied:
        said += f", {joined(lead.tied)} cannot be told from it"
    return said


def spread(v: Value) -> str:
    """A value with its interval: 5.02, 4.8 to 5.3."""
    if v.value is None:
        return "–"
    interval = f", {number(v.interval[0])} to {number(v.interval[1])}" if v.interval else ""
    seeds = f", seeds {number(v.spread[0])} to {number(v.spread[1])}" if v.spread else ""
    return f"{number(v.value)}{interval}{seeds}"


def _no_better_than_floor(lead: Line, v: Value) -> bool:
    if v.floor is None or v.interval is None:
        return False
    return v.interval[1] >= v.floor if lead.direction == "lower" else v.interval[0] <= v.floor


def _fastest(known: Mapping[str, Mapping[str, float | None]]) -> str:
    found = leaders(known, "samples_per_second")
    if not found:
        return ""
    if len(found) == len(known):
        return "all sample about as fast"
    top = max(found, key=lambda label: known[label]["samples_per_second"] or 0)
    core = known[top]["samples_per_second_per_core"]
    rate = f"{_rate(core)} samples a second and core" if core else ""
    rate = rate or f"{_rate(known[top]['samples_per_second'])} samples a second"
    if len(found) == 1:
        return f"{top} is fastest ({rate})"
    return f"{joined(found)} are about as fast and faster than the others (up to {rate})"


def _rate(value: float | None) -> str:
    return f"{value:,.0f}" if value and value >= 10 else number(value)


def _smallest(known: Mapping[str, Mapping[str, float | None]]) -> str:
    found = leaders(known, "parameters")
    if not found or len(found) == len(known):
        return ""
    count = known[found[0]]["parameters"]
    return f"{joined(found)} {'is' if len(found) == 1 else 'are'} smallest ({_short(count)} parameters)"


def _short(count: float | None) -> str:
    for unit, size in (("billion", 1e9), ("million", 1e6)):
        if count and count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count or 0:,.0f}"


def _copying(judged: Sequence[Member]) -> list[str]:
    by: dict[str, list[str]] = {}
    for m in judged:
        copying = mapping(m.evaluation.copying) if m.evaluation else {}
        by.setdefault(str(copying.get("verdict")), []).append(m.name)
    if not by:
        return []
    if list(by) == ["none"]:
        return ["none copies" if len(judged) > 1 else "it does not copy"]
    said = {
        "copying": "{} copies training data|{} copy training data",
        "some": "{} copies some training data|{} copy some training data",
        "not tested": "{} was not tested for copying|{} were not tested for copying",
        "none": "{} does not copy|{} do not copy",
    }
    return [s.split("|")[len(by[v]) > 1].format(joined(by[v])) for v, s in said.items() if v in by]


def joined(names: Sequence[str]) -> str:
    """a, b and c"""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
