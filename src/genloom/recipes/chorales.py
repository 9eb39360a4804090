"""Music in a few voices on sixteenth notes, such as the chorales of Bach, step by step and voice by voice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genloom.data.prepare import Prepared

EXPECT = {"data": "jsb-chorales", "time": "20 min on 2 CPU cores"}


def recipe() -> dict[str, Any]:
    return {
        "model": "autoregressive",
        "kind": "music",
        "modality": {"encoding": "voices", "transpose": 6},
        "family": {
            "cell": "lstm", "width": 128, "hidden": 256, "context": 320, "ngrams": 2, "dropout": 0.35,
            # Every window is in a key of its own: a state from another key would mislead.
            "forget": 1.0,
            # With four voices and the mark of each step, 4, 9, 14, ... back is what the next voice did before.
            "neighbours": [1, 2, 3, 4, 5, 6, 7, 8, 9, 14, 19, 24, 39, 79],
        },
        "train": {"budget": 1200.0, "batch": 8},
    }  # fmt: skip


def suits(prepared: Prepared) -> bool:
    config = prepared.modality.config.model_dump()
    return config.get("encoding") == "voices" and config.get("form") == "tokens"
