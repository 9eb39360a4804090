"""Lines or documents of some megabytes, character by character, such as captions or letters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genloom.data.prepare import Prepared

EXPECT = {
    "data": "coco-captions",
    "time": "141 s on 1 CPU core",
    "score": "0.93 nats per character, a plain GPT in the same time 1.14, Kneser-Ney counts 0.91",
}


def recipe() -> dict[str, Any]:
    return {
        "model": "autoregressive",
        "kind": "text",
        "modality": {"tokenizer": "char"},
        "family": {
            "cell": "lstm", "width": 96, "hidden": 384, "context": 64, "ngrams": 4, "ngram_rows": 2**16, "dropout": 0.3,
        },
        "train": {"budget": 141.0, "batch": 16},
    }  # fmt: skip


def suits(prepared: Prepared) -> bool:
    config = prepared.modality.config.model_dump()
    return config.get("unit") != "stream" and config.get("tokenizer") in ("char", "byte")
