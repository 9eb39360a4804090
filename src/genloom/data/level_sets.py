"""Named sets of game levels: what their tiles are and how they are cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class LevelSet:
    """legend: the tags of each tile (data/legend.py). window: rows and columns of an example; step: between two."""

    legend: Mapping[str, Sequence[str]]
    view: Literal["side", "top"]
    window: tuple[int, int] | None = None
    step: int | None = None


_MARIO = {
    "X": ("solid", "ground"), "S": ("solid", "breakable"), "-": ("passable", "empty"),
    "?": ("solid", "question block"), "Q": ("solid", "question block, empty"), "E": ("enemy",),
    "<": ("solid", "pipe, top left"), ">": ("solid", "pipe, top right"),
    "[": ("solid", "pipe, left"), "]": ("solid", "pipe, right"),
    "o": ("coin", "passable"), "B": ("solid", "cannon, top"), "b": ("solid", "cannon, bottom"),
}  # fmt: skip
_ZELDA = {
    "F": ("floor", "empty", "passable"), "B": ("solid", "block", "pushable"), "M": ("monster", "passable"),
    "P": ("water", "hazard", "crossable"), "O": ("water and floor", "passable"),
    "I": ("solid", "water and block", "pushable"),
    "D": ("door", "passable"), "S": ("stairs", "passable"), "W": ("solid", "wall"), "-": ("solid", "void"),
}  # fmt: skip
_LODE = {
    "B": ("solid", "ground"), "b": ("solid", "diggable"), ".": ("passable", "empty"), "-": ("passable", "rope"),
    "#": ("passable", "ladder"), "G": ("passable", "gold"), "E": ("enemy",), "M": ("passable", "start"),
}  # fmt: skip
_RUINS = {
    "#": ("solid", "ground"), "=": ("solid", "brick"), "-": ("passable", "empty"), "o": ("passable", "coin"),
    "^": ("hazard", "spikes"), "H": ("climbable", "ladder"), "M": ("enemy",),
    "S": ("start", "passable"), "G": ("goal", "passable"),
}  # fmt: skip

SETS: dict[str, LevelSet] = {
    "mario-levels": LevelSet(_MARIO, "side", (14, 28), 2),
    "zelda-rooms": LevelSet(_ZELDA, "top", (16, 11)),
    "lode-runner": LevelSet(_LODE, "side"),
    "ruins": LevelSet(_RUINS, "side"),
}
