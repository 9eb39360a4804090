"""Marking the files of a batch: a light mark in each, Content Credentials where they fit, one signed record for all."""

from __future__ import annotations

import hashlib
import io
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from genloom.core.files import write_atomic
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
    """What decides the bytes besides the run: versions and the kind of machine, nothing that names it."""
    out = {"platform": f"{platform.system()} {platform.machine()}", "device": device}
    for name in ("genloom", "torch", "pillow"):
        out[name] = _version(name)
    return out


def mark_files(
    paths: Sequence[Path],
    marks: Sequence[Mark],
    batch: Batch,
    identity: Identity | None,
    notify: Callable[[str], None] = lambda _: None,
) -> Path:
    """Put the marks into files just written and write their record. Returns the record's path.

    identity None writes a record without a signature and no Content Credentials. All files lie in one folder. Raises
    GenloomError when the disk is full.
    """
    sealer = None
    if identity is None:
        notify("the marks are not signed: install the package cryptography")
    elif credentials.available():
        sealer = credentials.Sealer(identity, _version("genloom"))
    entries = []
    try:
        for path, each in zip(paths, marks, strict=True):
            plain = path.read_bytes()
            light = mark.put(plain, path.suffix, each)
            final = sealer.seal(light, path.suffix, each) if sealer else light
            if final != plain:
                write_atomic(path, final)
            entry: dict[str, Any] = {"name": path.name, "sha256": _sha256(final)}
            if final != light:
                entry["unsigned"] = _sha256(light)
            if final != plain:
                entry["shows"] = shown(plain, path.suffix)
            if each.index is not None:
                entry["index"] = each.index
            if each.label is not None:
                entry["label"] = each.label
            entries.append(entry)
    finally:
        if sealer:
            sealer.close()
    return write_record(paths[0].parent, batch.to_json(), entries, identity)


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
