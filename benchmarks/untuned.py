"""Data that no recipe was tuned for: every family with its defaults and an equal time, judged by genloom's own figures.

    python benchmarks/untuned.py --data clothing-small --budget 100

--limit N takes the first N training images of the set as a flat folder (a few hundred pictures of one's own); samples
are then judged against the 1,000 images after them, as 30 held-out ones allow no figure. A finished run in --out is
judged, not trained. Writes results/untuned-DATA.json. Time is CPU time of the process on one thread, so that other work
does not change the result.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
CANDIDATES: dict[str, dict[str, Any]] = {
    "flow": {"model": "flow"},
    "latent-flow": {"model": "flow", "settings": {"family.latent": True}},
    "gan": {"model": "gan"},
    "vae": {"model": "vae"},
    "autoencoder": {"model": "autoencoder"},
}


OTHERS = 1000


def flat_folder(name: str, first: int, last: int, folder: Path) -> Path:
    """Training images `first` to `last` of a set, written as PNG files into one folder."""
    import numpy as np

    from genloom.core.config import DataConfig
    from genloom.data.prepare import prepare

    data = prepare(name, "image", {}, DataConfig())
    batch = data.train.batch(np.arange(first, min(last, len(data.train))))
    data.modality.write([data.modality.decode(x) for x in batch.x], folder, [f"{i:04d}" for i in range(len(batch))])
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description="Every family on data that no recipe was tuned for.")
    parser.add_argument("--data", default="clothing-small")
    parser.add_argument("--limit", type=int, help="take this many images, without labels")
    parser.add_argument("--budget", type=float, default=100.0, help="seconds of training")
    parser.add_argument("--model", action="append", choices=list(CANDIDATES), help="only these; may be repeated")
    parser.add_argument("--out", type=Path, default=Path(tempfile.mkdtemp()))
    a = parser.parse_args()
    time.perf_counter = time.process_time

    import torch
    from records import command, keep, machine

    import genloom

    torch.set_num_threads(1)
    source, against = a.data, None
    if a.limit is not None:
        source = str(flat_folder(a.data, 0, a.limit, a.out / f"{a.data}-{a.limit}"))
        judged = a.out / f"{a.data}-judged"  # the same training images, and others as the test split
        flat_folder(a.data, 0, a.limit, judged / "train")
        flat_folder(a.data, a.limit, a.limit + OTHERS, judged / "test")
        against = str(judged)
    results: dict[str, Any] = {}
    for name in a.model or CANDIDATES:
        out = a.out / f"{Path(source).name}-{name}"
        if (out / "model.safetensors").exists():
            run = genloom.load(out)
        else:
            run = genloom.train(source, budget=a.budget, out=out, **CANDIDATES[name])
        evaluation = run.evaluate(against, n=1000).to_json()
        results[name] = {
            "figures": {
                f["name"]: {k: f[k] for k in ("value", "interval", "ceiling", "floor", "n")}
                for f in evaluation["figures"]
            },
            "features": evaluation["figures"][0]["features"],
            "training": {k: run.manifest[k] for k in ("steps", "seconds", "examples_per_second", "parameters")},
        }
        print(name, {k: v["value"] for k, v in results[name]["figures"].items()}, flush=True)
    label = Path(source).name
    record = {
        "command": command("untuned.py", sys.argv[1:]),
        "budget_seconds": a.budget,
        "clock": "cpu",
        "results": results,
        **machine(),
    }
    print(keep(f"untuned-{label}", record))


if __name__ == "__main__":
    main()
