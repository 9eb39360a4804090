"""Rooms seen from above as tiles, learnt column by column by a small transformer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genloom.data.prepare import Prepared

EXPECT: dict[str, str] = {}


def recipe() -> dict[str, Any]:
    return {
        "model": "autoregressive",
        "kind": "level",
        "family": {"width": 64, "depth": 3, "context": 178, "ngram_rows": 2**13},
        "train": {"budget": 90.0, "batch": 16, "validate_times": 4},
    }


def suits(prepared: Prepared) -> bool:
    return prepared.modality.config.model_dump().get("view") == "top"
