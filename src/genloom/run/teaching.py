"""A run that another learns from beside its data (knowledge distillation)."""

from __future__ import annotations

from pathlib import Path

from genloom.core.config import Settings
from genloom.core.errors import InputError
from genloom.core.family import Family, HasPredictions, Learns
from genloom.core.run import CONFIG
from genloom.run.trained import Run

RUNS = Path("runs")


def teacher_of(config: Settings) -> Run | None:
    """The run that a family's settings name as teacher. Raises InputError when there is none, or it has no
    predictions."""
    asked = getattr(getattr(config, "teacher", None), "run", None)
    if not asked:
        return None
    path = Path(asked)
    if not path.exists() and (RUNS / path / CONFIG).is_file():
        path = RUNS / path
    teacher = Run.open(path)
    if not isinstance(teacher.family, HasPredictions):
        raise InputError(f"{asked} is a model {teacher.config.model}, which does not say what it expects: no teacher")
    return teacher


def teach(family: Family, teacher: Run) -> None:
    """Let a family learn from a teacher. Raises InputError where they do not go together."""
    if not isinstance(family, Learns):
        raise InputError(f"{type(family).__name__} cannot learn from a teacher; leave --teacher out")
    assert isinstance(teacher.family, HasPredictions)
    family.learn_from(teacher.family)
