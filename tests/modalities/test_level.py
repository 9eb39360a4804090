"""Levels as tokens and grids: round trips, the grammar, files that other tools open, playing and repairing."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from genloom.core.errors import InputError, Unreadable
from genloom.data.tileset import SIZE
from genloom.data.vocabulary import BOS, EOS, FIRST
from genloom.modalities.level import Level, LevelConfig

TILES = {
    "-": ["empty"], "#": ["solid", "ground"], "S": ["start", "passable"], "G": ["goal", "passable"], "^": ["hazard"],
}  # fmt: skip
FLAT = "-----\n-----\nS---G\n#####"
PIT = "------------\n------------\nS----------G\n#----------#"


def fitted(form: str = "tokens", levels: tuple[str, ...] = (FLAT, PIT)) -> Level:
    return Level.fit(LevelConfig(form=form, tiles=TILES, view="side"), levels)  # type: ignore[arg-type]


def test_tokens_go_down_each_column_and_say_their_row() -> None:
    level = fitted()
    x = level.encode(FLAT)
    kinds = len(TILES)
    assert x[0] == BOS and x[-1] == EOS and len(x) == 2 + 4 * 5
    rows = (x[1:-1] - FIRST) // kinds
    assert rows.tolist() == [0, 1, 2, 3] * 5
    tiles = ["-#SG^".index(t) for t in FLAT.replace("\n", "")]
    ids = {t: level.index[t] for t in TILES}
    down = np.array([ids["-#SG^"[t]] for t in tiles]).reshape(4, 5).T.ravel()
    assert ((x[1:-1] - FIRST) % kinds).tolist() == down.tolist()
    assert level.decode(x) == FLAT


def test_a_grid_has_one_channel_a_tile_and_the_largest_wins() -> None:
    level = fitted("grid", (PIT,))
    x = level.encode(PIT)
    assert x.shape == (5, 8, 16) and set(x.unique().tolist()) == {-1.0, 1.0}
    assert ((x[:, :4, :12] > 0).sum(0) == 1).all() and not (x[:, 4:] > 0).any()
    assert level.decode(x * 0.1 - 0.5) == PIT
    assert len(level.decode(torch.randn(5, 8, 16)).split("\n")) == 4


@pytest.mark.parametrize("ids", [[], [BOS], [BOS, EOS], [BOS, FIRST + 3], [FIRST, 0, FIRST + 7, 0, 0], list(range(23))])
def test_any_tokens_decode_to_a_level(ids: list[int]) -> None:
    rows = fitted().decode(torch.tensor(ids, dtype=torch.long)).split("\n")
    assert len(rows) == 4 and len({len(r) for r in rows}) == 1 and rows[0] and set("".join(rows)) <= set(TILES)


def test_the_grammar_keeps_columns_whole_and_ends_where_training_levels_do() -> None:
    level = fitted()
    guide, kinds = level.grammar(), len(TILES)
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        tokens = torch.tensor([[BOS]])
        while int(tokens[0, -1]) != EOS:
            allowed = guide.allowed(tokens)
            assert allowed.shape == (1, FIRST + 4 * kinds) and allowed.any()
            tokens = torch.cat([tokens, torch.multinomial(allowed.float(), 1, generator=generator)], 1)
        columns, rest = divmod(tokens.shape[1] - 2, 4)
        assert rest == 0 and 5 <= columns <= 12
        assert torch.equal(level.encode(level.decode(tokens[0])), tokens[0])


def test_a_part_of_a_level_is_a_prompt() -> None:
    level = fitted()
    ids = level.prompt("--\n--\nS-\n##\n")
    assert torch.equal(torch.tensor(ids), level.encode(FLAT)[1:9]) and level.prompt("") == []
    assert level.gap(8, 12) == 4 * 12 - 20
    with pytest.raises(InputError, match="all of its 4 rows"):
        level.prompt("--\n##")
    with pytest.raises(InputError, match="'Z' does not occur"):
        level.prompt("-\n-\nZ\n#")


def test_bad_levels_are_one_sentence() -> None:
    config = LevelConfig(tiles=TILES, view="side")
    for raw, match in (("---\n--\n###", "ragged"), ("---\n-Z-\n###", "'Z' is not in the legend"), (b"", "empty")):
        with pytest.raises(Unreadable, match=match):
            Level.read(raw, config)
    with pytest.raises(Unreadable, match="2 levels"):
        Level.read(FLAT + "\n\n" + FLAT, config)
    with pytest.raises(ValueError, match="14x28"):
        LevelConfig(window="14")


def test_playable_levels_are_told_and_others_repaired() -> None:
    level = fitted()
    assert level.shows_trait("playable", FLAT) and not level.shows_trait("playable", PIT)
    again = level.repair("playable", PIT)
    assert level.shows_trait("playable", again) and sum(a != b for a, b in zip(PIT, again, strict=True)) <= 3
    assert level.repair("playable", FLAT) == FLAT
    rng = np.random.default_rng(0)
    for _ in range(30):
        noise = "\n".join("".join(r) for r in rng.choice(list("-#^"), (4, 9)))
        assert level.shows_trait("playable", level.repair("playable", noise))


def test_without_walls_in_the_legend_nothing_is_said_of_playing() -> None:
    assert Level.fit(LevelConfig(), ["123\n123\n111"]).traits() == {}


def test_files_are_text_a_picture_and_a_map_of_tiled(tmp_path: Path) -> None:
    level = fitted()
    paths = level.write([FLAT, PIT], tmp_path, ["a", "b"])
    assert [p.name for p in paths] == ["a.txt", "b.txt", "a.png", "b.png", "a.tmx", "b.tmx", "tiles.png", "legend.json"]
    assert (tmp_path / "a.txt").read_text() == FLAT + "\n"
    with Image.open(tmp_path / "b.png") as picture:
        assert picture.size == (12 * SIZE, 4 * SIZE)
        shown = np.asarray(picture.convert("RGB"))
    root = ElementTree.parse(tmp_path / "b.tmx").getroot()
    data, image = root.find("layer/data"), root.find("tileset/image")
    assert data is not None and data.text and image is not None
    numbers = np.array([[int(v) for v in row.rstrip(",").split(",")] for row in data.text.split()])
    assert numbers.shape == (4, 12)
    with Image.open(tmp_path / str(image.get("source"))) as strip:
        tiles = np.asarray(strip.convert("RGB"))
    for y, row in enumerate(PIT.split("\n")):  # Tiled would show what the picture shows
        for x, tile in enumerate(row):
            at = (numbers[y, x] - 1) * SIZE
            assert np.array_equal(tiles[:, at : at + SIZE], shown[y * SIZE : (y + 1) * SIZE, x * SIZE : (x + 1) * SIZE])
            properties = root.findall("tileset/tile")[numbers[y, x] - 1].findall("properties/property")
            assert properties[0].get("value") == tile


def test_a_tile_set_of_ones_own_is_kept_with_the_model(tmp_path: Path) -> None:
    Image.new("RGB", (32, 32), "#ff0000").save(tmp_path / "ground.png")
    config = LevelConfig(tiles=TILES, view="side", tileset=str(tmp_path))
    level = Level.from_state(Level.fit(config, [FLAT]).state())
    assert level.pictures["#"].getpixel((5, 5)) == (255, 0, 0) != level.pictures["-"].getpixel((5, 5))
    with pytest.raises(InputError, match=r"-\.png or empty\.png"):
        Level.fit(config.model_copy(update={"tileset": str(tmp_path.parent)}), [FLAT])


def test_the_way_is_drawn_into_what_is_shown() -> None:
    level = fitted()
    plain = np.asarray(level.show([PIT])).astype(int)
    assert level.show([FLAT]).tobytes() != io.BytesIO(plain.tobytes()).getvalue()
    colours = {tuple(c) for c in np.asarray(level.show([FLAT])).reshape(-1, 3).tolist()}
    assert (228, 87, 46) in colours and (228, 87, 46) not in {tuple(c) for c in plain.reshape(-1, 3).tolist()}
