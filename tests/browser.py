"""A real browser on a real studio, for tests. Skips where playwright or Chromium is missing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

AXE = Path(__file__).with_name("axe.min.js")
WIDTHS = (1280, 390)


class Server:
    """`genloom studio` in a process of its own."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "genloom", "studio", str(folder), "--no-browser", "--port", str(port)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        assert self.address.startswith("http://127.0.0.1:")

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def kill(self) -> None:
        """As a power cut would: no chance to tidy up."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser of playwright."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = os.environ.get("GENLOOM_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("there is no Chromium on this machine; $GENLOOM_CHROMIUM says where it is")
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


class Watched:
    """A page of which every request and every complaint of the browser is kept."""

    def __init__(self, browser: Any, server: Server, shots: Path, **options: Any) -> None:
        self.context = browser.new_context(viewport={"width": WIDTHS[0], "height": 900}, locale="en-US", **options)
        self.page, self.server, self.shots = self.context.new_page(), server, shots
        self.page.set_default_timeout(40_000)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.context.on("request", lambda r: self.requests.append(r.url))
        self.page.on("pageerror", lambda e: self.complaints.append(str(e)))

    def open(self, path: str) -> Any:
        self.page.goto(self.server.address + path)
        return self.page

    def check(self, name: str) -> None:
        """Nothing came from elsewhere, axe finds no serious fault, and it fits a phone; keeps pictures of it."""
        outside = [u for u in self.requests if not u.startswith((self.server.address + "/", "data:", "blob:"))]
        assert not outside and not self.complaints, (outside, self.complaints)
        for width in WIDTHS:
            self.page.set_viewport_size({"width": width, "height": 900})
            self.page.wait_for_timeout(150)
            assert self.page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} is wider than {width}"
            self.page.screenshot(path=self.shots / f"{name}-{width}.png", full_page=True)
        self.page.set_viewport_size({"width": WIDTHS[0], "height": 900})
        self.page.evaluate(AXE.read_text("utf-8"))
        found = self.page.evaluate("axe.run().then(r => r.violations)")
        serious = [
            (v["id"], v["help"], [n["html"][:200] for n in v["nodes"]][:3])
            for v in found
            if v["impact"] in ("serious", "critical")
        ]
        assert not serious, (name, serious)
