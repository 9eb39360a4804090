"""Synthetic tables beside real rows, trivial baselines and peers, by a judge that shares no code with genloom.

    python benchmarks/tables.py --data adult --methods real,bootstrap,shuffled,forest
    python benchmarks/tables.py --data molecules                      # a table that nothing was tuned for
    python benchmarks/tables.py --data adult --peers PYTHON           # an environment with arfpy and sdmetrics

adult: adult.data and adult.test of the UCI set in $GENLOOM_DATA/adult, target income, as many rows out as in.
molecules: descriptors of drug-like molecules by RDKit, target: whether one is soluble. Measured: area under the curve
of LightGBM that learnt from the rows, on the test set; SDMetrics' overall score (its formulas; with --peers its own, as
a check); area of LightGBM that tells rows from test rows (0.5: not at all); share of rows nearer to a training than to
a test row, of as many of both (0.5: no copying); CPU seconds of fitting, peak memory. Writes results/tables-DATA.json.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import lightgbm
import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import NearestNeighbors

ADULT = [
    "age",
    "workclass",
    "fnlwgt",
    "education",
    "education-num",
    "marital-status",
    "occupation",
    "relationship",
    "race",
    "sex",
    "capital-gain",
    "capital-loss",
    "hours-per-week",
    "native-country",
    "income",
]
COMPARED = 4000  # rows whose nearest neighbours are looked for
PEER = """
import sys, time, pandas as pd
from arfpy import arf
rows = pd.read_csv(sys.argv[1], keep_default_na=False); n = int(sys.argv[3])
some = rows.sample(min(len(rows), 6000), random_state=0).reset_index(drop=True)
for c in some.columns:
    if some[c].dtype == object: some[c] = some[c].astype("category")
begin = time.process_time()
model = arf.arf(x=some); model.forde()
took = time.process_time() - begin
made = model.forge(n=n)
for c in rows.columns:
    if str(rows[c].dtype)[:3] == "int": made[c] = made[c].round().clip(rows[c].min(), rows[c].max()).astype(int)
made.to_csv(sys.argv[2], index=False); print(took)
"""
CHECK = """
import sys, pandas as pd
from sdmetrics.reports.single_table import QualityReport
real, made = (pd.read_csv(p, keep_default_na=False) for p in sys.argv[1:3])
kinds = {c: {"sdtype": "numerical" if real[c].dtype.kind in "if" else "categorical"} for c in real.columns}
report = QualityReport(); report.generate(real, made, {"columns": kinds}, verbose=False)
print(report.get_score())
"""


def adult() -> tuple[pd.DataFrame, pd.DataFrame, str]:
    folder = Path(os.environ["GENLOOM_DATA"]) / "adult"
    train = pd.read_csv(folder / "adult.data", names=ADULT, skipinitialspace=True)
    test = pd.read_csv(folder / "adult.test", names=ADULT, skipinitialspace=True, skiprows=1)
    return train, test.assign(income=test["income"].str.rstrip(".")), "income"


def molecules() -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """12,000 molecules and 6,000 others of a list of SMILES: counts, areas, shares, and the most usual ring."""
    from rdkit import Chem
    from rdkit.Chem import Crippen, Descriptors, rdMolDescriptors

    path = Path(os.environ["GENLOOM_DATA"]) / "zinc" / "qed_mols.txt"
    lines = [line.split()[0] for line in path.read_text().splitlines() if line.strip()]
    rows = []
    order = np.random.default_rng(0).permutation(len(lines))  # the list is sorted
    for smiles in (lines[i] for i in order[:18_000]):
        mol = Chem.MolFromSmiles(smiles)
        if mol is None:
            continue
        ring = max((Chem.MolFragmentToSmiles(mol, r) for r in mol.GetRingInfo().AtomRings()), key=len, default="none")
        rows.append({
            "weight": round(Descriptors.MolWt(mol), 2), "heavy": mol.GetNumHeavyAtoms(),
            "rings": rdMolDescriptors.CalcNumRings(mol), "aromatic": rdMolDescriptors.CalcNumAromaticRings(mol),
            "donors": rdMolDescriptors.CalcNumHBD(mol), "acceptors": rdMolDescriptors.CalcNumHBA(mol),
            "rotatable": rdMolDescriptors.CalcNumRotatableBonds(mol),
            "sp3": round(rdMolDescriptors.CalcFractionCSP3(mol), 3),
            "tpsa": round(rdMolDescriptors.CalcTPSA(mol), 2), "charge": Chem.GetFormalCharge(mol),
            "halogens": sum(a.GetAtomicNum() in (9, 17, 35, 53) for a in mol.GetAtoms()), "ring": ring[:16],
            "soluble": "yes" if Crippen.MolLogP(mol) < 2.5 else "no",
        })  # fmt: skip
    table = pd.DataFrame(rows)
    usual = set(table["ring"].value_counts().index[:25])
    table["ring"] = table["ring"].where(table["ring"].isin(usual), "other")
    cut = 2 * len(table) // 3
    return table[:cut].reset_index(drop=True), table[cut:].reset_index(drop=True), "soluble"


# -- the judge ---------------------------------------------------------------------------------------------------------


def numbers(frame: pd.DataFrame) -> list[str]:
    return [c for c in frame.columns if pd.api.types.is_numeric_dtype(frame[c])]


def coded(frames: list[pd.DataFrame]) -> list[pd.DataFrame]:
    out = [f.copy() for f in frames]
    for c in out[0].columns:
        if c not in numbers(frames[0]):
            levels = sorted(set().union(*(set(f[c].astype(str)) for f in frames)))
            for f in out:
                f[c] = pd.Categorical(f[c].astype(str), categories=levels)
    return out


def classifier() -> Any:
    return lightgbm.LGBMClassifier(n_estimators=100, num_leaves=31, n_jobs=1, verbose=-1, random_state=0)


def use(made: pd.DataFrame, test: pd.DataFrame, target: str) -> float:
    a, b = coded([made, test])
    positive = sorted(test[target].astype(str).unique())[-1]
    model = classifier().fit(a.drop(columns=target), made[target].astype(str) == positive)
    scores = model.predict_proba(b.drop(columns=target))[:, 1]
    return float(roc_auc_score(test[target].astype(str) == positive, scores))


def told_apart(made: pd.DataFrame, test: pd.DataFrame) -> float:
    n = min(len(made), len(test))
    x = pd.concat(coded([made.sample(n, random_state=0), test.sample(n, random_state=0)]), ignore_index=True)
    y, scores = np.repeat([1, 0], n), np.zeros(2 * n)
    for fit, rest in StratifiedKFold(3, shuffle=True, random_state=0).split(x, y):
        scores[rest] = classifier().fit(x.iloc[fit], y[fit]).predict_proba(x.iloc[rest])[:, 1]
    return float(roc_auc_score(y, scores))


def points(frame: pd.DataFrame, train: pd.DataFrame) -> np.ndarray:
    """Numbers in shares of their range, levels that differ 1 apart (city-block)."""
    parts = []
    for c in train.columns:
        if c in numbers(train):
            low, high = train[c].min(), train[c].max()
            parts.append(((frame[c] - low) / max(high - low, 1e-12)).to_numpy(np.float32)[:, None])
        else:
            levels = np.array(sorted(train[c].astype(str).unique()), object)
            cells = frame[c].astype(str).to_numpy(dtype=object)
            parts.append(0.5 * (cells[:, None] == levels[None]).astype(np.float32))
    return np.hstack(parts)


def nearer(made: pd.DataFrame, train: pd.DataFrame, test: pd.DataFrame) -> float:
    draw = np.random.default_rng(0)
    n = min(len(train), len(test))
    rows = points(made.iloc[draw.permutation(len(made))[:COMPARED]], train)
    distances = []
    for side in (train, test):
        some = points(side.iloc[draw.permutation(len(side))[:n]], train)
        found = NearestNeighbors(n_neighbors=1, metric="manhattan", algorithm="brute").fit(some).kneighbors(rows)
        distances.append(found[0][:, 0])
    a, b = distances
    return float(((a < b) + 0.5 * (a == b)).mean())


def quality(made: pd.DataFrame, train: pd.DataFrame) -> float:
    """SDMetrics' overall score: the mean of column shapes and pair trends."""
    from scipy.stats import ks_2samp
    from scipy.stats.contingency import association

    def shares(a: Any, b: Any) -> float:
        return float(1 - a.subtract(b, fill_value=0).abs().sum() / 2)

    shapes = [
        1 - ks_2samp(train[c], made[c]).statistic if c in numbers(train)
        else shares(train[c].value_counts(normalize=True), made[c].value_counts(normalize=True)) for c in train.columns
    ]  # fmt: skip
    binned = []
    for frame in (train, made):
        own = frame.copy()
        for c in numbers(train):
            own[c] = np.digitize(frame[c], np.histogram_bin_edges(frame[c]))
        binned.append(own)
    trends = []  # of pairs that have to do with each other among real rows, as SDMetrics has it
    for a, b in itertools.combinations(train.columns, 2):
        if a in numbers(train) and b in numbers(train):
            if abs(train[a].corr(train[b])) > 0.5:
                trends.append(1 - abs(train[a].corr(train[b]) - made[a].corr(made[b])) / 2)
        elif association(pd.crosstab(binned[0][a], binned[0][b]).to_numpy(), "cramer") > 0.3:
            trends.append(shares(*(f.groupby([a, b], observed=True).size() / len(f) for f in binned)))
    return float((np.mean(shapes) + np.nanmean(trends)) / 2)


# -- the methods -------------------------------------------------------------------------------------------------------


def genloom_rows(
    train: pd.DataFrame, target: str, model: str, arguments: list[str]
) -> tuple[pd.DataFrame, float, float]:
    """(rows, CPU seconds of fitting, peak memory in MB) of a family, on one thread."""
    import torch

    import genloom
    from genloom.core.config import parse_sets

    torch.set_num_threads(1)
    settings = {**parse_sets(arguments), "data.validation": 0.0, "data.test": 0.0}
    with tempfile.TemporaryDirectory() as folder:
        begin = time.process_time()
        run = genloom.train(train, model=model, target=target, out=Path(folder) / "run", settings=settings)
        took = time.process_time() - begin
        made = run.sample(len(train), seed=1)
    return made, took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def peer_rows(train: pd.DataFrame, python: str) -> tuple[pd.DataFrame, float]:
    with tempfile.TemporaryDirectory() as folder:
        train.to_csv(f"{folder}/train.csv", index=False)
        command = [python, "-c", PEER, f"{folder}/train.csv", f"{folder}/made.csv", str(len(train))]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return pd.read_csv(f"{folder}/made.csv", keep_default_na=False)[list(train.columns)], float(
            done.stdout.split()[-1]
        )


def checked(made: pd.DataFrame, train: pd.DataFrame, python: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        for name, rows in (("a", train), ("b", made)):
            rows.to_csv(f"{folder}/{name}.csv", index=False)
        command = [python, "-c", CHECK, f"{folder}/a.csv", f"{folder}/b.csv"]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description="Synthetic tables beside real rows and peers.")
    parser.add_argument("--data", choices=["adult", "molecules"], default="adult")
    parser.add_argument("--methods", default="real,bootstrap,shuffled,forest", help="also names of families, and arfpy")
    parser.add_argument("--peers", metavar="PYTHON", help="interpreter of an environment with sdmetrics and arfpy")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the families")
    arguments = parser.parse_args()
    from records import command, keep, machine

    train, test, target = adult() if arguments.data == "adult" else molecules()
    rows = []
    for method in arguments.methods.split(","):
        facts: dict[str, Any] = {"method": method}
        if method == "real":
            made = train
        elif method == "bootstrap":
            made = train.sample(len(train), replace=True, random_state=1)
        elif method == "shuffled":
            made = train.apply(lambda c: c.sample(frac=1, random_state=list(train.columns).index(c.name)).to_numpy())
        elif method == "arfpy":
            made, facts["fit_seconds"] = peer_rows(train, str(arguments.peers))
        else:
            made, facts["fit_seconds"], facts["peak_mb"] = genloom_rows(train, target, method, arguments.set)
        facts |= {"use": use(made, test, target), "sdmetrics": quality(made, train),
                  "told_apart": told_apart(made, test),
                  "nearer": nearer(made, train, test)}  # fmt: skip
        if arguments.peers:
            facts["sdmetrics_own"] = checked(made, train, arguments.peers)
        outside = [c for c in numbers(train) if not made[c].between(train[c].min(), train[c].max()).all()]
        lost = [c for c in train.columns if c not in numbers(train) and
                set(train[c].value_counts()[lambda v: v >= 5].index) - set(made[c])]  # fmt: skip
        facts |= {"outside_of_range": outside, "columns_that_lost_levels": lost}
        print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in facts.items()}), flush=True)
        rows.append(facts)
    asked = command("tables.py", [a for a in sys.argv[1:] if a != arguments.peers])
    record = {"command": asked, "rows": len(train), "test": len(test), "results": rows, **machine("lightgbm", "pandas")}
    keep(f"tables-{arguments.data}", record)


if __name__ == "__main__":
    main()
