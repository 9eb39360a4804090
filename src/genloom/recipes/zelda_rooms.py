"""Rooms seen from above as tiles, learnt column by column by a small transformer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genloom.data.prepare import Prepared

EXPECT = {
    "data": "zelda-rooms",
    "time": "90 s on 1 CPU core",
    "score": "after 315 steps, 33 s of a core: 89% playable (training rooms 91%), tile pattern distance 0.96 and 2.6 for "
    "2x2 and 3x3 tiles (training rooms 1.26 and 2.5)",
}


def recipe() -> dict[str, Any]:
    return {
        "model": "autoregressive",
        "kind": "level",
        "family": {"width": 64, "depth": 3, "context": 178, "ngram_rows": 2**13},
        "train": {"budget": 90.0, "batch": 16, "validate_times": 4},
    }


def suits(prepared: Prepared) -> bool:
    return prepared.modality.config.model_dump().get("view") == "top"
