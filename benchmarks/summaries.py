"""Summaries of SciTLDR's abstracts from scratch, beside the first sentence of each: ROUGE on the test split.

    python benchmarks/summaries.py scitldr --budget 10m --out benchmarks/results/summaries.json

The folder holds train.jsonl, dev.jsonl and test.jsonl. The first of several reference summaries counts.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from records import command, machine

import genloom
from genloom.core.config import parse_sets
from genloom.evaluate.tasks import first_sentence
from genloom.metrics.references import rouge_scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--budget", default="10m")
    parser.add_argument("--limit", type=int, help="test documents, fewer for a quick look")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--clock", choices=["cpu", "wall"], default="wall", help="cpu: CPU time of the process")
    parser.add_argument("--run", type=Path)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.clock == "cpu":
        time.perf_counter = time.process_time
    out = given.run or Path(tempfile.mkdtemp()) / "run"
    run = genloom.train(given.data, task="summarise", budget=given.budget, settings=parse_sets(given.set), out=out)
    rows = [json.loads(line) for line in (given.data / "test.jsonl").read_text("utf-8").splitlines()][: given.limit]
    documents, references = ["\n".join(r["source"]) for r in rows], [r["target"][0] for r in rows]
    sides = {"model": run.summarise(documents), "first sentence": [first_sentence(d) for d in documents]}
    scores = {
        name: {k: {"value": round(v.value, 4), "error": round(v.error, 4)} for k, v in rouge.items()}
        for name, rouge in ((n, rouge_scores(t, references, run.modality.units)) for n, t in sides.items())
    }
    record = {
        "command": command("summaries.py", sys.argv[1:]), **machine(), "steps": run.manifest["steps"],
        "seconds": run.manifest["seconds"], "train": run.manifest["data"]["train"], "documents": len(rows),
        "scores": scores,
        "examples": [{"reference": r, "model": m} for r, m in list(zip(references, sides["model"], strict=True))[:5]],
    }  # fmt: skip
    print(json.dumps(record, indent=1, ensure_ascii=False))
    if given.out:
        given.out.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
