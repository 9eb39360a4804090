"""The copying audit where the answer is known: a model of 200 images that it knows by heart, one of 60,000, and real
images of which some are training images.

    python benchmarks/copying.py [--run RUN] [--budget 240]

--run: a finished run on mnist, as of benchmarks/mnist_quality.py --out; without it a GAN is trained for 600 s. Held out
are MNIST's test images in all three. Writes results/copying.json. Time is CPU time of the process on one thread.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
FEW, SHARES = 200, (0.0, 0.01, 0.05, 0.2)
KEPT = ("verdict", "rate", "interval", "p_value", "samples")


def main() -> None:
    parser = argparse.ArgumentParser(description="The copying audit where the answer is known.")
    parser.add_argument("--run", type=Path, help="a finished run on mnist")
    parser.add_argument("--budget", type=float, default=240.0, help="seconds of training on 200 images")
    parser.add_argument("--out", type=Path, default=Path(tempfile.mkdtemp()), help="keep the runs here")
    a = parser.parse_args()
    time.perf_counter = time.process_time

    import numpy as np
    import torch
    from records import command, keep, machine

    import genloom
    from genloom.core.config import DataConfig
    from genloom.data.prepare import prepare
    from genloom.evaluate.audit_grids import audit_grids

    torch.set_num_threads(1)
    mnist = prepare("mnist", "image", {}, DataConfig())

    def pictures(split: Any, rows: Any) -> Any:
        return ((split.batch(rows).x[:, 0] + 1) * 127.5).round().numpy().astype(np.uint8)

    draw = np.random.default_rng(0)
    few = draw.permutation(len(mnist.train))[:FEW]
    held = draw.permutation(len(mnist.test))
    a.out.mkdir(parents=True, exist_ok=True)
    given = a.out / "few.npz"
    np.savez(given, x_train=pictures(mnist.train, few), x_test=pictures(mnist.test, held[:5000]))

    record: dict[str, Any] = {"command": command("copying.py", [])}

    def judged(name: str, run: Any) -> None:
        found = run.evaluate(n=1000).to_json()["copying"]
        record[name] = {k: found.get(k) for k in KEPT} | {"steps": run.manifest["steps"]}
        print(name, record[name], flush=True)

    judged("200 images", genloom.train(given, model="flow", budget=a.budget, out=a.out / "few"))
    plenty = genloom.load(a.run) if a.run else genloom.train("mnist", recipe="mnist-gan", out=a.out / "plenty")
    judged("60,000 images", plenty)

    @dataclass(frozen=True)
    class Part:
        """Some rows of a split."""

        whole: Any
        rows: Any

        def __len__(self) -> int:
            return len(self.rows)

        def batch(self, indices: Any) -> Any:
            return self.whole.batch(self.rows[indices])

        def batches(self, size: int, limit: int | None = None) -> Any:
            n = len(self) if limit is None else min(limit, len(self))
            return (self.batch(np.arange(i, min(i + size, n))) for i in range(0, n, size))

    data = replace(mnist, validation=Part(mnist.test, held[:0]), test=Part(mnist.test, held[:5000]))
    others = mnist.test.batch(held[5000:]).x
    for share in SHARES:
        x, copies = others.clone(), round(share * len(others))
        x[draw.permutation(len(x))[:copies]] = mnist.train.batch(draw.permutation(len(mnist.train))[:copies]).x
        found = audit_grids(x, data, None)
        record[f"{share:.0%} planted"] = {k: found.get(k) for k in KEPT}
        print(share, record[f"{share:.0%} planted"], flush=True)
    print(keep("copying", record | machine()))


if __name__ == "__main__":
    main()
