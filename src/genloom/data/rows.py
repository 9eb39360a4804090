"""Making a table ready: rows that do not fit are quarantined, the others divided by their contents and encoded."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from genloom.core.config import Settings
from genloom.core.errors import InputError
from genloom.core.files import write_json
from genloom.core.modality import Modality
from genloom.data import cache
from genloom.data.build import Broken, Builder
from genloom.data.frames import Reading, row_digests
from genloom.data.items import count, listing
from genloom.data.split import TRAIN, Shares, assign_exact, same


@runtime_checkable
class Frames(Protocol):
    """A modality of tables: it takes and gives all rows at once."""

    notices: tuple[str, ...]

    @classmethod
    def fit_frame(cls, config: Settings, reading: Reading, train: NDArray[np.int64]) -> Self: ...

    def encode_frame(self, frame: Any) -> NDArray[np.float32]:
        """[N, S]; a row with a negative category or a number that is not finite cannot be told."""
        ...


class RowBuilder(Builder):
    """Reads a table once, chooses split and spec, and encodes."""

    def fill(self, folder: Path) -> dict[str, Any]:
        """Write the cache entry's files into `folder`; returns its meta."""
        items = self.source.load()
        reading = items.frame
        if not isinstance(reading, Reading):
            raise InputError(f"{self.source.name} is no table; give a CSV, Parquet or Excel file, or a DataFrame")
        self.notices += [*items.notices, *self._lost(reading)]
        frame = reading.frame
        if len(frame) < 2:
            raise InputError(
                f"{reading.origin} has {count(len(frame), 'row')}: a generator needs at least 2 to learn from, better "
                "thousands"
            )
        digests = row_digests(frame)
        codes = self._divided(digests, reading.given)
        modality = self._chosen(reading, np.flatnonzero(codes == TRAIN))
        assert isinstance(modality, Frames)
        self.notices += modality.notices
        x = modality.encode_frame(frame)
        told = np.asarray(np.isfinite(x).all(1) & ~((x < 0) & _categories(modality)).any(1))
        if not told.all():
            self.notices.append(self._untold(x, told, modality, reading))
        if not (told & (codes == TRAIN)).any():
            raise InputError(f"{reading.origin} holds no row like those that the model was trained on")
        order = np.argsort(codes, kind="stable")
        order = order[told[order]]
        stored = cache.write_array(folder / cache.X, (len(order), x.shape[1]), np.dtype(np.float32))
        stored[:] = x[order]
        if isinstance(stored, np.memmap):
            stored.flush()
        np.save(folder / cache.LABELS, np.zeros(len(order), np.int64))
        np.save(folder / cache.PLACES, np.stack([np.zeros(len(order)), order + reading.first], 1).astype(np.int32))
        write_json(folder / cache.ORIGINS, [reading.origin])
        counts = [int((codes[order] == c).sum()) for c in range(3)]
        digest = hashlib.sha256(json.dumps([counts, modality.state()], sort_keys=True).encode())
        digest.update(np.ascontiguousarray(digests[order]).tobytes())
        return {
            "state": modality.state(), "classes": [], "counts": counts, "notices": self.notices, "properties": [],
            "quarantined": [{"origin": b.origin, "reason": b.reason} for b in self.broken],
            "digest": digest.hexdigest(),
        }  # fmt: skip

    def _lost(self, reading: Reading) -> list[str]:
        """What is said of rows that do not fit. Raises InputError when they are too many."""
        self.broken = [Broken(origin, reason) for origin, reason in reading.lost]
        total = len(reading.frame) + len(reading.lost)
        if not reading.lost:
            return []
        shown = listing([f"{origin} ({reason})" for origin, reason in reading.lost], 3)
        if len(reading.lost) > self.config.max_broken * total:
            raise InputError(
                f"{len(reading.lost):,} of the {total:,} rows of {reading.origin} do not fit, more than the share "
                f"data.max_broken={self.config.max_broken:g}: {shown}"
            )
        return [f"{count(len(reading.lost), 'row')} of {total:,} left out: {shown}"]

    def _divided(self, digests: NDArray[np.uint64], given: NDArray[np.int8] | None) -> NDArray[np.int8]:
        """[N] the split of each row, by its contents; equal rows stay together."""
        groups = same(digests)
        alike = len(groups) - len(np.unique(groups))
        if alike:
            self.notices.append(
                f"{count(alike, 'row')} equal another"
                + ("; equal rows stay on one side of the split" if given is None else "")
            )
        places = (digests[:, 0] >> np.uint64(11)).astype(np.float64) / 2**53
        shares = Shares(self.config.validation, self.config.test)
        known = np.full(len(groups), -1, np.int8) if given is None else given
        return assign_exact(places, groups, known, np.zeros(len(groups), np.int64), shares)

    def _chosen(self, reading: Reading, train: NDArray[np.int64]) -> Modality[Any]:
        cls: Any = self.cls
        modality: Modality[Any]
        if self.start is not None:
            modality = cls.continued(self.settings, (), self.start)
        else:
            modality = cls.fit_frame(self.settings, reading, train)
        return modality

    def _untold(self, x: NDArray[np.float32], told: NDArray[np.bool_], modality: Any, reading: Reading) -> str:
        spans = [span.name for span in modality.spec.spans]
        wrong = ~np.isfinite(x) | ((x < 0) & _categories(modality))
        worst = spans[int(wrong.sum(0).argmax())]
        rows = [f"row {i + reading.first:,}" for i in np.flatnonzero(~told)[:3]]
        return (
            f"{count(int((~told).sum()), 'row')} of {len(told):,} left out, as {listing(rows)}: values that the "
            f"training data lack, mostly of {worst}"
        )


def _categories(modality: Any) -> NDArray[np.bool_]:
    return np.array([span.head == "category" for span in modality.spec.spans])
