"""Handwritten digits (28x28, 10 classes) by a class-conditional GAN with the relativistic loss and R1 and R2
penalties."""

from typing import Any

EXPECT = {
    "data": "mnist",
    "time": "600 s on 1 CPU core",
    "score": "Frechet distance 4.3 in the features of benchmarks/judge.py, real training images 4.3",
}


def recipe() -> dict[str, Any]:
    return {
        "model": "gan",
        "kind": "image",
        "family": {"width": 64},
        "train": {"budget": 600.0, "batch": 32, "ema": 0.999},
    }
