"""Levels as a data set: what is recognised, refused, cut and held out."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from genloom.core.config import DataConfig
from genloom.core.errors import InputError, Unreadable
from genloom.data.kinds import find_kind
from genloom.data.legend import guessed, parse_legend, told_view
from genloom.data.levels import looks_like_levels, parse
from genloom.data.prepare import Prepared, prepare

LEGEND = {"tiles": {"#": ["solid"], "-": ["empty"], "o": ["coin", "passable"]}}


def level(seed: int, columns: int = 12, rows: int = 6) -> str:
    rng = np.random.default_rng(seed)
    heights = rng.integers(1, 4, -(-columns // 3)).repeat(3)[:columns]
    return "\n".join("".join("#" if rows - y <= h else "-" for h in heights) for y in range(rows))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(12):
        (tmp_path / f"level-{i}.txt").write_text(level(i) + "\n")
    return tmp_path


def examples(prepared: Prepared) -> list[str]:
    splits = (prepared.train, prepared.validation, prepared.test)
    return [prepared.modality.decode(x) for s in splits for x in s.batch(np.arange(len(s))).x]


NOT_LEVELS = {
    "prose": "It was the best of times, it was\nthe worst of times, it was the ag\ne of wisdom",
    "five letters": "\n".join(["crane", "slate", "adieu", "house", "mouse", "plant"] * 4),
    "sequences": "\n".join(["ACGTTGCA", "GGATCCTA", "TTGACCGA", "ACGTACGT"] * 3),
    "verse": "床前明月光\n疑是地上霜\n舉頭望明月\n低頭思故鄉",
    "numbers": "\n".join(["0123456", "9876543", "1928374", "5647382"]),
    "table": "a\tb\tc\n1\t1\t1\n1\t1\t1\n",
}


@pytest.mark.parametrize("name", NOT_LEVELS)
def test_other_text_is_no_level(name: str, tmp_path: Path) -> None:
    assert not looks_like_levels(NOT_LEVELS[name].encode())
    (tmp_path / "a.txt").write_text(NOT_LEVELS[name])
    assert find_kind(tmp_path / "a.txt") == "text" and find_kind(tmp_path) == "text"


def test_levels_are_found_in_files_folders_archives_and_lists(folder: Path, tmp_path: Path) -> None:
    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w") as z:
        for path in folder.glob("*.txt"):
            z.write(path, f"set/{path.name}")
    single = tmp_path / "one.txt"
    single.write_text("\n\n".join(level(i) for i in range(5)))
    kinds = [find_kind(d) for d in (archive, single, folder / "level-0.txt", [level(i) for i in range(4)], "ruins")]
    assert kinds == ["level"] * 5
    archive.unlink()
    single.unlink()
    assert find_kind(folder) == "level"


def test_ragged_rows_are_refused_with_their_line(folder: Path) -> None:
    with pytest.raises(Unreadable, match="ragged: line 3 has 4 tiles and most have 6"):
        parse("------\n------\n----\n######\n")
    (folder / "level-0.txt").write_text("------\n------\n----\n######\n")
    prepared = prepare(folder, None, {}, DataConfig())
    assert len(prepared.quarantined) == 1 and "ragged" in prepared.quarantined[0].reason
    for path in folder.glob("*.txt"):
        path.write_text("------\n------\n----\n######\n")
    with pytest.raises(InputError, match="ragged"):
        prepare(folder, None, {}, DataConfig())


def test_an_unknown_tile_is_named_with_its_place(folder: Path) -> None:
    (folder / "legend.json").write_text(json.dumps(LEGEND))
    (folder / "level-3.txt").write_text(level(3).replace("#", "Z", 1))
    prepared = prepare(folder, None, {}, DataConfig())
    assert "tile 'Z' in row" in prepared.quarantined[0].reason and "legend.json" in prepared.quarantined[0].reason
    assert len(examples(prepared)) == 11


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "is not JSON"),
        ("{}", "has no tiles"),
        ('{"tiles": {"##": ["solid"]}}', "one character"),
        ('{"tiles": {"#": 3}}', "list of words"),
        ('{"tiles": {"#": ["solid"]}, "view": "front"}', "view"),
    ],
)
def test_a_wrong_legend_is_one_sentence(text: str, match: str) -> None:
    with pytest.raises(InputError, match=match):
        parse_legend(text, "legend.json")


def test_windows_that_overlap_stay_with_their_level(tmp_path: Path) -> None:
    wide = [level(i, 60, 20) for i in range(8)]
    prepared = prepare(wide, "level", {"window": "20x12", "step": 4}, DataConfig())
    assert prepared.modality.spec.length == 2 + 20 * 12  # type: ignore[union-attr]
    origins = {n: {o.split("@")[0] for o in getattr(prepared, n).origins} for n in ("train", "validation", "test")}
    assert all(origins.values()) and not origins["train"] & (origins["validation"] | origins["test"])
    assert len(prepared.train) + len(prepared.validation) + len(prepared.test) == 8 * 13


def test_rooms_are_cut_without_overlap_and_nothing_is_left_out(tmp_path: Path) -> None:
    rooms = [
        ["WWWW\nWF" + c + "W\nWWWW" for c in "FBD"],
        ["----\n----\n----"] + ["WWWW\nW" + c + "FW\nWWWW" for c in "FB"],
    ]
    rows = ["\n".join("".join(r) for r in zip(*(room.split("\n") for room in line), strict=True)) for line in rooms]
    (tmp_path / "map.txt").write_text("\n".join(rows) + "\n")
    found = examples(prepare(tmp_path / "map.txt", "level", {"window": "3x4"}, DataConfig()))
    assert sorted(found) == sorted(room for line in rooms for room in line if "W" in room)


def test_without_a_legend_it_is_guessed_and_said(folder: Path) -> None:
    notices: list[str] = []
    prepare(folder, None, {}, DataConfig(), notices.append)
    assert any("there is no legend: # are taken as solid and - as empty" in n for n in notices)
    assert "nothing is known" in guessed(["1", "2"])[1]


def test_the_view_is_told_by_ground_and_air() -> None:
    tags = {"#": ("solid",), "-": ("empty",)}
    assert told_view(tags, [level(0)]) == "side"
    assert told_view(tags, ["#####\n#---#\n#####"]) == "top"
