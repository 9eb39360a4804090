"""Everything between what a person gives and batches: read, quarantine, split, fit the modality, encode, cache."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from genloom.core.batch import Batch, Condition, ConditionSpec, Property, SourceSpec
from genloom.core.config import DataConfig, Settings, validate
from genloom.core.discover import module
from genloom.core.errors import InputError
from genloom.core.modality import Modality, form_of
from genloom.core.spec import Row, Tokens
from genloom.data import cache
from genloom.data.build import Broken, Builder
from genloom.data.conditions import Conditions, typical
from genloom.data.items import Source
from genloom.data.kinds import MODALITIES, find_kind, modality_class
from genloom.data.rows import RowBuilder
from genloom.data.sequences import Sequences
from genloom.data.sources import open_source
from genloom.data.tokens import SequenceBuilder


@runtime_checkable
class Opens(Protocol):
    """A modality whose files hold many examples: it says which source finds them."""

    @classmethod
    def open(cls, data: Any, config: Any, where: DataConfig) -> Source: ...


class Split:
    """The encoded examples of one split. N examples; index i is the i-th in the source's order."""

    def __init__(
        self,
        x: cache.Encoded,
        labels: NDArray[np.int64] | None,
        origins: Callable[[], Sequence[str]],
        conditions: Conditions | None = None,
    ) -> None:
        self.x, self.labels, self._origins, self.conditions = x, labels, origins, conditions

    def __len__(self) -> int:
        return len(self.x)

    @cached_property
    def origins(self) -> Sequence[str]:
        """[N] where each example came from."""
        return self._origins()

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        """The examples at `indices`, in that order."""
        indices = np.asarray(indices, dtype=np.int64)
        return self._batch(indices, torch.from_numpy(indices.copy()))

    def batches(self, size: int, limit: int | None = None) -> Iterator[Batch]:
        """All examples (or the first `limit`) in order."""
        n = len(self) if limit is None else min(limit, len(self))
        for start in range(0, n, size):
            yield self._batch(slice(start, min(start + size, n)), torch.arange(start, min(start + size, n)))

    def _batch(self, rows: NDArray[np.int64] | slice, index: torch.Tensor) -> Batch:
        condition = Condition() if self.conditions is None else self.conditions.condition(index.numpy())
        if self.labels is not None:
            condition = replace(condition, label=torch.from_numpy(np.array(self.labels[rows])))
        return Batch(self.x.take(rows), condition, index)


@dataclass(frozen=True)
class Prepared:
    """A data set ready to train on.

    digest: of the decoded examples, their labels, the split and the modality's state; equal on every machine. name:
    short, for the run folder. quarantined: items that could not be read. source: the modality of the sources.
    """

    modality: Modality[Any]
    condition: ConditionSpec
    train: Split | Sequences
    validation: Split | Sequences
    test: Split | Sequences
    quarantined: tuple[Broken, ...]
    notices: tuple[str, ...]
    digest: str
    name: str
    source: Modality[Any] | None = None

    def under(self, condition: ConditionSpec) -> Prepared:
        """The same data, its properties and sources told as another training's spec has them."""
        train, validation, test = (copy.copy(s) for s in (self.train, self.validation, self.test))
        for split in (train, validation, test):
            if split.conditions is not None:
                split.conditions = replace(split.conditions, spec=condition)
        return replace(self, condition=condition, train=train, validation=validation, test=test)


def _silent(_: str) -> None:
    pass


def prepare(
    data: Any,
    kind: str | None,
    modality_config: Mapping[str, Any],
    config: DataConfig,
    notify: Callable[[str], None] = _silent,
    start: Mapping[str, Any] | None = None,
) -> Prepared:
    """Read `data` (see `sources.open_source`), or find it prepared in the cache.

    kind: a modality's name, or None to find it from the data. modality_config: its settings. notify is given each
    notice. start: the state of the modality of a model that is trained on. Raises InputError for data that cannot be
    used, GenloomError when a download or the cache fails.
    """
    kind = kind or find_kind(data)
    cls = modality_class(kind)
    settings = validate(cls.Config, modality_config, "modality")
    source = source_of(data, cls, settings, config)
    key = _key(source, kind, settings, config, start)
    entry, damaged = cache.find(key)
    if damaged:
        notify("the prepared data in the cache were damaged and are made again")
    if entry is None:
        builder = {Tokens: SequenceBuilder, Row: RowBuilder}.get(form_of(cls, settings), Builder)
        entry = cache.build(key, lambda folder: builder(source, cls, settings, config, notify, start).fill(folder))
    prepared = _opened(entry, source.name, cls, source.notices)
    continued = None if start is None else prepared.modality.state()
    cache.alias(_key(source, kind, prepared.modality.config, config, continued), key)
    for notice in prepared.notices:
        notify(notice)
    return prepared


def source_of(data: Any, cls: type[Modality[Any]], settings: Settings, config: DataConfig) -> Source:
    """The source of `data` as the modality reads it. Raises InputError."""
    return cls.open(data, settings, config) if isinstance(cls, Opens) else _open(data, cls, config)


def _open(data: Any, cls: type[Modality[Any]], config: DataConfig) -> Source:
    if config.source not in (None, "none"):
        raise InputError("data.source is for tables of text; leave it out")
    return open_source(data, cls.extensions, config.properties)


def _key(
    source: Source, kind: str, settings: Settings, config: DataConfig, start: Mapping[str, Any] | None = None
) -> str:
    """Changes with the source's contents, every setting that matters, and the code that reads: no version to forget."""
    code = [*sorted(Path(__file__).parent.glob("*.py")), Path(str(module(MODALITIES, kind, "modality").__file__))]
    parts = {
        "source": source.digest, "kind": kind, "settings": settings.model_dump(mode="json"),
        "data": config.model_dump(mode="json", exclude={"path"}),
        "start": start, "code": [hashlib.sha256(p.read_bytes()).hexdigest() for p in code],
    }  # fmt: skip
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def _opened(entry: cache.Entry, name: str, cls: type[Modality[Any]], notices: tuple[str, ...]) -> Prepared:
    meta = entry.meta
    modality = cls.from_state(meta["state"])
    stored, labels, codec = entry.x(), entry.labels(), cache.Codec(modality.spec)
    classes = tuple(meta["classes"])
    source, origin = meta.get("source"), None
    if source is not None:
        origin = modality if meta["origin"] is None else cls.from_state(meta["origin"])
        source = SourceSpec(**{k: v for k, v in source.items() if k != "digest"})
    edges = np.cumsum([0, *meta["counts"]]).tolist()
    starts = entry.starts()
    origins: list[Sequence[str]] = []

    def origins_of(part: slice) -> Sequence[str]:
        if not origins:
            origins.append(entry.origins())
        return origins[0][part]

    def split(i: int) -> Split | Sequences:
        part = slice(edges[i], edges[i + 1])
        own, more = labels[part] if classes else None, conditions[part] if conditions is not None else None
        if starts is None or not isinstance(modality.spec, Tokens):
            return Split(cache.Encoded(stored[part], codec), own, lambda: origins_of(part), more)
        begin, end = int(starts[part.start]), int(starts[part.stop])
        own_starts = starts[part.start : part.stop + 1] - begin
        return Sequences(modality.spec, stored[begin:end], own_starts, own, lambda: origins_of(part), more)

    counts = tuple(np.bincount(labels[: edges[1]], minlength=len(classes)).tolist()) if classes else ()
    spec = ConditionSpec(classes, counts, tuple(Property(**p) for p in meta["properties"]), source)
    conditions = entry.conditions(spec)
    spec = replace(spec, typical=typical(conditions, labels if classes else None, edges[1]))
    if conditions is not None:
        conditions = replace(conditions, spec=spec)
    return Prepared(
        modality, spec, split(0), split(1), split(2), tuple(Broken(**b) for b in meta["quarantined"]),
        (*notices, *meta["notices"]), meta["digest"], name, origin,
    )  # fmt: skip
