"""The run folder: one training with its settings, weights, history, samples and report."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from genloom.core.errors import GenloomError, InputError
from genloom.core.files import sha256_of, write_atomic, write_json

CONFIG, MANIFEST, STATE, WEIGHTS = "config.json", "manifest.json", "modality.json", "model.safetensors"


class RunFolder:
    """Paths and files of a run. Layout:

    config.json (resolved settings) · modality.json (modality state and classes) · manifest.json (data hashes, versions,
    digests, timings) · model.safetensors (averaged weights) · history.jsonl · tensorboard/ · samples/ · report.html ·
    README.md (the model card) · resume/ (checkpoints)
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.history, self.tensorboard = path / "history.jsonl", path / "tensorboard"
        self.samples, self.resume = path / "samples", path / "resume"
        self.report, self.evaluation = path / "report.html", path / "evaluation.json"
        self.card = path / "README.md"

    @classmethod
    def create(cls, path: Path) -> RunFolder:
        """Make the folder. Raises InputError when a run is there already, something else is in the way, or it cannot be
        written."""
        if (path / CONFIG).exists():
            raise InputError(
                f"{path} already holds a run; go on with it by --resume, or choose another folder with --out"
            )
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise InputError(f"{path} exists and is not an empty folder; choose another with --out")
        try:
            path.mkdir(parents=True, exist_ok=True)
            probe = path / f".probe-{os.getpid()}"
            probe.touch()
            probe.unlink()
            folder = cls(path)
            for part in (folder.samples, folder.resume):
                part.mkdir(exist_ok=True)
        except OSError as e:
            raise InputError(
                f"the run folder {path} cannot be written: {e.strerror or e}; choose another with --out"
            ) from None
        return folder

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """A folder that holds a run. Raises InputError when it does not."""
        if not path.exists():
            raise InputError(f"there is no run {path}; see `genloom list runs`")
        if not (path / CONFIG).is_file():
            raise InputError(f"{path} is not a run: it has no {CONFIG}; see `genloom list runs`")
        return cls(path)

    def read_json(self, name: str) -> dict[str, Any]:
        """Raises InputError when the file is missing or damaged."""
        try:
            data = json.loads((self.path / name).read_text("utf-8"))
        except FileNotFoundError:
            raise InputError(
                f"the run {self.path} has no {name}; it is incomplete, train it again or go on with --resume"
            ) from None
        except (OSError, ValueError) as e:
            raise InputError(f"{self.path / name} cannot be read ({e}); restore it or train again") from None
        if not isinstance(data, dict):
            raise InputError(f"{self.path / name} should hold a JSON object; restore it or train again")
        return data

    def write_json(self, name: str, data: dict[str, Any]) -> None:
        write_json(self.path / name, data)

    def manifest(self) -> dict[str, Any]:
        return self.read_json(MANIFEST)

    def update_manifest(self, **entries: Any) -> None:
        old = self.manifest() if (self.path / MANIFEST).exists() else {}
        self.write_json(MANIFEST, {**old, **entries})

    def save_weights(self, tensors: dict[str, Tensor]) -> None:
        """Write the weights and put their digest into the manifest."""
        data = safetensors.torch.save({n: t.contiguous() for n, t in tensors.items()}, {"format": "pt"})
        digest = write_atomic(self.path / WEIGHTS, data)
        files = self.manifest().get("files", {}) if (self.path / MANIFEST).exists() else {}
        self.update_manifest(files={**files, WEIGHTS: digest})

    def load_weights(self) -> dict[str, Tensor]:
        """The weights, after their digest was checked. Raises InputError when missing, truncated or altered."""
        path = self.path / WEIGHTS
        if not path.is_file():
            unfinished = any(self.resume.glob("step-*.safetensors"))
            advice = "its training has not ended: go on with --resume" if unfinished else "restore it or train again"
            raise InputError(f"the run {self.path} has no weights ({WEIGHTS}); {advice}")
        expected = self.manifest().get("files", {}).get(WEIGHTS)
        if expected is None or sha256_of(path) != expected:
            raise InputError(
                f"{path} is not what the training wrote (its sha256 differs from the manifest's); restore it or train "
                f"again"
            )
        try:
            return safetensors.torch.load_file(path)
        except (SafetensorError, OSError) as e:
            raise GenloomError(f"{path} cannot be read: {e}") from None
