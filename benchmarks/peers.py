"""Rows by one peer, for tables.py, in an environment of its own: python peers.py METHOD TRAIN.csv MADE.csv HOW.json

    python3.11 -m venv PEERS && PEERS/bin/pip install -r benchmarks/peers.txt

Nothing of it is needed by genloom; sdv, ctgan and rdt are under a business licence and are installed for comparing
alone. METHOD: GaussianCopula, CTGAN, TVAE (sdv with its own bounds and rounding), SMOTE-NC (imbalanced-learn: as many
new rows of each class of the target as it has, as in Kotelnikov et al. 2023), arfpy (of at most 6,000 rows, as the time
it takes grows with their square), or "score" for SDMetrics' own score of MADE. HOW: rows, target, seed, epochs and, for
TVAE and CTGAN, nothing else. Prints one line of JSON: CPU seconds of fitting and of sampling, peak memory in MB.
"""

from __future__ import annotations

import json
import resource
import sys
import time
import warnings
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

ARF_ROWS = 6_000
SDV = {"GaussianCopula": "GaussianCopulaSynthesizer", "CTGAN": "CTGANSynthesizer", "TVAE": "TVAESynthesizer"}


def numbers(rows: pd.DataFrame) -> list[str]:
    return [c for c in rows.columns if rows[c].dtype.kind in "if"]


class Clock:
    """CPU seconds of the parts of a method."""

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {}
        self.begin = time.process_time()

    def took(self, what: str) -> None:
        now = time.process_time()
        self.facts[what], self.begin = now - self.begin, now


def sdv(method: str, rows: pd.DataFrame, how: dict[str, Any], clock: Clock) -> pd.DataFrame:
    import torch
    from sdv import single_table
    from sdv.metadata import Metadata

    torch.set_num_threads(1)
    torch.manual_seed(how["seed"])
    np.random.seed(how["seed"])
    kinds = {c: {"sdtype": "numerical" if c in numbers(rows) else "categorical"} for c in rows.columns}
    metadata = Metadata.load_from_dict({"tables": {"rows": {"columns": kinds}}})
    settings = {} if method == "GaussianCopula" else {"epochs": how["epochs"]}
    model = getattr(single_table, SDV[method])(metadata, **settings)
    clock.took("start_seconds")
    model.fit({"rows": rows})
    clock.took("fit_seconds")
    clock.facts |= settings
    return model.sample(how["rows"])["rows"]


def smote(rows: pd.DataFrame, how: dict[str, Any], clock: Clock) -> pd.DataFrame:
    from imblearn.over_sampling import SMOTENC

    given, target = rows.drop(columns=how["target"]), rows[how["target"]]
    twice = {level: 2 * times for level, times in target.value_counts().items()}
    categories = [c for c in given.columns if c not in numbers(given)]
    model = SMOTENC(categories, sampling_strategy=twice, random_state=how["seed"])
    clock.took("start_seconds")
    x, y = model.fit_resample(given, target)
    clock.took("fit_seconds")
    return x.assign(**{how["target"]: y})[len(rows) :][list(rows.columns)]


def arfpy(rows: pd.DataFrame, how: dict[str, Any], clock: Clock) -> pd.DataFrame:
    from arfpy import arf

    np.random.seed(how["seed"])
    np.in1d = np.isin  # arfpy 0.1.1 asks for the name that NumPy 2.4 no longer has
    some = rows.sample(min(len(rows), ARF_ROWS), random_state=how["seed"]).reset_index(drop=True)
    for c in some.columns:
        if c not in numbers(rows):
            some[c] = some[c].astype("category")
    clock.took("start_seconds")
    model = arf.arf(x=some, random_state=how["seed"])
    model.forde()
    clock.took("fit_seconds")
    made = model.forge(n=how["rows"])
    clock.facts["fitted_rows"] = len(some)
    for c in numbers(rows):  # its numbers have no decimal places and no bounds of their own
        if rows[c].dtype.kind == "i":
            made[c] = made[c].round().clip(rows[c].min(), rows[c].max()).astype(int)
    return made[list(rows.columns)]


def score(real: pd.DataFrame, made: pd.DataFrame) -> float:
    from sdmetrics.reports.single_table import QualityReport

    kinds = {c: {"sdtype": "numerical" if c in numbers(real) else "categorical"} for c in real.columns}
    report = QualityReport()
    report.generate(real, made, {"columns": kinds}, verbose=False)
    return float(report.get_score())


def main() -> None:
    warnings.simplefilter("ignore")
    method, train, out, how_path = sys.argv[1:]
    rows = pd.read_csv(train, keep_default_na=False)
    if method == "score":
        print(json.dumps({"score": score(rows, pd.read_csv(out, keep_default_na=False))}))
        return
    with open(how_path) as file:
        how = json.load(file)
    clock = Clock()
    makers = {"SMOTE-NC": smote, "arfpy": arfpy}
    made = makers[method](rows, how, clock) if method in makers else sdv(method, rows, how, clock)
    clock.took("sample_seconds")
    clock.facts["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    package = {"SMOTE-NC": "imbalanced-learn", "arfpy": "arfpy"}.get(method, "sdv")
    clock.facts["version"] = f"{package} {version(package)}"
    made.to_csv(out, index=False)
    print(json.dumps(clock.facts))


if __name__ == "__main__":
    main()
