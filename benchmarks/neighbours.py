"""Time and memory of exact nearest neighbours: 10,000 x 10,000 in 512 dimensions.

python benchmarks/neighbours.py [--rows 10000] [--width 512] [--neighbours 1 51]
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
from records import RESULTS, command, keep, machine

from genloom.metrics.neighbours import nearest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--neighbours", type=int, nargs="+", default=[1, 51])
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    draw = np.random.default_rng(0)
    a, b = (draw.standard_normal((arguments.rows, arguments.width), dtype=np.float32) for _ in range(2))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times = {}
    for k in arguments.neighbours:
        begin, used = time.perf_counter(), time.process_time()
        nearest(a, b, k)
        times[k] = {"seconds": round(time.perf_counter() - begin, 2), "cpu": round(time.process_time() - used, 2)}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    record = {
        "command": command("neighbours.py", sys.argv[1:]),
        "rows": arguments.rows,
        "width": arguments.width,
        "neighbours": times,
        "megabytes": {"peak": round(peak / 1024), "before": round(before / 1024)},
        **machine(),
    }
    keep(f"neighbours-{arguments.rows}-{arguments.width}", record, arguments.out)
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
