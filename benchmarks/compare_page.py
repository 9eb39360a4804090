"""How soon the studio's compare page draws its first chart, with 1,000 runs of 100,000 records each.

    python benchmarks/compare_page.py [--runs 1000] [--points 100000] [--distinct 24] [--work FOLDER]

One run is trained for four steps and judged; the others are its folder with other names, times, figures and histories,
as a training writes them. So that the disk need not hold 15 GB, only `--distinct` histories are written and the other
runs have hard links to them. The page is opened in Chromium (Playwright; $GENLOOM_CHROMIUM says where it is), in a new
browser context each time. Cold: the studio has just begun to listen in a workspace that no studio ever saw; anew: a
second studio in it; warm: its page opened again, median of five. Told are seconds from the start of the navigation to
the first chart with a drawn pixel, and the CPU seconds of the server's process meanwhile. Goal: the first chart within
1 s.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
from records import command, keep, machine

import genloom

WARM = 5
# Run before the page's own scripts: notes when the first chart has a pixel that is not transparent.
NOTE = """
(() => {
  const look = () => {
    const canvas = document.querySelector("#chart .uplot canvas");
    const pixels = canvas?.width && canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    if (pixels && pixels.data.some(Boolean)) document.documentElement.dataset.firstChart = performance.now();
    else requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
})();
"""


def history(path: Path, points: int, seed: int) -> None:
    """A history.jsonl of a training of `points` records: a loss that falls, with noise."""
    draw = random.Random(seed)
    scale, fall = draw.uniform(0.5, 2), draw.uniform(0.2, 0.6)
    with open(path, "w", encoding="utf-8") as f:
        for i in range(1, points + 1):
            record = {
                "step": 10 * i, "fraction": round(i / points, 6), "seconds": round(0.21 * i, 3),
                "rate": {"flow": min(1.0, i / 100)},
                "losses": {"flow": scale * i**-fall * math.exp(draw.gauss(0, 0.1))}, "logs": {},
                "examples_per_second": round(draw.uniform(500, 800), 1), "data_wait": 5e-05,
            }  # fmt: skip
            f.write(json.dumps(record) + "\n")


def made(space: Path, runs: int, points: int, distinct: int) -> None:
    """A workspace with so many runs."""
    template = space / "template"
    genloom.train("digits", model="flow", steps=4, settings={"family.width": 8, "train.grids": 0}, out=template)
    genloom.load(template).evaluate(n=64)
    manifest = json.loads((template / "manifest.json").read_text("utf-8"))
    judged = json.loads((template / "evaluation.json").read_text("utf-8"))
    draw, first = random.Random(0), datetime(2026, 1, 1, tzinfo=UTC)
    for k in range(runs):
        folder = space / "runs" / f"run-{k:04d}"
        folder.mkdir(parents=True)
        shutil.copy(template / "config.json", folder)
        begun = first + timedelta(minutes=30 * k)
        manifest |= {"started": begun.isoformat(), "finished": (begun + timedelta(minutes=20)).isoformat()}
        manifest["seconds"] = draw.uniform(60, 1200)
        for figure in judged["figures"]:
            if figure["value"] is not None:
                figure["value"] *= draw.uniform(0.9, 1.1)
        (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")
        (folder / "evaluation.json").write_text(json.dumps(judged), "utf-8")
        if k < distinct:
            history(folder / "history.jsonl", points, k)
        else:
            os.link(space / "runs" / f"run-{k % distinct:04d}" / "history.jsonl", folder / "history.jsonl")
    shutil.rmtree(template)


@contextlib.contextmanager
def studio(space: Path) -> Iterator[tuple[str, psutil.Process]]:
    """The address and the process of a studio."""
    server = subprocess.Popen(
        [sys.executable, "-m", "genloom", "studio", str(space), "--no-browser", "--port", "0"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        yield server.stdout.readline().strip(), psutil.Process(server.pid)
    finally:
        server.terminate()
        server.wait()


def opened(browser: Any, address: str, server: psutil.Process) -> dict[str, float]:
    """Open the page once. chart: the first chart; answer: the page's last byte; server_cpu: seconds."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.add_init_script(NOTE)
    before = sum(server.cpu_times()[:2])
    page.goto(f"{address}/compare", wait_until="commit")
    page.wait_for_selector("html[data-first-chart]", state="attached", timeout=120_000)
    cpu = sum(server.cpu_times()[:2]) - before
    chart = float(page.locator("html").get_attribute("data-first-chart"))
    answer = page.evaluate("performance.getEntriesByType('navigation')[0].responseEnd")
    context.close()
    return {"chart": round(chart / 1000, 3), "answer": round(answer / 1000, 3), "server_cpu": round(cpu, 3)}


def measured(space: Path) -> dict[str, Any]:
    from playwright.sync_api import sync_playwright

    path = os.environ.get("GENLOOM_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=path, args=["--no-sandbox"])
        browser.new_page().goto("about:blank")  # the browser itself is warm
        with studio(space) as (address, server):
            cold = opened(browser, address, server)
            warm = [opened(browser, address, server) for _ in range(WARM)]
        with studio(space) as (address, server):
            anew = opened(browser, address, server)
        browser.close()
    middle = {k: statistics.median(w[k] for w in warm) for k in warm[0]}
    return {"cold": cold, "anew": anew, "warm": middle, "warm_each": warm}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--points", type=int, default=100_000, help="records of each history")
    parser.add_argument("--distinct", type=int, default=24, help="histories that are written; the others are links")
    parser.add_argument("--work", type=Path, help="folder to make the workspace in; a temporary one if not given")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.work) as folder:
        space = Path(folder)
        made(space, given.runs, given.points, given.distinct)
        size = (space / "runs" / "run-0000" / "history.jsonl").stat().st_size
        figures = measured(space)
    record = {
        "runs": given.runs, "points": given.points, "history_bytes": size, "seconds": figures,
        "command": command("compare_page.py", sys.argv[1:]), "load_average": round(os.getloadavg()[0], 1),
        **machine("fastapi", "uvicorn", "playwright"),
    }  # fmt: skip
    print(json.dumps(record, indent=2))
    print(keep("compare_page", record))


if __name__ == "__main__":
    main()
