"""One sample of text, piece by piece as it is generated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from genloom.core.device import device_of
from genloom.core.errors import InputError
from genloom.core.family import HasSteps
from genloom.core.rng import Rng
from genloom.core.spec import Tokens
from genloom.run.asking import Values
from genloom.run.prompting import pieces
from genloom.run.requests import Request, gradual, ready

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
    asked = Request(1, label, seed, options or {}, prompt, "", stop, properties, source)
    one = ready(run, asked, notify)
    if not gradual(run, one):
        raise InputError("beam search knows its result only at the end; leave --stream out or set beams=1")
    steps = family.steps(1, one.condition, Rng(one.seed, device=device_of(family)), one.options, one.guide)
    tokens = (int(step.tokens[0]) for step in islice(steps, one.begin - 1, None))
    return pieces(run.modality.decode, tokens, stop)
