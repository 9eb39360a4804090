"""Handwritten digits by the plain GAN of 2014: fully connected nets, 100 noise values, 784 sigmoid outputs, Adam at
2e-4."""

from typing import Any

EXPECT = {
    "data": "mnist",
    "time": "600 s on 1 CPU core",
    "score": "Frechet distance 60 in the features of benchmarks/judge.py, real training images 4.3",
}


def recipe() -> dict[str, Any]:
    adam = {"lr": 2e-4, "beta1": 0.5, "beta2": 0.999}
    return {
        "model": "gan",
        "kind": "image",
        "family": {
            "net": "mlp",
            "objective": "nonsaturating",
            "r1": 0.0,
            "latent": 100,
            "conditional": False,
            "augment": "off",
            "generator": adam,
            "critic": adam,
        },
        "train": {"budget": 600.0, "batch": 128, "decay": 0.0},
    }
