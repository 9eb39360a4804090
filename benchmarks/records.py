"""What benchmarks share: the options and the training of one run; what a record says of how it was made, and where it
is kept."""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genloom.run import Run

RESULTS = Path(__file__).parent / "results"


def command(script: str, arguments: Sequence[str]) -> str:
    """The command to repeat a benchmark: without --out, and other folders of one machine by their last part alone."""
    kept, rest = [], iter(arguments)
    for argument in rest:
        if argument == "--out":
            next(rest, None)
        elif not argument.startswith("--out="):
            kept.append(Path(argument).name if Path(argument).is_absolute() else argument)
    return " ".join(["python", f"benchmarks/{script}", *kept])


def machine(*packages: str) -> dict[str, Any]:
    """Versions of Python, genloom, torch, numpy and `packages`; threads, cores and processor."""
    import torch

    names = ("genloom", "torch", "numpy", *packages)
    return {
        "versions": {"python": platform.python_version(), **{n: version(n) for n in names}},
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "cpu": cpu_model(),
    }


def keep(name: str, record: Mapping[str, Any], folder: Path = RESULTS) -> Path:
    """Write a record as folder/name.json."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(record, indent=2) + "\n", "utf-8")
    return path


def cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return names[0].split(":", 1)[1].strip() if names else platform.processor()


def training_options(about: str | None, recipe: str | None = None, threads: int = 1) -> argparse.ArgumentParser:
    """A parser with the options of a benchmark that trains one run. about: the docstring of its module. recipe: the one
    that is trained where --recipe says no other; without, there is no such option. threads: where --threads is not
    given."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", default=None, help="training time; the recipe's if not given")
    if recipe is not None:
        parser.add_argument("--recipe", default=recipe)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="settings over the recipe's")
    parser.add_argument("--threads", type=int, default=threads)
    parser.add_argument("--clock", choices=["cpu", "wall"], default="wall", help="cpu: CPU time of the process")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", type=Path, help="folder of the run; one that is there is only judged")
    parser.add_argument("--out", type=Path)
    return parser


def begun(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """What was typed, after threads and clock are set as it asks."""
    import torch

    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.clock == "cpu":
        time.perf_counter = time.process_time
    return given


def trained(
    given: argparse.Namespace, data: Any, recipe: str | None = None, steps: int | None = None, task: Any = None
) -> Run:
    """The run in --run, trained before if it is not there. data: what `genloom.train` takes, or a function that makes
    it beside the folder of the run, which it is given. recipe: in place of --recipe. steps: in place of
    a budget."""
    import genloom
    from genloom.core.config import parse_sets
    from genloom.progress import watcher

    folder = given.run or Path(tempfile.mkdtemp()) / "run"
    if not (folder / "model.safetensors").exists():
        with watcher() as progress:
            genloom.train(
                data(folder) if callable(data) else data, recipe=recipe or given.recipe, budget=given.budget,
                seed=given.seed, settings=parse_sets(given.set), out=folder, observers=[progress],
                notify=progress.notice, steps=steps, task=task,
            )  # fmt: skip
    return genloom.load(folder)


def publish(given: argparse.Namespace, record: Mapping[str, Any]) -> None:
    """A record on the standard output, and in the file of --out."""
    text = json.dumps(record, indent=1, ensure_ascii=False)
    print(text)
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(text + "\n", "utf-8")
