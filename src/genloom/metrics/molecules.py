"""Figures of sets of molecules, as MOSES has them (Polykovskiy et al. 2020). Pure functions of RDKit's molecules.

Shapes: `N` molecules, `M` of the reference, `W` bits of a fingerprint.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

WIDTH, RADIUS = 1024, 2  # of Morgan fingerprints
RINGS = 1  # of a scaffold that counts; MOSES asks for 2, of which two sets of 5,000 have few in common
LARGEST_RING = 8
CHUNK = 512  # molecules compared with all others at once

Bits = NDArray[np.float32]


def fingerprints(mols: Sequence[Any]) -> Bits:
    """[N, W] 0 or 1: the environments of up to RADIUS bonds around each atom (Rogers and Hahn 2010), hashed."""
    if not mols:
        return np.zeros((0, WIDTH), np.float32)
    return np.stack([_generator().GetFingerprintAsNumPy(m) for m in mols]).astype(np.float32)


@cache
def _generator() -> Any:
    from rdkit.Chem import rdFingerprintGenerator

    return rdFingerprintGenerator.GetMorganGenerator(RADIUS, fpSize=WIDTH)


def _tanimoto(a: Bits, b: Bits) -> NDArray[np.float32]:
    """[N, M] bits in common / bits in either; 0 where neither has any."""
    common = a @ b.T
    either = a.sum(1)[:, None] + b.sum(1)[None] - common
    return np.divide(common, either, out=np.zeros_like(common), where=either > 0)


def nearest(a: Bits, b: Bits) -> NDArray[np.float64]:
    """[N] Tanimoto similarity of each of `a` [N, W] to the most similar of `b` [M, W], M > 0: SNN is the mean."""
    parts = [_tanimoto(a[i : i + CHUNK], b).max(1) for i in range(0, len(a), CHUNK)]
    return np.concatenate(parts).astype(np.float64) if parts else np.zeros(0)


def internal_diversity(a: Bits) -> float:
    """1 - mean Tanimoto similarity of all pairs of `a` [N, W], each with itself among them as in MOSES (p = 1)."""
    total = sum(float(_tanimoto(a[i : i + CHUNK], a).sum()) for i in range(0, len(a), CHUNK))
    return 1 - total / len(a) ** 2 if len(a) else float("nan")


def canonical(mol: Any) -> str:
    """Its canonical SMILES."""
    from rdkit import Chem

    return str(Chem.MolToSmiles(mol))


def fragments(mol: Any) -> list[str]:
    """What remains when the bonds that chemists can make easily are cut (BRICS, Degen et al. 2008)."""
    from rdkit import Chem

    return str(Chem.MolToSmiles(Chem.FragmentOnBRICSBonds(mol))).split(".")


def scaffold(mol: Any) -> str:
    """The rings and what joins them (Bemis and Murcko 1996); "" for fewer than RINGS rings."""
    from rdkit import Chem
    from rdkit.Chem.Scaffolds import MurckoScaffold

    core = MurckoScaffold.GetScaffoldForMol(mol)
    return str(Chem.MolToSmiles(core)) if core.GetRingInfo().NumRings() >= RINGS else ""


def counts(mols: Iterable[Any], parts: Callable[[Any], Iterable[str]]) -> Counter[str]:
    """How often each part occurs in all of them."""
    return Counter(p for m in mols for p in parts(m) if p)


def cosine(a: Counter[str], b: Counter[str]) -> float:
    """Cosine between two counts; NaN where one is empty."""
    if not a or not b:
        return float("nan")
    product = sum(n * b[k] for k, n in a.items())
    return float(product / (sum(n * n for n in a.values()) * sum(n * n for n in b.values())) ** 0.5)


def distance(a: Sequence[float], b: Sequence[float]) -> float:
    """Wasserstein-1 distance between the values that are numbers; NaN where one side has none."""
    from scipy.stats import wasserstein_distance

    x, y = (np.array([v for v in values if np.isfinite(v)]) for values in (a, b))
    return float(wasserstein_distance(x, y)) if len(x) and len(y) else float("nan")


def passes(mol: Any) -> bool:
    """Whether a molecule is free of what medicinal chemists filter out: rings of more than LARGEST_RING atoms,
    frequent hitters in assays (PAINS A, Baell and Holloway 2010), reactive or toxic groups (Brenk et al. 2008)."""
    if any(len(ring) > LARGEST_RING for ring in mol.GetRingInfo().AtomRings()):
        return False
    return not _catalog().HasMatch(mol)


@cache
def _catalog() -> Any:
    from rdkit.Chem import FilterCatalog

    chosen = FilterCatalog.FilterCatalogParams()
    for name in ("PAINS_A", "BRENK"):
        chosen.AddCatalog(getattr(chosen.FilterCatalogs, name))
    return FilterCatalog.FilterCatalog(chosen)
