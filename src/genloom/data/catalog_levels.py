"""Named sets of game levels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from genloom.data.catalog_files import Entry, at, fetch, known_digest
from genloom.data.items import Source

if TYPE_CHECKING:
    from genloom.data.texts import Wishes

_VGLC = at("", "sha256:f24021decc72890b74b6a324e301c8638162d11fbdd17897fceb353605fc22e8 257264 vglc-processed.zip")
_NOTE = "a zip of the processed levels of its home, not published"
_HOME = "https://github.com/TheVGLC/TheVGLC"
_LICENCE = "MIT (the annotations); the levels are of commercial games"


def _inside(pattern: str) -> Callable[[Entry, Wishes], Source]:
    """The files of the corpus whose names have the pattern."""

    def opened(entry: Entry, wishes: Wishes) -> Source:
        from genloom.data.texts import archive_items

        path = fetch(entry, entry.files[0])
        return Source(entry.name, known_digest(entry), lambda: archive_items(path, wishes, pattern))

    return opened


def _ruins(entry: Entry, wishes: Wishes) -> Source:
    from genloom.data.texts import path_source

    return path_source(Path(__file__).parent / "sets" / "ruins.txt", wishes)


SETS = (
    Entry(
        "ruins",
        "240 small platform levels of this project's own, 11x24 tiles, made by scripts/make_levels.py; needs no "
        "download.",
        "Apache-2.0",
        "https://github.com/genloom",
        240,
        (),
        modality="level",
        texts=_ruins,
    ),
    Entry(
        "mario-levels",
        "15 levels of Super Mario Bros. as tiles, cut into overlapping windows of 14x28; from the Video Game Level "
        "Corpus.",
        _LICENCE,
        _HOME,
        15,
        _VGLC,
        modality="level",
        note=_NOTE,
        texts=_inside(r"^Super Mario Bros/Processed/"),
        folder="vglc",
    ),
    Entry(
        "zelda-rooms",
        "Rooms of the 18 dungeons of The Legend of Zelda as tiles, 16x11; from the Video Game Level Corpus.",
        _LICENCE,
        _HOME,
        459,
        _VGLC,
        modality="level",
        note=_NOTE,
        texts=_inside(r"^The Legend of Zelda/Processed/"),
        folder="vglc",
    ),
    Entry(
        "lode-runner",
        "150 levels of Lode Runner as tiles, 22x32; from the Video Game Level Corpus.",
        _LICENCE,
        _HOME,
        150,
        _VGLC,
        modality="level",
        note=_NOTE,
        texts=_inside(r"^Lode Runner/Processed/"),
        folder="vglc",
    ),
)
