"""Families of proteins, residue by residue, by a small LSTM that knows the family and the length."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genloom.data.prepare import Prepared

EXPECT = {"data": "protein-families", "time": "300 s on 2 CPU cores"}


def recipe() -> dict[str, Any]:
    return {
        "model": "autoregressive",
        "kind": "protein",
        "family": {
            "cell": "lstm", "width": 96, "hidden": 384, "context": 160, "ngrams": 3, "dropout": 0.2, "infill": 0.2,
        },
        "train": {"budget": 300.0, "batch": 16},
    }  # fmt: skip


def suits(prepared: Prepared) -> bool:
    from genloom.modalities.protein import Protein

    return isinstance(prepared.modality, Protein)
