"""What the tiles of game levels are: legends as the Video Game Level Corpus has them, and guesses without one.

A legend is JSON: {"tiles": {"X": ["solid", "ground"], "-": ["passable", "empty"]}, "view": "side"}. Tags that are
understood: solid (wall, block, void), empty (floor), passable, solidtop, climbable, hazard, start, goal, door, and seen
from above pushable and crossable (a block that can be pushed away, water that a plank crosses); the rest only names the
tile. view: "side" or "top"; told from the levels where it is missing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from genloom.core.errors import InputError
from genloom.data.items import listing

Tags = dict[str, tuple[str, ...]]
View = Literal["side", "top"]

ROLES: dict[str, frozenset[str]] = {
    "solid": frozenset({"solid", "wall", "block", "void", "ground"}),
    "top": frozenset({"solidtop"}),
    "climb": frozenset({"climbable", "ladder", "rope"}),
    "deadly": frozenset({"hazard", "damaging", "deadly", "lava", "water"}),
    "start": frozenset({"start", "spawn"}),
    "goal": frozenset({"goal", "exit", "finish"}),
    "exits": frozenset({"door", "stair", "stairs"}),
    "hop": frozenset({"pushable", "crossable"}),
    "empty": frozenset({"empty", "floor"}),
}
EMPTY, SOLID = "-. _", "#XWBSQ?<>[]b"  # what tiles usually are where nobody says
NOT_DEADLY = frozenset({"enemy", "passable", "solid"})


def parse_legend(raw: bytes | str, name: str) -> tuple[Tags, View | None]:
    """The tags of each tile, and the view if the legend says it. Raises InputError."""
    try:
        document: Any = json.loads(raw)
    except (ValueError, UnicodeDecodeError) as e:
        raise InputError(f"the legend {name} is not JSON: {e}") from None
    tiles = document.get("tiles") if isinstance(document, dict) else None
    if not isinstance(tiles, dict) or not tiles:
        raise InputError(
            f'the legend {name} has no tiles; it looks like {{"tiles": {{"X": ["solid"], "-": ["empty"]}}}}'
        )
    out: Tags = {}
    for tile, tags in tiles.items():
        if len(tile) != 1 or tile in "\r\n":
            raise InputError(f"the legend {name} names the tile {tile!r}; a tile is one character")
        values = [tags] if isinstance(tags, str) else tags
        if not isinstance(values, list) or not all(isinstance(t, str) for t in values):
            raise InputError(f'the legend {name} says of {tile!r} {tags!r}; give a list of words, such as ["solid"]')
        out[tile] = tuple(values)
    view = document.get("view")
    if view not in (None, "side", "top"):
        raise InputError(f'the legend {name} says view={view!r}; it is "side" or "top"')
    return out, view


def is_legend(raw: bytes) -> bool:
    """Whether JSON is a legend rather than a graph or anything else."""
    try:
        document = json.loads(raw)
    except (ValueError, UnicodeDecodeError):
        return False
    return isinstance(document, dict) and isinstance(document.get("tiles"), dict)


def guessed(tiles: Sequence[str]) -> tuple[Tags, str]:
    """Tags of tiles without a legend, and the sentence that says so."""
    out: Tags = {t: ("passable",) for t in tiles}
    solid, empty = [t for t in tiles if t in SOLID], [t for t in tiles if t in EMPTY]
    out |= {t: ("solid",) for t in solid} | {t: ("passable", "empty") for t in empty}
    say = "modality.legend=FILE.json says what tiles are"
    if not solid or not empty:
        return out, f"there is no legend, so nothing is known of what can be walked on; {say}"
    return out, f"there is no legend: {listing(solid, 12)} are taken as solid and {listing(empty)} as empty; {say}"


def role(tags: Sequence[str], name: str) -> bool:
    """Whether a tile with these tags has a role of ROLES."""
    held = ROLES[name] & set(tags)
    if name == "solid":
        return bool(held) and "passable" not in tags
    return bool(held) and not (name == "deadly" and NOT_DEADLY & set(tags))


def usable(legend: Mapping[str, Sequence[str]]) -> bool:
    """Whether the legend tells walls from what is free, so that a level can be played."""
    solid = [role(tags, "solid") for tags in legend.values()]
    return any(solid) and not all(solid)


def told_view(legend: Mapping[str, Sequence[str]], levels: Sequence[str]) -> View:
    """From the side there is ground below and air above; from above both edges are alike."""
    solid = {tile for tile, tags in legend.items() if role(tags, "solid")}
    edges: Counter[str] = Counter()
    for level in levels:
        rows = level.split("\n")
        edges["above"] += sum(t in solid for t in rows[0])
        edges["below"] += sum(t in solid for t in rows[-1])
        edges["all"] += len(rows[0])
    return "side" if edges["below"] - edges["above"] > 0.3 * edges["all"] else "top"
