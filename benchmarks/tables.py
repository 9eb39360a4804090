"""Synthetic tables beside real rows, trivial baselines and peers, by a judge that shares no code with genloom.

    python benchmarks/tables.py --data adult --methods real,bootstrap,shuffled,forest
    python benchmarks/tables.py --data molecules                      # a table that nothing was tuned for
    python benchmarks/tables.py --peers PYTHON --methods real,forest,SMOTE-NC,arfpy,GaussianCopula,CTGAN,TVAE

adult: adult.data and adult.test of the UCI set in $GENLOOM_DATA/adult, target income, as many rows out as in.
molecules: descriptors of drug-like molecules by RDKit, target: whether one is soluble. Measured: area under the curve
of LightGBM that learnt from the rows, on the test set; SDMetrics' overall score (its formulas; with --peers its own, as
a check); area of LightGBM that tells rows from test rows (0.5: not at all); share of rows nearer to a training than to
a test row, of as many of both (0.5: no copying); CPU seconds of fitting on one thread, peak memory of the process that
fits. Peers run by another Python (peers.py says how to set it up). Writes results/tables-DATA.json, in which
methods that are not asked for stay as they were.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
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
PEERS = ("GaussianCopula", "CTGAN", "TVAE", "SMOTE-NC", "arfpy")


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
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Rows of a family on one thread, CPU seconds of fitting and of sampling, peak memory of this process in MB."""
    import torch

    import genloom
    from genloom.core.config import parse_sets

    torch.set_num_threads(1)
    settings = {**parse_sets(arguments), "data.validation": 0.0, "data.test": 0.0}
    with tempfile.TemporaryDirectory() as folder:
        begin = time.process_time()
        run = genloom.train(train, model=model, target=target, out=Path(folder) / "run", settings=settings)
        fitted = time.process_time()
        made = run.sample(len(train), seed=1)
    facts = {"fit_seconds": fitted - begin, "sample_seconds": time.process_time() - fitted}
    return made, {**facts, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def apart(*arguments: Any) -> tuple[pd.DataFrame, dict[str, float]]:
    """`genloom_rows` in a process of its own, whose memory is its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(genloom_rows, *arguments).result()


def peer(python: str, method: str, train: pd.DataFrame, how: dict[str, Any]) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Rows by a peer and what it says of its fitting. Raises SystemExit with its own words where it fails."""
    with tempfile.TemporaryDirectory() as folder:
        files = [f"{folder}/{name}" for name in ("train.csv", "made.csv", "how.json")]
        train.to_csv(files[0], index=False)
        Path(files[2]).write_text(json.dumps(how))
        facts = asked(python, method, *files)
        return pd.read_csv(files[1], keep_default_na=False)[list(train.columns)], facts


def scored(python: str, train: pd.DataFrame, made: pd.DataFrame) -> float:
    """SDMetrics' own overall score."""
    with tempfile.TemporaryDirectory() as folder:
        for name, rows in (("train", train), ("made", made)):
            rows.to_csv(f"{folder}/{name}.csv", index=False)
        return float(asked(python, "score", f"{folder}/train.csv", f"{folder}/made.csv", "-")["score"])


def asked(python: str, *arguments: str) -> dict[str, Any]:
    command = [python, str(Path(__file__).with_name("peers.py")), *arguments]
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=clean)
    if done.returncode:
        raise SystemExit(f"{arguments[0]} failed: {done.stderr.strip().splitlines()[-1]}")
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


def rows_of(
    method: str, train: pd.DataFrame, target: str, a: argparse.Namespace
) -> tuple[pd.DataFrame, dict[str, Any]]:
    if method == "real":
        return train, {}
    if method == "bootstrap":
        return train.sample(len(train), replace=True, random_state=1), {}
    if method == "shuffled":
        places = {c: k for k, c in enumerate(train.columns)}
        return train.apply(lambda c: c.sample(frac=1, random_state=places[c.name]).to_numpy()), {}
    if method in PEERS:
        epochs = dict(e.split("=") for e in a.epochs.split(","))
        how = {"rows": len(train), "target": target, "seed": 0, "epochs": int(epochs.get(method, 300))}
        return peer(a.peers, method, train, how)
    return apart(train, target, method, a.set)


def main() -> None:
    parser = argparse.ArgumentParser(description="Synthetic tables beside real rows and peers.")
    parser.add_argument("--data", choices=["adult", "molecules"], default="adult")
    parser.add_argument(
        "--methods", default="real,bootstrap,shuffled,forest", help=f"also names of families, and {', '.join(PEERS)}"
    )
    parser.add_argument("--peers", metavar="PYTHON", help="interpreter of an environment with peers.txt")
    parser.add_argument("--epochs", default="CTGAN=40,TVAE=300", help="of the peers that have some")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the families")
    arguments = parser.parse_args()
    methods = arguments.methods.split(",")
    if not arguments.peers and set(methods) & set(PEERS):
        parser.error("peers need --peers PYTHON: an environment with benchmarks/peers.txt")
    from records import RESULTS, command, keep, machine

    train, test, target = adult() if arguments.data == "adult" else molecules()
    typed = command("tables.py", [a for a in sys.argv[1:] if a != arguments.peers])
    record = RESULTS / f"tables-{arguments.data}.json"
    rows = {r["method"]: r for r in json.loads(record.read_text())["results"]} if record.exists() else {}
    for method in methods:
        made, facts = rows_of(method, train, target, arguments)
        facts = {"method": method, "command": typed, **facts}
        facts |= {"use": use(made, test, target), "sdmetrics": quality(made, train),
                  "told_apart": told_apart(made, test),
                  "nearer": nearer(made, train, test)}  # fmt: skip
        if arguments.peers:
            facts["sdmetrics_own"] = scored(arguments.peers, train, made)
        outside = [c for c in numbers(train) if not made[c].between(train[c].min(), train[c].max()).all()]
        lost = [c for c in train.columns if c not in numbers(train) and
                set(train[c].value_counts()[lambda v: v >= 5].index) - set(made[c])]  # fmt: skip
        facts |= {"outside_of_range": outside, "columns_that_lost_levels": lost}
        print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in facts.items()}), flush=True)
        rows = {**{k: v for k, v in rows.items() if k != method}, method: facts}
        about = {"rows": len(train), "test": len(test), "results": list(rows.values())}
        keep(f"tables-{arguments.data}", {**about, **machine("lightgbm", "pandas")})


if __name__ == "__main__":
    main()
