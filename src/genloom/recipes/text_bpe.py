"""Larger text in parts of words (byte pairs), such as a folder of documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genloom.data.prepare import Prepared

EXPECT = {"data": "several megabytes of text", "time": "600 s on 1 CPU core"}


def recipe() -> dict[str, Any]:
    return {
        "model": "autoregressive",
        "kind": "text",
        "modality": {"tokenizer": "bpe"},
        "family": {
            "width": 192,
            "depth": 4,
            "heads": 6,
            "context": 128,
            "ngrams": 3,
            "ngram_rows": 2**16,
            "tied": True,
        },
        "train": {"budget": 600.0, "batch": 8},
    }


def suits(prepared: Prepared) -> bool:
    return bool(prepared.modality.config.model_dump().get("tokenizer") == "bpe")
