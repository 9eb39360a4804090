"""Someone who has never seen the studio: a folder of own pictures, a trained model, ten samples saved."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from browser import Server, Watched, chromium

MOST_ACTIONS = 12  # of a person: clicks, a folder chosen, a number typed; at 10 s each, under the three minutes asked


class Person:
    """Counts what a person does, and the time until the page has taken it."""

    def __init__(self) -> None:
        self.actions, self.seconds = 0, 0.0

    def does(self, act: Callable[[], Any]) -> None:
        begin = time.monotonic()
        act()
        self.actions, self.seconds = self.actions + 1, self.seconds + time.monotonic() - begin


def test_own_pictures_to_ten_samples_in_few_actions(tmp_path: Path) -> None:
    """Everything is found from the first page by what it is called; nothing is typed but two numbers."""
    draw = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    for k in range(60):
        values = np.full((16, 16, 3), draw.integers(0, 256, 3), np.uint8)
        values[k % 16] = 255
        Image.fromarray(values).save(tmp_path / "pictures" / f"{k:02d}.png")
    server, person = Server(tmp_path / "space"), Person()
    try:
        with chromium() as browser:
            page = Watched(browser, server, tmp_path).open("/")
            page.set_default_timeout(120_000)
            person.does(lambda: page.get_by_role("link", name="Data", exact=True).first.click())
            person.does(lambda: page.locator("#folder").set_input_files(tmp_path / "pictures"))
            person.does(lambda: page.get_by_role("button", name="Add", exact=True).click())
            page.wait_for_url("**/data/own/pictures")
            person.does(lambda: page.get_by_role("link", name="Train on it").click())
            page.wait_for_load_state("load")
            person.does(lambda: page.locator("#length").fill("0.1"))
            person.does(lambda: page.get_by_role("button", name="Start training").click())
            page.locator("#state.finished").wait_for()
            person.does(lambda: page.get_by_role("link", name="Playground").first.click())
            page.wait_for_url("**/play")  # with its scripts, which are quicker than a person
            person.does(lambda: page.locator("#n").fill("10"))
            person.does(lambda: page.get_by_role("button", name="Draw", exact=True).click())
            page.locator("#batches .batch").first.wait_for()
            with page.expect_download() as download:
                person.does(lambda: page.get_by_role("link", name="Save all").first.click())
            with zipfile.ZipFile(download.value.path()) as saved:
                own = [n for n in saved.namelist() if n.endswith(".png") and n.startswith("0000")]
            assert len(own) == 10 and person.actions <= MOST_ACTIONS
    finally:
        server.kill()
    print(f"{person.actions} actions, {person.seconds:.1f} s until the pages had taken them")
