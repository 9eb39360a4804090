"""Families of proteins, residue by residue, by a small transformer that knows family and length, mixed with counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genloom.data.prepare import Prepared

EXPECT = {"data": "protein-families", "time": "300 s on 2 CPU cores"}


def recipe() -> dict[str, Any]:
    return {
        "model": "autoregressive",
        "kind": "protein",
        # Near relatives of training sequences are told best by counts of up to 7 residues, distant ones by the network.
        "family": {
            "width": 96, "depth": 3, "context": 160, "ngrams": 3, "ngram_rows": 2**13, "infill": 0.1, "counts": 0.4,
            "count_order": 7,
        },
        "train": {"budget": 300.0, "batch": 16},
    }  # fmt: skip


def suits(prepared: Prepared) -> bool:
    from genloom.modalities.protein import Protein

    return isinstance(prepared.modality, Protein)
