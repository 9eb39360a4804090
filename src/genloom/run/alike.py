"""Whether data are of the kind that a run was trained on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from genloom.core.batch import ConditionSpec
from genloom.core.errors import InputError
from genloom.core.spec import Spec

if TYPE_CHECKING:
    from genloom.data.prepare import Prepared


def alike(prepared: Prepared, name: str, spec: Spec, own: ConditionSpec) -> Prepared:
    """The data with properties and sources as the run `name` was told them. Raises InputError for data of another form,
    or with other classes, properties or sources."""
    other = prepared.condition
    if prepared.modality.spec != spec or other.classes != own.classes:
        raise InputError(
            f"{prepared.name} does not look like what {name} was trained on: {prepared.modality.spec} with "
            f"{len(other.classes)} classes, against {spec} with {len(own.classes)}"
        )
    names, found = ([p.name for p in c.properties] for c in (own, other))
    vocab = [None if c.source is None else (c.source.vocab, c.source.shared) for c in (own, other)]
    if names != found or vocab[0] != vocab[1]:
        raise InputError(
            f"{prepared.name} does not have the conditions that {name} was trained with: properties "
            f"{', '.join(names) or 'none'}, {'sources of the same kind' if own.source else 'no sources'}"
        )
    return prepared.under(replace(own, counts=other.counts))
