"""Game levels as a data set: text files of tiles, and pictures cut into tiles, cut into windows that are the examples.

A level is text, rows of one character a tile, separated by newlines. A file holds one level, or several with blank
lines between them.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from genloom.core.config import DataConfig
from genloom.core.errors import InputError, Unreadable
from genloom.data import encoding, pictures, texts, tilecut, tileset
from genloom.data.archive import TAR_ENDINGS, ZIP_ENDINGS, members_of
from genloom.data.columns import Asked
from genloom.data.items import GivenSplit, Items, Source, count, listing
from genloom.data.legend import Tags, View, guessed, is_legend, parse_legend, role, told_view
from genloom.data.level_sets import SETS as NAMED
from genloom.data.sources import open_source, open_text

TILES = 1024  # of a level up to which it is one example
WINDOW, STEP = 28, 4  # columns of a window of a larger level, and between the beginnings of two
LEAST, MOST_KINDS = 3, 96  # rows and columns of a level; different tiles
LEGENDS = 8  # JSON files that are looked at
FEW = 3  # levels below which windows are held out by their place

EXTENSIONS = frozenset({".txt", ".lvl", ".level"})
PICTURES = frozenset({".png", ".gif", ".bmp", ".webp", ".jpg", ".jpeg"})


@dataclass(frozen=True)
class LevelWishes:
    """How levels shall be read. window: rows and columns of an example; step: columns (and rows) between two; legend:
    a JSON file; view: as in a legend. Of pictures: tile: pixels of a tile's edge; alike: how much equal tiles may
    differ; drawn: known tiles, as `tileset.packed`."""

    window: tuple[int, int] | None = None
    step: int | None = None
    legend: str | None = None
    view: View | None = None
    tile: int | None = None
    alike: float = 0.0
    drawn: Mapping[str, str] | None = None


def parse(text: str) -> list[str]:
    """The levels in a text. Raises Unreadable for ragged rows, and what is no level."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    blocks: list[list[tuple[int, str]]] = [[]]
    for number, line in enumerate(lines, 1):
        if line.strip() or (line and blocks[-1] and len(line) == len(blocks[-1][0][1])):
            blocks[-1].append((number, line))
        elif blocks[-1]:
            blocks.append([])
    out = []
    for block in filter(None, blocks):
        wide = Counter(len(line) for _, line in block).most_common(1)[0][0]
        wrong = next(((n, line) for n, line in block if len(line) != wide), None)
        if wrong is not None:
            raise Unreadable(
                f"its rows are ragged: line {wrong[0]} has {len(wrong[1])} tiles and most have {wide}; fill the row "
                "with the tile for empty"
            )
        if len(block) < LEAST or wide < LEAST:
            raise Unreadable(f"a level of {len(block)} rows and {wide} columns is too small: at least {LEAST} of each")
        out.append("\n".join(line for _, line in block))
    if not out:
        raise Unreadable("it is empty")
    kinds = len(set("".join(out))) - 1
    if kinds > MOST_KINDS:
        raise Unreadable(
            f"it has {kinds} different characters, more than the {MOST_KINDS} tiles of a level: it is text"
        )
    return out


def looks_like_levels(head: bytes) -> bool:
    """Whether the beginning of a file is rows of tiles and no prose, list or table: rows of (nearly) equal length, few
    kinds of characters, and neighbours that are mostly alike."""
    try:
        text = encoding.decode(head)
    except Unreadable:
        return False
    blocks = [b.split("\n") for b in text.replace("\r", "").strip("\n").split("\n\n")]
    if len(blocks) > 1:
        blocks = blocks[: max(1, len(blocks) - 1)]  # the last may be cut
    rows = [line for b in blocks for line in b]
    wide = [Counter(map(len, b)).most_common(1)[0][0] for b in blocks]
    even = sum(len(line) == w for b, w in zip(blocks, wide, strict=True) for line in b)
    tiles = sum(map(len, rows))
    if min(map(len, blocks)) < LEAST or min(wide) < LEAST or even < 0.7 * len(rows) or "\t" in text:
        return False
    if not tiles or len(set(text)) - 1 > min(MOST_KINDS, tiles // 8 + 2):
        return False
    across = sum(a == b for line in rows for a, b in pairwise(line))
    down = sum(a == c for b in blocks for r, s in pairwise(b) for a, c in zip(r, s, strict=False))
    return across > 0.35 * (tiles - len(rows)) and down > 0.3 * (tiles - sum(wide))


def level_source(data: Any, config: LevelWishes, where: DataConfig) -> Source:
    """The source of levels in a file, folder, archive, named set or list of texts. Raises InputError."""
    named = NAMED.get(data) if isinstance(data, str) and not Path(data).exists() else None
    if named is not None:
        config = replace(config, window=config.window or named.window, step=config.step or named.step)
    asked = Asked(where.column, where.label, where.properties, where.source or "none")
    drawn = named is None and _are_pictures(data)
    source = open_source(data, PICTURES) if drawn else open_text(data, texts.Wishes(EXTENSIONS, "document", asked))
    legend, view, legend_name = _legend(data, config)
    if legend is None and named is not None:
        legend, view = {t: tuple(v) for t, v in named.legend.items()}, named.view
        legend_name = f"of {data}"
    digest = hashlib.sha256(repr((source.digest, config, legend, view)).encode()).hexdigest()

    def load() -> Items:
        items, tiles = _cut_up(source.load(), config) if drawn else (source.load(), None)
        return _examples(items, config, where, legend, config.view or view, legend_name, tiles)

    return Source(source.name, digest, load, "level", source.notices)


# -- the legend -----------------------------------------------------------------------------------------------------


def _legend(data: Any, config: LevelWishes) -> tuple[Tags | None, View | None, str]:
    """The legend asked for, else the one that lies with the levels."""
    if config.legend is not None:
        path = Path(config.legend).expanduser()
        try:
            raw = path.read_bytes()
        except OSError as e:
            raise InputError(f"the legend {path} cannot be read: {e.strerror or e}; give a JSON file") from None
        return *parse_legend(raw, str(path)), str(path)
    found = [(name, raw) for name, raw in _json_files(data) if is_legend(raw)]
    if not found:
        return None, None, ""
    if len(found) > 1 and len({raw for _, raw in found}) > 1:
        raise InputError(
            f"there are several legends with the levels ({listing([n for n, _ in found])}); say which with "
            "modality.legend=FILE.json"
        )
    return *parse_legend(found[0][1], found[0][0]), found[0][0]


def _json_files(data: Any) -> list[tuple[str, bytes]]:
    """Names and contents of the JSON files with the levels; none for what is no path."""
    try:
        path = Path(data).expanduser() if isinstance(data, str | Path) and "\n" not in str(data) else None
        if path is None or not path.exists():
            return []
        if path.is_dir():
            near = sorted(path.rglob("*.json"))[:LEGENDS]
        elif path.name.lower().endswith((*ZIP_ENDINGS, *TAR_ENDINGS)):
            inside = [m for m in members_of(path) if m.name.lower().endswith(".json")][:LEGENDS]
            return [(m.name, m.read()) for m in inside]
        else:
            near = [p for p in (path.with_suffix(".json"), path.with_name("legend.json")) if p.is_file()][:1]
        return [(str(p), p.read_bytes()) for p in near]
    except (OSError, Unreadable) as e:
        raise InputError(f"a legend beside {data} cannot be read: {e}") from None


# -- pictures -------------------------------------------------------------------------------------------------------


def _are_pictures(data: Any) -> bool:
    """Whether most files of `data`, or the elements of a list, are pictures."""
    if not isinstance(data, str | Path):
        first = next(iter(data), None) if isinstance(data, list | tuple) else data
        return not isinstance(first[0] if isinstance(first, tuple) else first, str)
    if "\n" in str(data):
        return False
    path = Path(data).expanduser()
    if path.is_dir():
        found = [p.name for p in path.rglob("*") if p.is_file()]
    elif path.name.lower().endswith((*ZIP_ENDINGS, *TAR_ENDINGS)) and path.is_file():
        found = [m.name for m in members_of(path)]
    else:
        found = [path.name]
    endings = Counter(Path(name).suffix.lower() for name in found)
    return sum(endings[e] for e in PICTURES) > sum(endings[e] for e in EXTENSIONS)


def _cut_up(items: Items, config: LevelWishes) -> tuple[Items, tilecut.Tiles]:
    """The levels that pictures show, as text, and their tiles. Raises InputError."""
    shown: dict[int, tilecut.Pixels] = {}
    broken: dict[int, str] = {}
    for i in range(len(items)):
        try:
            shown[i] = tilecut.pixels_of(pictures.decode(items.read(i), pictures.MAX_PIXELS))
        except Unreadable as e:
            broken[i] = str(e)
    if not shown:
        raise InputError(f"none of the pictures can be read; the first is {items.origins[0]}: {broken[0]}")
    notices = list(items.notices)
    if config.drawn is not None:
        tiles = tilecut.Tiles.given(tileset.unpacked(config.drawn))
    else:
        edge = config.tile or tilecut.told_edge(list(shown.values()))
        for i, pixels in list(shown.items()):
            try:
                tilecut.cells(pixels, edge)
            except Unreadable as e:
                broken[i] = str(e)
                del shown[i]
        if not shown:
            raise InputError(f"no picture can be cut into tiles; the first is {items.origins[0]}: {broken[0]}")
        tiles = tilecut.Tiles.learnt(list(shown.values()), edge, config.alike)
        told = "" if config.tile else " (told from them; modality.tile sets it)"
        notices.append(
            f"the pictures are cut into {count(len(tiles.characters), 'kind')} of tiles of {edge} pixels{told}; say "
            "what they are with modality.legend=FILE.json to have levels played (samples come with such a file)"
        )

    def read(i: int) -> str:
        if i in broken:
            raise Unreadable(broken[i])
        return tiles.text(shown[i])

    return replace(items, read=read, notices=tuple(notices)), tiles


# -- windows --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Piece:
    """One example: its text, where it is from, and the split it must be in. level: which level it was cut from."""

    text: str
    origin: str
    label: str | None
    given: GivenSplit | None


def _examples(
    items: Items,
    config: LevelWishes,
    where: DataConfig,
    legend: Tags | None,
    view: View | None,
    legend_name: str,
    drawn: tilecut.Tiles | None = None,
) -> Items:
    whole: list[tuple[str, str, str | None, GivenSplit | None]] = []
    broken: list[tuple[str, str]] = []
    for i in range(len(items)):
        try:
            raw = items.read(i)
            levels = parse(raw if isinstance(raw, str) else encoding.decode(raw))
            if legend is not None:
                _check_known(levels, legend, legend_name)
        except Unreadable as e:
            broken.append((items.origins[i], str(e)))
            continue
        for k, text in enumerate(levels, 1):
            origin = items.origins[i] + (f"#{k}" if len(levels) > 1 else "")
            whole.append((text, origin, items.label(i), items.split(i)))
    notices = [n for n in items.notices if "skipped" not in n]
    chosen: dict[str, Any] = {}
    pieces: list[_Piece] = []
    if whole:
        texts_only = [w[0] for w in whole]
        if legend is None and drawn is not None:
            legend = {t: ("passable",) for t in drawn.characters}
        elif legend is None:
            legend, notice = guessed(sorted(set("".join(texts_only)) - {"\n"}))
            notices.append(notice)
        used = set("".join(texts_only))
        tags = {t: list(v) for t, v in legend.items() if t in used}
        chosen = {"tiles": tags, "view": view or told_view(legend, texts_only)}
        if drawn is not None:
            chosen["drawn"] = tileset.packed({t: p for t, p in drawn.pictures().items() if t in used})
        free = {t for t, v in tags.items() if not any(role(v, r) for r in ("solid", "deadly", "exits"))}
        empty = next((t for t, v in tags.items() if "empty" in v), Counter("".join(texts_only)).most_common(1)[0][0])
        pieces, cut = _cut(whole, config, where, empty, free)
        notices += cut
    labels = [p.label for p in pieces] + [None] * len(broken)
    given = [p.given for p in pieces] + [None] * len(broken)

    def read(i: int) -> str:
        if i >= len(pieces):
            raise Unreadable(broken[i - len(pieces)][1])
        return pieces[i].text

    return Items(
        [*(p.origin for p in pieces), *(origin for origin, _ in broken)], read,
        labels if any(labels) else None, given if any(given) else None, None, tuple(notices), chosen,
    )  # fmt: skip


def _check_known(levels: Sequence[str], legend: Tags, name: str) -> None:
    for level in levels:
        for y, row in enumerate(level.split("\n"), 1):
            for x, tile in enumerate(row, 1):
                if tile not in legend:
                    raise Unreadable(
                        f"the tile {tile!r} in row {y}, column {x} is not in the legend {name}; name it there"
                    )


def _cut(
    whole: Sequence[tuple[str, str, str | None, GivenSplit | None]],
    config: LevelWishes,
    where: DataConfig,
    empty: str,
    free: set[str],
) -> tuple[list[_Piece], list[str]]:
    """Windows of the levels, and the sentence that says so. Windows that overlap stay in the split of their level."""
    sizes = [_size(text) for text, *_ in whole]
    rows, columns = max(h for h, _ in sizes), max(w for _, w in sizes)
    window = config.window
    if window is None:
        if max(h * w for h, w in sizes) <= TILES:
            window = (rows, columns)
        else:
            window = (min(rows, WINDOW), min(WINDOW, min(w for _, w in sizes)))
    high, wide = window
    if all(h <= high and w <= wide for h, w in sizes):
        return [_Piece(_raised(t, high, empty), origin, label, given) for t, origin, label, given in whole], []
    step = config.step or (STEP if config.window is None else None)
    down, across = step or high, step or wide
    overlap = down < high or across < wide
    apart = f", {across} columns apart" if overlap else ""
    change = "modality.window=14x28 and modality.step change it"
    notices = [f"levels are cut into windows of {high} rows and {wide} columns{apart} ({change})"]
    small = sum(w < wide for _, w in sizes)
    if small:
        notices.append(f"{count(small, 'level')} with fewer than {wide} columns left out")
    sides = _sides([t for t, *_ in whole], [g for *_, g in whole], where) if overlap else [g for *_, g in whole]
    out = []
    for (text, origin, label, _), side in zip(whole, sides, strict=True):
        lines = _raised(text, high, empty).split("\n")
        for y in _places(len(lines), high, down):
            for x in _places(len(lines[0]), wide, across):
                part = [line[x : x + wide] for line in lines[y : y + high]]
                given = side
                if overlap and side is None:
                    given = _by_place(x, len(lines[0]), wide, where)
                    if given is None:
                        continue  # it lies in two splits
                there = set("".join(part))
                if len(there) > 1 and there & free:  # else there is nothing, or no floor
                    out.append(_Piece("\n".join(part), f"{origin}@{y},{x}", label, given))
    return out, notices


def _raised(text: str, rows: int, empty: str) -> str:
    """A level with at least so many rows: empty ones above."""
    lines = text.split("\n")
    return "\n".join([empty * len(lines[0])] * (rows - len(lines)) + lines)


def _places(length: int, size: int, step: int) -> list[int]:
    """Where windows begin; the last one ends with the level unless the steps leave none over."""
    if length < size:
        return []
    places = list(range(0, length - size + 1, step if length > size else max(1, length)))
    return places if step >= size or places[-1] == length - size else [*places, length - size]


def _sides(levels: Sequence[str], given: Sequence[GivenSplit | None], where: DataConfig) -> list[GivenSplit | None]:
    """The split of whole levels, by their contents; as the folders say where they do."""
    if any(given) or len(levels) < FEW:
        return list(given)
    order = sorted(range(len(levels)), key=lambda i: hashlib.sha256(levels[i].encode()).digest())
    out: list[GivenSplit | None] = ["train"] * len(levels)
    shares: list[tuple[GivenSplit, float]] = [("test", where.test), ("validation", where.validation)]
    for name, share in shares:
        for i in order[: max(1, round(share * len(levels))) if share else 0]:
            out[i] = name
        order = order[max(1, round(share * len(levels))) if share else 0 :]
    return out


def _by_place(x: int, length: int, wide: int, where: DataConfig) -> GivenSplit | None:
    """Of one or two long levels the right end is held out; None for a window that lies in two splits."""
    edges = [0.0, length * (1 - where.test - where.validation), length * (1 - where.test), float(length)]
    splits: tuple[GivenSplit, ...] = ("train", "validation", "test")
    return next((s for s, a, b in zip(splits, edges, edges[1:], strict=False) if a <= x and x + wide <= b), None)


def _size(text: str) -> tuple[int, int]:
    return text.count("\n") + 1, text.index("\n")
