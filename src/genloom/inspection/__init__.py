"""A look at data before a training: what is in it, what is wrong with it, and what to do about that."""

from genloom.inspection.estimate import estimated
from genloom.inspection.outliers import unusual
from genloom.inspection.result import Inspection, judged
from genloom.inspection.survey import survey

__all__ = ["Inspection", "estimated", "judged", "survey", "unusual"]
