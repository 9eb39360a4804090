"""Makes the embedded set of levels, src/genloom/data/sets/ruins.txt: small platform levels of this project's own.

    python scripts/make_levels.py

Each is a walk of a builder from left to right that lays ground, gaps, ledges, ladders and spikes within what a player
can jump; a level that cannot be played through is thrown away.
"""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np

from genloom.data.legend import role
from genloom.data.level_sets import SETS
from genloom.metrics.reach import Terrain, way

ROWS, COLUMNS, LEVELS = 11, 24, 240
TARGET = Path(__file__).parents[1] / "src/genloom/data/sets/ruins.txt"


def build(draw: random.Random) -> str:
    """One level as text."""
    grid = [["-"] * COLUMNS for _ in range(ROWS)]
    ground, x = draw.randint(7, 9), 0
    while x < COLUMNS:
        near_end = x < 3 or x > COLUMNS - 5
        kind = "flat" if near_end else draw.choice(["flat", "flat", "gap", "step", "ledge", "spikes", "ladder"])
        wide = draw.randint(3, 5)
        if kind == "gap":
            x += draw.randint(2, 4)
            continue
        if kind == "step":
            ground = min(9, max(5, ground + draw.choice([-2, -1, 1, 2])))
        for column in range(x, min(x + wide, COLUMNS)):
            for row in range(ground, ROWS):
                grid[row][column] = "#"
        inside = range(x + 1, min(x + wide - 1, COLUMNS - 1))
        if kind == "spikes" and len(inside):
            grid[ground - 1][inside[0]] = "^"
        if kind == "flat" and not near_end and draw.random() < 0.4:
            grid[ground - 1][inside[0]] = "M"
        if kind == "ledge":
            for column in range(x, min(x + wide, COLUMNS)):
                grid[ground - 4][column] = "="
                if draw.random() < 0.5:
                    grid[ground - 5][column] = "o"
        if kind == "ladder" and ground > 6:
            for row in range(ground - 4, ground):
                grid[row][x + 1] = "H"
            for column in range(x + 2, min(x + wide + 1, COLUMNS)):
                grid[ground - 4][column] = "="
        x += wide
    for tile, column in (("S", 1), ("G", COLUMNS - 2)):
        top = next((y for y in range(ROWS) if grid[y][column] != "-"), ROWS - 1)
        grid[max(0, top - 1)][column] = tile
    return "\n".join(map("".join, grid))


def playable(level: str) -> bool:
    legend = SETS["ruins"].legend
    cells = np.array([list(row) for row in level.split("\n")])
    names = ("solid", "top", "climb", "deadly", "start", "goal", "exits", "hop")
    flags = {n: np.isin(cells, [t for t, tags in legend.items() if role(tags, n)]) for n in names}
    return way(Terrain(**flags), "side") is not None


def main() -> None:
    draw = random.Random(2026)
    levels: dict[str, None] = {}
    while len(levels) < LEVELS:
        level = build(draw)
        if playable(level):
            levels[level] = None
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text("\n\n".join(levels) + "\n")


if __name__ == "__main__":
    main()
