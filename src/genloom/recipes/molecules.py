"""Drug-like molecules as SMILES, atom by atom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genloom.data.prepare import Prepared

EXPECT = {"data": "zinc", "time": "900 s on 2 CPU cores"}


def recipe() -> dict[str, Any]:
    return {
        "model": "autoregressive",
        "kind": "molecule",
        "family": {"cell": "lstm", "width": 96, "hidden": 384, "context": 64, "ngrams": 3, "dropout": 0.1},
        "train": {"budget": 900.0, "batch": 16},
    }


def suits(prepared: Prepared) -> bool:
    return "notation" in prepared.modality.config.model_dump()
