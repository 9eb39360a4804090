"""What an evaluation says: figures with their references, and its JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from genloom.core.errors import InputError
from genloom.evaluate.kinds import KINDS, Direction, Kind

SCHEMA = "genloom.evaluation/1"
ADDED = ("copying", "groups", "cost", "diversity", "task", "table")  # keys that older evaluations lack
Measured = tuple[float, tuple[float, float] | None]  # value and 95% interval


@dataclass(frozen=True)
class Figure:
    """One figure. value is None where it cannot be measured, and `note` says why.

    interval: 95%. ceiling: the same figure of training examples against the same reference, in the same number (class
    figures: of the reference itself, which the classifier did not learn from; what is compared with the training data:
    of held-out examples). floor: of a trivial baseline. n, reference_n: samples and real examples that went in
    (likelihoods: tokens predicted and the rows they stand in); figures of different n must not be compared.
    """

    name: str
    value: float | None
    interval: tuple[float, float] | None
    ceiling: float | None
    floor: float | None
    n: int
    reference_n: int
    features: str
    direction: Direction
    unit: str
    title: str
    meaning: str
    note: str = ""


def figure_of(
    name: str,
    own: Measured | None,
    ceiling: Measured | None,
    floor: Measured | None,
    counts: tuple[int, int],
    features: str,
    note: str = "",
    unit: str = "",
    kind: Kind | None = None,
) -> Figure:
    """The figure `name` of samples between those of its references. counts: n and reference_n. unit: where it is not
    the usual one. kind: of a figure that the data's modality has of its own."""
    kind = kind or KINDS[name]
    return Figure(
        name=name,
        value=own[0] if own else None,
        interval=own[1] if own else None,
        ceiling=ceiling[0] if own and ceiling else None,
        floor=floor[0] if own and floor else None,
        n=counts[0],
        reference_n=counts[1],
        features=features,
        direction=kind.direction,
        unit=unit or kind.unit,
        title=kind.title,
        meaning=kind.meaning,
        note=note,
    )


@dataclass(frozen=True)
class Passage:
    """A sample beside the training text that it repeats. run: the shared passage, `length` characters (or tokens) long;
    before and after: what stands around it, in the sample and in the training data."""

    run: str
    length: int
    unit: str
    sample_before: str
    sample_after: str
    training_before: str
    training_after: str


@dataclass(frozen=True)
class Evaluation:
    """All figures of one set of samples and what they were measured with. passages: of sequences, those that repeat the
    most of the training data. copying, groups, cost, diversity, task, table: as `audit`, `groups`, `cost`, `diversity`,
    `tasks` and `table_view` say them, None where they were not measured."""

    figures: tuple[Figure, ...]
    data: dict[str, Any]
    features: dict[str, Any]
    samples: dict[str, Any]
    reference: dict[str, Any]
    baseline: str
    notices: tuple[str, ...]
    seconds: float
    passages: tuple[Passage, ...] = ()
    copying: dict[str, Any] | None = None
    groups: dict[str, Any] | None = None
    cost: dict[str, Any] | None = None
    diversity: dict[str, Any] | None = None
    task: dict[str, Any] | None = None
    table: dict[str, Any] | None = None

    def __getitem__(self, name: str) -> Figure:
        """The figure called `name`. Raises KeyError."""
        for figure in self.figures:
            if figure.name == name:
                return figure
        raise KeyError(name)

    def to_json(self) -> dict[str, Any]:
        """JSON with the schema's version. Later versions add keys beside these."""
        document = {"schema": SCHEMA, **asdict(self)}
        document["figures"] = [
            {**asdict(f), "interval": None if f.interval is None else list(f.interval)} for f in self.figures
        ]
        return {**document, "notices": list(self.notices), "passages": [asdict(p) for p in self.passages]}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Evaluation:
        """Inverse of `to_json`; unknown keys are passed over. Raises InputError for another schema or missing keys."""
        if document.get("schema") != SCHEMA:
            raise InputError(
                f"the evaluation has the schema {document.get('schema')!r}, this genloom reads {SCHEMA}; evaluate again"
            )
        try:
            figures = tuple(_figure_from(f) for f in document["figures"])
            passages = tuple(Passage(**p) for p in document.get("passages", []))
            added = {n: document[n] for n in ADDED if isinstance(document.get(n), dict)}
            names = {f.name for f in fields(cls)} - {"figures", "notices", "passages", *ADDED}
            known = {n: document[n] for n in names} | added
            return cls(figures=figures, notices=tuple(document["notices"]), passages=passages, **known)
        except (KeyError, TypeError) as e:
            raise InputError(f"the evaluation is damaged ({type(e).__name__}: {e}); evaluate again") from None


_FIGURE = tuple(f.name for f in fields(Figure))  # told once: asking costs more than reading a figure


def _figure_from(document: dict[str, Any]) -> Figure:
    known = {name: document[name] for name in _FIGURE if name in document}
    interval = known["interval"]
    return Figure(**{**known, "interval": None if interval is None else (interval[0], interval[1])})
