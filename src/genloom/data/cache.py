"""Encoded examples on disk as memory-mapped arrays, so that a set larger than memory trains and a second use opens at
once.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genloom.core.batch import ConditionSpec
from genloom.core.errors import GenloomError
from genloom.core.files import sync_folder, write_json
from genloom.core.spec import Grid, Spec
from genloom.data.catalog import cache_root
from genloom.data.conditions import Conditions
from genloom.data.items import Located

META, X, LABELS, ORIGINS = "meta.json", "x.npy", "labels.npy", "origins.json"
STARTS, PLACES = "starts.npy", "places.npy"  # of sequences
PROPERTIES, SOURCE, SOURCE_STARTS = "properties.npy", "source.npy", "source_starts.npy"
_STALE = 86400.0  # seconds after which the unfinished folder of another process is taken as left behind


class Codec:
    """How encoded examples are stored: a Grid of L levels as whole numbers, round((x + 1) / 2 (L - 1)); others as
    float32.
    """

    def __init__(self, spec: Spec) -> None:
        self.levels = spec.levels if isinstance(spec, Grid) and (spec.levels or 2**16 + 1) <= 2**16 else None
        self.dtype = np.dtype(np.float32 if self.levels is None else np.uint8 if self.levels <= 256 else np.uint16)

    def pack(self, x: NDArray[np.float32]) -> NDArray[Any]:
        if self.levels is None:
            return x
        return np.clip(np.rint((x + 1) * np.float32((self.levels - 1) / 2)), 0, self.levels - 1).astype(self.dtype)

    def unpack(self, stored: NDArray[Any]) -> NDArray[np.float32]:
        if self.levels is None:
            return np.array(stored, dtype=np.float32)
        half = np.float32((self.levels - 1) / 2)
        x = np.subtract(stored, half, dtype=np.float32)  # exact, so that the division is the only rounding
        x /= half
        return x


class Encoded:
    """Rows [start, stop) of the stored examples. N examples; each has the spec's shape."""

    def __init__(self, stored: NDArray[Any], codec: Codec) -> None:
        self.stored, self.codec = np.asarray(stored), codec  # a memmap indexes slower than its plain view

    def __len__(self) -> int:
        return len(self.stored)

    def take(self, indices: NDArray[np.int64] | slice) -> Tensor:
        """float32 [B, ...] of the examples at `indices`, in that order."""
        return torch.from_numpy(self.codec.unpack(self.stored[indices]))


class Entry:
    """One prepared data set in the cache: meta.json, x.npy, labels.npy, origins.json. `meta` says the size of each
    file.

    Of sequences, x.npy holds all tokens one after the other, starts.npy where each example begins. Of these and of
    tables, places.npy says which of the names in origins.json an example has, and its number there.
    """

    def __init__(self, path: Path, meta: dict[str, Any]) -> None:
        self.path, self.meta = path, meta

    def x(self) -> NDArray[Any]:
        return np.load(self.path / X, mmap_mode="r", allow_pickle=False)

    def labels(self) -> NDArray[np.int64]:
        return np.load(self.path / LABELS, allow_pickle=False)

    def starts(self) -> NDArray[np.int64] | None:
        """int64 [N + 1]; None where examples have one size."""
        return np.load(self.path / STARTS, allow_pickle=False) if STARTS in self.meta["files"] else None

    def conditions(self, spec: ConditionSpec) -> Conditions | None:
        """Properties and sources of all examples; None without."""
        files = self.meta["files"]
        array = lambda name: np.load(self.path / name, mmap_mode="r", allow_pickle=False) if name in files else None  # noqa: E731
        found = Conditions(spec, array(PROPERTIES), array(SOURCE), array(SOURCE_STARTS))
        return found if PROPERTIES in files or SOURCE in files else None

    def origins(self) -> Sequence[str]:
        """Raises GenloomError when the file has gone since the entry was opened."""
        try:
            names: list[str] = json.loads((self.path / ORIGINS).read_text("utf-8"))
            if PLACES not in self.meta["files"]:
                return names
            places = np.load(self.path / PLACES, allow_pickle=False)
            return Located(names, places[:, 0], places[:, 1])
        except (OSError, ValueError) as e:
            raise GenloomError(f"the cache {self.path} was damaged while in use ({e}); run it again") from None


def folder() -> Path:
    return cache_root() / "prepared"


def find(key: str) -> tuple[Entry | None, bool]:
    """The entry of `key`, whole, and whether a damaged one was found instead."""
    path = folder() / key
    if not path.is_dir():
        return None, False
    try:
        meta = json.loads((path / META).read_text("utf-8"))
        if "same_as" in meta:
            return find(meta["same_as"])
        entry = Entry(path, meta)
        whole = all((path / name).stat().st_size == size for name, size in meta["files"].items())
        starts = entry.starts()
        n = len(entry.x()) if starts is None else len(starts) - 1
        whole = whole and n == len(entry.labels()) == sum(meta["counts"])
        whole = whole and (starts is None or starts[-1] == len(entry.x()))
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None, True
    return (entry, False) if whole else (None, True)


def build(key: str, fill: Callable[[Path], dict[str, Any]]) -> Entry:
    """Make the entry of `key`: `fill` writes x, labels and origins into a new folder and returns what meta shall say.

    The folder gets its name when it is complete. Several processes may build the same one: the first to finish wins.
    Raises GenloomError when the disk is full or the cache cannot be written.
    """
    root = folder()
    work = root / f".{key}.{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp"
    try:
        work.mkdir(parents=True)
        _sweep(root)
        meta = fill(work)
        sizes = {p.name: p.stat().st_size for p in sorted(work.iterdir())}
        write_json(work / META, {**meta, "files": sizes})
        _publish(work, root / key)
    except OSError as e:
        raise GenloomError(
            f"the cache {root} cannot be written: {e.strerror or e}; free some space, or set GENLOOM_CACHE to "
            "another folder"
        ) from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    entry, _ = find(key)
    if entry is None:
        raise GenloomError(f"the cache {root} does not keep what is written to it; set GENLOOM_CACHE to another folder")
    return entry


def alias(key: str, target: str) -> None:
    """Let `key` find the entry of `target`: settings chosen from the data mean the same as those asked for."""
    root = folder()
    if key == target or (root / key).exists():
        return
    work = root / f".{key}.{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp"
    with contextlib.suppress(OSError, GenloomError):  # an alias only saves time: a full disk must not stop a training
        work.mkdir(parents=True)
        write_json(work / META, {"same_as": target})
        _publish(work, root / key)
    shutil.rmtree(work, ignore_errors=True)


def _publish(work: Path, final: Path) -> None:
    """Give the finished folder its name; one that is there and whole stays, a damaged one goes."""
    sync_folder(work)
    if final.exists() and find(final.name)[0] is None:
        aside = work.with_name(work.name.replace(".tmp", "-damaged.tmp"))
        with contextlib.suppress(FileNotFoundError):  # another process was quicker
            os.rename(final, aside)
        shutil.rmtree(aside, ignore_errors=True)
    try:
        os.rename(work, final)
    except OSError:
        if find(final.name)[0] is None:
            raise
    sync_folder(final.parent)


def _sweep(root: Path) -> None:
    """Remove what killed processes left behind."""
    for path in root.glob(".*.tmp"):
        try:
            if time.time() - path.stat().st_mtime > _STALE:
                shutil.rmtree(path, ignore_errors=True)
        except OSError:
            continue


def write_array(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """A new memory-mapped .npy to be filled. Reserves the disk space, so that a full disk is an error now and not a
    crash later.
    """
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    if hasattr(os, "posix_fallocate") and array.nbytes:
        with open(path, "r+b") as f:
            os.posix_fallocate(f.fileno(), 0, path.stat().st_size)
    return array
