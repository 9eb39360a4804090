"""What each way of making more of few pairs is worth: held-out nats of the same small translator trained with each.

Equal steps, the same seeds and held-out pairs. Four ways change sources at random, and differ from the first training
in that alone. Back-translation adds pairs: as many further targets as there are pairs, with sources that a translator
of the other direction, trained on the pairs alone, makes up (Sennrich et al. 2016, arXiv:1511.06709).

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
BACK = "back-translation"
WAYS: dict[str, dict[str, Any]] = {
    "none": {}, "drop": {"drop": 0.1}, "swap": {"swap": 0.1}, "noise": {"noise": 0.1}, "synonyms": {"synonyms": 0.15},
    BACK: {},
}  # fmt: skip


Pair = tuple[str, str]


def held_out(run: Run, prepared: Any, real: set[str]) -> float:
    """Nats per character of the targets of the validation pairs whose targets are real."""
    total, count = 0.0, 0
    with torch.no_grad():
        for batch in prepared.validation.batches(64):
            targets = [prepared.modality.decode(x) for x in batch.x]
            counted = torch.tensor([t in real for t in targets])
            total += float(run.family.nll(batch, Rng(0))[counted].sum())
            count += sum(len(t) for t in targets if t in real)
    return total / count


def made_up(pairs: list[Pair], targets: list[str], steps: int, seed: int) -> list[Pair]:
    """(made-up source, target) of each target, by a translator of the other direction."""
    turned = [(t, s) for s, t in pairs]
    out = Path(tempfile.mkdtemp()) / "run"
    reverse = genloom.train(turned, task="translate", steps=steps, seed=seed, settings=SMALL, out=out)
    sources = reverse.translate(targets, options={"beams": 1})
    return [(s, t) for s, t in zip(sources, targets, strict=True) if s.strip()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="pairs, a source and a target divided by a tab on each line")
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--thesaurus", help="as modality.augment.thesaurus; else the first training's embeddings")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with given.data.open(encoding="utf-8") as f:
        read = [line.rstrip("\n").split("\t") for line in itertools.islice(f, 1, 2 * given.pairs + 1)]
    lines = [(s, t) for s, t, *_ in read[: given.pairs]]
    further = [t for _, t, *_ in read[given.pairs :]]
    result: dict[str, Any] = {}
    plain: dict[int, Path] = {}  # the first training of each seed
    for name in given.ways:
        augment = {f"modality.augment.{k}": v for k, v in WAYS[name].items()}
        found = []
        for seed in range(given.seeds):
            out = Path(tempfile.mkdtemp()) / "run"
            if name == "synonyms":
                augment["modality.augment.thesaurus"] = given.thesaurus or str(plain[seed])
            more = made_up(lines, further, given.steps, seed) if name == BACK else []
            data = [*lines, *more]
            run = genloom.train(
                data, task="translate", steps=given.steps, seed=seed, settings={**SMALL, **augment}, out=out
            )
            plain.setdefault(seed, out)
            found.append(round(held_out(run, run.data(data), {t for _, t in lines}), 4))
        result[name] = {"settings": WAYS[name], "nats_per_character": found}
        print(name, json.dumps(result[name]), flush=True)
    if given.out:
        record = {"command": command("augmentation.py", sys.argv[1:]), **machine(), "pairs": len(lines), "ways": result}
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(record, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
