"""A sequence GAN on short sentences, such as captions of photos."""

from __future__ import annotations

from typing import Any

EXPECT = {"data": "coco-captions", "time": "150 s on 1 CPU core"}


def recipe() -> dict[str, Any]:
    return {
        "model": "sequence_gan",
        "kind": "text",
        "modality": {"unit": "line", "tokenizer": "bpe", "vocab": 2048},
        "family": {"cell": "lstm", "width": 128, "hidden": 384, "length": 48, "ngrams": 3},
        "train": {"budget": 150.0, "batch": 64},
    }
