"""Quality against diversity of captions: BLEU on the test split against self-BLEU, for temperatures from tame to wild.

    python benchmarks/text_gan.py --budget 150
    python benchmarks/text_gan.py --budget 150 --models sequence_gan autoregressive vae

The protocol of Texygen (Zhu et al. 2018): 10,000 samples against the 10,000 test captions, each sample against all
others for self-BLEU, words and signs as units. It gives the published numbers of the samples of a likelihood-trained
LSTM that the project offers: with --instances FILE those are scored too. Trains through `genloom.train` with one
thread. Time is CPU time of the process, so that other work on the machine does not change the result; --clock wall
takes the wall's. Writes results/text_gan-BUDGET-SEED.json.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
DATA = "coco-captions"
RECIPES = {"sequence_gan": "captions-gan", "vae": "sentence-vae", "autoregressive": "text-bpe"}
# Zhu et al. 2018, table of COCO image captions: MLE, BLEU-2 to 5 on the test split and self-BLEU-2 to 5.
PUBLISHED = {"bleu": [0.731, 0.497, 0.305, 0.189], "self_bleu": [0.916, 0.769, 0.583, 0.408]}


def main() -> None:
    parser = argparse.ArgumentParser(description="BLEU against self-BLEU over temperatures.")
    parser.add_argument("--models", nargs="+", default=["sequence_gan", "autoregressive"], choices=RECIPES)
    parser.add_argument("--budget", type=float, default=150.0, help="seconds of training of each model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--n", type=int, default=10_000, help="samples at each temperature")
    parser.add_argument("--temperatures", type=float, nargs="+", default=[0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.15, 1.3])
    parser.add_argument("--set", action="append", default=[], help="settings of sequence_gan, as for genloom train")
    parser.add_argument("--instances", type=Path, help="a file of samples, one a line, to be scored beside")
    parser.add_argument("--clock", choices=["cpu", "wall"], default="cpu")
    parser.add_argument("--out", type=Path, help="keep the runs in this folder")
    parser.add_argument("--runs", type=Path, nargs="+", default=[], help="trained runs to score in place of training")
    parser.add_argument("--name", help="of the result; BUDGET-SEED if not given")
    a = parser.parse_args()
    if a.clock == "cpu":
        time.perf_counter = time.process_time

    import torch
    from records import command, keep, machine

    import genloom
    from genloom.core.config import DataConfig, parse_sets
    from genloom.core.spec import Tokens
    from genloom.data.prepare import prepare
    from genloom.evaluate.diversity import compare, curve, point, sweep
    from genloom.evaluate.passages import tokens_of, units_of
    from genloom.metrics.tradeoff import above

    torch.set_num_threads(1)
    folder = a.out or Path(tempfile.mkdtemp())
    curves: dict[str, Any] = {}
    trainings: dict[str, Any] = {}
    references: Any = None
    real: Any = None
    for which in a.runs or a.models:
        if isinstance(which, Path):
            run = genloom.load(which)
        else:
            settings = {"train.grids": 0, **({} if which != "sequence_gan" else parse_sets(a.set))}
            run = genloom.train(
                DATA, recipe=RECIPES[which], budget=a.budget, seed=a.seed, out=folder / which, settings=settings,
                notify=lambda text: print(text, file=sys.stderr),
            )  # fmt: skip
        manifest, model = run.manifest, run.config.model
        trainings[model] = {k: manifest[k] for k in ("steps", "seconds", "parameters", "precision")}
        spec, modality = run.modality.spec, run.modality
        assert isinstance(spec, Tokens)
        if references is None:
            data = prepare(DATA, "text", modality.config.model_dump(), DataConfig())
            references = units_of(tokens_of(data.test, spec), modality)
            train = units_of(tokens_of(data.train, spec), modality)
            real = point(None, train[: a.n], references)
            print("real", json.dumps(real.to_json()), flush=True)
        for name, options in {model: {}, **{f"{model}: {k}": v for k, v in run.family.contrasts.items()}}.items():
            begin = time.perf_counter()
            curves[name] = sweep(
                run, spec, modality, references, a.n, options=options, seed=a.seed, temperatures=a.temperatures
            )
            print(name, f"{time.perf_counter() - begin:.0f} s", flush=True)
            for p in curves[name]:
                print(json.dumps(p.to_json()), flush=True)
    if a.instances is not None:
        written = [modality.units(line) for line in a.instances.read_text("utf-8").splitlines() if line.strip()]
        curves["instances"] = [point(None, written, references)]
    over = {
        name: [
            above(curve(points, k), s, b) for k, s, b in zip(range(2, 6), *reversed(PUBLISHED.values()), strict=True)
        ]
        for name, points in curves.items()
        if len(points) > 1
    }
    compared = {name: compare(curves[name.split(":")[0]], points) for name, points in curves.items() if ":" in name}
    print("above the published point (BLEU-2 to 5)", json.dumps(over), flush=True)
    print("against its start", json.dumps(compared), flush=True)
    said = command("text_gan.py", sys.argv[1:])
    for path in (*a.runs, *([a.instances] if a.instances else [])):
        said = said.replace(str(path), path.name)
    record = {
        "command": said,
        "data": DATA, "seed": a.seed, "budget_seconds": a.budget, "clock": a.clock, "n": a.n,
        "references": len(references), "published": PUBLISHED, "real": real.to_json(),
        "curves": {name: [p.to_json() for p in points] for name, points in curves.items()},
        "above_published_at_equal_self_bleu": over, "against_its_start_at_equal_self_bleu": compared,
        "training": trainings,
        **machine(),
    }  # fmt: skip
    print(keep(f"text_gan-{a.name or f'{a.budget:g}-{a.seed}'}", record))


if __name__ == "__main__":
    main()
