"""What all pages share."""

from __future__ import annotations

import importlib
import shutil
import threading
import time
from pathlib import Path

from genloom.studio.pages.curves import Curves
from genloom.studio.pages.standing import all_standings
from genloom.studio.pages.workspace import Workspace

SOON = 3.0  # seconds until torch is imported, which takes the first page's time if it comes meanwhile
GIVEN_UP = 24 * 3600.0  # seconds after which an upload that did not end is taken for given up


class Studio:
    """A workspace and its curves. Raises InputError when the folder cannot be used."""

    def __init__(self, folder: Path) -> None:
        self.space = Workspace(folder)
        self.curves = Curves(self.space.own / "curves")
        threading.Thread(target=self._warm, daemon=True).start()

    def _warm(self) -> None:
        """Tidy away uploads given up long ago, and do early what takes seconds: look at all runs, import torch."""
        for old in (self.space.own / "incoming").glob("*"):
            if old.stat().st_mtime < time.time() - GIVEN_UP:
                shutil.rmtree(old, ignore_errors=True)
        all_standings(self.space)
        time.sleep(SOON)
        importlib.import_module("genloom.api")
