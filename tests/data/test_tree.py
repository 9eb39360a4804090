"""What folders say: labels, splits, what is left out."""

import unicodedata
from pathlib import Path

import pytest

from genloom.core.errors import InputError
from genloom.data.items import Source
from genloom.data.sources import open_source
from genloom.data.tree import arrange

PNG = frozenset({".png", ".jpg"})


def load(path: Path) -> Source:
    return open_source(path, PNG)


def arranged(*paths: str) -> dict[str, tuple[str | None, str | None]]:
    a = arrange(paths, PNG)
    return {
        paths[i]: (a.labels[k] if a.labels else None, a.given[k] if a.given else None) for k, i in enumerate(a.kept)
    }


def test_class_folders_are_labels_at_the_first_level() -> None:
    assert arranged("cat/a.png", "cat/young/b.png", "dog/c.JPG") == {
        "cat/a.png": ("cat", None), "cat/young/b.png": ("cat", None), "dog/c.JPG": ("dog", None),
    }  # fmt: skip


def test_a_flat_folder_has_no_labels() -> None:
    assert arranged("a.png", "b.png") == {"a.png": (None, None), "b.png": (None, None)}


def test_common_top_folders_are_looked_through() -> None:
    assert arranged("set/images/cat/a.png", "set/images/dog/b.png")["set/images/cat/a.png"] == ("cat", None)
    assert arranged("set/a.png", "set/b.png")["set/a.png"] == (None, None)


@pytest.mark.parametrize("validation", ["validation", "val", "valid", "Val"])
def test_split_folders(validation: str) -> None:
    found = arranged("s/train/cat/a.png", "s/train/dog/b.png", f"s/{validation}/cat/c.png", "s/test/dog/d.png")
    assert found == {
        "s/train/cat/a.png": ("cat", "train"), "s/train/dog/b.png": ("dog", "train"),
        f"s/{validation}/cat/c.png": ("cat", "validation"), "s/test/dog/d.png": ("dog", "test"),
    }  # fmt: skip


def test_a_class_called_test_is_a_class_when_the_others_are_no_splits() -> None:
    assert arranged("test/a.png", "cat/b.png") == {"test/a.png": ("test", None), "cat/b.png": ("cat", None)}


def test_files_outside_the_classes_are_left_out_with_a_notice() -> None:
    a = arrange(["stray.png", "cat/a.png", "cat/b.png", "dog/c.png"], PNG)
    assert len(a.kept) == 3 and a.labels == ["cat", "cat", "dog"]
    assert "1 file outside" in a.notices[0] and "stray.png" in a.notices[0]


def test_folders_are_no_labels_when_most_files_lie_outside() -> None:
    a = arrange(["a.png", "b.png", "c.png", "edited/d.png", "old/e.png"], PNG)
    assert a.labels is None and len(a.kept) == 5 and "3 files of 5" in a.notices[0]


def test_hidden_and_foreign_files(tmp_path: Path) -> None:
    a = arrange([
        "cat/a.png", "dog/b.png", ".hidden/c.png", "cat/.d.png", "__MACOSX/cat/._a.png", "Thumbs.db", "SOURCE.txt",
        "cat/notes.pdf", "cat/more.pdf", "cat/LOG",
    ], PNG)  # fmt: skip
    assert len(a.kept) == 2
    assert a.notices == ("3 files of other kinds skipped: 2 .pdf, 1 without an ending",)


def test_labels_in_other_unicode_forms_are_one() -> None:
    composed, decomposed = unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")
    a = arrange([f"{composed}/a.png", f"{decomposed}/b.png", "猫/c.png"], PNG)
    assert a.labels == ["é", "é", "猫"]


def test_a_folder_reads_lazily_and_in_order(tmp_path: Path) -> None:
    for name in ("狗/二.png", "狗/一.png", "猫/三.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    items = load(tmp_path).load()
    assert [items.read(i).decode() for i in range(3)] == ["狗/一.png", "狗/二.png", "猫/三.png"]
    assert items.labels == ["狗", "狗", "猫"]
    assert items.origins[0] == str(tmp_path / "狗/一.png")


def test_the_digest_follows_what_is_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"1")
    before = load(tmp_path).digest
    assert load(tmp_path).digest == before
    (tmp_path / "b.png").write_bytes(b"2")
    assert load(tmp_path).digest != before


def test_a_link_that_leads_back_ends(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat/a.png").write_bytes(b"1")
    (tmp_path / "cat/again").symlink_to(tmp_path)
    assert len(load(tmp_path).load()) == 1


def test_no_such_path_names_the_nearest_set() -> None:
    with pytest.raises(InputError, match=r"no file or folder minst; did you mean the named set 'mnist'"):
        open_source("minst", PNG)
    with pytest.raises(InputError, match="no file or folder /no/such"):
        open_source(Path("/no/such"), PNG)


def test_an_empty_folder_and_one_without_images(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no examples in"):
        load(tmp_path).load()
    (tmp_path / "notes.doc").write_text("x")
    with pytest.raises(InputError, match=r"no file ends in \.jpg, \.png .*1 \.doc"):
        load(tmp_path).load()


@pytest.mark.parametrize("data", [None, 3, {"x": 1}, b"bytes"])
def test_what_is_no_data_is_refused(data: object) -> None:
    with pytest.raises(InputError, match="cannot train on"):
        open_source(data, PNG)


@pytest.mark.parametrize("data", ["", "a\0b", "x" * 5000])
def test_impossible_paths(data: str) -> None:
    with pytest.raises(InputError):
        open_source(data, PNG)


def test_a_file_of_unknown_kind(tmp_path: Path) -> None:
    (tmp_path / "x.xyz").write_text("hello")
    with pytest.raises(InputError, match="cannot tell what"):
        load(tmp_path / "x.xyz")
