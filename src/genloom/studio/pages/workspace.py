"""The folder that the studio works in: runs, data, and what the studio keeps for itself. Nothing outside is touched."""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from genloom.core.errors import InputError
from genloom.core.run import CONFIG, MANIFEST
from genloom.studio.pages.kept import Kept

LONGEST = 80  # characters of a name
FORBIDDEN = re.compile(r'[/\\:*?"<>|\s]+')


class Missing(InputError):
    """Something that a request names is not in the workspace."""


@dataclass(frozen=True)
class Dataset:
    """Data in the workspace. path: what a training is given."""

    name: str
    path: Path
    files: int
    size: int


class Workspace:
    """Layout: runs/NAME (run folders) · data/NAME (uploads) · .studio/ (jobs, inspections, curves, outputs)."""

    def __init__(self, root: Path) -> None:
        """Raises InputError when the folder cannot be made."""
        self.root = root.resolve()
        self.runs, self.data, self.own = self.root / "runs", self.root / "data", self.root / ".studio"
        try:
            for folder in (self.runs, self.data, self.own):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise InputError(f"the workspace {root} cannot be made: {e.strerror or e}; choose another folder") from None
        self.standings = Kept(self.own / "standings.json")  # of runs at rest (standing.py)
        self.looking = threading.Lock()  # at all runs: two threads at once take longer than one after the other
        self._read: dict[Path, tuple[tuple[int, int], dict[str, Any]]] = {}

    # -- names from requests ------------------------------------------------------------------------------------------

    def child(self, folder: Path, name: str) -> Path:
        """The path of `name` directly in a folder of the workspace, there or not. Raises Missing for a name that is
        hidden, has parts or leads elsewhere."""
        path = folder / name
        if not is_name(name) or path.parent != folder or not path.resolve().is_relative_to(folder.resolve()):
            raise Missing(f"there is no {shortened(name)} here")
        return path

    def run(self, name: str) -> Path:
        """The folder of a run. Raises Missing."""
        path = self.child(self.runs, name)
        if not (path / CONFIG).is_file():
            raise Missing(f"there is no run {shortened(name)}; it may have been moved or deleted")
        return path

    def dataset(self, name: str) -> Dataset:
        """Raises Missing."""
        path = self.child(self.data, name)
        if not path.exists():
            raise Missing(f"there is no data {shortened(name)}; it may have been moved or deleted")
        return described(path)

    def file(self, folder: Path, name: str) -> Path:
        """A plain file directly in `folder`. Raises Missing."""
        path = self.child(folder, name)
        if path.is_symlink() or not path.is_file():
            raise Missing(f"there is no file {shortened(name)}")
        return path

    # -- what is there ------------------------------------------------------------------------------------------------

    def run_names(self) -> list[str]:
        """Names of the runs, those that began last first."""
        found = [p.parent for p in self.runs.glob(f"*/{CONFIG}") if is_name(p.parent.name)]
        return [p.name for p in sorted(found, key=lambda p: (p.stat().st_ctime, p.name), reverse=True)]

    def datasets(self) -> list[Dataset]:
        """By name."""
        return [described(p) for p in sorted(self.data.iterdir()) if is_name(p.name)]

    def read_json(self, path: Path) -> dict[str, Any]:
        """The JSON object in a file, empty when it is missing or damaged. Kept until the file changes."""
        try:
            stat = path.stat()
            key = (stat.st_mtime_ns, stat.st_size)
            kept = self._read.get(path)
            if kept is None or kept[0] != key:
                value = from_json(path.read_bytes())
                kept = self._read[path] = (key, value if isinstance(value, dict) else {})
        except (OSError, ValueError, RecursionError):
            return {}
        return kept[1]

    def config(self, run: str) -> dict[str, Any]:
        return self.read_json(self.runs / run / CONFIG)

    def manifest(self, run: str) -> dict[str, Any]:
        return self.read_json(self.runs / run / MANIFEST)


def is_name(text: str) -> bool:
    """Whether it can be the name of something in a folder, and of nothing else."""
    return (
        0 < len(text.encode("utf-8", "replace")) <= 255
        and not text.startswith(".")
        and not any(c in "/\\" or unicodedata.category(c) in ("Cc", "Cs") for c in text)
    )


def new_name(text: str, what: str) -> str:
    """A name for a new run or data as a person typed it, with dashes for what no folder can have. Raises InputError."""
    name = FORBIDDEN.sub("-", unicodedata.normalize("NFC", text).strip()).strip("-.")
    name = "".join(c for c in name if c.isprintable())[:LONGEST].strip("-.")
    if not name or len(name.encode()) > 200:
        raise InputError(f"the {what} needs a name of letters or digits, at most {LONGEST} characters long")
    return name


def free_name(folder: Path, name: str) -> str:
    """`name`, or the first of name-2, name-3, ... that `folder` does not have."""
    names = (name if k == 1 else f"{name}-{k}" for k in range(1, 100_000))
    return next(n for n in names if not (folder / n).exists())


def shortened(name: str) -> str:
    return repr(name if len(name) <= 60 else name[:60] + "…")


def described(path: Path) -> Dataset:
    """Data at a path. Of a folder that holds one file alone, that file is the data: an archive, a table, a text."""
    files = list(_files(path))
    single = files[0] if len(files) == 1 and files[0].parent == path else path
    return Dataset(path.name, single, len(files), sum(f.stat().st_size for f in files))


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    elif path.is_dir():
        yield from (p for p in path.rglob("*") if p.is_file() and not p.is_symlink())
