"""Structures of proteins by ESMFold (Lin et al. 2023), the class of transformers. No weights are part of genloom."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genloom.core.errors import InputError

VARIABLE = "GENLOOM_ESMFOLD"


@dataclass(frozen=True)
class Structure:
    """pdb: the file, with the confidence of each atom as its B-factor. confidence: [L] pLDDT of each residue, 0 to
    100."""

    pdb: str
    confidence: NDArray[np.float64]


def configured() -> str | None:
    """The folder of weights, or the name of a model in the cache of huggingface_hub, that $GENLOOM_ESMFOLD says."""
    return os.environ.get(VARIABLE) or None


class Folder:
    """A loaded model. On the CPU; a sequence of 100 residues takes minutes on a few CPU cores."""

    def __init__(self, model: Any) -> None:
        self.model = model.eval()

    @classmethod
    def load(cls, name: str) -> Folder:
        """From a folder or the cache; nothing is downloaded. Raises InputError."""
        try:
            from transformers import EsmForProteinFolding
        except ImportError:
            raise InputError("structures need transformers: pip install 'genloom[pretrained]'") from None
        try:
            model: Any = EsmForProteinFolding.from_pretrained(name, local_files_only=True)
        except (OSError, ValueError, RuntimeError, KeyError) as e:
            reason = " ".join(str(e).split())[:160]
            raise InputError(
                f"${VARIABLE}={name} holds no weights of ESMFold ({reason}); give a folder of facebook/esmfold_v1, or "
                "unset it to write no structures"
            ) from None
        return cls(model)

    @torch.no_grad()
    def __call__(self, sequence: str) -> Structure:
        """The structure of one sequence of residues."""
        output = self.model.infer(sequence)
        output["plddt"] = 100 * output["plddt"]  # of 100, as databases of structures have it
        [text] = self.model.output_to_pdb(output)
        exists = output["atom37_atom_exists"][0].double()
        lddt = output["plddt"][0].double()
        share = (lddt * exists).sum(1) / exists.sum(1).clamp(min=1)
        return Structure(text, share.cpu().numpy())
