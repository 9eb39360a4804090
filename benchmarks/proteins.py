"""Held-out members of five protein families beside position-wise profiles; scores of mutants beside measured fitness.

Trains the recipe on the named set `protein-families` and tells the perplexity per residue of its test members: all nats
of a sequence (with gaps, insertions and its end, where rows of alignments are learnt) over its residues. Beside it
stand profiles of the training members: that of genloom's figures, made by aligning, and one counted here in the columns
of the alignments, which pays nothing for gaps and for where insertions are. What both say of the residues in columns
alone is told once more: there they are asked the same. Then the mutants of a beta-lactamase are scored without
having learnt from any (`genloom score`); none of the families is related to it.

    python benchmarks/proteins.py beta-lactamase.fasta --budget 15m --clock cpu --threads 1 \\
        --out benchmarks/results/proteins.json
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from records import begun, command, machine, publish, trained, training_options
from scipy.stats import spearmanr

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
PSEUDO = 5.0  # residues of the background added to each column


def columns(row: str) -> str:
    return "".join(c for c in row if not c.islower())


def counted(training: Mapping[str, Sequence[str]], test: Mapping[str, Sequence[str]], insertions: bool = True) -> float:
    """Perplexity per residue of profiles in the columns of the alignments; insertions, where they count, by their
    frequencies in all."""
    letters = "".join(c for rows in training.values() for row in rows for c in row.upper() if c in RESIDUES)
    background = np.array([letters.count(r) for r in RESIDUES], float) / len(letters)
    nats, n = 0.0, 0
    for family, rows in test.items():
        held = [columns(row) for row in training[family]]
        table = np.array([[sum(row[i] == r for row in held) for r in RESIDUES] for i in range(len(held[0]))], float)
        table = (table + PSEUDO * background) / (table.sum(1, keepdims=True) + PSEUDO)
        for row in rows:
            found = [table[i][RESIDUES.index(c)] for i, c in enumerate(columns(row)) if c in RESIDUES]
            if insertions:
                found += [background[RESIDUES.index(c.upper())] for c in row if c.islower() and c != "x"]
            nats, n = nats - float(np.log(found).sum()), n + len(found)
    return math.exp(nats / n)


def members(run: Any, split: Any) -> dict[str, list[str]]:
    """The rows of each family."""
    out: dict[str, list[str]] = defaultdict(list)
    for batch in split.batches(64):
        for x, label in zip(batch.x, batch.condition.label.tolist(), strict=True):
            out[run.classes[label]].append(run.modality.decode(x))
    return out


def perplexities(run: Any, split: Any, rows: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Per residue, of all and of each family; given the family and the length."""
    nats: dict[str, float] = defaultdict(float)
    for batch in split.batches(16):
        told = run.family.surprise(batch.x, batch.condition.only(run.family.honours() - {"known"})).sum(1)
        for label, value in zip(batch.condition.label.tolist(), told.tolist(), strict=True):
            nats[run.classes[label]] += value
    sizes = {f: sum(c.upper() in RESIDUES + "X" for row in found for c in row) for f, found in rows.items()}
    out = {f: math.exp(nats[f] / sizes[f]) for f in sorted(rows)}
    return {"all": math.exp(sum(nats.values()) / sum(sizes.values())), **out}


def in_columns(run: Any, split: Any) -> float:
    """Perplexity per residue in the columns of the alignments, where it is known that a column holds one: what the
    profile of the columns is asked. The model pays for nothing else either."""
    ids = torch.tensor(run.modality.prompt(RESIDUES))
    nats, n = 0.0, 0
    for batch in split.batches(16):
        told = run.family.predictions(batch.x, batch.condition.only(run.family.honours() - {"known"}))
        each = told[:, :, ids].log_softmax(-1)
        which = batch.x[:, 1:, None] == ids
        nats, n = nats - float(each[which].sum()), n + int(which.sum())
    return math.exp(nats / n)


def scored(run: Path, variants: Path) -> dict[str, Any]:
    """`genloom score`, and Spearman's correlation once more by scipy."""
    line = [sys.executable, "-m", "genloom", "score", str(run), str(variants), "--json"]
    told = json.loads(subprocess.run(line, check=True, stdout=subprocess.PIPE, text=True).stdout)
    both = [(v["log_likelihood"], v["measured"]) for v in told["variants"] if v["measured"] is not None]
    again = spearmanr(*np.array(both).T).statistic
    return {
        "scored": told["scored"], "measured": told["measured"], "spearman": round(told["spearman"], 4),
        "interval": [round(v, 4) for v in told["interval"]], "spearman_by_scipy": round(float(again), 4),
    }  # fmt: skip


def main() -> None:
    parser = training_options(__doc__, "proteins", threads=2)
    parser.add_argument("variants", type=Path, help="P62593.fasta, mutants with their fitness in the titles")
    given = begun(parser)
    run = trained(given, "protein-families")
    data = run.data()
    test, training = members(run, data.test), members(run, data.train)
    profile = run.modality.figures()["profile_perplexity"]
    every = [[row for rows in side.values() for row in rows] for side in (test, training)]
    result: dict[str, Any] = {
        "command": command("proteins.py", sys.argv[1:]), **machine("biopython"), "seed": given.seed,
        "clock": given.clock, "precision": run.manifest["precision"], "parameters": run.manifest["parameters"],
        "proteins": run.manifest["data"]["train"], "steps": run.manifest["steps"],
        "train_seconds": run.manifest["seconds"], "test_members": len(every[0]),
        "perplexity_per_residue": {k: round(v, 3) for k, v in perplexities(run, data.test, test).items()},
        "of_profile_by_aligning": round(float(profile.measure(*every)), 3),
        "of_profile_in_columns": round(counted(training, test), 3),
        "in_columns_alone": {
            "model": round(in_columns(run, data.test), 3),
            "profile": round(counted(training, test, insertions=False), 3),
        },
        "beta_lactamase": scored(run.path, given.variants),
    }  # fmt: skip
    publish(given, result)


if __name__ == "__main__":
    main()
