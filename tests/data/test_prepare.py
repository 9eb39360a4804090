"""From what a person gives to three splits: good data, and every kind of bad."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from genloom.core.config import DataConfig
from genloom.core.errors import InputError
from genloom.data.prepare import Prepared, Split, prepare
from pictures import encoded, huge_png, pixels, write


def ready(data: object, config: DataConfig | None = None, **settings: object) -> Prepared:
    return prepare(data, None, settings, config or DataConfig())


def everything(p: Prepared) -> dict[str, np.ndarray]:
    return {
        o: b.x[0].numpy() for s in (p.train, p.validation, p.test) for o, b in zip(s.origins, s.batches(1), strict=True)
    }


def names(split: Split) -> list[str]:
    return [o.rsplit("/", 1)[-1] for o in split.origins]


def test_a_folder_with_labels(tmp_path: Path) -> None:
    root = write(tmp_path / "照片", [f"{label}/{i}.png" for label in ("10", "2", "猫") for i in range(10)])
    notices: list[str] = []
    p = prepare(root, None, {}, DataConfig(), notices.append)
    assert p.name == "照片" and p.condition.classes == ("2", "10", "猫") and p.quarantined == ()
    assert sum(p.condition.counts) == len(p.train) and p.modality.spec.shape == (3, 16, 16)
    assert notices == list(p.notices)
    for split in (p.train, p.validation, p.test):
        batch = split.batch(np.arange(len(split))[::-1])
        assert batch.index.tolist() == list(range(len(split)))[::-1]
        for origin, label in zip(reversed(split.origins), batch.condition.label.tolist(), strict=True):
            assert Path(origin).parent.name == p.condition.classes[label]


def test_batches_cover_a_split_in_order(tmp_path: Path) -> None:
    p = ready(np.stack([pixels(i) for i in range(30)]))
    parts = list(p.train.batches(7))
    assert torch.equal(torch.cat([b.x for b in parts]), p.train.batch(np.arange(len(p.train))).x)
    assert torch.cat([b.index for b in parts]).tolist() == list(range(len(p.train)))
    assert [len(b) for b in p.train.batches(7, limit=10)] == [7, 3] and parts[0].condition.label is None
    assert p.train.labels is None and p.condition.classes == ()


def test_a_folder_a_zip_and_an_array_of_the_same_pictures_agree(tmp_path: Path) -> None:
    listed = [f"{label}/{i}.png" for label in "ab" for i in range(12)]
    root = write(tmp_path / "set", listed)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for path in sorted(root.rglob("*.png"), reverse=True):
            archive.write(path, str(path.relative_to(root)))
    order = [str(p.relative_to(root)) for p in sorted(root.rglob("*.png"))]
    array = np.stack([pixels(listed.index(n)) for n in order])
    sets = [ready(root), ready(tmp_path / "set.zip"), ready((array, [n[0] for n in order]))]
    assert len({p.digest for p in sets}) == 1
    for p in sets[1:]:
        for mine, first in zip(
            (p.train, p.validation, p.test), (sets[0].train, sets[0].validation, sets[0].test), strict=True
        ):
            assert torch.equal(mine.batch(np.arange(len(mine))).x, first.batch(np.arange(len(first))).x)


def test_the_split_is_of_the_content_not_of_names(tmp_path: Path) -> None:
    a = everything(ready(write(tmp_path / "a", [f"{i}.png" for i in range(30)])))
    (tmp_path / "b").mkdir()
    for i in range(30):
        (tmp_path / "b" / f"x{99 - i}.png").write_bytes((tmp_path / "a" / f"{i}.png").read_bytes())
    first, second = ready(tmp_path / "a"), ready(tmp_path / "b")
    assert {n for n in names(second.test)} == {f"x{99 - int(n[:-4])}.png" for n in names(first.test)}
    assert len(first.test) and len(first.validation) and len(a) == 30


def test_copies_stay_together_and_are_counted(tmp_path: Path) -> None:
    root = write(tmp_path / "a", [f"{i}.png" for i in range(20)])
    for i in range(20):
        (root / f"copy-{i}.png").write_bytes((root / f"{i}.png").read_bytes())
        Image.open(root / f"{i}.png").resize((64, 64), Image.Resampling.BICUBIC).save(root / f"large-{i}.png")
    p = ready(root, DataConfig(validation=0.2, test=0.2))
    sides = {n: k for k, s in enumerate((p.train, p.validation, p.test)) for n in names(s)}
    assert all(sides[f"{i}.png"] == sides[f"copy-{i}.png"] == sides[f"large-{i}.png"] for i in range(20))
    assert len(set(sides.values())) == 3 and len(sides) == 60
    assert any(n.startswith("20 exact duplicates and 20 near duplicates") for n in p.notices)
    apart = ready(root, DataConfig(validation=0.2, test=0.2, near_duplicates=False))
    assert any(n.startswith("20 exact duplicates and 0 near") for n in apart.notices)


def test_given_splits_are_kept_and_doubles_across_them_are_reported(tmp_path: Path) -> None:
    root = write(
        tmp_path / "s", [*(f"train/cat/{i}.png" for i in range(30)), *(f"train/dog/{i}.png" for i in range(30))]
    )
    write(root, [f"test/cat/{i}.png" for i in range(5)])  # the same pictures as train/cat
    p = ready(root)
    assert sorted(names(p.test)) == [f"{i}.png" for i in range(5)] and len(p.train) + len(p.validation) == 60
    crossing = [n for n in p.notices if "left as it is" in n]
    assert len(crossing) == 1 and "exactly" in crossing[0]
    assert p.validation.labels is not None and len(p.validation) >= 1


def test_held_out_labels_that_nothing_trains_are_left_out(tmp_path: Path) -> None:
    root = write(tmp_path / "s", [f"train/{c}/{i}.png" for c in "ab" for i in range(8)])
    write(root, ["test/a/x.png", "test/new/y.png"], start=50)
    p = ready(root)
    assert p.condition.classes == ("a", "b") and names(p.test) == ["x.png"]
    assert any("label new" in n for n in p.notices)


def test_a_label_with_one_example_trains_and_is_named(tmp_path: Path) -> None:
    root = write(tmp_path / "s", [*(f"many/{i}.png" for i in range(20)), "孤/alone.png"])
    p = ready(root)
    assert "alone.png" in names(p.train) and p.condition.counts[p.condition.classes.index("孤")] == 1
    assert any(n.startswith("1 label with one example: 孤") for n in p.notices)


# -- bad input -------------------------------------------------------------------------------------------------


def test_broken_files_among_good_ones_are_named_and_counted(tmp_path: Path) -> None:
    root = write(tmp_path / "s", [f"{i}.jpg" for i in range(12)])
    (root / "切断.jpg").write_bytes(encoded(50, "JPEG", size=64)[:700])
    (root / "text.png").write_text("this is no picture")
    (root / "empty.png").write_bytes(b"")
    (root / "bomb.png").write_bytes(huge_png())
    (root / "gone.png").symlink_to(tmp_path / "nowhere")
    notices: list[str] = []
    p = prepare(root, None, {}, DataConfig(), notices.append)
    reasons = {Path(b.origin).name: b.reason for b in p.quarantined}
    assert set(reasons) == {"切断.jpg", "text.png", "empty.png", "bomb.png", "gone.png"}
    assert "truncated" in reasons["切断.jpg"] and "not an image" in reasons["text.png"]
    assert "empty" in reasons["empty.png"] and "more pixels than the limit" in reasons["bomb.png"]
    assert len(p.train) + len(p.validation) + len(p.test) == 12
    assert any(n.startswith("5 examples of 17 cannot be read and are left out") for n in notices)
    again = ready(root)  # from the cache
    assert again.quarantined == p.quarantined and again.notices == p.notices


def test_too_many_broken_files_stop(tmp_path: Path) -> None:
    root = write(tmp_path / "s", [f"{i}.png" for i in range(3)])
    for i in range(4):
        (root / f"bad{i}.png").write_text("no")
    with pytest.raises(
        InputError, match=r"4 of the 7 examples of s cannot be read.*max_broken=0\.5.*bad0\.png: not an image"
    ):
        ready(root)
    assert len(ready(root, DataConfig(max_broken=0.6)).quarantined) == 4


def test_all_files_bad(tmp_path: Path) -> None:
    for i in range(3):
        (tmp_path / f"{i}.png").write_text("no")
    with pytest.raises(InputError, match=r"none of the 3 examples .* can be read; the first is .*0\.png: not an image"):
        ready(tmp_path, DataConfig(max_broken=1.0))


def test_one_image(tmp_path: Path) -> None:
    root = write(tmp_path / "s", ["a.png"])
    for data in (root, root / "a.png", [Image.open(root / "a.png")], pixels(0)[None]):
        with pytest.raises(InputError, match="one example: a generator needs at least 2"):
            ready(data)


def test_no_image() -> None:
    for data in ([], np.zeros((0, 8, 8), np.uint8)):
        with pytest.raises(InputError, match="no examples"):
            ready(data)


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there are no examples in"):
        ready(tmp_path)


def test_two_images_are_enough_to_train(tmp_path: Path) -> None:
    for start in range(0, 20, 2):
        p = ready(np.stack([pixels(start), pixels(start + 1)]))
        assert len(p.train) >= 1


def test_in_memory_pictures_that_cannot_be_read() -> None:
    good = [Image.fromarray(pixels(i)) for i in range(6)]
    lazy = Image.open(io.BytesIO(encoded(9, "JPEG", size=64)[:700]))
    p = ready([*good, lazy])
    assert [(b.origin, "truncated" in b.reason) for b in p.quarantined] == [("images[6]", True)]


def test_a_bad_setting_is_explained(tmp_path: Path) -> None:
    root = write(tmp_path / "s", ["a.png", "b.png"])
    with pytest.raises(InputError, match=r"modality\.size"):
        ready(root, size="big")
    with pytest.raises(InputError, match=r"did you mean 'modality\.size'"):
        ready(root, sise=3)


def test_an_unknown_kind(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no modality 'imag'; did you mean 'image'"):
        prepare(np.zeros((3, 8, 8), np.uint8), "imag", {}, DataConfig())
