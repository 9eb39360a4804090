"""Replies in conversations, from some ten thousand turns."""

from __future__ import annotations

from typing import Any

EXPECT = {
    "data": "Synthetic-Persona-Chat: 23,755 replies, conversations of two",
    "time": "900 s on 1 CPU core",
    "score": "2.25 nats per held-out token",
}


def recipe() -> dict[str, Any]:
    return {
        "model": "autoregressive",
        "kind": "text",
        "data": {"task": "chat", "source_length": 64},
        "modality": {"tokenizer": "bpe", "vocab": 4096},
        "family": {
            "width": 192,
            "encoder_depth": 2,
            "depth": 3,
            "heads": 4,
            "context": 128,
            "ngrams": 3,
            "tied": True,
            "dropout": 0.2,
            "drop_source": 0.0,
            "optimiser": {"lr": 3e-3, "table_lr": 1e-2, "beta2": 0.98, "weight_decay": 0.01},
        },
        "train": {"budget": 900.0, "tokens": 2048, "warmup": 100, "validate_times": 12, "patience": 6, "grids": 4},
    }
