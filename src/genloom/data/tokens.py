"""Making sequences ready: as `build` does, with numbers in arrays, so that a text of gigabytes needs little memory.

About 150 bytes are kept for each example (a line, a document, a piece of 64 KB), and never the text itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genloom.core.batch import SourceSpec
from genloom.core.errors import InputError, Unreadable
from genloom.core.files import write_json
from genloom.core.modality import HasProperties, Modality, TakesSource
from genloom.core.spec import Tokens
from genloom.data import cache
from genloom.data.build import Broken, Builder
from genloom.data.conditions import measured
from genloom.data.items import Items, Located, count, listing, natural
from genloom.data.sequences import dtype_of, places
from genloom.data.split import CODES, TRAIN, Codes, Shares, assign_exact, place, same

LEAST = 100  # tokens of a stream to train on
GATHERED = 2**18  # tokens put in order at once

Ints = NDArray[np.int64]


class Again:
    """Examples that can be gone through several times."""

    def __init__(self, examples: Callable[[], Iterator[Any]]) -> None:
        self._examples = examples

    def __iter__(self) -> Iterator[Any]:
        return self._examples()


def each(indices: Ints) -> Iterator[int]:
    """The indices as Python's numbers, without a list of all of them."""
    for start in range(0, len(indices), 4096):
        yield from indices[start : start + 4096].tolist()


class SequenceBuilder(Builder):
    """Reads a source for digests, chooses split and spec, and writes all tokens into one array."""

    def fill(self, folder: Path) -> dict[str, Any]:
        """Write the cache entry's files into `folder`; returns its meta."""
        items = self.source.load()
        self.notices += items.notices
        self.settings = self.settings.model_copy(update=dict(items.chosen))
        digests, where, usable = self._digests(items)
        self._check(items, usable.tolist() if len(usable) < 2 else range(len(usable)), 1 if items.stream else 2)
        classes, labels = _labels(items, usable)
        codes = self._codes(items, usable, digests[usable], where[usable], classes, labels)
        keep = self._trained(classes, labels, codes)
        usable, codes, labels = usable[keep], codes[keep], labels[keep]
        modality, origin = self._learn(items, usable[codes == TRAIN])
        self.notices += modality.notices
        order = np.argsort(codes, kind="stable")
        counts = [int((codes == c).sum()) for c in range(3)]
        starts = self._write(items, usable[order], modality, folder / cache.X)
        source = self._sources(items, usable[order], counts[0], modality, origin, folder) if origin else None
        names, values = self._properties(items, usable[order], modality)
        if names:
            np.save(folder / cache.PROPERTIES, values)
        self._measure(items, modality, np.load(folder / cache.X, mmap_mode="r"), starts, counts)
        np.save(folder / cache.STARTS, starts)
        np.save(folder / cache.LABELS, labels[order])
        _write_origins(folder, items, usable[order])
        digest = hashlib.sha256(json.dumps([counts, modality.state(), classes], sort_keys=True).encode())
        digest.update(digests[usable[order]].tobytes() + (labels[order].tobytes() if classes else b""))
        if names or source:
            digest.update(json.dumps([names, source]).encode() + values.tobytes())
        return {
            "state": modality.state(), "classes": classes, "counts": counts, "notices": self.notices,
            "properties": [asdict(p) for p in measured(names, values[: counts[0]])], "source": source,
            "origin": origin.state() if origin is not None and origin is not modality else None,
            "quarantined": [{"origin": b.origin, "reason": b.reason} for b in self.broken],
            "digest": digest.hexdigest(),
        }  # fmt: skip

    def _reading(self, items: Items, indices: Ints) -> Ints:
        """`indices` in the order that reads fastest."""
        if items.order is None:
            return np.sort(indices)
        wanted = np.zeros(len(items), dtype=bool)
        wanted[indices] = True
        return items.order[wanted[items.order]]

    def _digests(self, items: Items) -> tuple[NDArray[np.uint64], NDArray[np.float64], Ints]:
        """[N, 2] the digest and [N] the place of every example, and the indices of those that can be read."""
        if len(items) >= 5000 and not items.stream:
            self.notify(f"reading {len(items):,} examples (once; later runs find them in the cache)")
        digests = np.zeros((len(items), 2), dtype="<u8")
        where = np.zeros(len(items))
        readable = np.ones(len(items), dtype=bool)
        broken: dict[int, Broken] = {}
        for i in each(self._reading(items, np.arange(len(items)))):
            try:
                example = self._read(items, i)
                exact = self.cls.fingerprint(example if items.whole is None else items.whole(i)).exact
            except Unreadable as e:
                broken[i] = Broken(items.origins[i], str(e))
                readable[i] = False
                continue
            digests[i] = np.frombuffer(exact, "<u8")
            where[i] = place(exact)
        self.broken = [broken[i] for i in sorted(broken)]
        return digests, where, np.flatnonzero(readable)

    def _codes(
        self,
        items: Items,
        usable: Ints,
        digests: NDArray[np.uint64],
        where: NDArray[np.float64],
        classes: list[str],
        labels: Ints,
    ) -> Codes:
        given = np.full(len(usable), -1, dtype=np.int8)
        if items.given is not None:
            sides = items.given
            given[:] = [-1 if sides[i] is None else CODES[sides[i]] for i in usable.tolist()]
        if items.stream:
            return given
        groups = same(digests)
        exact = len(groups) - (int(groups.max()) + 1) if items.whole is None else 0
        codes = assign_exact(where, groups, given, labels, Shares(self.config.validation, self.config.test))
        if exact:
            self.notices.append(f"{count(exact, 'exact duplicate')} found; duplicates stay on one side of the split")
        crossing = int(np.isin(groups[codes != TRAIN], groups[codes == TRAIN]).sum())
        if crossing:
            self.notices.append(
                "the split that came with the data is left as it is; "
                f"{count(crossing, 'held-out example')} of it {'is' if crossing == 1 else 'are'} also in the training "
                "part"
            )
        if classes:
            alone = [classes[k] for k in np.flatnonzero(np.bincount(labels, minlength=len(classes)) == 1)]
            if alone:
                self.notices.append(
                    f"{count(len(alone), 'label')} with one example: {listing(alone)}; a model cannot learn much of it"
                )
        return codes

    def _trained(self, classes: list[str], labels: Ints, codes: Codes) -> NDArray[np.bool_]:
        """Which examples to keep: without held-out ones of labels that the given training split lacks."""
        if not classes:
            return np.ones(len(codes), dtype=bool)
        known = np.bincount(labels[codes == TRAIN], minlength=len(classes)) > 0
        keep = known[labels]
        if not keep.all():
            lost = [classes[k] for k in np.unique(labels[~keep])]
            self.notices.append(
                f"{count(int((~keep).sum()), 'held-out example')} left out: no training example has the label "
                f"{listing(lost)}"
            )
        return keep

    def _learn(self, items: Items, train: Ints) -> tuple[Modality[Any], Modality[Any] | None]:
        """The modality of the examples, and that of their sources."""
        if not len(train):
            raise InputError(f"{self.source.name} leaves no example to train on; lower data.validation and data.test")
        order = self._reading(items, train)
        examples = Again(lambda: (self._again(items, i) for i in each(order)))
        if items.source is None:
            return self._fitted(examples), None
        takes: Any = self.cls
        if not isinstance(takes, TakesSource):
            raise InputError(f"examples of {self.source.name} cannot follow from a source; leave data.source out")
        both: tuple[Modality[Any], Modality[Any]] = takes.fit_pairs(
            self.settings, examples, Again(lambda: (self._origin(items, i) for i in each(order))), self.start
        )
        return both

    def _origin(self, items: Items, i: int) -> Any:
        assert items.source is not None
        try:
            return items.source(i)
        except Unreadable as e:
            raise InputError(
                f"{items.origins[i]} changed while it was being read ({e}); run again when the data are at rest"
            ) from None

    def _sources(
        self, items: Items, order: Ints, train: int, modality: Modality[Any], origin: Modality[Any], folder: Path
    ) -> dict[str, Any]:
        """Write the sources of the examples; what a family must know of them, as SourceSpec has it."""
        spec, limit, cut = origin.spec, self.config.source_length, 0
        assert isinstance(spec, Tokens)

        task = self.config.task or ""
        about = SourceSpec(limit, spec.vocab, spec.pad, spec.eos, origin is modality, task)

        def encode(i: int) -> NDArray[np.int64]:
            nonlocal cut
            ids = contents_of(origin, self._origin(items, i))
            cut += len(ids) > limit
            return shortened(ids, about)

        starts = self._lay(items, order, encode, dtype_of(spec.vocab), folder / cache.SOURCE)
        np.save(folder / cache.SOURCE_STARTS, starts)
        if cut:
            self.notices.append(
                f"{count(cut, 'source')} of {len(order):,} {'has' if cut == 1 else 'have'} more than {limit} tokens: "
                f"the {'end' if about.keeps_end else 'beginning'} is read (data.source_length)"
            )
        longest = int(np.diff(starts)[:train].max(initial=2))
        digest = hashlib.sha256(np.load(folder / cache.SOURCE, mmap_mode="r").tobytes()).hexdigest()
        return {**asdict(replace(about, length=longest)), "digest": digest}

    def _properties(self, items: Items, order: Ints, modality: Modality[Any]) -> tuple[list[str], NDArray[np.float64]]:
        """Names and values [N, P] of the properties: those of the columns, then those that the modality measures."""
        names, columns = list(items.properties), [np.asarray(v, np.float64)[order] for v in items.properties.values()]
        own = modality.property_names() if isinstance(modality, HasProperties) else ()
        if own and isinstance(modality, HasProperties):
            values = np.zeros((len(items), len(own)))
            for i in each(self._reading(items, order)):
                found = modality.properties(self._again(items, i))
                values[i] = [found[name] for name in own]
            names, columns = [*names, *own], [*columns, *values[order].T]
        twice = next((n for n in names if names.count(n) > 1), None)
        if twice is not None:
            raise InputError(f"the property {twice} is asked for twice, in data.properties and modality.properties")
        return names, np.stack(columns, 1) if columns else np.zeros((len(order), 0))

    def _write(self, items: Items, order: Ints, modality: Modality[Any], path: Path) -> Ints:
        """The tokens of the examples in `order`. Returns starts [N + 1]."""
        assert isinstance(modality.spec, Tokens)

        def encode(i: int) -> NDArray[np.int64]:
            ids: NDArray[np.int64] = modality.encode(self._again(items, i)).numpy()
            return ids

        return self._lay(items, order, encode, dtype_of(modality.spec.vocab), path)

    def _lay(
        self, items: Items, order: Ints, encode: Callable[[int], NDArray[np.int64]], dtype: np.dtype[Any], path: Path
    ) -> Ints:
        """Encode in the order that reads fastest, then put the tokens in `order`. Returns starts [N + 1]."""
        reading = self._reading(items, order)
        lengths = np.zeros(len(items), dtype=np.int64)
        loose = path.with_suffix(".tmp")
        with open(loose, "wb", buffering=2**20) as f:
            for i in each(reading):
                ids = encode(i)
                lengths[i] = len(ids)
                f.write(ids.astype(dtype).tobytes())
        begins = np.zeros(len(items), dtype=np.int64)
        begins[reading] = np.cumsum(lengths[reading]) - lengths[reading]
        starts = np.concatenate([[0], np.cumsum(lengths[order])]).astype(np.int64)
        total = int(starts[-1])
        tokens = cache.write_array(path, (total,), dtype)
        source = np.memmap(loose, dtype, "r", shape=(total,)) if total else np.zeros(0, dtype)
        begin = 0
        while begin < len(order):
            end = max(begin + 1, int(np.searchsorted(starts, starts[begin] + GATHERED, "right")) - 1)
            part = order[begin:end]
            tokens[starts[begin] : starts[end]] = source[places(begins[part], lengths[part])]
            begin = end
        if isinstance(tokens, np.memmap):
            tokens.flush()
        del source
        loose.unlink()
        return starts

    def _measure(
        self, items: Items, modality: Modality[Any], tokens: NDArray[Any], starts: Ints, counts: list[int]
    ) -> None:
        """Say how many held-out characters the vocabulary lacks; refuse a stream that is too short."""
        edge = int(starts[counts[0]])
        if items.stream and edge < LEAST:
            raise InputError(
                f"{self.source.name} holds {count(edge, 'token')} of text to train on: a generator needs at least "
                f"{LEAST}, better a million"
            )
        unknown = getattr(modality, "unknown", None)
        if unknown is None:
            return
        lost = sum(int((tokens[a : a + GATHERED] == unknown).sum()) for a in range(edge, len(tokens), GATHERED))
        if lost:
            self.notices.append(
                f"{count(lost, 'character')} of the held-out examples ({lost / (len(tokens) - edge):.2g} of all) "
                f"{'does' if lost == 1 else 'do'} not occur in the training text and count as unknown"
            )


def contents_of(modality: Modality[Any], example: Any) -> NDArray[np.int64]:
    """A source as a family reads it: contents and eos; of nothing eos alone."""
    spec = modality.spec
    assert isinstance(spec, Tokens)
    ids: NDArray[np.int64] = modality.encode(example).numpy() if len(example) else np.zeros(0, dtype=np.int64)
    return np.append(ids[(ids != spec.eos) & (ids != (-1 if spec.stream else spec.bos))], spec.eos)


def shortened(ids: NDArray[np.int64], spec: SourceSpec) -> NDArray[np.int64]:
    """A source, contents and eos, with at most `spec.length` tokens: its beginning, or of a conversation its end."""
    if len(ids) <= spec.length:
        return ids
    return ids[-spec.length :] if spec.keeps_end else np.append(ids[: spec.length - 1], spec.eos)


def _labels(items: Items, usable: Ints) -> tuple[list[str], Ints]:
    """The classes in order, and [N] the index of each usable example's; all 0 without labels."""
    if items.labels is None:
        return [], np.zeros(len(usable), dtype=np.int64)
    names = [str(items.label(i)) for i in usable.tolist()]
    classes = sorted(set(names), key=natural)
    index = {label: k for k, label in enumerate(classes)}
    return classes, np.array([index[name] for name in names], dtype=np.int64)


def _write_origins(folder: Path, items: Items, order: Ints) -> None:
    """The names of files once, and the number within its file for each example."""
    if isinstance(items.origins, Located):
        parts = np.stack([items.origins.part[order], items.origins.number[order]], 1)
        names = list(items.origins.names)
    else:
        parts = np.stack([np.arange(len(order)), np.full(len(order), -1)], 1).astype(np.int32)
        names = [items.origins[i] for i in order.tolist()]
    np.save(folder / cache.PLACES, parts.astype(np.int32))
    write_json(folder / cache.ORIGINS, names)
