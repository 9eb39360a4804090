"""Figures of molecules against brute force and RDKit's own similarity."""

from __future__ import annotations

import importlib.util
import math
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg

from genloom.data import molecules as reading
from genloom.metrics import molecules
from genloom.metrics.moses import moses

Chem = pytest.importorskip("rdkit.Chem")
A = ["CCO", "CCN", "c1ccccc1C(=O)NC", "CC(=O)Oc1ccccc1C(=O)O", "C1CCC2CCCCC2C1"]
B = ["CCCO", "c1ccccc1C(=O)N", "OC(=O)c1ccccc1O"]
FIGURES = moses(reading.molecule, reading.measured)


def similarity(a: str, b: str) -> float:
    from rdkit import DataStructs
    from rdkit.Chem import rdFingerprintGenerator

    make = rdFingerprintGenerator.GetMorganGenerator(2, fpSize=1024)
    return float(DataStructs.TanimotoSimilarity(*(make.GetFingerprint(Chem.MolFromSmiles(s)) for s in (a, b))))


def test_similarities_are_those_of_rdkit() -> None:
    expected = [max(similarity(a, b) for b in B) for a in A]
    measured = FIGURES["snn"].measure([*A, "CC("], B)
    np.testing.assert_allclose(measured, expected, atol=1e-6)
    pairs = np.mean([similarity(a, b) for a in A for b in A])
    assert FIGURES["internal_diversity"].measure(A, B) == pytest.approx(1 - pairs, abs=1e-6)


def test_counts_are_compared_by_their_cosine() -> None:
    a, b = Counter("aab"), Counter("abc")
    assert molecules.cosine(a, b) == pytest.approx((2 + 1) / math.sqrt(5 * 3))
    assert molecules.cosine(a, a) == pytest.approx(1) and math.isnan(molecules.cosine(a, Counter()))


def test_fragments_and_scaffolds() -> None:
    cut = molecules.fragments(Chem.MolFromSmiles("CC(=O)Nc1ccccc1"))
    assert len(cut) == 3 and all("*" in f for f in cut)  # acyl, nitrogen and ring
    assert molecules.scaffold(Chem.MolFromSmiles("CCc1ccc(-c2ccncc2)cc1")) == Chem.CanonSmiles("c1ccc(-c2ccncc2)cc1")
    assert molecules.scaffold(Chem.MolFromSmiles("CCc1ccccc1")) == "c1ccccc1"
    assert molecules.scaffold(Chem.MolFromSmiles("CCCO")) == ""


def test_unique_and_novel_are_counted_by_molecule_not_by_spelling() -> None:
    many = ["C" * n for n in range(1, 91)] * 11 + ["CC("] * 5 + ["OCC", "CCO"] * 20
    valid = [m for m in many if m != "CC("][:1000]
    expected = len({Chem.CanonSmiles(m) for m in valid}) / 1000
    assert FIGURES["unique_1k"].measure(many, B) == pytest.approx(expected)
    assert math.isnan(FIGURES["unique_1k"].measure(many[:900], B)) and math.isnan(
        FIGURES["unique_10k"].measure(many, B)
    )
    novel = FIGURES["novelty"].measure(["OCC", "CCO", "CCN", "CC("], ["CCO"])
    assert sorted(novel) == [0.0, 1.0]


def test_filters_and_distances() -> None:
    good, aldehyde, large = "CCO", "CC=O", "C1CCCCCCCCC1"
    assert list(FIGURES["filters"].measure([good, aldehyde, large], B)) == [1.0, 0.0, 0.0]
    gap = FIGURES["weight_distance"].measure(["CCO", "CC("], ["CCCO"])
    assert gap == pytest.approx(14.027, abs=1e-3)
    assert math.isnan(FIGURES["logp_distance"].measure(["CC("], B))


def test_the_chemnet_distance_where_its_package_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for the package that sees how many atoms and oxygens there are."""
    if importlib.util.find_spec("fcd") is None:
        assert "chemnet_distance" not in FIGURES
    (tmp_path / "fcd.py").write_text(
        "import numpy as np\n"
        "def load_ref_model(): return 'net'\n"
        "def get_predictions(model, smiles, n_jobs, device):\n"
        "    assert model == 'net'\n"
        "    return np.array([[len(s), s.count('O')] for s in smiles], np.float32)\n"
    )
    monkeypatch.delitem(sys.modules, "fcd", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    figure = moses(reading.molecule, reading.measured)["chemnet_distance"]
    monkeypatch.delitem(sys.modules, "fcd", raising=False)

    def seen(smiles: list[str]) -> np.ndarray:
        canonical = [Chem.CanonSmiles(s) for s in smiles]
        return np.array([[len(s), s.count("O")] for s in canonical], float)

    a, b = seen(A), seen(B)
    root = scipy.linalg.sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root)
    assert figure.measure([*A, "CC("], B) == pytest.approx(expected)
    assert figure.measure(A, A) == pytest.approx(0, abs=1e-9) and math.isnan(figure.measure(["CC(", "C"], B))
    sys.modules.pop("fcd", None)
