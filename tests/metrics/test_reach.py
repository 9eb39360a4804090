"""The reachability solver: distances that follow from the rules, connected parts as scipy finds them, and mendings."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from genloom.metrics.reach import HANG, RISE, Terrain, corridor, mending, way

ROLES = {
    "solid": "#B", "top": "=", "climb": "H", "deadly": "^~", "start": "S", "goal": "G", "exits": "D", "hop": "B~",
}  # fmt: skip


def terrain(level: str) -> Terrain:
    cells = np.array([list(row) for row in level.split("\n")])
    return Terrain(**{name: np.isin(cells, list(tiles)) for name, tiles in ROLES.items()})


def gap(wide: int) -> str:
    air = "-" * (12 + wide)
    return "\n".join([*[air] * 8, "######" + "-" * wide + "######"])


def wall(high: int) -> str:
    rows = [["-"] * 12 for _ in range(9)]
    for y in range(9 - high, 9):
        rows[y][6] = "#"
    return "\n".join(["".join(r) for r in rows] + ["#" * 12])


def test_a_player_jumps_as_far_and_as_high_as_the_rules_say() -> None:
    far = 2 * RISE + HANG - 1  # up and down again, one column a tick
    assert way(terrain(gap(far)), "side") and not way(terrain(gap(far + 1)), "side")
    assert way(terrain(wall(RISE)), "side") and not way(terrain(wall(RISE + 1)), "side")


@pytest.mark.parametrize(
    ("level", "found"),
    [
        ("-----\n-----\n#^^^#\n#####", True),  # spikes are jumped over
        ("#####\n#####\n-^---\n#####", False),  # no room to jump
        ("----G\n-H###\n-H---\n-H---\n-H---\n-H---\n-H---\nSH---\n#####", True),  # up a ladder
        ("----G\n--###\n-----\n-----\n-----\n-----\n-----\nS----\n#####", False),
        ("----G\n-=###\n-----\n-----\n-=---\n-----\n-----\nS----\n#####", True),  # through ledges from below
    ],
)  # fmt: skip
def test_what_tiles_do(level: str, found: bool) -> None:
    path = way(terrain(level), "side")
    assert (path is not None) is found
    if path:
        steps = np.abs(np.diff(np.array(path), axis=0))
        assert steps.max() <= 1  # no place is skipped
        solid = terrain(level).solid
        assert not any(y >= 0 and solid[y, x] for y, x in path)


def test_a_walk_reaches_all_exits_exactly_when_they_are_in_one_part() -> None:
    rng = np.random.default_rng(0)
    outcomes = []
    for _ in range(60):
        cells = np.where(rng.random((9, 9)) < 0.35, "#", "F")
        cells[0], cells[-1], cells[:, 0], cells[:, -1] = "#", "#", "#", "#"
        cells[0, 4], cells[8, 4] = "D", "D"
        level = "\n".join("".join(row) for row in cells)
        parts, _ = ndimage.label(cells != "#")
        expected = parts[0, 4] == parts[8, 4]
        outcomes.append(expected)
        path = way(terrain(level), "top")
        assert (path is not None) == expected
        if path:
            assert np.abs(np.diff(np.array(path), axis=0)).sum(1).max() == 1
            assert all(cells[y, x] != "#" for y, x in path)
    assert 5 < sum(outcomes) < 55


def test_one_tile_of_water_is_crossed_and_two_are_not() -> None:
    assert way(terrain("#D#\n#F#\n#~#\n#F#\n#D#"), "top") and way(terrain("#D#\n#F#\n#B#\n#F#\n#D#"), "top")
    assert not way(terrain("#D#\n#F#\n#~#\n#~#\n#D#"), "top")


def mended(level: str, view: str, what: object = None) -> str:
    change = what or mending(terrain(level), view)  # type: ignore[arg-type]
    rows = [list(r) for r in level.split("\n")]
    for y, x in change.cleared:  # type: ignore[attr-defined]
        rows[y][x] = "-"
    for y, x in change.put:  # type: ignore[attr-defined]
        rows[y][x] = "#"
    return "\n".join(map("".join, rows))


def test_few_tiles_mend_a_level() -> None:
    far = 2 * RISE + HANG
    for level, view, most in (
        (gap(far), "side", 1),
        (wall(RISE + 1), "side", 1),
        ("#D#\n#F#\n###\n#F#\n#D#", "top", 1),
    ):
        again = mended(level, view)
        assert way(terrain(again), view) and sum(a != b for a, b in zip(level, again, strict=True)) <= most  # type: ignore[arg-type]


def test_every_level_has_a_corridor() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        level = "\n".join("".join(row) for row in rng.choice(list("#-^H="), (8, 14)))
        assert way(terrain(mended(level, "side", corridor(terrain(level)))), "side")
