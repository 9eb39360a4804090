"""Making a data set ready: reads a source once for fingerprints, chooses split and spec, and encodes into files."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genloom.core.config import DataConfig, Settings
from genloom.core.errors import InputError, Unreadable
from genloom.core.files import write_json
from genloom.core.modality import Continues, Fingerprint, Modality
from genloom.data import cache
from genloom.data.conditions import measured
from genloom.data.duplicates import exact_groups, near_groups
from genloom.data.items import Items, Source, count, listing, natural
from genloom.data.split import TRAIN, Codes, Shares, assign, crossing, singles

FIT_EXAMPLES = 4096  # training examples that a modality looks at to choose its spec
HELD = 2**28  # bytes of decoded examples kept in memory, so that most files are decoded once
_OVERHEAD = 2048  # bytes of an object in memory besides its values


@dataclass(frozen=True)
class Broken:
    """An item that could not be read."""

    origin: str
    reason: str


class Builder:
    """Reads a source once for fingerprints, chooses split and spec, and encodes."""

    def __init__(
        self,
        source: Source,
        cls: type[Modality[Any]],
        settings: Settings,
        config: DataConfig,
        notify: Callable[[str], None],
        start: Mapping[str, Any] | None = None,
    ) -> None:
        """start: the state of a modality whose model is trained on."""
        self.start = start
        self.source, self.cls, self.settings, self.config, self.notify = source, cls, settings, config, notify
        self.notices: list[str] = []
        self.broken: list[Broken] = []
        self._held: dict[int, Any] = {}
        self._room = HELD

    def fill(self, folder: Path) -> dict[str, Any]:
        """Write the cache entry's files into `folder`; returns its meta."""
        items = self.source.load()
        self.notices += items.notices
        self.settings = self.settings.model_copy(update=dict(items.chosen))
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
        names = list(items.properties)
        columns = [np.asarray(items.properties[n], np.float64)[order] for n in names]
        values = np.stack(columns, 1) if columns else np.zeros((len(order), 0))
        if names:
            np.save(folder / cache.PROPERTIES, values)
        write_json(folder / cache.ORIGINS, [items.origins[i] for i in order])
        counts = [int((codes == c).sum()) for c in range(3)]
        return {
            "state": modality.state(), "classes": classes, "counts": counts, "notices": self.notices,
            "properties": [asdict(p) for p in measured(names, values[: counts[0]])],
            "quarantined": [{"origin": b.origin, "reason": b.reason} for b in self.broken],
            "digest": _content_digest(
                [prints[i] for i in order], [items.label(i) for i in order], counts, modality,
                values.tobytes() if names else b"",
            ),
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

    def _check(self, items: Items, usable: Sequence[int], least: int = 2) -> None:
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
        if len(usable) < least:
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
        return self._fitted(self._again(items, i) for i in self._order(items, train[::step]))

    def _fitted(self, train: Iterable[Any]) -> Modality[Any]:
        if self.start is not None and issubclass(self.cls, Continues):
            modality: Modality[Any] = self.cls.continued(self.settings, train, self.start)
            return modality
        return self.cls.fit(self.settings, train)

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
    prints: Sequence[Fingerprint], labels: Sequence[str | None], counts: Sequence[int], modality: Modality[Any],
    properties: bytes,
) -> str:  # fmt: skip
    digest = hashlib.sha256(properties + json.dumps([list(counts), modality.state()], sort_keys=True).encode())
    for p, label in zip(prints, labels, strict=True):
        digest.update(p.exact + (label or "").encode() + b"\0")
    return digest.hexdigest()
