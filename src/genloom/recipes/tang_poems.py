"""Classical Chinese poems, character by character."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genloom.data.prepare import Prepared

EXPECT = {"data": "tang-poems", "time": "600 s on 1 CPU core"}


def recipe() -> dict[str, Any]:
    return {
        "model": "autoregressive",
        "kind": "text",
        "modality": {"tokenizer": "char", "unit": "document"},
        "family": {"width": 192, "depth": 4, "heads": 6, "context": 96, "ngrams": 3, "ngram_rows": 2**16},
        "train": {"budget": 600.0, "batch": 16},
    }


def suits(prepared: Prepared) -> bool:
    config, spec = prepared.modality.config.model_dump(), prepared.modality.spec
    return config.get("tokenizer") == "char" and getattr(spec, "vocab", 0) > 1000
