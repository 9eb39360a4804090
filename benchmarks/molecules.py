"""Molecules from 24,000 SMILES of ZINC: what 10,000 samples are worth, and how far `genloom optimise` raises QED.

Trains the recipe on the named set `zinc` and draws samples without any correction. The judge is written here against
RDKit alone and shares no code with genloom's figures; beside every number stands what training molecules get.

    python benchmarks/molecules.py zinc --budget 15m --clock cpu --threads 1 --out benchmarks/results/molecules.json

The folder holds valid.txt, which trains, and test.txt of ZINC 250k (Jin et al. 2018).
"""

from __future__ import annotations

import csv
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from rdkit import Chem, DataStructs, RDLogger
from rdkit.Chem import QED, AllChem, Crippen, Descriptors, rdFingerprintGenerator
from rdkit.Chem.Scaffolds import MurckoScaffold
from rdkit.Contrib.SA_Score import sascorer
from records import begun, command, machine, publish, trained, training_options
from scipy.stats import wasserstein_distance

from genloom.core.config import parse_sets

FEW = 2500  # molecules whose scaffolds and neighbours are compared: those figures depend on the number
PROPERTIES: dict[str, Callable[[Any], float]] = {
    "logp": Crippen.MolLogP, "sa": sascorer.calculateScore, "qed": QED.qed, "weight": Descriptors.MolWt,
}  # fmt: skip


# -- the judge ---------------------------------------------------------------------------------------------------------


def molecules(smiles: Iterable[str]) -> list[Any]:
    """What RDKit reads and sanitises; nothing else is valid."""
    found = (Chem.MolFromSmiles(s) for s in smiles)
    return [m for m in found if m is not None and m.GetNumAtoms()]


def cosine(a: Counter[str], b: Counter[str]) -> float:
    product = sum(n * b[k] for k, n in a.items())
    return float(product / np.sqrt(sum(n * n for n in a.values()) * sum(n * n for n in b.values())))


def fragments(mols: Sequence[Any]) -> Counter[str]:
    """BRICS fragments with the places where they were joined."""
    return Counter(chain.from_iterable(Chem.MolToSmiles(AllChem.FragmentOnBRICSBonds(m)).split(".") for m in mols))


def scaffolds(mols: Sequence[Any]) -> Counter[str]:
    """Scaffolds of Bemis and Murcko; a molecule without rings has none."""
    every = (Chem.MolToSmiles(MurckoScaffold.GetScaffoldForMol(m)) for m in mols)
    return Counter(s for s in every if s)


def nearest(mols: Sequence[Any], references: Sequence[Any]) -> float:
    """Mean Tanimoto similarity to the nearest reference (SNN); Morgan fingerprints of radius 2, 1024 bits."""
    morgan = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=1024)
    known = [morgan.GetFingerprint(m) for m in references]
    return float(np.mean([max(DataStructs.BulkTanimotoSimilarity(morgan.GetFingerprint(m), known)) for m in mols]))


def judged(mols: Sequence[Any], test: Sequence[Any]) -> dict[str, float]:
    """Figures of molecules beside those held out."""
    out = {
        "fragments": cosine(fragments(mols), fragments(test)),
        "scaffolds": cosine(scaffolds(mols[:FEW]), scaffolds(test[:FEW])),
        "snn": nearest(mols[:FEW], test),
    }
    for name, measure in PROPERTIES.items():
        out[name] = float(wasserstein_distance([measure(m) for m in mols], [measure(m) for m in test]))
    return out


def novelty(samples: Sequence[str], mols: Sequence[Any], training: Sequence[Any]) -> dict[str, float]:
    known, found = ({Chem.MolToSmiles(m) for m in side} for side in (training, mols))
    return {
        "validity": len(mols) / len(samples),
        "unique": len(found) / len(mols),
        "novelty": len(found - known) / len(found),
    }


# -- optimising --------------------------------------------------------------------------------------------------------


def optimised(run: Path, folder: Path, *wishes: str) -> dict[str, Any]:
    """What `genloom optimise` finds within 10,000 scored molecules; QED is measured once more here."""
    begin = time.monotonic()
    line = ["optimise", str(run), *wishes, "--best", "100", "--no-mark", "--json", "-o", str(folder)]
    done = subprocess.run([sys.executable, "-m", "genloom", *line], check=True, stdout=subprocess.PIPE, text=True)
    told = json.loads(done.stdout)
    with (folder / "calls.csv").open() as f:
        calls = list(csv.DictReader(f))
    best = molecules(b["example"] for b in told["best"])
    return {
        "wishes": " ".join(wishes), "scored": len(calls), "invalid": told["invalid"], "repeated": told["repeated"],
        "kept": sum(c["kept"] == "1" for c in calls),
        "distinct_of_100_best": len({Chem.MolToSmiles(m) for m in best}),
        "mean_qed_of_100_best": float(np.mean([QED.qed(m) for m in best])),
        "mean_logp_of_100_best": float(np.mean([Crippen.MolLogP(m) for m in best])),
        "mean_score_of_100_best": told["mean_of_best"],
        "best": told["best"][:5], "seconds": round(time.monotonic() - begin, 1),
    }  # fmt: skip


# -- the record --------------------------------------------------------------------------------------------------------


def main() -> None:
    parser = training_options(__doc__, "molecules", threads=2)
    parser.add_argument("data", type=Path, help="folder with valid.txt and test.txt")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="options of sampling")
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--optimise", action="store_true", help="also optimise QED, alone and with wishes beside it")
    given = begun(parser)
    RDLogger.DisableLog("rdApp.*")
    run = trained(given, "zinc")
    train, test = (molecules((given.data / f"{name}.txt").read_text().split()) for name in ("valid", "test"))
    begin = time.perf_counter()
    options = parse_sets(given.option)
    samples = run.sample(given.samples, seed=given.seed, options=options)
    seconds = time.perf_counter() - begin
    mols = molecules(samples)
    real = random.Random(0).sample(train, len(train))
    result: dict[str, Any] = {
        "command": command("molecules.py", sys.argv[1:]), **machine("rdkit"), "seed": given.seed,
        "clock": given.clock, "precision": run.manifest["precision"], "parameters": run.manifest["parameters"],
        "molecules": run.manifest["data"]["train"], "steps": run.manifest["steps"],
        "train_seconds": run.manifest["seconds"], "examples_per_second": run.manifest["examples_per_second"],
        "options": options, "samples": len(samples), "sample_seconds": round(seconds, 1),
        "scores": novelty(samples, mols, train) | judged(mols, test),
        "training_molecules": judged(real[: given.samples], test),
        "examples": samples[:8],
    }  # fmt: skip
    if given.optimise:
        like = Chem.MolToSmiles(test[0])
        result["optimise"] = [
            optimised(run.path, run.path.parent / f"optimised-{k}", *wishes)
            for k, wishes in enumerate((
                ("--maximise", "qed"), ("--maximise", "qed", "--keep", "logp<3", "--similar-to", like),
            ))
        ]  # fmt: skip
    publish(given, result)


if __name__ == "__main__":
    main()
