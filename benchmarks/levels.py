"""Levels of Super Mario Bros and rooms of Zelda: playable, how their small patterns differ, how much is copied.

Trains a recipe and judges samples by code that shares nothing with genloom's figures: a player of the same rules
(docs/modalities/level.md), the tile pattern divergence of Lucas and Volz (2019) beside as many real levels, stretches
of whole columns that stand in a training level.

    python benchmarks/levels.py zelda-rooms --clock cpu --out benchmarks/results/levels-zelda.json
"""

from __future__ import annotations

import math
import resource
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from records import begun, command, machine, publish, trained, training_options

from genloom.core.config import DataConfig
from genloom.data.prepare import prepare

Level = tuple[str, ...]  # rows of one character a tile
Place = tuple[int, int]  # row, column
RECIPES = {"mario-levels": "mario-levels", "zelda-rooms": "zelda-rooms"}
MARIO_SOLID = frozenset("XS?Q<>[]Bb")
ZELDA_FLOOR, ZELDA_HOP, ZELDA_EXITS = frozenset("FMODS"), frozenset("BIP"), frozenset("DS")
AIR = (-1, -1, -1, -1, 0)  # rows that a jump moves in each tick; then the player falls a row a tick
SMOOTHING = 1e-5


# -- playing ----------------------------------------------------------------------------------------------------------


def jumps_through(level: Level) -> bool:
    """Whether one who runs and jumps comes from the left edge to the right one. A state is a place and the tick of the
    jump, len(AIR) when there is none."""
    high, wide, fall = len(level), len(level[0]), len(AIR)

    def solid(y: int, x: int) -> bool:
        return 0 <= y < high and level[y][x] in MARIO_SOLID

    def reached(y: int, x: int, dy: int, dx: int) -> Place | None:
        to = y + dy, x + dx
        if not (-2 <= to[0] < high and 0 <= to[1] < wide) or solid(*to):
            return None
        corner = dy and dx and solid(y + dy, x) and solid(y, x + dx)
        return None if corner else to

    for column in range(min(3, wide)):
        begin = [(y, column, fall) for y in range(high) if not solid(y, column) and solid(y + 1, column)]
        if begin:
            break
    seen, left = set(begin), list(begin)
    while left:
        y, x, tick = left.pop()
        if x == wide - 1 and y >= 0:
            return True
        stands = tick == fall and solid(y + 1, x)
        if stands:
            moves = [(0, -1, fall), (0, 1, fall)]
            left += [s for s in [(y, x, 0)] if s not in seen]
            seen.add((y, x, 0))
        elif tick == fall:
            moves = [(1, dx, fall) for dx in (-1, 0, 1)]
        else:
            moves = [(AIR[tick], dx, tick + 1) for dx in (-1, 0, 1)] + [(0, 0, fall)]
        for dy, dx, then in moves:
            to = reached(y, x, dy, dx)
            if to is not None and (state := (*to, then)) not in seen:
                seen.add(state)
                left.append(state)
    return False


def parts(places: set[Place]) -> list[set[Place]]:
    """The connected parts, by four neighbours."""
    out, rest = [], set(places)
    while rest:
        part, left = set(), [rest.pop()]
        while left:
            y, x = left.pop()
            part.add((y, x))
            near = {(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)} & rest
            rest -= near
            left += near
        out.append(part)
    return out


def walks_through(room: Level) -> bool:
    """Whether all exits of a room are connected, past one block or water at a time; a room without any is whole when
    one part holds half of its floor."""
    tiles = {(y, x): t for y, row in enumerate(room) for x, t in enumerate(row)}
    floor = {p for p, t in tiles.items() if t in ZELDA_FLOOR}
    exits = parts({p for p, t in tiles.items() if t in ZELDA_EXITS})
    joined = parts(floor)
    if not exits:
        return bool(joined) and 2 * max(map(len, joined)) >= len(floor)
    start = min(exits[0])
    seen, left = {start}, [start]
    while left:
        y, x = left.pop()
        for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            near, behind = (y + dy, x + dx), (y + 2 * dy, x + 2 * dx)
            to = near if near in floor else behind if tiles.get(near) in ZELDA_HOP and behind in floor else None
            if to is not None and to not in seen:
                seen.add(to)
                left.append(to)
    alone = len(exits) == 1 and not any(
        (y + dy, x + dx) in floor for y, x in [start] for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0))
    )
    return all(e & seen for e in exits) and not alone


# -- patterns and copies ----------------------------------------------------------------------------------------------


def squares(levels: Iterable[Level], size: int) -> Counter[Level]:
    return Counter(
        tuple(row[x : x + size] for row in level[y : y + size])
        for level in levels
        for y in range(len(level) - size + 1)
        for x in range(len(level[0]) - size + 1)
    )


def divergence(a: Counter[Level], b: Counter[Level]) -> float:
    """Mean of the Kullback-Leibler divergences in both directions, in nats, with the smoothing of the paper."""

    def share(counts: Counter[Level], key: Level) -> float:
        return (counts[key] + SMOOTHING) / ((counts.total() + SMOOTHING) * (1 + SMOOTHING))

    return sum((share(a, k) - share(b, k)) * math.log(share(a, k) / share(b, k)) for k in a.keys() | b.keys()) / 2


def columns(level: Level) -> list[str]:
    return ["".join(column) for column in zip(*level, strict=True)]


class Known:
    """Training levels, and every stretch of columns in them."""

    def __init__(self, levels: Sequence[Level]) -> None:
        self.whole = set(levels)
        self.stretches = {
            tuple(line[a:b]) for line in map(columns, self.whole) for a in range(len(line))
            for b in range(a + 1, len(line) + 1)
        }  # fmt: skip

    def longest(self, level: Level) -> int:
        line, best = columns(level), 0
        for a in range(len(line)):
            while a + best < len(line) and tuple(line[a : a + best + 1]) in self.stretches:
                best += 1
        return best


def figures(levels: Sequence[Level], against: Sequence[Level], known: Known | None, playable: Any) -> dict[str, Any]:
    out: dict[str, Any] = {
        "levels": len(levels),
        "playable": round(statistics.mean(map(playable, levels)), 4),
        **{f"pattern_distance_{n}": round(divergence(squares(levels, n), squares(against, n)), 3) for n in (2, 3)},
    }
    if known is not None:
        runs = [known.longest(level) for level in levels]
        out |= {
            "copied_whole": round(statistics.mean(level in known.whole for level in levels), 4),
            "longest_copied_columns": {"mean": round(statistics.mean(runs), 2), "most": max(runs)},
            "different": len(set(levels)),
        }
    return out


def texts(split: Any, modality: Any) -> list[Level]:
    return [tuple(e.split("\n")) for batch in split.batches(256) for e in modality.decode_all(batch.x)]


def many(run: Any, n: int, seed: int) -> dict[str, Any]:
    """Of n samples, how many are rectangles of known tiles as high and wide as training examples, and the memory that
    drawing them took beyond what the process had taken before."""
    rows, (narrow, broad), tiles = run.modality.rows, run.modality.widths, set(run.modality.legend)
    before, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    samples = run.sample(n, seed=seed)
    seconds, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    whole = 0
    for lines in (sample.split("\n") for sample in samples):
        wide = {len(line) for line in lines}
        whole += len(lines) == rows and len(wide) == 1 and narrow <= min(wide) <= broad and set("".join(lines)) <= tiles
    return {
        "samples": len(samples), "whole_levels_of_known_tiles": whole, "different": len(set(samples)),
        "seconds": round(seconds, 1), "peak_memory_mb": after // 1024, "more_than_before_mb": (after - before) // 1024,
    }  # fmt: skip


def main() -> None:
    parser = training_options(__doc__)
    parser.add_argument("data", choices=sorted(RECIPES))
    parser.add_argument("--many", type=int, help="also draw so many, and count those that are whole levels")
    parser.add_argument("--steps", type=int, help="steps in place of a training time")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--repaired", type=int, default=200, help="samples drawn again with repairs")
    given = begun(parser)
    run = trained(given, given.data, RECIPES[given.data], steps=given.steps)
    data = prepare(given.data, "level", {}, DataConfig())
    train = texts(data.train, data.modality)
    held = [level for split in (data.validation, data.test) for level in texts(split, data.modality)]
    playable = jumps_through if run.modality.config.view == "side" else walks_through
    begin = time.perf_counter()
    samples = [tuple(e.split("\n")) for e in run.sample(given.samples, seed=given.seed)]
    seconds = time.perf_counter() - begin
    repaired = run.sample(given.repaired, seed=given.seed, only="playable", repair=True)
    known, twins = Known(train), Counter(train)
    few = [samples[i] for i in range(min(len(samples), len(held)))]
    spread = [train[i * len(train) // len(few)] for i in range(len(few))]
    result: dict[str, Any] = {
        "command": command("levels.py", sys.argv[1:]), **machine(),
        "precision": run.manifest["precision"], "seed": given.seed, "clock": given.clock,
        "parameters": run.manifest["parameters"], "steps": run.manifest["steps"],
        "train_seconds": run.manifest["seconds"], "seconds_of_samples": round(seconds, 1),
        "against_held_out": {
            "samples": figures(few, held, known, playable),
            "training levels": figures(spread, held, None, playable),
            "held-out levels": figures(held, held, known, playable),
        },
        "against_training": {
            "samples": figures(samples, train, known, playable),
            "held-out levels": figures(held, train, known, playable),
        },
        "training_levels_with_a_twin": round(statistics.mean(twins[level] > 1 for level in train), 4),
        "playable_repaired": round(statistics.mean(playable(tuple(e.split("\n"))) for e in repaired), 4),
        "decoded": sum(len({len(row) for row in level}) == 1 and len(level) == len(train[0]) for level in samples),
    }  # fmt: skip
    if given.many:
        result["many"] = many(run, given.many, given.seed + 1)
    publish(given, result)


if __name__ == "__main__":
    main()
