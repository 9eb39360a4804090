"""An inspection without a training, for tests of what it finds."""

from genloom.core.config import DataConfig
from genloom.data.kinds import find_kind
from genloom.inspection import Inspection, judged, survey
from genloom.inspection.result import Found


def looked(data: object, **settings: object) -> Inspection:
    return judged(survey(data, find_kind(data), settings, DataConfig(), lambda _: None))


def finding(found: Inspection, code: str) -> Found:
    """The finding of that code, after checking that it was found once."""
    matching = [f for f in found.findings if f.code == code]
    assert len(matching) == 1, [f.code for f in found.findings]
    return matching[0]


def codes(found: Inspection) -> set[str]:
    return {f.code for f in found.findings}
