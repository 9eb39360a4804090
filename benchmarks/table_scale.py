"""Large tables: rows out and in, many levels, many columns; seconds and the peak memory of a process of its own each.

    python benchmarks/table_scale.py out --rows 1000000,3000000       # a forest of Adult into one Parquet file
    python benchmarks/table_scale.py in --rows 1000000                # a forest of Adult's rows drawn again, jittered
    python benchmarks/table_scale.py levels                           # one category of 50,000 levels in 200,000 rows
    python benchmarks/table_scale.py columns                          # 2,000 columns, and one more

Adult is adult.data of the UCI set in $GENLOOM_DATA/adult. `out` is constant in memory: the rows grow, the peak does
not. --light: 5 trees where there are 40 (250 of the target), for more rows in the same time. Writes
results/table_scale.json.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd

LIGHT = {"family.boost.trees": 5, "family.target.trees": 5}


def adult() -> pd.DataFrame:
    from tables import adult

    return adult()[0]


def peak() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def train(data: Any, folder: str, **settings: Any) -> tuple[Any, float]:
    import torch

    import genloom

    torch.set_num_threads(1)
    begin = time.process_time()
    run = genloom.train(data, model="forest", out=Path(folder) / "run", settings=settings)
    return run, round(time.process_time() - begin, 1)


def out(folder: str, light: bool, rows: int) -> dict[str, Any]:
    """`rows` of a trained forest into a Parquet file, as `genloom sample -n ROWS -o FILE` does."""
    import genloom
    from genloom.run.rows import write_rows

    if not (Path(folder) / "run" / "model.safetensors").exists():
        train(adult(), folder, **{"modality.target": "income"}, **(LIGHT if light else {}))
        return {}
    run = genloom.load(Path(folder) / "run")
    before, begin, clock = peak(), time.perf_counter(), time.process_time()
    path = Path(folder) / "made.parquet"
    write_rows(run, rows, path, run.marker("rows", {"n": rows}), options=run.family.Options())
    cpu = time.process_time() - clock
    facts = {"rows": rows, "cpu_seconds": round(cpu, 1), "wall_seconds": round(time.perf_counter() - begin, 1)}
    size = path.stat().st_size / 1e6
    return {**facts, "rows_per_cpu_second": round(rows / cpu), "before_mb": before, "peak_mb": peak(), "file_mb": size}


def taken(folder: str, light: bool, rows: int) -> dict[str, Any]:
    """A forest of `rows` rows of a CSV file: Adult's, drawn with replacement, its numbers moved a little."""
    path = Path(folder) / "in.csv"
    if not path.exists():
        draw, real = np.random.default_rng(0), adult()
        some = real.iloc[draw.integers(0, len(real), rows)].reset_index(drop=True)
        for c in ("age", "fnlwgt", "hours-per-week"):
            moved = some[c] + np.rint(draw.normal(0, 0.05 * some[c].std(), rows)).astype(int)
            some[c] = moved.clip(real[c].min(), real[c].max())
        some.to_csv(path, index=False)
        return {}
    run, cpu = train(path, folder, **{"modality.target": "income"}, **(LIGHT if light else {}))
    return {"rows": rows, "cpu_seconds": cpu, "peak_mb": peak(), "file_mb": path.stat().st_size / 1e6,
            "columns": len(run.modality.columns)}  # fmt: skip


def levels(folder: str, light: bool, rows: int) -> dict[str, Any]:
    """A category of 50,000 levels with a number that depends on it, and 1,000 rows of the model."""
    draw = np.random.default_rng(0)
    level = np.minimum(draw.zipf(1.2, rows) - 1, 49_999)
    level[:50_000] = np.arange(50_000)
    table = pd.DataFrame({"shop": [f"s{v}" for v in level], "x": np.sin(level) + 0.1 * draw.normal(size=rows),
                          "open": draw.random(rows) < 0.3})  # fmt: skip
    run, cpu = train(table, folder)
    made = run.sample(1000)
    known = set(table["shop"])
    assert set(made["shop"]) <= known
    error = float(np.abs(made["x"] - np.sin(made["shop"].str[1:].astype(int))).mean())
    return {"rows": rows, "levels": len(known), "cpu_seconds": cpu, "peak_mb": peak(), "mean_error": round(error, 3)}


def columns(folder: str, light: bool, rows: int) -> dict[str, Any]:
    """2,000 columns train; 2,001 are refused in one sentence."""
    from genloom.core.errors import InputError

    draw = np.random.default_rng(0)
    names = [f"c{k}" for k in range(2000)]
    table = pd.DataFrame(draw.normal(size=(rows, 2000)), columns=names)
    run, cpu = train(table, folder, **{"family.boost.trees": 2, "family.bins": 4})
    made = run.sample(100)
    try:
        train(table.assign(more=1.0), folder)
        refused = ""
    except InputError as e:
        refused = str(e)
    return {"rows": rows, "columns": made.shape[1], "cpu_seconds": cpu, "peak_mb": peak(), "refused": refused}


PARTS: dict[str, tuple[Callable[..., dict[str, Any]], str]] = {  # what is measured, and of how many rows
    "out": (out, "1000000,3000000"), "in": (taken, "1000000"), "levels": (levels, "200000"),
    "columns": (columns, "500"),
}  # fmt: skip


def apart(part: str, *arguments: Any) -> dict[str, Any]:
    """In a process of its own, whose memory is its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(PARTS[part][0], *arguments).result()


def main() -> None:
    parser = argparse.ArgumentParser(description="Large tables.")
    parser.add_argument("part", choices=list(PARTS))
    parser.add_argument("--rows", help="of each measurement")
    parser.add_argument("--light", action="store_true", help="few trees")
    arguments = parser.parse_args()
    from records import RESULTS, command, keep, machine

    name = arguments.part + ("-light" if arguments.light else "")
    record = RESULTS / "table_scale.json"
    results = json.loads(record.read_text())["results"] if record.exists() else {}
    measured = []
    with tempfile.TemporaryDirectory() as folder:
        for rows in map(int, (arguments.rows or PARTS[arguments.part][1]).split(",")):
            facts = apart(arguments.part, folder, arguments.light, rows)
            if not facts:  # what is measured was made ready
                facts = apart(arguments.part, folder, arguments.light, rows)
            measured.append(facts)
            print(json.dumps(facts), flush=True)
    results[name] = {"command": command("table_scale.py", sys.argv[1:]), "measured": measured}
    keep("table_scale", {"results": results, **machine("lightgbm", "pandas", "pyarrow")})


if __name__ == "__main__":
    main()
