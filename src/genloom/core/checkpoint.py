"""Checkpoints that can be resumed from: one safetensors file each, its digest in its name, never a pickled object."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from genloom.core.errors import InputError
from genloom.core.files import write_atomic


@dataclass(frozen=True)
class Checkpoint:
    """tensors: weights, averages and optimiser states by name. state: everything else, JSON."""

    step: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]


def save(folder: Path, checkpoint: Checkpoint, keep: int = 2) -> Path:
    """Write a checkpoint, then remove all but the newest `keep`. Raises GenloomError; older checkpoints then stay."""
    metadata = {"state": json.dumps(checkpoint.state), "step": str(checkpoint.step)}
    data = safetensors.torch.save({n: t.contiguous() for n, t in checkpoint.tensors.items()}, metadata)
    digest = hashlib.sha256(data).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{checkpoint.step:09d}-{digest[:16]}.safetensors"
    write_atomic(path, data)
    # A roll-back may leave files of later steps: the one just written is the newest whatever its step.
    others = sorted((p for p in _files(folder) if p != path), key=lambda p: p.stat().st_mtime_ns)
    for old in others[: max(0, len(others) - keep + 1)]:
        old.unlink(missing_ok=True)
    return path


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*-*.safetensors"))


def newest(folder: Path, notify: Callable[[str], None] = lambda _: None) -> Checkpoint:
    """The newest checkpoint whose digest holds; damaged ones are reported and passed over.

    Raises InputError when there is none.
    """
    for path in sorted(_files(folder), key=lambda p: (p.stat().st_mtime_ns, p.name), reverse=True):
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest()[:16] != path.stem.rsplit("-", 1)[1]:
            notify(f"the checkpoint {path.name} is damaged and is passed over")
            continue
        try:
            tensors = safetensors.torch.load(data)
        except SafetensorError:
            notify(f"the checkpoint {path.name} cannot be read and is passed over")
            continue
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
        return Checkpoint(int(header["step"]), tensors, json.loads(header["state"]))
    raise InputError(f"there is no checkpoint to resume from in {folder}; start again with a new --out")


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}/{n}": t for n, t in tensors.items()}


def unprefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {n[len(prefix) + 1 :]: t for n, t in tensors.items() if n.startswith(prefix + "/")}
