"""Summaries of a sentence or two, of documents of a few hundred words."""

from __future__ import annotations

from typing import Any

EXPECT = {
    "data": "SciTLDR: 1,992 abstracts of papers, each with a summary",
    "time": "600 s on 1 CPU core; stopped after 400 s",
    "score": "ROUGE-1, 2, L .195 .031 .159 (first sentence .257 .093 .201): too few pairs; better from a T5 by --from",
}


def recipe() -> dict[str, Any]:
    return {
        "model": "autoregressive",
        "kind": "text",
        "data": {"task": "summarise", "source_length": 256},
        "modality": {"tokenizer": "bpe", "vocab": 4096},
        "family": {
            "width": 128,
            "encoder_depth": 2,
            "depth": 2,
            "heads": 4,
            "context": 128,
            "ngrams": 2,
            "tied": True,
            "dropout": 0.3,
            "drop_source": 0.0,
            "smoothing": 0.1,
            "optimiser": {"lr": 3e-3, "table_lr": 1e-2, "beta2": 0.98, "weight_decay": 0.01},
        },
        "train": {"budget": 600.0, "tokens": 2048, "warmup": 50, "validate_times": 12, "patience": 6, "grids": 4},
    }
