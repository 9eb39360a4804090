"""A pretrained language model on your own text, by low-rank changes: `--from FOLDER` says which model."""

from typing import Any

EXPECT = {"data": "a text file or a folder of texts, and a model of transformers", "time": "600 s"}


def recipe() -> dict[str, Any]:
    return {
        "model": "pretrained",
        "kind": "text",
        "family": {"lora": {"rank": 16, "dropout": 0.05}, "optimiser": {"lr": 5e-4}},
        "train": {"budget": 600.0, "batch": 8, "warmup": 20},
    }
