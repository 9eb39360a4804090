"""Handwritten digits (28x28, 10 classes) by a Transformer over the 4x4 codes of a tokenizer that is trained first."""

from typing import Any

EXPECT = {
    "data": "mnist",
    "time": "600 s on 1 CPU core",
    "score": "Frechet distance ? in the features of benchmarks/judge.py, real training images 4.7",
}


def recipe() -> dict[str, Any]:
    return {
        "model": "autoregressive",
        "kind": "image",
        "family": {"tokenizer": {"positions": 4}},
        "train": {"budget": 600.0},
    }
