"""Pictures of levels, cut into tiles that are learnt from them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genloom.core.config import DataConfig
from genloom.core.errors import InputError, Unreadable
from genloom.data import tilecut
from genloom.data.prepare import prepare

EDGE = 10  # no size that anybody would guess


def looks(seed: int = 0) -> list[np.ndarray]:
    """Five tiles: noise that is the same every time."""
    return list(np.random.default_rng(seed).integers(0, 256, (5, EDGE, EDGE, 3), dtype=np.uint8))


def plan(seed: int, rows: int = 6, columns: int = 9) -> np.ndarray:
    """Which tile stands where: the first one mostly."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 5, (rows, columns)) * (rng.random((rows, columns)) < 0.5)


def drawn(which: np.ndarray, noise: int = 0) -> np.ndarray:
    tiles = looks()
    rows = [np.concatenate([tiles[k] for k in row], 1) for row in which]
    out = np.concatenate(rows, 0).astype(int)
    return np.clip(out + np.random.default_rng(1).integers(-noise, noise + 1, out.shape), 0, 255).astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(12):
        Image.fromarray(drawn(plan(i))).save(tmp_path / f"map-{i}.png")
    return tmp_path


def test_the_size_of_a_tile_is_told_from_the_pictures() -> None:
    assert tilecut.told_edge([drawn(plan(i)) for i in range(4)]) == EDGE
    with pytest.raises(InputError, match=r"modality\.tile=16"):
        tilecut.told_edge([np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)])


@pytest.mark.parametrize("noise", [0, 3])
def test_every_cell_becomes_the_tile_that_was_drawn_there(noise: int) -> None:
    plans = [plan(i) for i in range(4)]
    pictures = [drawn(p, noise) for p in plans]
    tiles = tilecut.Tiles.learnt(pictures, EDGE, 6.0)
    assert len(tiles.characters) == 5 and tiles.characters[0] == "-"
    for which, picture in zip(plans, pictures, strict=True):
        text = tiles.text(picture).split("\n")
        pairs = {(int(k), c) for row, line in zip(which, text, strict=True) for k, c in zip(row, line, strict=True)}
        assert len(pairs) == len({k for k, _ in pairs}) == len({c for _, c in pairs})  # one to one


def test_pictures_become_levels_and_samples_look_like_them(folder: Path, tmp_path: Path) -> None:
    notices: list[str] = []
    Image.fromarray(drawn(plan(0))[:-3]).save(folder / "cut.png")
    (folder / "broken.png").write_bytes(b"\x89PNG broken")
    prepared = prepare(folder, "level", {}, DataConfig(max_broken=0.5), notices.append)
    assert any("5 kinds of tiles of 10 pixels (told from them" in n for n in notices)
    reasons = {Path(b.origin).name: b.reason for b in prepared.quarantined}
    assert "not whole tiles of 10 pixels" in reasons["cut.png"] and "PNG" in reasons["broken.png"]
    modality = prepared.modality
    level = modality.decode(prepared.train.batch(np.arange(1)).x[0])
    paths = modality.write([level], tmp_path / "out", ["a"])
    assert [p.name for p in paths] == ["a.txt", "a.png", "a.tmx", "tiles.png", "legend.json"]
    with Image.open(tmp_path / "out" / "a.png") as picture:
        shown = np.asarray(picture.convert("RGB"))
    assert any(np.array_equal(shown, drawn(plan(i))) for i in range(12))
    known = prepare(folder, "level", modality.config.model_dump(), DataConfig(max_broken=0.5))
    assert known.modality.state() == modality.state()


def test_bad_pictures_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="90 x 60 pixels are not whole tiles of 16 pixels"):
        tilecut.cells(drawn(plan(0)), 16)
    noise = [np.random.default_rng(i).integers(0, 256, (60, 90, 3), dtype=np.uint8) for i in range(6)]
    with pytest.raises(InputError, match="different ones"):
        tilecut.Tiles.learnt(noise, 5, 2.0)
    file = io.BytesIO()
    Image.fromarray(drawn(plan(0))).save(file, "PNG")
    (tmp_path / "a.png").write_bytes(file.getvalue()[:80])
    with pytest.raises(InputError, match="none of the pictures can be read"):
        prepare(tmp_path, "level", {}, DataConfig())


def test_the_size_is_told_of_lossy_pictures_too() -> None:
    shown = []
    for i in range(4):
        file = io.BytesIO()
        Image.fromarray(drawn(plan(i)).repeat(4, 0).repeat(4, 1)).save(file, "JPEG", quality=90)
        shown.append(tilecut.pixels_of(Image.open(file)))
    assert tilecut.told_edge(shown) == 4 * EDGE
