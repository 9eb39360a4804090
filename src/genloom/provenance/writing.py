"""Marking the files of a batch: a light mark in each, Content Credentials where they fit, one signed record for all."""

from __future__ import annotations

import hashlib
import io
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from genloom.core.files import Finish, sha256_of
from genloom.nets.native.library import kind
from genloom.provenance import credentials, mark
from genloom.provenance.identity import Identity
from genloom.provenance.mark import Mark
from genloom.provenance.record import write_record

PICTURES = frozenset({"png", "jpeg"})


@dataclass(frozen=True)
class Batch:
    """What the files of a batch have in common. asked: all that decides them besides the run, as JSON."""

    run: str
    weights: str
    task: str
    asked: Mapping[str, Any]
    device: str = "cpu"

    def to_json(self) -> dict[str, Any]:
        return {
            "run": {"name": self.run, "weights": self.weights},
            "task": self.task,
            "asked": dict(self.asked),
            "software": software(self.device),
        }


def software(device: str) -> dict[str, str]:
    """What decides the bytes besides the run: versions, the kind of machine, nothing that names it, and the step that
    sequences are decoded by."""
    out = {"platform": f"{platform.system()} {platform.machine()}", "device": device, "decoding": kind()}
    for name in ("genloom", "torch", "pillow"):
        out[name] = _version(name)
    return out


class Marker:
    """Puts the marks of one batch into files as they are written, then writes their record.

    places: of each file stem, its index in the batch and its label. Without a batch nothing is marked; without an
    identity the record has no signature and the files no Content Credentials.
    """

    def __init__(self, batch: Batch | None, identity: Identity | None = None) -> None:
        self.batch, self.identity = batch, identity
        self.places: dict[str, tuple[int | None, str | None]] = {}
        self.entries: list[dict[str, Any]] = []
        self._sealer: credentials.Sealer | None = None

    def __call__(self, path: Path, data: bytes) -> bytes:
        """The bytes to write to `path`: `data` with its marks."""
        if self.batch is None:
            return data
        index, label = self.places.get(path.stem, (None, None))
        b, seed = self.batch, self.batch.asked.get("seed")
        facts = Mark(b.run, b.task, b.weights, seed if isinstance(seed, int) else None, index, label)
        light = mark.put(data, path.suffix, facts)
        final = self._sealed(light, path.suffix, facts)
        entry: dict[str, Any] = {"name": path.name, "sha256": _sha256(final)}
        if final != light:
            entry["unsigned"] = _sha256(light)
        if final != data:
            entry["shows"] = shown(data, path.suffix)
        places = {"index": index, "label": label}
        self.entries.append({**entry, **{k: v for k, v in places.items() if v is not None}})
        return final

    def facts(self) -> dict[str, Any]:
        """The light mark of a file of all, for formats that are written piece by piece."""
        assert self.batch is not None
        b, seed = self.batch, self.batch.asked.get("seed")
        return Mark(b.run, b.task, b.weights, seed if isinstance(seed, int) else None).to_json()

    def wrote(self, path: Path) -> None:
        """Note a file that did not pass through here because it was written piece by piece."""
        if self.batch is not None:
            self.entries.append({"name": path.name, "sha256": sha256_of(path)})

    def _sealed(self, data: bytes, suffix: str, facts: Mark) -> bytes:
        if self.identity is None or suffix.lower() not in credentials.TYPES or not credentials.available():
            return data
        if self._sealer is None:
            self._sealer = credentials.Sealer(self.identity, _version("genloom"))
        return self._sealer.seal(data, suffix, facts)

    def record(self, folder: Path) -> Path | None:
        """Write the record of the files written to `folder`. Raises GenloomError when it cannot be written."""
        if self._sealer is not None:
            self._sealer.close()
            self._sealer = None
        if self.batch is None or not self.entries:
            return None
        return write_record(folder, self.batch.to_json(), self.entries, self.identity)


def light(facts: Mark) -> Finish:
    """Puts the light mark alone into a file: for pictures drawn while a model trains."""
    return lambda path, data: mark.put(data, path.suffix, facts)


def shown(data: bytes, suffix: str) -> str:
    """sha256 of what a file shows, whatever marks it carries: the pixels of a picture, else the bytes as they are.

    Of a file that is no picture it is the digest before any mark was put in.
    """
    if mark.kind_of(data, suffix) not in PICTURES:
        return _sha256(data)
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as picture:
            picture.load()
            return _sha256(f"{picture.mode} {picture.size}".encode() + picture.tobytes())
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return ""


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
