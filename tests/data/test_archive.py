"""Zip and tar: what is read, what is refused, and that nothing is written to disk."""

import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from genloom.core.errors import InputError, Unreadable
from genloom.data.sources import open_source

PNG = frozenset({".png"})
FILES = {
    "set/猫/b.png": b"bb",
    "set/猫/a.png": b"a",
    "set/dog/c.png": b"ccc",
    "set/README.md": b"no",
    "__MACOSX/x.png": b"-",
}


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def tarred(path: Path, files: dict[str, bytes], mode: str) -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz", "tgz", "tar.bz2", "tar.xz"])
def test_every_archive_gives_the_same_items(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"my set.{ending}"
    if ending == "zip":
        zipped(path, FILES)
    else:
        tarred(path, FILES, {"tar": "w", "tar.gz": "w:gz", "tgz": "w:gz", "tar.bz2": "w:bz2", "tar.xz": "w:xz"}[ending])
    before = sorted(tmp_path.iterdir())
    source = open_source(path, PNG)
    items = source.load()
    assert source.name == "my set"
    assert [(items.origins[i], items.label(i), items.read(i)) for i in range(3)] == [
        (f"{path}!set/dog/c.png", "dog", b"ccc"), (f"{path}!set/猫/a.png", "猫", b"a"),
        (f"{path}!set/猫/b.png", "猫", b"bb"),
    ]  # fmt: skip
    assert items.order is not None and items.order.tolist() == [2, 1, 0]  # as they lie in the archive
    assert sorted(tmp_path.iterdir()) == before


def test_names_in_a_chinese_code_page(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"????/a.png": b"1", "??????/b.png": b"2", "dog/c.png": b"3"})
    raw = path.read_bytes().replace(b"??????/b", "小狗狗".encode("gb18030") + b"/b")
    path.write_bytes(raw.replace(b"????/a", "猫咪".encode("gb18030") + b"/a"))
    assert open_source(path, PNG).load().labels == ["dog", "小狗狗", "猫咪"]


@pytest.mark.parametrize("name", ["../evil.png", "a/../../evil.png", "/etc/evil.png", "C:\\evil.png", "..\\evil.png"])
def test_members_outside_the_archive_are_refused(tmp_path: Path, name: str) -> None:
    for path in (
        zipped(tmp_path / "a.zip", {"ok.png": b"1", name: b"2"}),
        tarred(tmp_path / "a.tar", {name: b"2"}, "w"),
    ):
        with pytest.raises(InputError, match="points outside the archive"):
            open_source(path, PNG).load()


def test_links_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        info = zipfile.ZipInfo("link.png")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with tarfile.open(tmp_path / "c.tar", "w") as tar:
        pipe = tarfile.TarInfo("pipe.png")
        pipe.type = tarfile.FIFOTYPE
        tar.addfile(pipe)
    for name, why in (("a.zip", "is a link"), ("b.tar", "is a link"), ("c.tar", "device or pipe")):
        with pytest.raises(InputError, match=why):
            open_source(tmp_path / name, PNG).load()


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a.png": b"secret"})
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"PK\x01\x02") + 8] |= 1  # the flag in the central directory
    path.write_bytes(raw)
    with pytest.raises(InputError, match="is encrypted"):
        open_source(path, PNG).load()


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_bomb_is_refused_before_it_goes_off(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"bomb.{kind}"
    zeros = bytes(2**20)
    if kind == "zip":
        with (
            zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
            archive.open("a.png", "w", force_zip64=True) as f,
        ):
            for _ in range(260):
                f.write(zeros)
    else:
        with tarfile.open(path, "w:gz", compresslevel=1) as tar:
            info = tarfile.TarInfo("a.png")
            info.size = 2**50
            tar.addfile(info)
    with pytest.raises(InputError, match="out of proportion"):
        open_source(path, PNG).load()


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.xz"])
def test_a_truncated_archive(tmp_path: Path, kind: str) -> None:
    import os

    path = tmp_path / f"a.{kind}"
    files = {f"{i}.png": os.urandom(2000) for i in range(20)}
    zipped(path, files) if kind == "zip" else tarred(path, files, f"w:{kind[4:]}")
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(InputError, match=r"a\.(zip|tar)"):
        open_source(path, PNG).load()


def test_a_damaged_member_is_unreadable_and_the_others_are_not(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a.png": b"first" * 50, "b.png": b"second" * 50})
    raw = bytearray(path.read_bytes())
    at = raw.index(b"b.png") + 8
    raw[at : at + 6] = b"\xff" * 6
    path.write_bytes(raw)
    items = open_source(path, PNG).load()
    assert items.read(0) == b"first" * 50
    with pytest.raises(Unreadable, match="damaged in the archive"):
        items.read(1)


def test_an_archive_without_images(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no examples in .* 1 \.txt"):
        open_source(zipped(tmp_path / "a.zip", {"a.txt": b"1"}), PNG).load()
