"""A list of names or words, a line each, character by character: new ones for a game or a story."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genloom.data.prepare import Prepared

LONGEST = 48  # tokens of what still counts as a name

EXPECT = {"data": "a text file with a name in each line", "time": "60 s on 1 CPU core"}


def recipe() -> dict[str, Any]:
    return {
        "model": "autoregressive",
        "kind": "text",
        "modality": {"tokenizer": "char", "unit": "line"},
        "family": {"width": 64, "depth": 3, "context": 48, "dropout": 0.2, "ngrams": 3},
        "train": {"budget": 60.0, "batch": 32},
    }


def suits(prepared: Prepared) -> bool:
    config = prepared.modality.config.model_dump()
    short = getattr(prepared.modality.spec, "length", LONGEST) < LONGEST
    return config.get("unit") == "line" and config.get("tokenizer") == "char" and short
