"""The figures of MOSES (Polykovskiy et al. 2020), of SMILES that may not be valid; that which needs a trained network
where the network is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genloom.core.modality import OwnFigure
from genloom.metrics import chemnet, molecules

MOST = 2500  # samples in figures whose value depends on their number, or that take long
TITLES = {"logp": "logP", "sa": "synthetic accessibility", "qed": "QED", "weight": "weight"}

Molecule = Callable[[str], Any]  # SMILES -> RDKit's molecule, or None
Measured = Callable[[str, str], float]  # (SMILES, name of a property) -> its value, or NaN


def moses(molecule: Molecule, measured: Measured) -> Mapping[str, OwnFigure]:
    """The figures by name. All but validity are of the valid samples."""

    def valid(examples: Sequence[str], most: int = MOST) -> list[Any]:
        out: list[Any] = []
        for example in examples:
            mol = molecule(example)
            if mol is not None:
                out.append(mol)
                if len(out) == most:
                    break
        return out

    def prints(examples: Sequence[str]) -> NDArray[np.float32]:
        return molecules.fingerprints(valid(examples))

    def unique(k: int) -> Callable[[Sequence[str], Sequence[str]], float]:
        def measure(a: Sequence[str], b: Sequence[str]) -> float:
            found = [molecules.canonical(m) for m in valid(a, k)] if len(a) >= k else []
            return len(set(found)) / k if len(found) == k else float("nan")

        return measure

    def novelty(a: Sequence[str], training: Sequence[str]) -> NDArray[np.float64]:
        known = set(training)  # real molecules are canonical already
        different = sorted({molecules.canonical(m) for m in valid(a, len(a))})
        return np.array([float(s not in known) for s in different])

    def diversity(a: Sequence[str], b: Sequence[str]) -> float:
        return molecules.internal_diversity(prints(a))

    def similarity(a: Sequence[str], b: Sequence[str]) -> NDArray[np.float64]:
        reference = molecules.fingerprints(valid(b, len(b)))
        return molecules.nearest(prints(a), reference) if len(reference) else np.zeros(0)

    def alike(parts: Callable[[Any], Iterable[str]]) -> Callable[[Sequence[str], Sequence[str]], float]:
        def measure(a: Sequence[str], b: Sequence[str]) -> float:
            return molecules.cosine(molecules.counts(valid(a), parts), molecules.counts(valid(b, len(b)), parts))

        return measure

    def filters(a: Sequence[str], b: Sequence[str]) -> NDArray[np.float64]:
        return np.array([float(molecules.passes(m)) for m in valid(a)])

    def chemical(a: Sequence[str], b: Sequence[str]) -> float:
        return chemnet.chemnet_distance(*([molecules.canonical(m) for m in valid(side)] for side in (a, b)))

    def distance(name: str) -> Callable[[Sequence[str], Sequence[str]], float]:
        def measure(a: Sequence[str], b: Sequence[str]) -> float:
            return molecules.distance(*([measured(s, name) for s in side[:MOST]] for side in (a, b)))

        return measure

    own = {
        f"unique_{name}": OwnFigure(
            f"Unique of {k:,}", f"Share of different molecules among the first {k:,} valid ones.",
            "higher", "share", unique(k),
        )
        for name, k in {"1k": 1000, "10k": 10_000}.items()
    } | {
        "novelty": OwnFigure(
            "Novelty", "Share of the different valid molecules that the training data lacks.",
            "reference", "share", novelty, against="training",
        ),
        "internal_diversity": OwnFigure(
            "Internal diversity", "1 - mean similarity of two valid molecules (Tanimoto, Morgan fingerprints).",
            "reference", "score", diversity,
        ),
        "snn": OwnFigure(
            "Similarity to the nearest", "Of each valid molecule to the nearest held-out one, mean (SNN).",
            "reference", "score", similarity,
        ),
        "fragments": OwnFigure(
            "Fragment similarity", "Cosine between how often each BRICS fragment occurs here and in held-out data.",
            "higher", "score", alike(molecules.fragments),
        ),
        "scaffolds": OwnFigure(
            "Scaffold similarity", "Cosine between how often each scaffold occurs here and in held-out data.",
            "higher", "score", alike(lambda m: [molecules.scaffold(m)]),
        ),
        "filters": OwnFigure(
            "Filters", "Share of the valid molecules without large rings, PAINS A or Brenk's unwanted groups.",
            "reference", "share", filters,
        ),
    }  # fmt: skip
    if chemnet.there():
        own["chemnet_distance"] = OwnFigure(
            "Frechet ChemNet distance", "Between what ChemNet sees in the valid molecules and in held-out ones.",
            "lower", "units", chemical,
        )  # fmt: skip
    for name, title in TITLES.items():
        own[f"{name}_distance"] = OwnFigure(
            f"Distance of {title}",
            f"Mean change that would give the samples the {title} of held-out molecules (Wasserstein-1).",
            "lower", "g/mol" if name == "weight" else "units", distance(name),
        )  # fmt: skip
    return own
