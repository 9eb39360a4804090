"""A sequence GAN on short sentences, such as captions of photos."""

from __future__ import annotations

from typing import Any

EXPECT = {
    "data": "coco-captions",
    "time": "150 s on 1 CPU core",
    "score": "BLEU-2 to 5 .724 .504 .321 .203 at self-BLEU-2 to 5 .873 .730 .560 .403 (temperature 1, 10,000 samples)",
}


def recipe() -> dict[str, Any]:
    return {
        "model": "sequence_gan",
        "kind": "text",
        "modality": {"unit": "line", "tokenizer": "bpe", "vocab": 2048},
        "family": {"cell": "lstm", "width": 128, "hidden": 384, "length": 48, "ngrams": 3},
        "train": {"budget": 150.0, "batch": 64},
    }
