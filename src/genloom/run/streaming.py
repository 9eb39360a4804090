"""One sample of text, piece by piece as it is generated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from genloom.core.config import validate
from genloom.core.device import device_of
from genloom.core.errors import InputError
from genloom.core.family import HasSteps
from genloom.core.rng import Rng, derive
from genloom.core.spec import Tokens
from genloom.run.asking import Values
from genloom.run.prompting import columns, guide_for, pieces

if TYPE_CHECKING:
    from genloom.run.trained import Run


def streamed(
    run: Run,
    prompt: str,
    label: str | int | None,
    seed: int,
    options: Mapping[str, Any] | None,
    stop: Sequence[str],
    properties: Values | None,
    source: Any,
    notify: Callable[[str], None],
) -> Iterator[str]:
    """As Run.stream says."""
    family = run.family
    if not isinstance(family, HasSteps) or not isinstance(family.spec, Tokens):
        raise InputError(f"the model {run.config.model} does not generate piece by piece; leave --stream out")
    if not run.modality.shows_text:
        raise InputError(f"samples of {run.config.kind} are no text to print; leave --stream out")
    chosen = validate(family.Options, options or {}, "options")
    if getattr(chosen, "beams", 1) > 1:
        raise InputError("beam search knows its result only at the end; leave --stream out or set beams=1")
    device = device_of(family)
    known = run.known(prompt, "", chosen, notify)
    labels = run.label_indices(label, 1, seed)
    condition = replace(run.asked(1, properties, source, notify), known=known.known, mask=known.mask)
    condition = replace(condition, label=labels).map(lambda t: t.to(device))
    begin = columns(family.spec, known)
    guide = guide_for(run.modality, stop, begin)
    rng = Rng(derive(seed, "sample"), device=device)
    steps = family.steps(1, condition, rng, chosen, guide)
    tokens = (int(step.tokens[0]) for step in islice(steps, begin - 1, None))
    return pieces(run.modality.decode, tokens, stop)
