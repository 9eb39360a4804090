"""Planted faults in folders of images are found, and nothing is in sound ones."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genloom.core.errors import InputError
from genloom.core.finding import spread
from looked import codes, finding, looked
from pictures import encoded, pixels, write


def sound(root: Path, n: int = 120, start: int = 0, classes: int = 2) -> Path:
    return write(root, [f"c{k % classes}/{k:03}.png" for k in range(n)], start)


def save(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def test_nothing_is_wrong_with_sound_data(tmp_path: Path) -> None:
    found = looked(sound(tmp_path / "photos"))
    assert found.findings == []
    assert found.usable
    assert found.classes == {"c0": 60, "c1": 60}
    facts = {f.name: f.value for f in found.facts}
    assert facts["formats"] == {"PNG": 120}
    assert facts["channels"] == {"colour": 120}
    assert facts["size"] == "all 16x16"
    means = [float(np.asarray(Image.fromarray(pixels(k)).convert("L"), np.float64).mean()) for k in range(120)]
    assert facts["brightness"] == pytest.approx(spread(np.round(np.array(means) / 255, 3)), abs=0.0011)


def test_copies_and_copies_under_another_label(tmp_path: Path) -> None:
    root = sound(tmp_path / "photos")
    (root / "c0" / "copy.png").write_bytes((root / "c0" / "002.png").read_bytes())
    (root / "c1" / "other.png").write_bytes((root / "c0" / "004.png").read_bytes())
    found = looked(root)
    exact = finding(found, "exact-duplicates")
    assert (exact.severity, exact.count) == ("warning", 2)
    origins = {tuple(sorted(Path(o).name for o in g.origins)) for g in exact.groups}
    assert origins == {("002.png", "copy.png"), ("004.png", "other.png")}
    assert all(g.examples[0].tobytes() == g.examples[1].tobytes() for g in exact.groups)
    assert "conflicting-near-labels" not in codes(found)
    conflict = finding(found, "conflicting-labels")
    assert conflict.count == 1
    assert conflict.groups[0].quote == "c0 / c1"


def test_nearly_the_same_picture_under_two_labels(tmp_path: Path) -> None:
    root = sound(tmp_path / "photos")
    save(root / "c1" / "close.png", pixels(4) // 2 + 60)
    near = finding(looked(root), "conflicting-near-labels")
    assert (near.severity, near.count, near.groups[0].quote) == ("note", 1, "c0 / c1")


def test_a_copy_saved_again_smaller_is_nearly_alike(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    for k in range(60):
        save(root / f"{k}.png", pixels(k, size=48))
    Image.fromarray(pixels(7, size=48)).resize((36, 36), Image.Resampling.LANCZOS).save(
        root / "smaller.jpg", quality=85
    )
    near = finding(looked(root), "near-duplicates")
    assert near.count == 1
    assert {Path(o).name for o in near.groups[0].origins} == {"7.png", "smaller.jpg"}


def test_leaks_between_given_splits(tmp_path: Path) -> None:
    root = tmp_path / "set"
    sound(root / "train", 60)
    sound(root / "test", 20, start=500)
    assert not codes(looked(root)) & {"leak", "near-leak"}
    (root / "test" / "c0" / "leaked.png").write_bytes((root / "train" / "c0" / "000.png").read_bytes())
    save(root / "test" / "c0" / "close.png", pixels(4) // 2 + 60)
    found = looked(root)
    assert found.splits == {"train": 60, "test": 22}
    leak, near = finding(found, "leak"), finding(found, "near-leak")
    assert (leak.severity, leak.count, near.count) == ("warning", 1, 1)
    assert [Path(o).name for o in leak.groups[0].origins] == ["leaked.png", "000.png"]
    assert [Path(o).name for o in near.groups[0].origins] == ["close.png", "004.png"]


def test_uneven_rare_and_oddly_written_classes(tmp_path: Path) -> None:
    root = write(tmp_path / "set", [*(f"Cat/{k}.png" for k in range(100)), *(f"dog/{k}.png" for k in range(50))])
    write(root, [f"CAT/{k}.png" for k in range(30)], start=300)
    write(root, [f"fox/{k}.png" for k in range(4)], start=400)
    found = looked(root)
    uneven = finding(found, "imbalance")
    assert "Cat has 100 examples, 25 times as many as fox with 4" in uneven.what
    assert finding(found, "rare-classes").groups[0].quote == "fox: 4"
    assert finding(found, "label-spelling").groups[0].quote == "Cat / CAT"
    assert "imbalance" not in codes(looked(sound(tmp_path / "even")))


def test_blank_small_thin_dark_pictures(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for k in range(60):
        save(root / f"{k}.png", pixels(k, size=64))
    save(root / "blank.png", np.full((64, 64, 3), 130, np.uint8))
    save(root / "tiny.png", pixels(100, size=12))
    save(root / "thin.png", np.asarray(Image.fromarray(pixels(101, size=64)).resize((300, 64))))
    save(root / "dark.png", pixels(102, size=64) // 10)
    found = looked(root)
    expected = {"blank": "blank.png", "small": "tiny.png", "cropped": "thin.png", "dark": "dark.png"}
    assert {c: [Path(g.origins[0]).name for g in finding(found, c).groups] for c in expected} == {
        c: [name] for c, name in expected.items()
    }
    assert "bright" not in codes(found)


def test_a_set_that_is_dark_as_a_whole_is_not_reported() -> None:
    rng = np.random.default_rng(0)
    assert "dark" not in codes(looked(rng.integers(0, 30, (120, 16, 16), dtype=np.uint8)))


def test_broken_files_are_named_with_reasons(tmp_path: Path) -> None:
    root = sound(tmp_path / "set")
    (root / "c0" / "cut.png").write_bytes(encoded(1)[:60])
    (root / "c0" / "none.png").write_bytes(b"")
    found = looked(root)
    broken = finding(found, "unreadable")
    assert broken.count == len(found.broken) == 2
    assert any("none.png: the file is empty" in g.quote for g in broken.groups)
    assert found.usable


def test_few_examples_and_no_such_path(tmp_path: Path) -> None:
    assert finding(looked(write(tmp_path, [f"{k}.png" for k in range(8)])), "few").severity == "warning"
    with pytest.raises(InputError, match="there is no file or folder"):
        looked(str(tmp_path / "nowhere"))
