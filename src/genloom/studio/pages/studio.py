"""What all pages share."""

from __future__ import annotations

import importlib
import threading
from pathlib import Path

from genloom.studio.pages.curves import Curves
from genloom.studio.pages.standing import all_standings
from genloom.studio.pages.workspace import Workspace


class Studio:
    """A workspace and its curves. Raises InputError when the folder cannot be used."""

    def __init__(self, folder: Path) -> None:
        self.space = Workspace(folder)
        self.curves = Curves(self.space.own / "curves")
        threading.Thread(target=self._warm, daemon=True).start()

    def _warm(self) -> None:
        """Do early what takes seconds: look at all runs once, import torch."""
        all_standings(self.space)
        importlib.import_module("genloom.api")
