"""What going on from a trained model is worth on little text: held-out bits per character on 300 Tang poems.

Four models of one size see the same 300 poems for as many steps, or not at all: trained on them alone; trained before
on the other poems and not since; trained on from there with all weights; trained on with low-rank changes only (LoRA).
Held out are 300 more poems that none of them saw. Models that know different characters are compared over one alphabet,
that of all poems: what a model does not know is, each as likely, one of the characters that it does not know.
`with_unknown_as_one` leaves that out, which favours the model that knows fewest: the one trained on the 300 alone.

    python benchmarks/finetune.py --pretrain 300 --steps 150 --out benchmarks/results/finetune.json
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from pathlib import Path
from typing import Any

import torch
from records import keep, machine
from torch.nn.utils.rnn import pad_sequence

import genloom
from genloom.core.batch import Condition
from genloom.core.config import DataConfig
from genloom.data.prepare import prepare
from genloom.run import Run

SIZE = {
    "family.width": 64, "family.depth": 2, "family.heads": 2, "family.context": 64, "family.ngrams": 2,
    "family.ngram_rows": 2**15, "train.batch": 16, "train.validate_times": 4,
}  # fmt: skip
QUIET = {"train.grids": 0, "modality.unit": "document", "modality.tokenizer": "char"}


def poems(count: int) -> list[str]:
    """Tang poems, drawn once."""
    prepared = prepare("tang-poems", "text", {}, DataConfig())
    texts = [prepared.modality.decode(x) for b in prepared.train.batches(256) for x in b.x]
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(0))[:count].tolist()
    return [texts[i] for i in order]


def bits(run: Run, texts: list[str], alphabet: set[str]) -> tuple[float, float]:
    """Bits per character of whole poems, their ends included: with a character that the model does not know as one of
    all in the alphabet that it does not know, each as likely; and as just "unknown"."""
    x = pad_sequence([run.modality.encode(t) for t in texts], batch_first=True)
    nats = sum(float(run.family.surprise(part, Condition()).sum()) for part in x.split(64))
    known = set(run.modality.vocabulary.characters)
    unknown = sum(c not in known for t in texts for c in t)
    spelled = unknown * math.log2(max(1, len(alphabet - known)))
    places = sum(len(t) + 1 for t in texts)
    return (nats / math.log(2) + spelled) / places, nats / math.log(2) / places


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pretrain", type=int, default=300, help="steps on the other poems")
    parser.add_argument("--steps", type=int, default=150, help="steps on the 300")
    parser.add_argument("--few", type=int, default=300)
    parser.add_argument("--most", type=int, default=12000, help="poems in all")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--runs", type=Path, help="folder for the runs; a run that is there is not trained again")
    given = parser.parse_args()
    texts = poems(given.most)
    few, held_out, others = texts[: given.few], texts[given.few : 2 * given.few], texts[2 * given.few :]
    alphabet = {c for t in texts for c in t}
    folder = given.runs or Path(tempfile.mkdtemp())
    kinds: dict[str, tuple[list[str], int, dict[str, Any]]] = {
        "base": (others, given.pretrain, {"settings": {**SIZE, **QUIET}}),
        "scratch": (few, given.steps, {"settings": {**SIZE, **QUIET}}),
        "full": (few, given.steps, {"settings": QUIET, "start": folder / "base"}),
        "lora": (few, given.steps, {"settings": QUIET, "start": folder / "base", "lora": True}),
    }
    result: dict[str, Any] = {}
    for name, (data, steps, how) in kinds.items():
        run = (
            genloom.load(folder / name)
            if (folder / name / "model.safetensors").exists()
            else genloom.train(data, model="autoregressive", steps=steps, out=folder / name, **how)
        )
        weights = list(run.family.parameters())
        trained = sum(p.numel() for p in weights if p.requires_grad)
        spelled, plain = bits(run, held_out, alphabet)
        result[name] = {
            "bits_per_character": round(spelled, 4), "with_unknown_as_one": round(plain, 4),
            "steps": run.manifest["steps"],
            "seconds": run.manifest["seconds"], "trained": trained, "parameters": sum(p.numel() for p in weights),
        }  # fmt: skip
        print(name, json.dumps(result[name]), flush=True)
    b = {n: r["bits_per_character"] for n, r in result.items()}
    summary = {
        "full_below_scratch": round(1 - b["full"] / b["scratch"], 4),
        "share_of_gain_by_lora": round((b["scratch"] - b["lora"]) / (b["scratch"] - b["full"]), 4),
        "share_of_weights_by_lora": round(result["lora"]["trained"] / result["lora"]["parameters"], 4),
    }
    c = {n: r["with_unknown_as_one"] for n, r in result.items()}
    summary["full_below_scratch_with_unknown_as_one"] = round(1 - c["full"] / c["scratch"], 4)
    print(json.dumps(summary))
    if given.out:
        about = {"few": given.few, "held_out": len(held_out), "others": len(others), "seed": 0}
        keep(given.out.stem, {**about, "models": result, **summary, **machine()}, given.out.parent)


if __name__ == "__main__":
    main()
