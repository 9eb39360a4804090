"""Examples of which some parts are given and the others filled in, such as the voices of a piece."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from genloom.core.batch import Condition
from genloom.core.config import validate
from genloom.core.errors import InputError
from genloom.core.family import HasSteps
from genloom.core.modality import Completes
from genloom.run.generate import generate
from genloom.run.prompting import guide_for

if TYPE_CHECKING:
    from genloom.run.trained import Run


def completed(
    run: Run, example: Any, parts: str, n: int, labels: Tensor | None, seed: int, options: Mapping[str, Any] | None
) -> list[Any]:
    """As Run.complete says; labels [n] or None."""
    if not isinstance(run.modality, Completes) or not isinstance(run.family, HasSteps):
        raise InputError(f"{run.name} cannot fill in parts of an example; models of music in voices can")
    read = type(run.modality).read(example, run.modality.config)
    known, mask = run.modality.given(read, parts)
    chosen = validate(run.family.Options, {**(options or {}), "fill": "in place"}, "options")
    guide = guide_for(run.modality, (), 1)
    condition = Condition(known=known[None], mask=mask[None])
    x = generate(run.family, n, labels, seed, chosen, condition, guide)
    return [run.modality.decode(row) for row in x]
