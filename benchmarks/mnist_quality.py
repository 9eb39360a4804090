"""MNIST in a fixed time on one core, judged by an independent classifier (judge.py).

    python benchmarks/mnist_quality.py --recipe mnist-gan --seed 0 --budget 600

Trains through `genloom.train` with one thread, draws 5,000 samples and writes results/mnist_quality-RECIPE-SEED.json.
Time is CPU time of the process by default, so that other work on the machine does not change the result; --clock wall
takes the clock on the wall. Needs the MNIST files in $GENLOOM_DATA/mnist or a network.
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--budget", type=float, default=600.0, help="seconds of training")
    parser.add_argument("--clock", choices=["cpu", "wall"], default="cpu")
    parser.add_argument("--set", action="append", default=[], help="settings, as for genloom train")
    parser.add_argument("--n", type=int, default=5000, help="samples to judge")
    parser.add_argument("--option", action="append", default=[], help="of sampling, as in autoguidance=1.35")
    parser.add_argument("--steps", default="", help="for flows: solver steps to compare, as in 8,16,50")
    parser.add_argument(
        "--out", type=Path, help="keep the run here; a finished run that is there is judged, not trained"
    )
    a = parser.parse_args()
    if a.clock == "cpu":
        time.perf_counter = time.process_time

    import torch
    from judge import Judge
    from records import command, keep, machine

    import genloom
    from genloom.core.config import parse_sets

    torch.set_num_threads(1)
    judge = Judge()
    out = a.out or Path(tempfile.mkdtemp()) / "run"
    if (out / "model.safetensors").exists():
        run = genloom.load(out)
    else:
        run = genloom.train(
            "mnist",
            recipe=a.recipe,
            budget=a.budget,
            seed=a.seed,
            out=out,
            settings=parse_sets(a.set),
            notify=lambda text: print(text, file=sys.stderr),
        )
    manifest = run.manifest
    results: dict[str, Any] = {}
    for steps in [int(s) for s in a.steps.split(",") if s] or [None]:
        begin = time.process_time()
        options = {**parse_sets(a.option), **({"steps": steps} if steps else {})}
        x, labels = run.sample_tensor(a.n, seed=1, options=options or None)
        seconds = time.process_time() - begin
        results["default" if steps is None else f"steps={steps}"] = {
            **judge.judge(x, labels),
            "samples_per_second": round(a.n / seconds, 1),
        }
        print(json.dumps(results), flush=True)
    record = {
        "command": command("mnist_quality.py", sys.argv[1:]),
        "recipe": a.recipe,
        "seed": a.seed,
        "budget_seconds": a.budget,
        "clock": a.clock,
        "samples": results,
        "real_training_images": judge.real(a.n),
        "judge_accuracy": round(judge.accuracy, 4),
        "training": {
            k: manifest[k]
            for k in ("steps", "seconds", "examples_per_second", "data_wait", "skipped", "parameters", "precision")
        },
        **machine(),
    }
    print(keep(f"mnist_quality-{a.recipe}-{a.seed}{'-steps' if a.steps else ''}", record))


if __name__ == "__main__":
    main()
