"""Game levels: tile grids as text, as Tokens column by column or as a one-hot Grid.

An example is a str: rows of one character a tile, separated by newlines, all of equal length. Legend: `H` rows, `W`
columns, `K` kinds of tiles.

Column by column as in Summerville and Mateas 2016, "Super Mario as a string"; a token says its row too, so that a model
need not count and the grammar keeps every column whole.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from PIL import Image as Pillow
from pydantic import field_validator
from torch import Tensor

from genloom.core.config import DataConfig, Settings, setting
from genloom.core.errors import InputError, Unreadable
from genloom.core.files import Finish, as_is, write_atomic
from genloom.core.modality import Fingerprint, Modality, OwnFigure
from genloom.core.spec import Grid, Spec, Tokens
from genloom.data import encoding, tileset
from genloom.data.items import Source, listing
from genloom.data.legend import Tags, guessed, role, told_view, usable
from genloom.data.levels import LevelWishes, level_source, looks_like_levels, parse
from genloom.data.vocabulary import BOS, EOS, FIRST, PAD
from genloom.metrics import tiles as measures
from genloom.metrics.reach import Mending, Place, Terrain, corridor, mending, way

MULTIPLE = 8  # rows and columns of a grid are filled up to a multiple of it, for networks that halve them
TRIES = 4  # mendings of a level before a straight corridor is laid through it


class LevelConfig(Settings):
    """How levels are read, cut and drawn."""

    form: Literal["tokens", "grid"] | None = setting(
        None, "Columns of tokens, or a grid with a channel for each tile; None takes what suits the family."
    )
    window: int | str | None = setting(
        None, "Rows x columns of an example, as in 14x28; larger levels are cut; None chooses.", unit="tiles"
    )
    step: int | None = setting(
        None, "Tiles between the beginnings of two windows; None: 4, or whole windows where a window is given.",
        unit="tiles", ge=1,
    )  # fmt: skip
    legend: str | None = setting(
        None, "JSON file that says what each tile is; None finds one beside the levels, or guesses."
    )
    view: Literal["side", "top"] | None = setting(
        None, "Whether a level is seen from the side (run and jump) or from above (walk); None tells it from the data."
    )
    tileset: str | None = setting(None, "Folder with a picture for each tile, such as X.png or ground.png.")
    tile: int | None = setting(
        None, "Of pictures of levels: edge of a tile; None tells it from them.", unit="pixels", ge=4, le=256
    )
    alike: float = setting(
        2.0, "Of pictures: mean difference of pixel values (of 255) up to which two tiles are one.", ge=0, le=24
    )
    tiles: dict[str, list[str]] | None = setting(None, "What each tile is; found with the data.")
    drawn: dict[str, str] | None = setting(None, "What each tile looks like (PNG in base64); found with the data.")

    @field_validator("window")
    @classmethod
    def _window(cls, value: int | str | None) -> str | None:
        return None if value is None else "{}x{}".format(*parse_window(str(value)))


def parse_window(value: str) -> tuple[int, int]:
    """(rows, columns) of "14x28". Raises ValueError."""
    parts = value.lower().replace("×", "x").split("x")
    if len(parts) != 2 or not all(p.strip().isdecimal() and 3 <= int(p) <= 512 for p in parts):
        raise ValueError("must be rows x columns, each from 3 to 512, as in 14x28")
    return int(parts[0]), int(parts[1])


class Columns:
    """The grammar of levels: rows follow each other, and a level ends after a whole column when it is as wide as
    training examples are."""

    def __init__(self, rows: int, kinds: int, narrowest: int, widest: int) -> None:
        self.rows, self.vocab = rows, FIRST + rows * kinds
        self.narrowest, self.widest = narrowest, widest
        self.follows = torch.zeros(rows, self.vocab, dtype=torch.bool)  # [H, V] what may stand in each row
        for row in range(rows):
            self.follows[row, FIRST + row * kinds : FIRST + (row + 1) * kinds] = True
        self.kinds = kinds

    def allowed(self, tokens: Tensor) -> Tensor:
        last = tokens[:, -1].cpu()
        tile = (last >= FIRST) & (last < self.vocab)
        row = torch.where(tile, ((last - FIRST) // self.kinds + 1) % self.rows, 0)
        columns = ((tokens >= FIRST) & (tokens < self.vocab)).sum(1).cpu() // self.rows
        out = self.follows[row]
        between = row == 0
        out[:, EOS] = between & (columns >= self.narrowest)
        full = between & (columns >= self.widest)
        out[full] = False
        out[full, EOS] = True
        return out.to(tokens.device)

    def finished(self, tokens: Tensor) -> Tensor | None:
        return None


class Level(Modality[str]):
    """Levels as int64 [2 + H W] (bos, columns, eos) or as float32 [K, H', W'] in {-1, 1} with one 1 a tile."""

    Config = LevelConfig
    forms = (Tokens, Grid)
    extensions = frozenset({".txt", ".lvl", ".level"})

    def __init__(self, config: LevelConfig, rows: int, widths: tuple[int, int], notices: tuple[str, ...] = ()) -> None:
        """config: with tiles and view. rows: H. widths: of the narrowest and the widest training example."""
        assert config.tiles and config.view
        self.config: LevelConfig = config
        self.rows, self.widths, self.notices = rows, widths, notices
        self.legend: Tags = {t: tuple(v) for t, v in config.tiles.items()}
        self.tiles = sorted(self.legend, key=lambda t: "empty" not in self.legend[t])  # an empty one first
        self.index = {t: i for i, t in enumerate(self.tiles)}
        kinds = len(self.tiles)
        self.spec: Spec
        if config.form == "grid":
            self.spec = Grid((kinds, _up(rows), _up(widths[1])), levels=None)
        else:
            self.spec = Tokens(2 + rows * widths[1], FIRST + rows * kinds, PAD, BOS, EOS)
        self._way = lru_cache(4096)(self._search)

    @classmethod
    def open(cls, data: Any, config: LevelConfig, where: DataConfig) -> Source:
        """The source of `data`. Raises InputError."""
        window = None if config.window is None else parse_window(str(config.window))
        wishes = LevelWishes(window, config.step, config.legend, config.view, config.tile, config.alike, config.drawn)
        return level_source(data, wishes, where)

    @classmethod
    def recognises(cls, name: str, head: bytes) -> bool:
        return looks_like_levels(head)

    @classmethod
    def read(cls, raw: Any, config: Any) -> str:
        """A level, as text or the bytes of a file. Raises Unreadable: ragged rows, no level, an unknown tile."""
        if not isinstance(raw, str | bytes):
            raise Unreadable(f"not a level but {type(raw).__name__}")
        levels = parse(raw if isinstance(raw, str) else encoding.decode(raw))
        if len(levels) > 1:
            raise Unreadable(f"it holds {len(levels)} levels; give one")
        known = getattr(config, "tiles", None)
        unknown = sorted(set(levels[0]) - {"\n", *known}) if known else []
        if unknown:
            raise Unreadable(f"the tile {listing([repr(t) for t in unknown])} is not in the legend")
        return levels[0]

    @classmethod
    def fingerprint(cls, example: str) -> Fingerprint:
        return Fingerprint(hashlib.blake2b(example.encode(), digest_size=16).digest())

    @classmethod
    def fit(cls, config: LevelConfig, train: Iterable[str]) -> Self:
        """The tiles and what they are, the height, and the widths."""
        levels = list(train)
        if not levels:
            raise InputError("there are no levels to learn from")
        found = sorted(set("".join(levels)) - {"\n"})
        tags: Mapping[str, Sequence[str]] = config.tiles or guessed(found)[0]
        view = config.view or told_view(tags, levels)
        heights, widths = {e.count("\n") + 1 for e in levels}, [len(e.split("\n", 1)[0]) for e in levels]
        widest = (max(widths),) * 2 if config.form == "grid" else (min(widths), max(widths))
        told: dict[str, Any] = {
            "tiles": {t: list(v) for t, v in tags.items()},
            "view": view,
            "form": config.form or "tokens",
        }
        if config.tileset is not None:
            legend = {t: tuple(v) for t, v in tags.items()}
            told["drawn"] = tileset.packed(tileset.given_pictures(config.tileset, legend, view))
        chosen = config.model_copy(update={**told, "tileset": None})
        seen = "the side: the player runs and jumps" if view == "side" else "above: the player walks"
        notice = f"levels of {max(heights)} rows and {len(tags)} tiles, seen from {seen}"
        return cls(chosen, max(heights), widest, (notice,) if usable(tags) else ())

    # -- tensors ----------------------------------------------------------------------------------------------------

    def encode(self, example: str) -> Tensor:
        """Tokens [2 + H W] or grid [K, H', W']; a level that is too low gets empty rows above. Raises InputError."""
        lines = self._fitting(example)
        kinds = np.array([[self.index[t] for t in line] for line in lines])  # [H, W]
        if isinstance(self.spec, Grid):
            out = torch.full(self.spec.shape, -1.0)
            y, x = np.indices(kinds.shape)
            out[kinds, y, x] = 1.0
            return out
        ids = FIRST + np.arange(self.rows)[:, None] * len(self.tiles) + kinds
        return torch.from_numpy(np.concatenate([[BOS], ids.T.ravel(), [EOS]]))

    def _fitting(self, example: str) -> list[str]:
        lines = example.split("\n")
        unknown = sorted(set("".join(lines)) - self.index.keys())
        if unknown:
            raise InputError(
                f"the tile {listing([repr(t) for t in unknown])} does not occur in the levels the model was trained on"
            )
        if len(lines) > self.rows:
            raise InputError(f"a level of {len(lines)} rows does not fit a model of levels with {self.rows}")
        return [self.tiles[0] * len(lines[0])] * (self.rows - len(lines)) + lines

    def decode(self, x: Tensor) -> str:
        """Always a level: of tokens, a column that is not whole is filled with the empty tile."""
        if isinstance(self.spec, Grid):
            kinds = x.detach().float().cpu()[:, : self.rows, : self.widths[1]].argmax(0).numpy()
            return "\n".join("".join(self.tiles[k] for k in row) for row in kinds)
        ids = x.detach().cpu().numpy()
        ended = np.flatnonzero(ids == EOS)
        ids = ids[: ended[0]] if len(ended) else ids
        used = np.flatnonzero(ids >= FIRST)
        ids = ids[used[0] : used[-1] + 1] if len(used) else ids[:0]
        places = np.maximum(ids - FIRST, 0)
        first = int(places[0]) // len(self.tiles) if len(ids) else 0  # rows that are missing of a piece of a level
        cells = np.where(ids >= FIRST, places % len(self.tiles), 0)
        cells = np.concatenate([np.zeros(first, dtype=np.int64), cells])
        wide = max(1, math.ceil(len(cells) / self.rows))
        whole = np.zeros(wide * self.rows, dtype=np.int64)
        whole[: len(cells)] = cells
        return "\n".join("".join(self.tiles[k] for k in row) for row in whole.reshape(wide, self.rows).T)

    # -- sequences --------------------------------------------------------------------------------------------------

    def grammar(self) -> Columns:
        return Columns(self.rows, len(self.tiles), *self.widths)

    def prompt(self, text: str) -> list[int]:
        """The columns that a level begins (or ends) with, given as rows. Raises InputError."""
        lines = text.strip("\n").split("\n") if text.strip("\n") else []
        if not lines:
            return []
        if len(lines) != self.rows or len({len(line) for line in lines}) > 1:
            raise InputError(
                f"a part of a level is given as all of its {self.rows} rows, equally long, from top to bottom; got "
                f"{len(lines)} rows of {min(map(len, lines))} to {max(map(len, lines))} tiles"
            )
        lines = self._fitting("\n".join(lines))
        kinds, places = len(self.tiles), range(len(lines[0]))
        return [FIRST + y * kinds + self.index[lines[y][x]] for x in places for y in range(self.rows)]

    def gap(self, before: int, after: int) -> int:
        """Tokens that are missing between so many given ones, in a level as wide as training examples."""
        return max(self.rows, self.rows * self.widths[1] - before - after)

    def units(self, example: str) -> list[str]:
        """The columns."""
        return measures.columns_of(example)

    def sizes(self, example: str) -> dict[str, int]:
        columns = len(example.split("\n", 1)[0])
        return {"tile": columns * (example.count("\n") + 1), "column": columns}

    # -- playing ----------------------------------------------------------------------------------------------------

    def traits(self) -> dict[str, str]:
        if not usable(self.legend):
            return {}
        how = "run and jump" if self.config.view == "side" else "walk"
        return {"playable": f"Share of levels through which a player can {how} from start to goal."}

    def shows_trait(self, name: str, example: str) -> bool:
        return self.way(example) is not None

    def way(self, example: str) -> list[Place] | None:
        """The places (row, column) of a way through the level; None where there is none."""
        return self._way(example)

    def _search(self, example: str) -> list[Place] | None:
        assert self.config.view is not None
        return way(self._terrain(example), self.config.view)

    def _terrain(self, example: str) -> Terrain:
        cells = np.array([[self.index[t] for t in line] for line in example.split("\n")])
        return Terrain(**{name: flags[cells] for name, flags in self._roles.items()})

    @cached_property
    def _roles(self) -> dict[str, Any]:
        names = ("solid", "top", "climb", "deadly", "start", "goal", "exits", "hop")
        return {n: np.array([role(self.legend[t], n) for t in self.tiles]) for n in names}

    def repair(self, name: str, example: str) -> str:
        """The level with few tiles changed so that it shows the trait."""
        assert self.config.view is not None
        for attempt in range(TRIES + 1):
            if self.way(example) is not None:
                return example
            terrain = self._terrain(example)
            example = self._changed(
                example, mending(terrain, self.config.view) if attempt < TRIES else corridor(terrain)
            )
        return example

    def _changed(self, example: str, what: Mending) -> str:
        rows = [list(line) for line in example.split("\n")]
        solid = [t for t in self.tiles if role(self.legend[t], "solid") and "void" not in self.legend[t]]
        for places, tile in ((what.cleared, self.tiles[0]), (what.put, max(solid, key=example.count))):
            for y, x in places:
                rows[y][x] = tile
        return "\n".join(map("".join, rows))

    # -- judging ----------------------------------------------------------------------------------------------------

    def figures(self) -> dict[str, OwnFigure]:
        meaning = "Divergence between the frequencies of such squares of tiles in samples and in held-out levels."
        distance = {
            f"pattern_distance_{n}": OwnFigure(
                f"Tile pattern distance, {n}x{n}", meaning, "lower", "nats", partial(measures.pattern_distance, size=n)
            )
            for n in (2, 3)
        }
        return distance | {
            "novelty": OwnFigure(
                "Novelty", "Share of a level's tiles that differ from the most similar training level.", "reference",
                "share of tiles", measures.novelty, "training",
            ),
            "longest_copied": OwnFigure(
                "Longest copied stretch", "Whole columns on end that also stand so in one training level, mean.",
                "reference", "columns", measures.longest_copied, "training",
            ),
            "copied": OwnFigure(
                "Copied levels", "Share of levels that are a training example, tile for tile.", "reference", "share",
                measures.copied, "training",
            ),
        }  # fmt: skip

    # -- files ------------------------------------------------------------------------------------------------------

    @cached_property
    def pictures(self) -> dict[str, Pillow.Image]:
        assert self.config.view is not None
        drawn = self.config.drawn
        every = tileset.unpacked(drawn) if drawn else tileset.default_pictures(self.legend, self.config.view)
        return {t: every[t] for t in self.tiles}

    def write(self, examples: Sequence[str], folder: Path, names: Sequence[str], finish: Finish = as_is) -> list[Path]:
        """A .txt of each level, then a .png, a .tmx for Tiled, tiles.png, which the latter shows, and legend.json."""
        folder.mkdir(parents=True, exist_ok=True)
        out: dict[Path, bytes] = {
            folder / f"{n}.txt": (e + "\n").encode() for n, e in zip(names, examples, strict=True)
        }
        drawn = [tileset.draw_level(e, self.pictures) for e in examples]
        out |= {folder / f"{n}.png": _png(p) for n, p in zip(names, drawn, strict=True)}
        out |= {
            folder / f"{n}.tmx": tileset.tiled(e, self.pictures, self.legend, "tiles.png")
            for n, e in zip(names, examples, strict=True)
        }
        out[folder / "tiles.png"] = _png(tileset.strip(self.pictures))
        legend = {"tiles": {t: list(self.legend[t]) for t in self.tiles}, "view": self.config.view}
        out[folder / "legend.json"] = (json.dumps(legend, ensure_ascii=False, indent=1) + "\n").encode()
        for path, data in out.items():
            write_atomic(path, finish(path, data))
        return list(out)

    def show(self, examples: Sequence[str], columns: int | None = None) -> Pillow.Image:
        """The levels drawn on one sheet, each with the way through it where there is one."""
        if not examples:
            raise InputError("there are no levels to show")
        drawn = [tileset.draw_level(e, self.pictures, self.way(e) if self.traits() else None) for e in examples]
        wide, high = max(p.width for p in drawn), max(p.height for p in drawn)
        columns = columns or max(1, round(math.sqrt(len(drawn) * high / wide)))
        sheet = Pillow.new("RGB", (columns * (wide + 12) + 12, -(-len(drawn) // columns) * (high + 12) + 12), "white")
        for i, picture in enumerate(drawn):
            sheet.paste(picture, (12 + i % columns * (wide + 12), 12 + i // columns * (high + 12)))
        return sheet

    def state(self) -> dict[str, Any]:
        return {"config": self.config.model_dump(mode="json"), "rows": self.rows, "widths": list(self.widths)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        widths = (state["widths"][0], state["widths"][1])
        return cls(LevelConfig(**state["config"]), state["rows"], widths)


def _up(n: int) -> int:
    return -(-n // MULTIPLE) * MULTIPLE


def _png(picture: Pillow.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
