"""Multi30k, English to German, from scratch: sacreBLEU on Test2016 and the time that 1,000 sentences take with 5 beams.

Trains the recipe on the raw sentences (train and val of task 1), then translates the 1,000 English sentences of
test_2016_flickr and scores them against the German ones, case and punctuation as they are.

    python benchmarks/translation.py multi30k --budget 45m --out benchmarks/results/translation.json

The folder holds train.en.gz, train.de.gz and the same of val and test_2016_flickr.
"""

from __future__ import annotations

import gzip
import json
import sys
import time
from pathlib import Path
from typing import Any

from records import begun, command, machine, publish, trained, training_options

from genloom.metrics.references import rouge_scores, translation_scores

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
    parser = training_options(__doc__, "translate-small", threads=2)
    parser.add_argument("data", type=Path, help="folder of Multi30k, task 1, raw")
    parser.add_argument("--source", default="en")
    parser.add_argument("--target", default="de")
    parser.add_argument("--beams", type=int, default=5)
    parser.add_argument("--length-penalty", type=float, default=1.0)
    parser.add_argument("--limit", type=int, help="test sentences, fewer for a quick look")
    given = begun(parser)
    run = trained(
        given,
        lambda run: pairs(given.data, run.parent / "multi30k-pairs", given.source, given.target),
        task="translate",
    )
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
    publish(given, result)


if __name__ == "__main__":
    main()
