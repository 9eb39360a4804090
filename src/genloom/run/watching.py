"""Copying watched while a model trains: samples drawn as `generate` does, judged by `genloom.evaluate.watch`."""

from __future__ import annotations

from collections.abc import Callable

from genloom.core.audits import Audits, Finding, audit_times
from genloom.core.config import RunConfig
from genloom.core.errors import InputError
from genloom.core.family import Family
from genloom.core.rng import derive
from genloom.core.spec import Tokens
from genloom.data.prepare import Prepared
from genloom.evaluate.watch import PASSAGE, Watch
from genloom.run.generate import conditions_of, generate, spread_labels


def audits_for(prepared: Prepared, config: RunConfig, notify: Callable[[str], None]) -> Audits | None:
    """The audits of a training, or None where there are none.

    Where the data cannot tell copying from likeness that is notified; if the training shall stop on copying it raises
    InputError instead.
    """
    if not audit_times(config.train):
        if config.train.stop_on_copying:
            raise InputError("train.stop_on_copying needs audits; set train.audit_times above 0, or leave it out")
        return None
    watch = Watch(prepared)
    if problem := watch.problem():
        if config.train.stop_on_copying:
            raise InputError(f"a training on {prepared.name} cannot stop on copying: {problem}")
        notify(f"copying is not watched during the training: {problem}")
        return None

    def audit(family: Family, turn: int) -> Finding:
        options = family.Options()
        if isinstance(family.spec, Tokens) and "max_tokens" in type(options).model_fields:
            options = options.model_copy(update={"max_tokens": min(PASSAGE, family.spec.length - 1)})
        seed = derive(config.seed, "audit", turn)
        given = conditions_of(prepared, watch.samples)
        given = None if given is None else given.only(family.honours() - {"label"})
        x = generate(family, watch.samples, spread_labels(family, watch.samples, seed), seed, options, given)
        found = watch(x)
        return Finding(found["verdict"], found["rate"], found["sentence"])

    return Audits(audit, watch.samples, config.train)
