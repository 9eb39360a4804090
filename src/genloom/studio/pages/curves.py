"""Learning curves of any length in few points: least, most and last value of equal stretches of a history.jsonl.

The stretches of a file are kept up to date as it grows and kept on disk, so a curve of 100,000 records is read once.
Of a long file that was never read, a sketch of single records comes first.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import queue
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json

from genloom.core.files import write_atomic

MOST = 1024  # stretches of a curve that are kept, at least half as many once it is long
PIECE = 2**21  # bytes read at once
SMALL = 2**18  # of what was put off: an answer that begins meanwhile waits for one such piece
LONG = 2**23  # bytes of new history from which a sketch comes first
SKETCH = 160  # records of a sketch
PUT_OFF = 2.0  # seconds until whole histories are read
PATIENCE = 0.5  # seconds to wait for another reader of the same curve
TAIL = 96  # bytes before the place read up to, which tell whether the file was written anew
FORMAT = 2
GROUPS, PLAIN = ("losses", "logs", "rate"), ("examples_per_second", "seconds")

Floats = NDArray[np.float64]


@dataclass
class Curve:
    """steps: [n] last step of each stretch. low, high, last: of each series [n], NaN where it has no value. width:
    records of a stretch; held: records in the last one. offset: bytes of the file read so far; tail: those before."""

    steps: Floats = field(default_factory=lambda: np.empty(0))
    series: dict[str, Floats] = field(default_factory=dict)  # [3, n]
    width: int = 1
    held: int = 0
    offset: int = 0
    tail: bytes = b""
    exact: bool = True

    def add(self, records: list[dict[str, Any]]) -> None:
        """Take up more records."""
        if not records:
            return
        n = len(records)
        values = {name: np.full(n, np.nan) for name in self.series}
        steps = np.empty(n)
        for i, record in enumerate(records):
            steps[i] = record["step"]
            for name, value in flat(record):
                if name not in values:
                    values[name] = np.full(n, np.nan)
                values[name][i] = value
        begun = len(self.steps) - 1 if 0 < self.held < self.width else len(self.steps)
        place = (np.arange(n) + (self.held if begun < len(self.steps) else 0)) // self.width
        starts = np.flatnonzero(np.diff(place, prepend=-1))
        ends = np.append(starts[1:], n) - 1
        merged = begun < len(self.steps)
        old = len(self.steps)
        for name, v in values.items():
            before = self.series.get(name)
            before = np.full((3, old), np.nan) if before is None else before
            new = np.stack([np.fmin.reduceat(v, starts), np.fmax.reduceat(v, starts), _lasts(v, starts, ends)])
            if merged:
                new[:, 0] = _joined(before[:, -1:], new[:, :1])[:, 0]
            self.series[name] = np.concatenate([before[:, :begun], new], axis=1)
        self.steps = np.concatenate([self.steps[:begun], steps[ends]])
        self.held = int((place == place[-1]).sum()) + (self.held if merged and place[-1] == 0 else 0)
        while len(self.steps) > MOST:
            self._halve()

    def _halve(self) -> None:
        """Two stretches become one."""
        n, odd = len(self.steps), len(self.steps) % 2
        self.held = self.held if odd else self.held + self.width
        self.series = {k: _paired(v) for k, v in self.series.items()}
        self.steps = np.append(self.steps[1::2], self.steps[-1:]) if odd else self.steps[1::2]
        self.width *= 2
        assert len(self.steps) == (n + 1) // 2

    def to_json(self, points: int, names: frozenset[str] | None = None) -> dict[str, Any]:
        """At most `points` (at least 2) stretches of each series, or of those called `names`."""
        steps, series = self.steps, {k: v for k, v in self.series.items() if names is None or k in names}
        while len(steps) > points:
            odd = len(steps) % 2
            series = {k: _paired(v) for k, v in series.items()}
            steps = np.append(steps[1::2], steps[-1:]) if odd else steps[1::2]
        told = {
            name: dict(zip(("low", "high", "last"), (_told(row) for row in v), strict=True))
            for name, v in series.items()
            if np.isfinite(v).any()
        }
        return {"steps": steps.tolist(), "series": told, "exact": self.exact}


def flat(record: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The numbers of a record by name, as in losses.flow."""
    for group in GROUPS:
        values = record.get(group)
        if isinstance(values, dict):
            for name, value in values.items():
                if isinstance(value, int | float):
                    yield f"{group}.{name}", value
    for name in PLAIN:
        value = record.get(name)
        if isinstance(value, int | float):
            yield name, value


def _lasts(v: Floats, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> Floats:
    """The last value of each stretch that is a number."""
    at = np.where(np.isnan(v), -1, np.arange(len(v)))
    at = np.maximum.accumulate(at)[ends]
    return np.where(at >= starts, v[np.maximum(at, 0)], np.nan)


def _joined(a: Floats, b: Floats) -> Floats:
    """Stretches [3, n] with those that follow them."""
    return np.stack([np.fmin(a[0], b[0]), np.fmax(a[1], b[1]), np.where(np.isnan(b[2]), a[2], b[2])])


def _paired(v: Floats) -> Floats:
    even = v.shape[1] // 2 * 2
    return np.concatenate([_joined(v[:, 0:even:2], v[:, 1:even:2]), v[:, even:]], axis=1)


def _told(values: Floats) -> list[float | None]:
    return [float(f"{v:.6g}") if np.isfinite(v) else None for v in values]


def parsed(lines: list[bytes]) -> list[dict[str, Any]]:
    """Records of whole lines; what is no record is passed over."""
    out = []
    for line in lines:
        try:
            record = from_json(line)
        except ValueError:
            continue
        if isinstance(record, dict) and isinstance(record.get("step"), int | float):
            out.append(record)
    return out


def sketch(path: Path, size: int) -> Curve:
    """About SKETCH single records from all over a file."""
    found: dict[int, bytes] = {}
    with open(path, "rb") as f:
        for at in np.linspace(0, max(0, size - 2), SKETCH).astype(int):
            f.seek(int(at))
            if at:
                f.readline()
            start = f.tell()
            line = f.readline()
            if line.endswith(b"\n"):
                found[start] = line
    curve = Curve(exact=False)
    curve.add(parsed([found[k] for k in sorted(found)]))
    return curve


class Curves:
    """Curves of the runs of a workspace, kept in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._kept: dict[str, Curve] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()
        self._later: queue.SimpleQueue[Path] = queue.SimpleQueue()
        self._waiting: set[Path] = set()  # in that queue, or being read from it
        self._answers, self._answered = 0, threading.Condition()

    def of(self, run: Path, wait: bool = False) -> Curve:
        """The curve of a run's history, up to date; or, where that takes long, a sketch while the whole is read in
        another thread (`wait`: read it here)."""
        path, name = run / "history.jsonl", run.name
        try:
            size = path.stat().st_size
        except OSError:
            return Curve()
        with self._guard:
            lock = self._locks.setdefault(name, threading.Lock())
        patience = -1 if wait else 0 if run in self._waiting else PATIENCE
        if not lock.acquire(timeout=patience):
            return sketch(path, size)
        try:
            curve = self._kept.get(name) or self._load(name)
            if not _continues(curve, path, size):
                curve = Curve()
            if size - curve.offset <= LONG or wait:
                self._kept[name] = curve
                self._read(curve, path, name, gently=wait)
                return replace(curve, series=dict(curve.series))  # its arrays are never changed in place
        finally:
            lock.release()
        self._put_off(run)
        return sketch(path, size)

    @contextlib.contextmanager
    def first(self) -> Iterator[None]:
        """Meanwhile no whole history is read: Python runs one thread at a time, and an answer that looks at thousands
        of files would wait for the reader at each."""
        with self._answered:
            self._answers += 1
        try:
            yield
        finally:
            with self._answered:
                self._answers -= 1
                self._answered.notify_all()

    def _put_off(self, run: Path) -> None:
        """Have a whole history read when there is time."""
        with self._guard:
            if run in self._waiting:
                return
            if not self._waiting:
                threading.Thread(target=self._work, daemon=True).start()
            self._waiting.add(run)
            self._later.put(run)

    def _work(self) -> None:
        """Read what was put off, one after the other, and end."""
        time.sleep(PUT_OFF)  # the page that asked has its sketches first
        while True:
            run = self._later.get()
            with contextlib.suppress(OSError):
                self.of(run, wait=True)
            with self._guard:
                self._waiting.discard(run)
                if not self._waiting:
                    return

    def _read(self, curve: Curve, path: Path, name: str, gently: bool) -> None:
        """Take up what the file has gained; gently: with as long a rest after each piece."""
        begin = curve.offset
        with open(path, "rb") as f:
            f.seek(curve.offset)
            while data := f.read(SMALL if gently else PIECE):
                if gently:
                    with self._answered:
                        self._answered.wait_for(lambda: not self._answers)
                begun = time.perf_counter()
                end = data.rfind(b"\n") + 1
                if not end:
                    break
                curve.add(parsed(data[:end].splitlines()))
                curve.offset += end
                curve.tail = (curve.tail + data[:end])[-TAIL:]
                f.seek(curve.offset)
                if gently:
                    time.sleep(min(0.3, time.perf_counter() - begun))
        if curve.offset - begin > 2**18:
            self._save(curve, name)

    def _save(self, curve: Curve, name: str) -> None:
        facts = {
            "format": FORMAT, "width": curve.width, "held": curve.held, "offset": curve.offset,
            "tail": curve.tail.hex(), "names": list(curve.series),
        }  # fmt: skip
        out = io.BytesIO()
        values = np.stack(list(curve.series.values())) if curve.series else np.empty((0, 3, len(curve.steps)))
        np.savez(out, facts=np.frombuffer(json.dumps(facts).encode(), np.uint8), steps=curve.steps, values=values)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomic(self.folder / f"{name}.npz", out.getvalue())

    def _load(self, name: str) -> Curve:
        """What was kept on disk; an empty curve where that is missing or damaged."""
        try:
            with warnings.catch_warnings(), np.load(self.folder / f"{name}.npz", allow_pickle=False) as z:
                facts = json.loads(z["facts"].tobytes())
                if facts["format"] != FORMAT or z["values"].shape != (len(facts["names"]), 3, len(z["steps"])):
                    return Curve()
                series = dict(zip(facts["names"], z["values"], strict=True))
                return Curve(
                    z["steps"], series, int(facts["width"]), int(facts["held"]), int(facts["offset"]),
                    bytes.fromhex(facts["tail"]),
                )  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError):
            return Curve()


def _continues(curve: Curve, path: Path, size: int) -> bool:
    """Whether the file is the one that the curve was read from, perhaps longer: a resumed training writes it anew."""
    return curve.offset <= size and before(path, curve.offset) == curve.tail


def before(path: Path, offset: int) -> bytes:
    """The TAIL bytes before a place in a file."""
    with open(path, "rb") as f:
        f.seek(max(0, offset - TAIL))
        return f.read(min(TAIL, offset))


def size_of(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
