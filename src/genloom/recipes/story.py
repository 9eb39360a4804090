"""Stories or plots in parts of words, to be continued from a prompt, with gaps that can be filled (--suffix)."""

from typing import Any

EXPECT = {"data": "a folder of stories, or one long text", "time": "600 s on 1 CPU core"}


def recipe() -> dict[str, Any]:
    return {
        "model": "autoregressive",
        "kind": "text",
        "modality": {"tokenizer": "bpe"},
        "family": {"width": 192, "depth": 4, "heads": 6, "context": 128, "ngrams": 3, "infill": 0.3},
        "train": {"budget": 600.0, "batch": 8},
    }
