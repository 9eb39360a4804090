"""Handwritten digits (28x28, 10 classes) by a Transformer over the 4x4 codes of a tokenizer that is trained first."""

from typing import Any

EXPECT = {
    "data": "mnist",
    "time": "600 s on 1 CPU core",
}


def recipe() -> dict[str, Any]:
    return {
        "model": "autoregressive",
        "kind": "image",
        "family": {"tokenizer": {"positions": 4}, "optimiser": {"table_lr": 0.01}},
        "train": {"budget": 600.0},
    }
