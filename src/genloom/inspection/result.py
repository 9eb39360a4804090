"""What an inspection says, with where each finding is and what to show of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genloom.core.errors import InputError
from genloom.core.finding import SEVERITIES, Fact, Finding, Severity
from genloom.core.modality import Modality
from genloom.core.modality import Shown as ShownAs
from genloom.data.build import Broken
from genloom.data.prepare import Prepared
from genloom.inspection.amounts import amounts
from genloom.inspection.duplicates import twice
from genloom.inspection.survey import Survey


@dataclass(frozen=True)
class Shown:
    """Examples that belong together, with what to say beside them."""

    examples: tuple[Any, ...]
    origins: tuple[str, ...]
    quote: str


@dataclass(frozen=True)
class Found:
    """A finding with its examples. As Finding; groups: where they are and what they show, the most telling first."""

    code: str
    severity: Severity
    what: str
    advice: str
    count: int
    groups: tuple[Shown, ...] = ()

    def to_json(self) -> dict[str, Any]:
        groups = [{"origins": list(g.origins), "quote": g.quote} for g in self.groups]
        return {
            "code": self.code, "severity": self.severity, "what": self.what, "advice": self.advice, "count": self.count,
            "examples": groups,
        }  # fmt: skip


@dataclass(frozen=True)
class Inspection:
    """What is in a data set and what is wrong with it.

    total: items found, of which `readable` can be read. splits, classes: readable examples of each that came with the
    data. notices: what training says when it reads the data. estimate: what a training would take. prepared: the data
    as a training has it. Both are missing where training refuses the data. noun: what people call the items.
    """

    name: str
    kind: str
    total: int
    readable: int
    splits: Mapping[str, int]
    classes: Mapping[str, int]
    facts: Sequence[Fact]
    findings: Sequence[Found]
    broken: Sequence[Broken]
    notices: Sequence[str] = ()
    estimate: Mapping[str, Any] = field(default_factory=dict)
    prepared: Prepared | None = None
    noun: str = "examples"

    @property
    def modality(self) -> Modality[Any] | None:
        return self.prepared.modality if self.prepared is not None else None

    @property
    def usable(self) -> bool:
        """Whether it can be trained on."""
        return all(f.severity != "error" for f in self.findings)

    def prefix(self) -> str:
        """The folders or archive that the places of all findings have in common, which a person need not read again."""
        places = {o for f in self.findings for g in f.groups for o in g.origins}
        if len(places) < 2:
            return ""
        first, last = min(places), max(places)
        same = next((k for k, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
        return first[: max(first.rfind("/", 0, same), first.rfind("!", 0, same)) + 1]

    def counts(self) -> dict[Severity, int]:
        """Number of findings of each severity."""
        return {s: sum(f.severity == s for f in self.findings) for s in SEVERITIES}

    def preview(self, n: int = 6, seed: int = 0) -> ShownAs:
        """A few training examples, each beside augmented versions. Raises InputError where nothing is augmented or the
        data cannot be trained on."""
        from genloom.inspection.preview import augmented

        if self.prepared is None:
            raise InputError(f"{self.name} cannot be trained on, so there is nothing to augment; see the findings")
        return augmented(self.prepared, n, seed)

    def write_page(self, path: str | Path, preview: ShownAs | None = None) -> Path:
        """Write it as one HTML file that asks nothing of any server. preview: augmented examples, to show there.

        Raises InputError for a path that cannot be a file, GenloomError when it cannot be written.
        """
        from genloom.inspection.page import write_page

        return write_page(self, Path(path), preview)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name, "kind": self.kind, "usable": self.usable, "items": self.total, "readable": self.readable,
            "splits": dict(self.splits), "classes": dict(self.classes),
            "facts": [{"name": f.name, "value": f.value, "unit": f.unit} for f in self.facts],
            "findings": [f.to_json() for f in self.findings],
            "quarantined": [{"origin": b.origin, "reason": b.reason} for b in self.broken],
            "notices": list(self.notices), "estimate": dict(self.estimate),
        }  # fmt: skip


def judged(
    found: Survey,
    refusal: str = "",
    more: Iterable[Found] = (),
    estimate: Mapping[str, Any] | None = None,
    prepared: Prepared | None = None,
) -> Inspection:
    """The inspection of what a survey found, the gravest findings first. refusal: why training refuses the data.
    more: findings from elsewhere."""
    findings = [*amounts(found), *twice(found), *found.findings]
    if refusal:
        findings.insert(0, Finding("unusable", "error", refusal, "mend this first: training refuses the data", 0))
    examples = found.examples(i for f in findings for group in f.groups for i in group)
    resolved = [*(_resolved(found, f, examples) for f in findings), *more]
    facts = ([Fact("encodings", dict(found.items.encodings))] if found.items.encodings else []) + found.facts
    return Inspection(
        found.source.name, found.kind, len(found.items), len(found.usable), found.splits(), found.classes(), facts,
        sorted(resolved, key=lambda f: SEVERITIES.index(f.severity)), found.broken,
        prepared.notices if prepared else (), estimate or {}, prepared,
        "pieces of text" if found.items.stream else "rows" if found.items.frame is not None else "examples",
    )  # fmt: skip


def _resolved(found: Survey, finding: Finding, examples: Mapping[int, Any]) -> Found:
    groups = []
    for k, group in enumerate(finding.groups):
        shown = tuple(examples[i] for i in group if i in examples)
        origins = tuple(found.items.origins[i] for i in group)
        groups.append(Shown(shown, origins, finding.quotes[k] if k < len(finding.quotes) else ""))
    return Found(finding.code, finding.severity, finding.what, finding.advice, finding.count, tuple(groups))
