"""Everything between what a person gives and batches: read, quarantine, split, fit the modality, encode, cache."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genloom.core.batch import Batch, Condition, ConditionSpec
from genloom.core.config import DataConfig, Settings, validate
from genloom.core.discover import module, names, only_class
from genloom.core.errors import InputError, Unreadable
from genloom.core.files import write_json
from genloom.core.modality import Fingerprint, Modality
from genloom.data import cache
from genloom.data.duplicates import exact_groups, near_groups
from genloom.data.items import Items, Source, count, listing, natural
from genloom.data.sources import open_source
from genloom.data.split import TRAIN, Codes, Shares, assign, crossing, singles

FIT_EXAMPLES = 4096  # training examples that a modality looks at to choose its spec
HELD = 2**28  # bytes of decoded examples kept in memory, so that most files are decoded once
_OVERHEAD = 2048  # bytes of an object in memory besides its values
_MODALITIES = "genloom.modalities"


@dataclass(frozen=True)
class Broken:
    """An item that could not be read."""

    origin: str
    reason: str


class Split:
    """The encoded examples of one split. N examples; index i is the i-th in the source's order."""

    def __init__(
        self, x: cache.Encoded, labels: NDArray[np.int64] | None, origins: Callable[[], Sequence[str]]
    ) -> None:
        self.x, self.labels, self._origins = x, labels, origins

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
        label = None if self.labels is None else torch.from_numpy(np.array(self.labels[rows]))
        return Batch(self.x.take(rows), Condition(label=label), index)


@dataclass(frozen=True)
class Prepared:
    """A data set ready to train on.

    digest: of the decoded examples, their labels, the split and the modality's state; equal on every machine. name:
    short, for the run folder. quarantined: items that could not be read.
    """

    modality: Modality[Any]
    condition: ConditionSpec
    train: Split
    validation: Split
    test: Split
    quarantined: tuple[Broken, ...]
    notices: tuple[str, ...]
    digest: str
    name: str


def _silent(_: str) -> None:
    pass


def prepare(
    data: Any,
    kind: str | None,
    modality_config: Mapping[str, Any],
    config: DataConfig,
    notify: Callable[[str], None] = _silent,
) -> Prepared:
    """Read `data` (see `sources.open_source`), or find it prepared in the cache.

    kind: a modality's name, or None to find it from the data. modality_config: its settings. notify is given each
    notice. Raises InputError for data that cannot be used, GenloomError when a download or the cache fails.
    """
    kind, source = _open(data, kind)
    cls = only_class(module(_MODALITIES, kind, "modality"), Modality)  # type: ignore[type-abstract]
    settings = validate(cls.Config, modality_config, "modality")
    key = _key(source, kind, settings, config)
    entry, damaged = cache.find(key)
    if damaged:
        notify("the prepared data in the cache were damaged and are made again")
    if entry is None:
        entry = cache.build(key, lambda folder: _Builder(source, cls, settings, config, notify).fill(folder))
    prepared = _opened(entry, source.name, cls, source.notices)
    cache.alias(_key(source, kind, prepared.modality.config, config), key)
    for notice in prepared.notices:
        notify(notice)
    return prepared


def _open(data: Any, kind: str | None) -> tuple[str, Source]:
    """The modality's name and the source; of several modalities the one that finds most examples."""
    known = names(_MODALITIES) if kind is None else [kind]
    sources = {n: open_source(data, only_class(module(_MODALITIES, n, "modality"), Modality).extensions) for n in known}  # type: ignore[type-abstract]
    if len(known) == 1:
        return known[0], sources[known[0]]
    sizes: dict[str, int] = {}
    for name, source in sources.items():
        if source.modality is not None:
            return source.modality, sources[source.modality]
        try:
            sizes[name] = len(source.load())
        except InputError:
            continue
    best = max(sizes, key=lambda n: sizes[n]) if sizes else known[0]
    return best, sources[best]


def _key(source: Source, kind: str, settings: Settings, config: DataConfig) -> str:
    """Changes with the source's contents, every setting that matters, and the code that reads: no version to forget."""
    code = [*sorted(Path(__file__).parent.glob("*.py")), Path(str(module(_MODALITIES, kind, "modality").__file__))]
    parts = {
        "source": source.digest, "kind": kind, "settings": settings.model_dump(mode="json"),
        "data": config.model_dump(mode="json", exclude={"path"}),
        "code": [hashlib.sha256(p.read_bytes()).hexdigest() for p in code],
    }  # fmt: skip
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def _opened(entry: cache.Entry, name: str, cls: type[Modality[Any]], notices: tuple[str, ...]) -> Prepared:
    meta = entry.meta
    modality = cls.from_state(meta["state"])
    stored, labels, codec = entry.x(), entry.labels(), cache.Codec(modality.spec)
    classes = tuple(meta["classes"])
    edges = np.cumsum([0, *meta["counts"]]).tolist()
    origins: list[list[str]] = []

    def origins_of(part: slice) -> list[str]:
        if not origins:
            origins.append(entry.origins())
        return origins[0][part]

    def split(i: int) -> Split:
        part = slice(edges[i], edges[i + 1])
        return Split(cache.Encoded(stored[part], codec), labels[part] if classes else None, lambda: origins_of(part))

    counts = tuple(np.bincount(labels[: edges[1]], minlength=len(classes)).tolist()) if classes else ()
    return Prepared(
        modality, ConditionSpec(classes=classes, counts=counts), split(0), split(1), split(2),
        tuple(Broken(**b) for b in meta["quarantined"]), (*notices, *meta["notices"]), meta["digest"], name,
    )  # fmt: skip


class _Builder:
    """Reads a source once for fingerprints, chooses split and spec, and encodes."""

    def __init__(
        self,
        source: Source,
        cls: type[Modality[Any]],
        settings: Settings,
        config: DataConfig,
        notify: Callable[[str], None],
    ) -> None:
        self.source, self.cls, self.settings, self.config, self.notify = source, cls, settings, config, notify
        self.notices: list[str] = []
        self.broken: list[Broken] = []
        self._held: dict[int, Any] = {}
        self._room = HELD

    def fill(self, folder: Path) -> dict[str, Any]:
        """Write the cache entry's files into `folder`; returns its meta."""
        items = self.source.load()
        self.notices += items.notices
        prints = self._scan(items)
        usable = sorted(prints)
        self._check(items, usable)
        codes = self._split(items, usable, [prints[i] for i in usable])
        usable, codes = self._drop_untrained(items, usable, codes)
        modality = self._fit(items, [i for i, c in zip(usable, codes, strict=True) if c == TRAIN])
        self.notices += modality.notices
        order = [usable[k] for k in np.argsort(codes, kind="stable")]
        classes = sorted({str(items.label(i)) for i in usable}, key=natural) if items.labels is not None else []
        index = {label: k for k, label in enumerate(classes)}
        labels = np.array([index[str(items.label(i))] if classes else 0 for i in order], dtype=np.int64)
        self._encode(items, order, modality, folder / cache.X)
        np.save(folder / cache.LABELS, labels)
        write_json(folder / cache.ORIGINS, [items.origins[i] for i in order])
        counts = [int((codes == c).sum()) for c in range(3)]
        return {
            "state": modality.state(), "classes": classes, "counts": counts, "notices": self.notices,
            "quarantined": [{"origin": b.origin, "reason": b.reason} for b in self.broken],
            "digest": _content_digest([prints[i] for i in order], [items.label(i) for i in order], counts, modality),
        }  # fmt: skip

    def _read(self, items: Items, i: int) -> Any:
        """The example i, decoded; kept for the later passes while there is room. Raises Unreadable."""
        if i in self._held:
            return self._held[i]
        raw = items.read(i)
        example = self.cls.read(raw, self.settings)
        if isinstance(raw, bytes):
            size = _OVERHEAD + _size(example)
            if size <= self._room:
                self._room -= size
                self._held[i] = example
        return example

    def _order(self, items: Items, indices: Sequence[int]) -> Iterator[int]:
        """`indices` in the order that reads fastest."""
        if items.order is None:
            return iter(indices)
        wanted = set(indices)
        return (i for i in items.order.tolist() if i in wanted)

    def _scan(self, items: Items) -> dict[int, Fingerprint]:
        if len(items) >= 5000:
            self.notify(f"reading {len(items):,} examples (once; later runs find them in the cache)")
        prints: dict[int, Fingerprint] = {}
        broken: dict[int, Broken] = {}
        for i in self._order(items, range(len(items))):
            try:
                prints[i] = self.cls.fingerprint(self._read(items, i))
            except Unreadable as e:
                broken[i] = Broken(items.origins[i], str(e))
        self.broken = [broken[i] for i in sorted(broken)]
        return prints

    def _check(self, items: Items, usable: Sequence[int]) -> None:
        name, bad = self.source.name, len(self.broken)
        if not len(items):
            raise InputError(f"{name} holds no examples; give at least 2")
        first = f"{self.broken[0].origin}: {self.broken[0].reason}" if bad else ""
        if not usable:
            raise InputError(f"none of the {count(len(items), 'example')} of {name} can be read; the first is {first}")
        if bad > self.config.max_broken * len(items):
            raise InputError(
                f"{bad:,} of the {len(items):,} examples of {name} cannot be read, more than the share "
                f"data.max_broken={self.config.max_broken:g}; the first is {first}"
            )
        if len(usable) < 2:
            raise InputError(f"{name} holds one example: a generator needs at least 2 to learn from, better hundreds")
        if bad:
            named = listing([f"{b.origin} ({b.reason})" for b in self.broken], 3)
            self.notices.append(
                f"{count(bad, 'example')} of {len(items):,} cannot be read and {'is' if bad == 1 else 'are'} left "
                f"out: {named}"
            )

    def _split(self, items: Items, usable: Sequence[int], prints: Sequence[Fingerprint]) -> Codes:
        groups = exact_groups(prints)
        exact = len(groups) - len(np.unique(groups))
        if self.config.near_duplicates:
            groups = near_groups(prints, groups)
        near = len(groups) - len(np.unique(groups)) - exact
        labels = [items.label(i) for i in usable]
        given = [items.split(i) for i in usable]
        codes = assign(prints, groups, given, labels, Shares(self.config.validation, self.config.test))
        if exact or near:
            self.notices.append(
                f"{count(exact, 'exact duplicate')} and {count(near, 'near duplicate')} found; duplicates stay on "
                "one side of the split"
            )
        same, alike = crossing(exact_groups(prints), codes), crossing(groups, codes)
        if alike:
            self.notices.append(
                f"the split that came with the data is left as it is; {count(alike, 'held-out example')} of it "
                f"{'is' if alike == 1 else 'are'} like a training example, {same:,} exactly"
            )
        alone = singles(labels)
        if alone:
            self.notices.append(
                f"{count(len(alone), 'label')} with one example: {listing(alone)}; a model cannot learn much of it"
            )
        return codes

    def _drop_untrained(self, items: Items, usable: list[int], codes: Codes) -> tuple[list[int], Codes]:
        """Without held-out examples of labels that the given training split lacks."""
        trained = {items.label(i) for i, c in zip(usable, codes, strict=True) if c == TRAIN}
        keep = np.array([items.label(i) in trained for i in usable])
        if keep.all():
            return usable, codes
        lost = sorted({str(items.label(i)) for i, k in zip(usable, keep, strict=True) if not k}, key=natural)
        self.notices.append(
            f"{count(int((~keep).sum()), 'held-out example')} left out: no training example has the label "
            f"{listing(lost)}"
        )
        return [i for i, k in zip(usable, keep, strict=True) if k], codes[keep]

    def _fit(self, items: Items, train: Sequence[int]) -> Modality[Any]:
        if not train:
            raise InputError(f"{self.source.name} leaves no example to train on; lower data.validation and data.test")
        step = max(1, -(-len(train) // FIT_EXAMPLES))
        return self.cls.fit(self.settings, (self._again(items, i) for i in self._order(items, train[::step])))

    def _encode(self, items: Items, order: Sequence[int], modality: Modality[Any], path: Path) -> None:
        codec = cache.Codec(modality.spec)
        place = {i: k for k, i in enumerate(order)}
        stored: NDArray[Any] | None = None
        for i in self._order(items, sorted(order)):
            x = codec.pack(modality.encode(self._again(items, i)).numpy())
            if stored is None:
                stored = cache.write_array(path, (len(order), *x.shape), codec.dtype)
            stored[place[i]] = x
            self._held.pop(i, None)
        if isinstance(stored, np.memmap):
            stored.flush()

    def _again(self, items: Items, i: int) -> Any:
        try:
            return self._read(items, i)
        except Unreadable as e:
            raise InputError(
                f"{items.origins[i]} changed while it was being read ({e}); run again when the data are at rest"
            ) from None


def _size(example: Any) -> int:
    """Bytes of a decoded example in memory; more than there is room for when it cannot be told."""
    if hasattr(example, "nbytes"):
        return int(example.nbytes)
    if hasattr(example, "getbands"):
        return int(example.width * example.height * len(example.getbands()))
    return len(example) if isinstance(example, str | bytes) else sys.maxsize


def _content_digest(
    prints: Sequence[Fingerprint], labels: Sequence[str | None], counts: Sequence[int], modality: Modality[Any]
) -> str:
    digest = hashlib.sha256(json.dumps([list(counts), modality.state()], sort_keys=True).encode())
    for p, label in zip(prints, labels, strict=True):
        digest.update(p.exact + (label or "").encode() + b"\0")
    return digest.hexdigest()
