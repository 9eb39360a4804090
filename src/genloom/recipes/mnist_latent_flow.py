"""Handwritten digits (28x28, 10 classes) by a flow on the 32-dimensional codes of a small autoencoder."""

from typing import Any

EXPECT = {
    "data": "mnist",
    "time": "600 s on 1 CPU core",
    "score": "Frechet distance 4.4 in the features of benchmarks/judge.py, real training images 4.3",
}


def recipe() -> dict[str, Any]:
    return {"model": "flow", "kind": "image", "family": {"latent": True}, "train": {"budget": 600.0}}
