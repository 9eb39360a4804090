"""What samples of a run are asked for, made ready for its family: one request, or several computed together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from genloom.core.batch import Condition
from genloom.core.config import Settings, validate
from genloom.core.device import device_of
from genloom.core.errors import InputError, Unreadable
from genloom.core.family import HasSteps
from genloom.core.guide import Guide
from genloom.core.modality import Completes
from genloom.core.rng import Joined, Rng, derive
from genloom.core.spec import Row, check_batch
from genloom.nets.decoding import Decoding, HasDecoding
from genloom.run import prompting
from genloom.run.asking import Values
from genloom.run.generate import chunks
from genloom.run.rows import sampled, table_of
from genloom.run.where import terms_of

if TYPE_CHECKING:
    from genloom.run.trained import Run


@dataclass(frozen=True)
class Request:
    """n samples, as in Run.sample. known: an example, raw or read, whose parts `keep` are kept and the others filled
    in. where: what rows of a table shall meet."""

    n: int = 1
    label: str | int | Sequence[str | int] | None = None
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    prompt: str = ""
    suffix: str = ""
    stop: Sequence[str] = ()
    properties: Values | None = None
    source: Any = None
    known: Any = None
    keep: str = ""
    where: str | Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Ready:
    """A request as its family takes it. condition: of n rows, on the device. begin: columns of tokens before what is
    drawn."""

    request: Request
    options: Settings
    condition: Condition
    guide: Guide | None
    begin: int

    @property
    def seed(self) -> int:
        """Of the random numbers of its samples."""
        return derive(self.request.seed, "sample")

    @property
    def labels(self) -> list[int] | None:
        return None if self.condition.label is None else self.condition.label.tolist()

    def alike(self) -> object:
        """Equal for requests that can be computed together; one that is guided is so alone."""
        given = frozenset(f.name for f in fields(Condition) if getattr(self.condition, f.name) is not None)
        return self.options.model_dump_json(), given, None if self.guide is None else id(self)


def ready(run: Run, request: Request, notify: Callable[[str], None] = lambda _: None) -> Ready:
    """Raises InputError for what the run does not honour, know or have."""
    r, family = request, run.family
    if r.n < 1:
        raise InputError(f"the number of samples must be at least 1, got {r.n}")
    if r.where:
        terms_of(r.where, table_of(run))
    kept = None if r.known is None else _kept(run, r)
    chosen = validate(family.Options, r.options if kept is None else {**r.options, "fill": "in place"}, "options")
    labels = run.label_indices(r.label, r.n, r.seed)
    given = run.asked(r.n, r.properties, r.source, notify, labels, r.seed)
    if kept is not None:
        known, begin = kept, 1
    else:
        known = run.known(r.prompt, r.suffix, chosen, notify)
        begin = prompting.columns(family.spec, known)
    device = device_of(family)
    whole = replace(given, label=labels, known=known.known, mask=known.mask)
    whole = whole.map(lambda t: (t.expand(r.n, *t.shape[1:]) if len(t) == 1 else t).to(device))
    whole.check(family.honours(), type(family).__name__)
    return Ready(r, chosen, whole, prompting.guide_for(run.modality, r.stop, begin), begin)


def _kept(run: Run, r: Request) -> Condition:
    """The parts of an example that are kept, as one row."""
    if not isinstance(run.modality, Completes) or not isinstance(run.family, HasSteps):
        raise InputError(f"{run.name} cannot fill in parts of an example; models of music in voices can")
    try:
        example = type(run.modality).read(r.known, run.modality.config)
    except Unreadable as e:
        raise InputError(f"the example whose parts are kept cannot be read: {e}") from None
    known, mask = run.modality.given(example, r.keep)
    return Condition(known=known[None], mask=mask[None])


def gradual(run: Run, ready: Ready) -> bool:
    """Whether its samples are known token by token: not those of beam search, which knows no token before the last."""
    return isinstance(run.family, HasDecoding) and run.family.gradual(ready.condition, ready.options)


def decoding_of(run: Run, ready: Ready) -> Decoding:
    """Its samples token by token, where they are `gradual`."""
    assert isinstance(run.family, HasDecoding)
    rng = Rng(ready.seed, device=device_of(run.family))
    return run.family.started(ready.request.n, ready.condition, rng, ready.options, ready.guide)


@torch.no_grad()
def sample_together(run: Run, several: Sequence[Ready], check: Callable[[], None] = lambda: None) -> list[Any]:
    """The samples of requests that are `alike`, each as the spec says, on the CPU; of tables a DataFrame each. Equal to
    those of each alone, but for the rounding of floats. check: called now and then; what it raises ends the work."""
    family, first = run.family, several[0]
    if isinstance(family.spec, Row):
        requests = [r.request for r in several]
        return [sampled(run, r.n, where=r.where, seed=r.seed, options=first.options, check=check) for r in requests]
    conditions = [r.condition for r in several]
    names = [f.name for f in fields(Condition) if getattr(first.condition, f.name) is not None]
    whole = Condition(**{name: torch.cat([getattr(c, name) for c in conditions]) for name in names})
    sizes = [r.request.n for r in several]
    rng = Joined.of([(Rng(r.seed, device=device_of(family)), r.request.n) for r in several])
    out = []
    for offset, count in chunks(family.spec, sum(sizes)):
        given, numbers = whole[offset : offset + count], rng.between(offset, count)
        if isinstance(family, HasSteps):
            x = family.sample(count, given, numbers, first.options, first.guide)
        else:
            x = family.sample(count, given, numbers, first.options)
        check_batch(family.spec, x)
        out.append(x.cpu())
    return list(torch.cat(out).split(sizes))


def examples_of(run: Run, ready: Ready, x: Tensor) -> list[Any]:
    """The examples of samples as the spec says, but of tables; texts end before the first stop."""
    examples = run.modality.decode_all(x)
    stops = ready.request.stop
    return [prompting.cut(e, len(ready.request.prompt), stops) for e in examples] if stops else examples
