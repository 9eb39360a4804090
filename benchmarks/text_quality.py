"""Text in a fixed time on one core: nats per token (with characters as tokens, per character) on the whole validation
split, beside counts and a plain GPT.

    python benchmarks/text_quality.py --data tinyshakespeare --recipe shakespeare-char --budget 141
    python benchmarks/text_quality.py --data coco-captions --budget 141 --plain

Trains through `genloom.train` with one thread. Windows: of a stream, non-overlapping ones of 64 tokens, each scored
without what comes before it; else the documents one by one, cut where the context ends. Own, of streams: as the model
reads, with a sliding window or its carried state. --plain also trains a plain GPT for the same time, as wide, deep and
long as a transformer of ours. Writes results/text_quality-DATA-RECIPE-BUDGET-SEED.json. Time is CPU time of the
process, so that other work on the machine does not change the result; --clock wall takes the wall's.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
WINDOW = 64


def mean(nats: Any) -> float:
    """Of the tokens that were predicted."""
    return round(float(nats[nats > 0].double().mean()), 4)


def main() -> None:
    parser = argparse.ArgumentParser(description="Nats per character after a fixed time.")
    parser.add_argument("--data", default="tinyshakespeare")
    parser.add_argument("--recipe", help="the one that suits the data if not given")
    parser.add_argument("--budget", type=float, default=141.0, help="seconds of training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clock", choices=["cpu", "wall"], default="cpu")
    parser.add_argument("--set", action="append", default=[], help="settings, as for genloom train")
    parser.add_argument("--plain", action="store_true", help="also a plain GPT of the same width, depth and time")
    parser.add_argument("--mix", type=float, nargs="*", default=[0.3], help="weights of counts mixed in afterwards")
    a = parser.parse_args()
    if a.clock == "cpu":
        time.perf_counter = time.process_time

    import numpy as np
    import torch
    from plain_gpt import PlainGPT, train
    from records import command, keep, machine

    import genloom
    from genloom.core.batch import Condition
    from genloom.core.config import DataConfig, parse_sets
    from genloom.core.spec import Tokens
    from genloom.data.prepare import prepare
    from genloom.nets.counts import KneserNey

    torch.set_num_threads(1)
    out = Path(tempfile.mkdtemp()) / "run"
    settings = {"train.grids": 0} | parse_sets(a.set)
    run = genloom.train(
        a.data, recipe=a.recipe, model=None if a.recipe else "autoregressive", budget=a.budget, seed=a.seed, out=out,
        settings=settings, notify=lambda text: print(text, file=sys.stderr),
    )  # fmt: skip
    data = prepare(a.data, "text", run.modality.config.model_dump(), DataConfig())
    spec, held_out = run.modality.spec, data.validation
    assert isinstance(spec, Tokens)
    eos = None if spec.stream else spec.eos
    starts = np.arange((held_out.total - 1) // WINDOW) * WINDOW
    longest = run.config.family.model_dump()["context"] + 1

    def rows() -> Iterator[Any]:
        """[B, T] windows of a stream; documents one by one, cut where the context ends."""
        n = len(starts) if spec.stream else len(held_out)
        for i in range(0, n, 64):
            part = np.arange(i, min(i + 64, n))
            whole = held_out.windows(starts[part], WINDOW + 1) if spec.stream else held_out.batch(part)
            yield whole.x if spec.stream else whole.x[:, :longest]

    def windows(score: Any) -> Any:
        """[N] nats of every token of `rows`, 0 where none is predicted."""
        return torch.cat([score(x).flatten() for x in rows()])

    counts = KneserNey(spec.vocab, eos=eos, pad=spec.pad)
    counts.fit(data.train.tokens[: data.train.total])
    family = run.family.eval()
    scores = {"model": lambda x: family.surprise(x, Condition()), "counts": counts.surprise}
    record_peer: dict[str, Any] = {}
    if a.plain:
        c = run.config.family.model_dump()
        torch.manual_seed(a.seed)
        plain = PlainGPT(
            spec.vocab, 128 if c["cell"] != "transformer" else c["width"], c["depth"] or 4, 4, c["context"]
        )
        steps = train(plain, data.train, a.budget, run.config.train.batch, spec.pad, eos, a.seed)
        plain.eval()
        record_peer = {"steps": steps, "parameters": sum(p.numel() for p in plain.parameters())}
        scores["plain_gpt"] = lambda x: plain.surprise(x, spec.pad, eos)
    results: dict[str, Any] = {}
    per_token: dict[str, Any] = {}
    for name, score in scores.items():
        with torch.no_grad():
            per_token[name] = windows(score)
            results[name] = {"windows": mean(per_token[name])}
            if spec.stream and name != "plain_gpt":
                whole = torch.from_numpy(held_out.tokens[: held_out.total].astype(np.int64))[None]
                results[name]["own"] = mean(score(whole))
        print(name, results[name], flush=True)
    for weight in a.mix:
        mixed = -torch.logaddexp(np.log(1 - weight) - per_token["model"], np.log(weight) - per_token["counts"])
        results[f"model with counts, weight {weight}"] = {
            "windows": mean(torch.where(per_token["model"] > 0, mixed, 0))
        }
    print(json.dumps(results), flush=True)
    manifest = run.manifest
    record = {
        "command": command("text_quality.py", sys.argv[1:]),
        "data": a.data, "recipe": run.config.recipe, "seed": a.seed, "budget_seconds": a.budget, "clock": a.clock,
        "nats_per_token": results, "tokenizer": data.modality.config.model_dump()["tokenizer"],
        "windows_of": WINDOW, "validation_tokens": held_out.total,
        "training": {k: manifest[k] for k in ("steps", "seconds", "parameters", "precision")},
        "plain_gpt": record_peer,
        **machine(),
    }  # fmt: skip
    print(keep(f"text_quality-{a.data}-{run.config.recipe}-{a.budget:g}-{a.seed}", record))


if __name__ == "__main__":
    main()
