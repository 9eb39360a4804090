"""What a person sees of a run at a glance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genloom.core.config import RunConfig


def summary_of(
    name: str, path: Path, config: RunConfig, classes: Sequence[str], manifest: Mapping[str, Any]
) -> dict[str, Any]:
    """Its name, place, kind, data, sizes and times."""
    return {
        "name": name,
        "path": str(path),
        "model": config.model,
        "modality": config.kind,
        "recipe": config.recipe,
        "data": manifest.get("data", {}).get("name"),
        "classes": list(classes),
        "parameters": manifest.get("parameters", {}),
        **{k: manifest.get(k) for k in ("steps", "seconds", "started", "finished")},
    }
