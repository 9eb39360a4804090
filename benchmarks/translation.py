"""Multi30k, English to German, from scratch: sacreBLEU on Test2016 and the time that 1,000 sentences take with 5 beams.

Trains the recipe on the raw sentences (train and val of task 1), then translates the 1,000 English sentences of
test_2016_flickr and scores them against the German ones, case and punctuation as they are.

    python benchmarks/translation.py multi30k --budget 45m --out benchmarks/results/translation.json

The folder holds train.en.gz, train.de.gz and the same of val and test_2016_flickr.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from records import command, machine

import genloom
from genloom.core.config import parse_sets
from genloom.metrics.references import rouge_scores, translation_scores
from genloom.progress import watcher

PARTS = {"train": "train", "val": "val", "test": "test_2016_flickr"}


def lines(folder: Path, part: str, language: str) -> list[str]:
    with gzip.open(folder / f"{PARTS[part]}.{language}.gz", "rt", encoding="utf-8", newline="\n") as f:
        return [" ".join(line.split()) for line in f]


def pairs(folder: Path, target: Path, source: str, language: str) -> Path:
    """The pairs as tables train.tsv, val.tsv and test.tsv, which are the splits of those names."""
    target.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        both = zip(lines(folder, part, source), lines(folder, part, language), strict=True)
        text = f"{source}\t{language}\n" + "".join(f"{a}\t{b}\n" for a, b in both)
        (target / f"{part}.tsv").write_text(text, "utf-8")
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of Multi30k, task 1, raw")
    parser.add_argument("--budget", default=None, help="training time; the recipe's if not given")
    parser.add_argument("--source", default="en")
    parser.add_argument("--target", default="de")
    parser.add_argument("--recipe", default="translate-small")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="settings over the recipe's")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=["cpu", "wall"], default="wall", help="cpu: CPU time of the process")
    parser.add_argument("--beams", type=int, default=5)
    parser.add_argument("--length-penalty", type=float, default=1.0)
    parser.add_argument("--limit", type=int, help="test sentences, fewer for a quick look")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", type=Path, help="folder of the run; one that is there is only judged")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.clock == "cpu":
        time.perf_counter = time.process_time
    folder = given.run or Path(tempfile.mkdtemp()) / "run"
    if not (folder / "model.safetensors").exists():
        with watcher() as progress:
            genloom.train(
                pairs(given.data, folder.parent / "multi30k-pairs", given.source, given.target), task="translate",
                recipe=given.recipe, budget=given.budget, seed=given.seed, settings=parse_sets(given.set), out=folder,
                observers=[progress], notify=progress.notice,
            )  # fmt: skip
    run = genloom.load(folder)
    sources, references = (lines(given.data, "test", k)[: given.limit] for k in (given.source, given.target))
    options = {"beams": given.beams, "length_penalty": given.length_penalty}
    begin = time.perf_counter()
    outputs = run.translate(sources, options=options)
    seconds = time.perf_counter() - begin
    scores = {**translation_scores(outputs, references), **rouge_scores(outputs, references, run.modality.units)}
    losses = [r for r in map(json.loads, run.folder.history.read_text().splitlines()) if "validation" in r["logs"]]
    result: dict[str, Any] = {
        "command": command("translation.py", sys.argv[1:]), **machine("sacrebleu"),
        "precision": run.manifest["precision"], "seed": given.seed, "clock": given.clock,
        "pairs": run.manifest["data"]["train"], "parameters": run.manifest["parameters"],
        "steps": run.manifest["steps"], "train_seconds": run.manifest["seconds"],
        "examples_per_second": run.manifest["examples_per_second"],
        "nats_of_a_validation_sentence": [round(r["logs"]["validation"], 3) for r in losses],
        "sentences": len(sources), "decode_seconds": round(seconds, 2), **options,
        "scores": {
            k: {"value": round(v.value, 3), "error": round(v.error, 3), "signature": v.signature}
            for k, v in scores.items()
        },
        "examples": [dict(zip(("source", "reference", "output"), t, strict=True))
                     for t in list(zip(sources, references, outputs, strict=True))[:5]],
    }  # fmt: skip
    text = json.dumps(result, indent=1, ensure_ascii=False)
    print(text)
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
