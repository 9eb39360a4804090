"""What samples are asked for, said in people's terms: properties by name, sources as text."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genloom.core.batch import Condition, ConditionSpec
from genloom.core.config import unknown
from genloom.core.errors import InputError, Unreadable
from genloom.core.family import Family
from genloom.core.modality import Modality, TakesSource
from genloom.data.items import listing
from genloom.data.tokens import contents_of, shortened
from genloom.run.generate import spread, spread_labels

Values = Mapping[str, float | Sequence[float]]
Notify = Callable[[str], None]


def labels_for(
    label: str | int | Sequence[str | int] | None, family: Family, classes: Sequence[str], name: str, n: int, seed: int
) -> Tensor | None:
    """[n] class indices for a label name, several that take turns, or None for the data's proportions. name: the run's.

    Raises InputError for a name that the data did not have.
    """
    if label is None:
        return spread_labels(family, n, seed)
    if "label" not in family.honours():
        raise InputError(f"{name} was trained without labels, so it cannot be asked for {label!r}; leave --label out")
    names = [str(v) for v in ([label] if isinstance(label, str | int) else label)]
    for asked in names:
        if asked not in classes:
            raise InputError(unknown(asked, classes, "label"))
    index = torch.tensor([classes.index(v) for v in names])
    return index[torch.arange(n) % len(index)]


def asked_for(
    spec: ConditionSpec,
    honoured: frozenset[str],
    source_of: Modality[Any] | None,
    n: int,
    properties: Values | None,
    source: Any,
    notify: Notify,
    labels: Tensor | None = None,
    seed: int | None = None,
) -> Condition:
    """Properties and sources of n samples; several of one kind take turns. source_of: the modality of sources. With a
    seed, samples that are asked for no property have those of training examples (of their class, where `labels` [n] are
    given), so that they are as the data are.

    Raises InputError for what the model was not trained with, and for names and values that mean nothing.
    """
    drawn = None if seed is None or "properties" not in honoured else _typical(spec, labels, n, seed)
    return Condition(
        properties=_properties(spec, honoured, n, properties, notify) if properties else drawn,
        source=_sources(spec, honoured, source_of, n, source, notify) if source is not None else None,
    )


def _properties(spec: ConditionSpec, honoured: frozenset[str], n: int, asked: Values, notify: Notify) -> Tensor:
    """[n, P] standardised, NaN where not asked for."""
    if "properties" not in honoured:
        raise InputError(
            f"the model was trained without properties, so it cannot be asked for {next(iter(asked))}; see "
            "data.properties and modality.properties"
        )
    known = {p.name: k for k, p in enumerate(spec.properties)}
    out = torch.full((n, len(known)), torch.nan)
    for name, value in asked.items():
        if name not in known:
            raise InputError(unknown(name, known, "property"))
        p = spec.properties[known[name]]
        try:
            numbers = [float(v) for v in (value if isinstance(value, Sequence) else [value])]
        except (TypeError, ValueError):
            numbers = []
        if not numbers or not all(map(math.isfinite, numbers)):
            raise InputError(f"the property {name} is asked for by a number, got {value!r}")
        outside = [v for v in numbers if not p.low <= v <= p.high]
        if outside:
            notify(
                f"{name}={outside[0]:g} is outside of what the model has seen, {p.low:g} to {p.high:g}: it may not be "
                "met"
            )
        out[:, known[name]] = torch.tensor([p.standardised(v) for v in numbers])[torch.arange(n) % len(numbers)]
    return out


def _typical(spec: ConditionSpec, labels: Tensor | None, n: int, seed: int) -> Tensor | None:
    """[n, P] standardised properties of training examples, each as often as any other of its class."""
    if not spec.typical:
        return None
    own = np.array([label for label, _ in spec.typical])
    rows = np.array([values for _, values in spec.typical], dtype=np.float32)  # None becomes NaN
    out = np.full((n, len(spec.properties)), np.nan, np.float32)
    asked = np.full(n, -1) if labels is None else labels.cpu().numpy()
    for label in np.unique(asked).tolist():
        pool, which = rows if label < 0 else rows[own == label], asked == label
        if len(pool):
            out[which] = pool[(spread(seed, "properties", int(which.sum())) * len(pool)).astype(np.int64)]
    return torch.from_numpy(out)


def _sources(
    spec: ConditionSpec, honoured: frozenset[str], modality: Modality[Any] | None, n: int, asked: Any, notify: Notify
) -> Tensor:
    """[n, S] contents, eos, pad."""
    if "source" not in honoured or spec.source is None or modality is None:
        raise InputError("the model was trained without sources, so it cannot follow from one; see data.source")
    given = list(asked) if isinstance(asked, list | tuple) else [asked]
    if not given:
        raise InputError("there is no source to follow from; give at least one")
    rows, limit, long = [], spec.source.length, 0
    for raw in given:
        try:
            example = type(modality).read(raw, modality.config) if raw else raw
        except Unreadable as e:
            raise InputError(f"the source {str(raw)[:40]!r} cannot be read: {e}") from None
        if isinstance(modality, TakesSource) and isinstance(example, str):
            _look(example, modality.unseen(example), notify)
        ids = contents_of(modality, example)
        if len(ids) > limit:
            long, rest = long + 1, "end" if spec.source.keeps_end else "beginning"
            if long == 1:
                notify(f"the source has {len(ids)} tokens, and the model reads {limit}: it sees the {rest} only")
        rows.append(torch.from_numpy(shortened(ids, spec.source)))
    if long > 1:
        notify(f"{long} sources of {len(given)} are longer than the {limit} tokens that the model reads")
    x = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=spec.source.pad)
    return x[torch.arange(n) % len(x)]


def _look(source: str, unseen: Sequence[str], notify: Notify) -> None:
    """Say which characters of a source the model has not seen. Raises InputError where it knows no letter of it."""
    letters = {c for c in source if c.isalpha()}
    new = [c for c in unseen if c in letters]
    if letters and len(new) == len(letters):
        raise InputError(
            f"the model has never seen {listing([repr(c) for c in new])}, nor any other letter of {source[:40]!r}: it "
            "reads the script that it was trained on"
        )
    if unseen:
        notify(f"the source {source[:40]!r} has characters that the model does not know: {listing(list(unseen))}")
