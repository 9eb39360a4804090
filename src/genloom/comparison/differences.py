"""In what the runs of a comparison differ besides the model: settings, versions, machines, time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from genloom.comparison.members import Member
from genloom.evaluate.story import leaves, mapping
from genloom.evaluate.units import duration, text

SECTIONS = ("data", "modality", "family", "train")
UNLIKE = {"data.path"}  # names of the same data
DECIDE = ("genloom", "torch", "numpy")  # versions that may change a result
EQUAL_TIME = 0.1  # share by which training times may differ and still count as an equal budget
ABSENT = "–"


def differences(members: Sequence[Member]) -> list[tuple[str, dict[str, str]]]:
    """(setting, {label: value}) of every setting that two contenders have with different values. Of seeds of the same
    contender the first counts; a setting that a model lacks is a dash."""
    first = {m.label: m for m in reversed(members)}
    order = list(dict.fromkeys(m.label for m in members))
    known = {label: _settings(first[label].config) for label in order}
    names = dict.fromkeys(n for label in order for n in known[label])
    out = []
    for name in names:
        have = {label: known[label][name] for label in order if name in known[label]}
        if len(have) >= 2 and len(set(have.values())) > 1:
            out.append((name, {label: have.get(label, ABSENT) for label in order}))
    return out


def _settings(config: Mapping[str, Any]) -> dict[str, str]:
    out = {"recipe": text(config.get("recipe"))}
    for section in SECTIONS:
        for key, value in leaves(mapping(config.get(section))):
            if f"{section}.{key}" not in UNLIKE:
                out[f"{section}.{key}"] = text(value)
    return out


def notices(members: Sequence[Member]) -> list[str]:
    """What makes the comparison less than fair: other versions, machines, lengths of training."""
    out = []
    manifests = {m.name: m.manifest for m in members if m.evaluation is not None}
    for package in DECIDE:
        found = _by({n: str(mapping(m.get("versions")).get(package, "?")) for n, m in manifests.items()})
        if len(found) > 1:
            out.append(f"the runs were trained by different versions of {package}: {_listed(found)}")
    for key, what in (("device", "on different devices"), ("threads", "with different numbers of threads")):
        found = _by({n: str(m.get(key)) for n, m in manifests.items() if m.get(key) is not None})
        if len(found) > 1:
            out.append(f"the runs were trained {what}, so times and speeds do not compare: {_listed(found)}")
    seconds = {n: float(m["seconds"]) for n, m in manifests.items() if isinstance(m.get("seconds"), int | float)}
    if seconds and not _equal_length(members, seconds):
        found = _by({n: duration(s) for n, s in seconds.items()})
        out.append(f"the trainings are of different length, not of an equal budget: {_listed(found)}")
    return out


def _equal_length(members: Sequence[Member], seconds: Mapping[str, float]) -> bool:
    lengths = {
        (t.get("steps"), t.get("budget"))
        for m in members
        if m.name in seconds
        for t in [mapping(m.config.get("train"))]
    }
    return len(lengths) == 1 or max(seconds.values()) <= (1 + EQUAL_TIME) * min(seconds.values())


def _by(values: Mapping[str, str]) -> dict[str, list[str]]:
    out: dict[str, list[str]] = {}
    for name, value in values.items():
        out.setdefault(value, []).append(name)
    return out


def _listed(found: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(f"{value} ({', '.join(names)})" for value, names in found.items())
