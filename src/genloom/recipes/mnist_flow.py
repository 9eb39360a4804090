"""Handwritten digits (28x28, 10 classes) by a class-conditional flow on pixels."""

from typing import Any

EXPECT = {"data": "mnist", "time": "600 s on 1 CPU core"}


def recipe() -> dict[str, Any]:
    return {
        "model": "flow",
        "kind": "image",
        "train": {"budget": 600.0, "batch": 128},
    }
