"""What each way of changing sources at random is worth: held-out nats of the same small translator trained with each.

Few pairs (augmentation is for little data), equal steps, the same seed; the settings of one training differ from those
of the first in the augmentation alone.

    python benchmarks/augmentation.py pairs.tsv --pairs 2000 --steps 600 --out benchmarks/results/augmentation.json
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from records import command, machine

import genloom
from genloom.core.rng import Rng
from genloom.run import Run

SMALL = {
    "modality.vocab": 2000, "family.width": 96, "family.encoder_depth": 2, "family.depth": 2, "family.dropout": 0.2,
    "train.tokens": 2048, "train.warmup": 20, "train.grids": 0, "train.validate_times": 0, "data.validation": 0.2,
    "data.test": 0.0,
}  # fmt: skip
WAYS: dict[str, dict[str, Any]] = {
    "none": {}, "drop": {"drop": 0.1}, "swap": {"swap": 0.1}, "noise": {"noise": 0.1}, "synonyms": {"synonyms": 0.15},
}  # fmt: skip


def held_out(run: Run, prepared: Any) -> float:
    """Nats per target token of the validation pairs."""
    total, count = 0.0, 0
    with torch.no_grad():
        for batch in prepared.validation.batches(64):
            total += float(run.family.nll(batch, Rng(0)).sum())
            count += int((batch.x[:, 1:] != prepared.modality.spec.pad).sum())
    return total / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="pairs, a source and a target divided by a tab on each line")
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--thesaurus", default="wordnet")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with given.data.open(encoding="utf-8") as f:
        lines = [tuple(line.rstrip("\n").split("\t")[:2]) for line in itertools.islice(f, 1, given.pairs + 1)]
    result: dict[str, Any] = {}
    for name in given.ways:
        augment = {f"modality.augment.{k}": v for k, v in WAYS[name].items()}
        if name == "synonyms":
            augment["modality.augment.thesaurus"] = given.thesaurus
        found = []
        for seed in range(given.seeds):
            out = Path(tempfile.mkdtemp()) / "run"
            run = genloom.train(
                lines, task="translate", steps=given.steps, seed=seed, settings={**SMALL, **augment}, out=out
            )
            found.append(round(held_out(run, run.data(lines)), 4))
        result[name] = {"settings": WAYS[name], "nats_per_token": found}
        print(name, json.dumps(result[name]), flush=True)
    if given.out:
        record = {"command": command("augmentation.py", sys.argv[1:]), **machine(), "pairs": len(lines), "ways": result}
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(record, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
