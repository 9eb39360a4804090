"""What an evaluation says: figures with their references, and its JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from genloom.core.errors import InputError

SCHEMA = "genloom.evaluation/1"

Direction = Literal["lower", "higher", "reference"]


@dataclass(frozen=True)
class Kind:
    """What a figure is. direction: which way is better; "reference" means as near as possible to the ceiling."""

    title: str
    meaning: str
    direction: Direction
    unit: str


KINDS = {
    "frechet": Kind(
        "Frechet distance",
        "Distance between Gaussians fitted to the features of samples and of real examples.",
        "lower",
        "squared feature units",
    ),
    "kernel": Kind(
        "Kernel distance",
        "Unbiased difference between the distributions of the features (KID).",
        "lower",
        "MMD²",
    ),
    "precision": Kind(
        "Precision", "Share of samples that lie among real examples: do they look real?", "higher", "share"
    ),
    "recall": Kind("Recall", "Share of real examples that lie among samples: is the variety there?", "higher", "share"),
    "density": Kind(
        "Density", "How many real examples lie around a sample; robust against outliers.", "higher", "ratio"
    ),
    "coverage": Kind("Coverage", "Share of real examples with a sample nearby.", "higher", "share"),
    "class_entropy": Kind(
        "Class entropy",
        "How evenly samples divide among the classes the classifier sees.",
        "reference",
        "nats",
    ),
    "label_agreement": Kind(
        "Label agreement",
        "Share of samples in which the classifier sees the class that was asked for.",
        "higher",
        "share",
    ),
}


@dataclass(frozen=True)
class Figure:
    """One figure. value is None where it cannot be measured, and `note` says why.

    interval: 95%. ceiling: the same figure of training examples against the same reference, in the same number (class
    figures: of the reference itself, which the classifier did not learn from). floor: of a trivial
    baseline. n, reference_n: samples and real examples that went in; figures of different n must not be compared.
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


@dataclass(frozen=True)
class Evaluation:
    """All figures of one set of samples and what they were measured with."""

    figures: tuple[Figure, ...]
    data: dict[str, Any]
    features: dict[str, Any]
    samples: dict[str, Any]
    reference: dict[str, Any]
    baseline: str
    notices: tuple[str, ...]
    seconds: float

    def __getitem__(self, name: str) -> Figure:
        """The figure called `name`. Raises KeyError."""
        for figure in self.figures:
            if figure.name == name:
                return figure
        raise KeyError(name)

    def to_json(self) -> dict[str, Any]:
        """JSON with the schema's version. Later versions add keys (copying, groups, cost) beside these."""
        document = {"schema": SCHEMA, **asdict(self)}
        document["figures"] = [
            {**asdict(f), "interval": None if f.interval is None else list(f.interval)} for f in self.figures
        ]
        return {**document, "notices": list(self.notices)}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Evaluation:
        """Inverse of `to_json`; unknown keys are passed over. Raises InputError for another schema or missing keys."""
        if document.get("schema") != SCHEMA:
            raise InputError(
                f"the evaluation has the schema {document.get('schema')!r}, this genloom reads {SCHEMA}; evaluate again"
            )
        try:
            figures = tuple(_figure_from(f) for f in document["figures"])
            names = {f.name for f in fields(cls)} - {"figures", "notices"}
            return cls(figures=figures, notices=tuple(document["notices"]), **{n: document[n] for n in names})
        except (KeyError, TypeError) as e:
            raise InputError(f"the evaluation is damaged ({type(e).__name__}: {e}); evaluate again") from None


def _figure_from(document: dict[str, Any]) -> Figure:
    known = {f.name: document[f.name] for f in fields(Figure) if f.name in document}
    interval = known["interval"]
    return Figure(**{**known, "interval": None if interval is None else (interval[0], interval[1])})
