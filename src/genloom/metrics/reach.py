"""Whether a game level can be played through: a search over what a player can do, and the cheapest mending.

Two sets of rules, both simplified and the same for every game. Seen from the side the player runs and jumps: one column
a tick, up to RISE tiles upwards, HANG ticks at the top, then down a tile a tick (about the jump of Super Mario Bros:
Summerville et al. 2016, "The VGLC", section on platformer pathfinding). Seen from above the player walks in four
directions. Legend: `H` rows, `W` columns; a place is (row, column).
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]  # [H, W]
Place = tuple[int, int]
State = tuple[int, int, int]  # row, column, ticks that the player still rises or hangs; STOOD: on a tile put there

RISE, HANG = 4, 1  # tiles, ticks
ABOVE = 2  # rows above the level that a player can jump into
EDGE = 3  # columns at the left in which a level without a start begins
STOOD = -1
CARVED, PUT = 1.0, 1.0  # what it costs to clear a tile, and to put one under the player


@dataclass(frozen=True)
class Terrain:
    """What the tiles of a level [H, W] do. solid: stops a player. top: carries, but can be passed from below. climb: a
    ladder or rope. deadly: ends the game. start, goal: where it begins and ends, if the level says so. exits: doors and
    stairs of a room seen from above. hop: blocks and water that a walker gets past where both sides are free."""

    solid: Mask
    top: Mask
    climb: Mask
    deadly: Mask
    start: Mask
    goal: Mask
    exits: Mask
    hop: Mask


@dataclass(frozen=True)
class Mending:
    """Places whose tile is to be cleared, and where a solid one is to be put."""

    cleared: frozenset[Place]
    put: frozenset[Place]


def way(terrain: Terrain, view: Literal["side", "top"]) -> list[Place] | None:
    """The places of a way through the level, in order; None where there is none.

    side: from the start (else from where a player can stand at the left) to the goal (else to the right edge). top:
    from the start or first exit to the goal or all other exits; a level without any is whole when its largest part
    holds half of the floor.
    """
    return _run(terrain) if view == "side" else _walk(terrain)


def mending(terrain: Terrain, view: Literal["side", "top"]) -> Mending:
    """The fewest tiles to change (nearly: what one change does to another is not foreseen) so that there is a way."""
    return _mend_run(terrain) if view == "side" else _mend_walk(terrain)


def corridor(terrain: Terrain) -> Mending:
    """A straight way from left to right, two rows high, which every level can have."""
    height, width = terrain.solid.shape
    ground = max(1, height - 2)
    columns = range(width)
    cleared = {(y, x) for x in columns for y in (ground - 1, ground) if 0 <= y < height - 1}
    return Mending(frozenset(cleared), frozenset((ground + 1, x) for x in columns if ground + 1 < height))


# -- seen from the side ---------------------------------------------------------------------------------------------


class _Physics:
    """The moves of a player. `bend`: what is in the way counts as free, to be paid for."""

    def __init__(self, terrain: Terrain, bend: bool = False) -> None:
        self.height, self.width = terrain.solid.shape
        self.bend = bend
        self.blocked: list[list[bool]] = (terrain.solid | terrain.deadly).tolist()
        self.solid: list[list[bool]] = terrain.solid.tolist()
        self.top: list[list[bool]] = terrain.top.tolist()
        self.climb: list[list[bool]] = terrain.climb.tolist()

    def inside(self, y: int, x: int) -> bool:
        return -ABOVE <= y < self.height and 0 <= x < self.width

    def free(self, y: int, x: int) -> bool:
        return self.inside(y, x) and (self.bend or y < 0 or not self.blocked[y][x])

    def stands(self, y: int, x: int) -> bool:
        """Whether something carries the player."""
        if y >= 0 and self.climb[y][x]:
            return True
        below = y + 1
        return 0 <= below < self.height and (self.solid[below][x] or self.top[below][x] or self.climb[below][x])

    def passes(self, y: int, x: int, down: int, across: int) -> bool:
        """Whether there is room for a step that is diagonal at most."""
        if not self.free(y + down, x + across):
            return False
        if down > 0 and y + down >= 0 and self.top[y + down][x + across]:
            return False
        return not (down and across) or self.free(y + down, x) or self.free(y, x + across)

    def moves(self, state: State) -> Iterator[State]:
        y, x, rising = state
        if rising > 0:
            down = -1 if rising > HANG else 0
            for across in (1, 0, -1):
                if self.passes(y, x, down, across):
                    yield y + down, x + across, rising - 1
            yield y, x, 0
        elif rising == STOOD or self.stands(y, x):
            for across in (1, -1):
                if self.passes(y, x, 0, across):
                    yield y, x + across, 0
            yield y, x, RISE + HANG
            if y >= 0 and self.climb[y][x] and self.free(y - 1, x):
                yield y - 1, x, 0
            if y + 1 < self.height and self.climb[y + 1][x] and self.free(y + 1, x):
                yield y + 1, x, 0
        else:
            for across in (1, 0, -1):
                if self.passes(y, x, 1, across):
                    yield y + 1, x + across, 0


def _starts(terrain: Terrain, physics: _Physics) -> list[State]:
    if terrain.start.any():
        return [(int(y), int(x), 0) for y, x in np.argwhere(terrain.start)]
    for x in range(min(EDGE, physics.width)):
        found = [(y, x, 0) for y in range(physics.height) if not physics.blocked[y][x] and physics.stands(y, x)]
        if found:
            return list(found)
    return []


def _arrives(terrain: Terrain) -> Callable[[State], bool]:
    if terrain.goal.any():
        goal = terrain.goal.tolist()
        return lambda s: s[0] >= 0 and bool(goal[s[0]][s[1]])
    last = terrain.solid.shape[1] - 1
    return lambda s: s[1] == last and s[0] >= 0


def _run(terrain: Terrain) -> list[Place] | None:
    """Breadth first, so that the way found takes the fewest ticks."""
    physics = _Physics(terrain)
    arrives, starts = _arrives(terrain), _starts(terrain, physics)
    before: dict[State, State | None] = dict.fromkeys(starts)
    queue = deque(starts)
    while queue:
        state = queue.popleft()
        if arrives(state):
            return _traced(state, before)
        for following in physics.moves(state):
            if following not in before:
                before[following] = state
                queue.append(following)
    return None


def _traced(state: State | None, before: dict[State, State | None]) -> list[Place]:
    out: list[Place] = []
    while state is not None:
        if not out or out[-1] != state[:2]:
            out.append(state[:2])
        state = before[state]
    return out[::-1]


def _mend_run(terrain: Terrain) -> Mending:
    """Dijkstra where a player may clear what is in the way, and put a tile under the feet, at a cost."""
    physics = _Physics(terrain, bend=True)
    arrives, starts = _arrives(terrain), _starts(terrain, physics)
    starts = starts or [(max(0, physics.height - 2), 0, STOOD)]
    costs: dict[State, float] = dict.fromkeys(starts, 0.0)
    before: dict[State, State | None] = dict.fromkeys(starts)
    heap = [(0.0, s) for s in starts]
    end: State | None = None
    while heap:
        cost, state = heapq.heappop(heap)
        if cost > costs[state]:
            continue
        if arrives(state):
            end = state
            break
        y, x, rising = state
        options = [(s, 0.01) for s in physics.moves(state)]
        if rising == 0 and not physics.stands(y, x) and 0 <= y < physics.height - 1:
            options.append(((y, x, STOOD), PUT))
        for following, step in options:
            ny, nx, _ = following
            blocked = ny >= 0 and following[:2] != state[:2] and physics.blocked[ny][nx]
            total = cost + step + (CARVED if blocked else 0.0)
            if total < costs.get(following, np.inf):
                costs[following], before[following] = total, state
                heapq.heappush(heap, (total, following))
    if end is None:
        return corridor(terrain)
    cleared: set[Place] = set()
    put: set[Place] = set()
    at: State | None = end
    while at is not None:
        y, x, rising = at
        if y >= 0 and physics.blocked[y][x]:
            cleared.add((y, x))
        if rising == STOOD:
            put.add((y + 1, x))
        at = before[at]
    return Mending(frozenset(cleared), frozenset(put - cleared))


# -- seen from above ------------------------------------------------------------------------------------------------


def _walk(terrain: Terrain) -> list[Place] | None:
    floor = ~(terrain.solid | terrain.deadly)
    targets = _targets(terrain)
    if not targets:
        parts = regions(floor)
        if not parts or 2 * len(parts[0]) < sum(map(len, parts)):
            return None
        return [parts[0][0]]
    path = [targets[0]]
    for target in targets[1:]:
        found = _cheapest(floor, terrain.hop, path[-1], {target}, np.inf)
        if found is None:
            return None
        path += found[1:]
    if len(targets) == 1 and not any(floor[n] for n in _beside(targets[0], floor.shape)):
        return None
    return path


def _targets(terrain: Terrain) -> list[Place]:
    """Where a walk must come: the start, then the goals; without them a place of every exit. Exits that touch are
    one."""
    start, goal = regions(terrain.start), regions(terrain.goal)
    exits = regions(terrain.exits & ~terrain.start & ~terrain.goal)
    wanted = [*start, *goal] if start and goal else [*start, *goal, *exits]
    return [part[len(part) // 2] for part in wanted]


def regions(mask: Mask) -> list[list[Place]]:
    """Connected parts of a mask (four neighbours), each in reading order, the largest first."""
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    out = []
    while left:
        queue, part = deque([left.pop()]), []
        while queue:
            place = queue.popleft()
            part.append(place)
            for near in _beside(place, mask.shape):
                if near in left:
                    left.remove(near)
                    queue.append(near)
        out.append(sorted(part))
    return sorted(out, key=lambda p: (-len(p), p))


def _beside(place: Place, shape: Sequence[int]) -> Iterator[Place]:
    y, x = place
    for ny, nx in ((y, x + 1), (y + 1, x), (y, x - 1), (y - 1, x)):
        if 0 <= ny < shape[0] and 0 <= nx < shape[1]:
            yield ny, nx


def _over(place: Place, floor: Mask, hop: Mask) -> Iterator[Place]:
    """Free places behind one that can be hopped over, in a straight line."""
    y, x = place
    for near in _beside(place, floor.shape):
        behind = 2 * near[0] - y, 2 * near[1] - x
        inside = 0 <= behind[0] < floor.shape[0] and 0 <= behind[1] < floor.shape[1]
        if hop[near] and not floor[near] and inside and floor[behind]:
            yield behind


def _cheapest(floor: Mask, hop: Mask, start: Place, ends: Iterable[Place], price: float) -> list[Place] | None:
    """The way from start to one of ends that clears the fewest tiles at this price each, then the shortest. Places
    follow each other, or lie on both sides of one that is hopped over."""
    wanted = set(ends)
    costs, before, heap = {start: 0.0}, {start: start}, [(0.0, start)]
    while heap:
        cost, place = heapq.heappop(heap)
        if place in wanted:
            path = [place]
            while before[path[-1]] != path[-1]:
                path.append(before[path[-1]])
            return path[::-1]
        if cost > costs[place]:
            continue
        steps = [(n, 0.01 if floor[n] or n in wanted else price) for n in _beside(place, floor.shape)]
        steps += [(n, 0.02) for n in _over(place, floor, hop)]
        for near, step in steps:
            total = cost + step
            if total < costs.get(near, np.inf):
                costs[near], before[near] = total, place
                heapq.heappush(heap, (total, near))
    return None


def _mend_walk(terrain: Terrain) -> Mending:
    floor = ~(terrain.solid | terrain.deadly)
    targets = _targets(terrain)
    cleared: set[Place] = set()
    if not targets:
        targets = [part[len(part) // 2] for part in regions(floor)]
    height, width = floor.shape
    if not targets:
        return corridor(terrain)
    if len(targets) == 1:
        targets = [*targets, (height // 2, width // 2)]
    for a, b in pairwise(targets):
        path = _cheapest(floor, terrain.hop, a, {b}, CARVED) or []
        cleared |= {p for p in path if not floor[p]}
        for p in path:
            floor[p] = True
    return Mending(frozenset(cleared - set(targets)), frozenset())
