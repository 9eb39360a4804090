"""Time and bytes that marks add to a file, part by part.

    python benchmarks/marking.py [--number 200] [--size 28] [--out FOLDER]

Pictures of noise of one channel; noise is the worst case for a thumbnail. Times are CPU milliseconds a file, the mean
of a batch, with the first file of a batch apart: it also loads the packages. Writing to the disk is not counted: a mark
is put in before the one write that every file gets. "defaults" is c2pa-python as it comes: with a thumbnail, and with
the file read again after signing.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from records import RESULTS, command, keep, machine

from genloom.provenance import Batch, Identity, Mark, Marker, credentials, mark
from genloom.provenance.identity import new_pem, read_identity

DEFAULTS: dict[str, Any] = {"builder": {"thumbnail": {"enabled": True}}, "verify": {"verify_after_sign": True}}
MARK = Mark("mnist-flow", "sample", "ab" * 32, seed=0, index=0, label="7")


def pictures(n: int, size: int) -> list[bytes]:
    rng, out = np.random.default_rng(0), []
    for _ in range(n):
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (size, size), dtype=np.uint8)).save(file, "PNG")
        out.append(file.getvalue())
    return out


def measure(files: list[bytes], work: Callable[[int, bytes], bytes]) -> dict[str, float]:
    """Milliseconds and bytes that `work` adds to a file."""
    work(0, files[0])
    cpu, wall = time.process_time(), time.perf_counter()
    sizes = [len(work(i, data)) - len(data) for i, data in enumerate(files)]
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    n = len(files)
    return {"ms": round(1e3 * cpu / n, 3), "wall_ms": round(1e3 * wall / n, 3), "bytes": round(sum(sizes) / n)}


def batch(files: list[bytes], identity: Identity | None, folder: Path) -> dict[str, float]:
    """All of it, as a command does it: marks in every file and the record of the batch."""
    marker = Marker(Batch("mnist-flow", "ab" * 32, "sample", {"n": len(files), "seed": 0}), identity)
    marker.places = {f"{i:06d}": (i, "7") for i in range(len(files))}
    figures = measure(files, lambda i, data: marker(folder / f"{i:06d}.png", data))
    marker.entries = marker.entries[1:]  # the one of the warm-up
    begin = time.process_time()
    record = marker.record(folder)
    assert record is not None
    figures["record_ms"] = round(1e3 * (time.process_time() - begin) / len(files), 3)
    figures["record_bytes"] = round(record.stat().st_size / len(files))
    figures["all_ms"] = round(figures["ms"] + figures["record_ms"], 3)
    figures["all_bytes"] = figures["bytes"] + figures["record_bytes"]
    return figures


def sealed(files: list[bytes], identity: Identity, settings: dict[str, Any]) -> dict[str, float]:
    """Content Credentials alone, with the library's settings given."""
    kept, credentials.SETTINGS = credentials.SETTINGS, settings
    try:
        sealer = credentials.Sealer(identity, "0")
        return measure(files, lambda i, data: sealer.seal(data, ".png", MARK))
    finally:
        credentials.SETTINGS = kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number", type=int, default=200)
    parser.add_argument("--size", type=int, default=28)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    files = pictures(arguments.number, arguments.size)
    few = files[: max(2, arguments.number // 10)]
    with tempfile.TemporaryDirectory() as scratch:
        pem = Path(scratch) / "identity.pem"
        pem.write_bytes(new_pem())
        identity = read_identity(pem)
        no_thumbnail = {**DEFAULTS, "builder": {"thumbnail": {"enabled": False}}}
        no_reading = {**DEFAULTS, "verify": {"verify_after_sign": False}}
        figures = {
            "all": batch(files, identity, Path(scratch)),
            "without Content Credentials": batch(files, None, Path(scratch)),
            "light mark": measure(files, lambda i, data: mark.put(data, ".png", MARK)),
            "Content Credentials": sealed(files, identity, credentials.SETTINGS),
            "Content Credentials, defaults": sealed(few, identity, DEFAULTS),
            "Content Credentials, no thumbnail": sealed(few, identity, no_thumbnail),
            "Content Credentials, not read again": sealed(few, identity, no_reading),
        }
    document = {
        "command": command("marking.py", sys.argv[1:]),
        "files": arguments.number,
        "pixels": f"{arguments.size}x{arguments.size}x1",
        "figures": figures,
        **machine("c2pa-python", "cryptography"),
    }
    keep("marking", document, arguments.out)
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
