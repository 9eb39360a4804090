"""One pass over a source: what can be read, what is there twice, how splits and classes stand to each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from genloom.core.config import DataConfig, validate
from genloom.core.errors import InputError, Unreadable
from genloom.core.finding import Fact, Finding, Ints
from genloom.core.modality import Fingerprint, Inspects, InspectsTables
from genloom.data.build import Broken
from genloom.data.duplicates import near_groups
from genloom.data.frames import Reading, row_digests
from genloom.data.items import Items, Source
from genloom.data.kinds import modality_class
from genloom.data.prepare import source_of
from genloom.data.split import same

LARGE = 5000  # examples from which reading them takes a while


@dataclass
class Survey:
    """What one pass over the items of a source found. N items, of which `usable` can be read.

    exact, near: [len(usable)] number of the group of equal, and of equal or nearly equal, examples. failure: why the
    items cannot be listed, in which case there are none. read: an example by its index; raises Unreadable.
    """

    source: Source
    kind: str
    items: Items
    usable: Ints
    exact: Ints
    near: Ints
    broken: tuple[Broken, ...] = ()
    facts: list[Fact] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    failure: str = ""
    read: Callable[[int], Any] | None = None

    def splits(self) -> dict[str, int]:
        """Readable examples of each split that came with the data."""
        if self.items.given is None:
            return {}
        counts = Counter(self.items.split(i) for i in self.usable.tolist())
        return {name: counts[name] for name in ("train", "validation", "test") if counts[name]}

    def classes(self) -> dict[str, int]:
        """Readable examples of each label, the most first."""
        if self.items.labels is None:
            return {}
        counts = Counter(str(self.items.label(i)) for i in self.usable.tolist())
        return dict(sorted(counts.items(), key=lambda e: (-e[1], e[0])))

    def examples(self, indices: Iterable[int]) -> dict[int, Any]:
        """The examples at these indices, read again in the order that reads fastest; without those that changed."""
        out: dict[int, Any] = {}
        if self.read is not None:
            for i in _ordered(self.items, sorted(set(indices))):
                try:
                    out[i] = self.read(i)
                except Unreadable:
                    continue
        return out


def survey(
    data: Any, kind: str, modality_config: Mapping[str, Any], config: DataConfig, notify: Callable[[str], None]
) -> Survey:
    """Read all of `data` once. Raises InputError when there is no such data."""
    cls = modality_class(kind)
    settings = validate(cls.Config, modality_config, "modality")
    source = source_of(data, cls, settings, config)
    nothing = np.zeros(0, np.int64)
    try:
        items = source.load()
    except InputError as e:
        return Survey(source, kind, Items((), lambda i: None), nothing, nothing, nothing, failure=str(e))
    if items.chosen:
        settings = settings.model_copy(update=dict(items.chosen))
    looks: object = cls
    if isinstance(looks, InspectsTables) and isinstance(items.frame, Reading):
        return _tabled(source, kind, items, items.frame, looks, settings)
    inspector = looks.inspector(settings) if isinstance(looks, Inspects) else None
    if len(items) >= LARGE:
        notify(f"looking at {len(items):,} examples")
    digests = np.zeros((len(items), 2), "<u8")
    readable = np.zeros(len(items), bool)
    prints: dict[int, Fingerprint] = {}
    broken: dict[int, Broken] = {}
    for i in _ordered(items, range(len(items))):
        try:
            raw = items.read(i)
            example = cls.read(raw, settings)
            found = cls.fingerprint(example)
        except Unreadable as e:
            broken[i] = Broken(items.origins[i], str(e))
            continue
        readable[i] = True
        digests[i] = np.frombuffer(found.exact, "<u8")
        if found.near is not None:
            prints[i] = found
        if inspector is not None:
            inspector.add(i, raw, example)
    usable = np.flatnonzero(readable)
    exact = _first(same(digests[usable])) if len(usable) and not items.stream else np.arange(len(usable))
    near = _near(exact, usable, prints, inspector.alike() if inspector else np.empty((0, 2), np.int64))
    out = Survey(source, kind, items, usable, exact, near, tuple(broken[i] for i in sorted(broken)))
    out.read = lambda i: cls.read(items.read(i), settings)
    if inspector is not None and len(usable):
        out.facts, out.findings = inspector.facts(), inspector.findings()
    return out


def _tabled(source: Source, kind: str, items: Items, reading: Reading, looks: InspectsTables, settings: Any) -> Survey:
    """The survey of a table, whose rows are all at hand."""
    rows = np.arange(len(items))
    exact = _first(same(row_digests(reading.frame))) if len(rows) else rows
    broken = tuple(Broken(origin, reason) for origin, reason in reading.lost)
    facts, findings = looks.looked(settings, reading) if len(rows) else ([], [])
    return Survey(source, kind, items, rows, exact, exact, broken, facts, findings, read=items.read)


def _ordered(items: Items, indices: Sequence[int]) -> Iterator[int]:
    """`indices`, which rise, in the order that reads fastest."""
    if items.order is None:
        return iter(indices)
    wanted = np.zeros(len(items), bool)
    wanted[np.asarray(indices, np.int64)] = True
    return iter(items.order[wanted[items.order]].tolist())


def _first(groups: Ints) -> Ints:
    """[N] the place of the first of each one's group."""
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    return first[inverse].astype(np.int64)


def _near(exact: Ints, usable: Ints, prints: dict[int, Fingerprint], pairs: Ints) -> Ints:
    """`exact` with the groups of near duplicates joined, by fingerprints and by the inspector's pairs."""
    if prints:
        none = Fingerprint(b"")
        exact = near_groups([prints.get(i, none) for i in usable.tolist()], exact)
    if not len(pairs):
        return exact
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ends = np.searchsorted(usable, pairs)
    rows, columns = np.concatenate([ends[:, 0], np.arange(len(exact))]), np.concatenate([ends[:, 1], exact])
    joined = coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(len(exact), len(exact)))
    return _first(connected_components(joined, directed=False)[1])
