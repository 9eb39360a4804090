"""Zip and tar archives, read member by member without writing anything to disk."""

from __future__ import annotations

import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from genloom.core.errors import InputError, Unreadable
from genloom.core.files import sha256_of
from genloom.data.items import Items, Source, clean, printable
from genloom.data.tree import MAX_FILE, arrange

ZIP_ENDINGS = (".zip",)
TAR_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz")
MAX_TOTAL = 200 * 2**30  # bytes of all members together
MAX_RATIO = 200  # contents to archive; photos have about 1, uncompressed pictures of flat colour up to 100
RATIO_FROM = 2**28  # bytes below which no ratio is dangerous


@dataclass(frozen=True)
class Member:
    """A file in an archive: its name, size and place. read: all of it, raising Unreadable; open: for reading piece by
    piece, raising whatever the decompressor meets.
    """

    name: str
    size: int
    offset: int
    read: Callable[[], bytes]
    open: Callable[[], IO[bytes]]


def archive_source(path: Path, extensions: frozenset[str], pattern: str | None = None) -> Source:
    """A zip or tar (plain, gz, bz2, xz). The digest is that of the file. Its folders are read as `tree.arrange` says.

    Raises InputError for a damaged, encrypted or hostile archive: names that leave the folder, links, contents out of
    proportion.
    """

    def load() -> Items:
        import numpy as np

        members = members_of(path)
        found = arrange([m.name for m in members], extensions, pattern)
        kept = [members[i] for i in found.kept]
        if not kept:
            reason = f" ({found.notices[0]})" if found.notices else ""
            raise InputError(
                f"there are no examples in {path}: no member ends in {', '.join(sorted(extensions))}{reason}"
            )
        return Items(
            [f"{printable(str(path))}!{printable(m.name)}" for m in kept],
            lambda i: kept[i].read(), found.labels, found.given,
            np.argsort([m.offset for m in kept], kind="stable"), found.notices,
        )  # fmt: skip

    return Source(stem(path), _digest(path), load)


def is_archive(path: Path) -> bool:
    """Whether the contents are those of a zip or tar, whatever the name. Raises InputError."""
    try:
        return zipfile.is_zipfile(path) or tarfile.is_tarfile(path)
    except OSError as e:
        raise InputError(f"{path} cannot be read: {e.strerror or e}") from None


def members_of(path: Path) -> list[Member]:
    """The files in a zip or tar. Raises InputError for a damaged, encrypted or hostile one."""
    return list(each_member(path))


def each_member(path: Path) -> Iterator[Member]:
    """`members_of` one after the other, for looking at the first few. Raises as it does."""
    return _zip_members(path) if zipfile.is_zipfile(path) else _tar_members(path)


def stem(path: Path) -> str:
    """The file's name without its endings."""
    name = path.name
    for ending in sorted((*ZIP_ENDINGS, *TAR_ENDINGS), key=len, reverse=True):
        if name.lower().endswith(ending):
            return clean(name[: -len(ending)]) or "data"
    return clean(path.stem) or "data"


def _digest(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as e:
        raise InputError(f"{path} cannot be read: {e.strerror or e}") from None


class Guard:
    """Refuses an archive before anything in it is read."""

    def __init__(self, path: Path) -> None:
        self.path, self.total = path, 0
        self.allowed = max(RATIO_FROM, MAX_RATIO * path.stat().st_size)

    def refuse(self, name: str, why: str) -> InputError:
        return InputError(
            f"{self.path} is refused: its member {printable(name)!r} {why}; repack the archive without it"
        )

    def check(self, name: str, size: int) -> None:
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if ".." in parts or name.startswith(("/", "\\")) or (len(name) > 1 and name[1] == ":" and name[0].isalpha()):
            raise self.refuse(name, "points outside the archive")
        self.total += size
        if self.total > min(self.allowed, MAX_TOTAL):
            raise InputError(
                f"{self.path} is refused: its contents would take more than {self.total:,} bytes, out of proportion to "
                f"its {self.path.stat().st_size:,}; unpack it yourself and give the folder if you trust it"
            )


def _zip_members(path: Path) -> Iterator[Member]:
    guard = Guard(path)
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError) as e:
        raise InputError(f"{path} is not a readable zip archive: {e}") from None
    infos = archive.infolist()
    for name, info in zip(_zip_names(infos), infos, strict=True):
        guard.check(name, info.file_size)
        if stat.S_ISLNK(info.external_attr >> 16):
            raise guard.refuse(name, "is a link")
        if info.flag_bits & 0x1:
            raise guard.refuse(name, "is encrypted")
        if not info.is_dir():
            yield Member(
                name, info.file_size, info.header_offset, _zip_reader(archive, info), partial(archive.open, info)
            )


def _zip_names(infos: Sequence[zipfile.ZipInfo]) -> list[str]:
    """The members' names; Windows archivers write them in the local code page without saying so. Read as the first of
    UTF-8
    and GB18030 that fits all of them: a short name alone may fit both.
    """
    unmarked = [i.filename for i in infos if not i.flag_bits & 0x800 and not i.filename.isascii()]
    raw = [name.encode("cp437", "replace") for name in unmarked]  # zipfile reads unmarked names as cp437
    for encoding in ("utf-8", "gb18030"):
        try:
            names = dict(zip(unmarked, (r.decode(encoding) for r in raw), strict=True))
        except UnicodeDecodeError:
            continue
        return [i.filename if i.flag_bits & 0x800 else names.get(i.filename, i.filename) for i in infos]
    return [i.filename for i in infos]


def _zip_reader(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Callable[[], bytes]:
    def read() -> bytes:
        _check_size(info.file_size)
        try:
            return archive.read(info)
        except Exception as e:  # damaged members raise whatever the decompressor met
            raise Unreadable(f"damaged in the archive: {e}") from None

    return read


def _tar_members(path: Path) -> Iterator[Member]:
    guard = Guard(path)
    try:
        archive = tarfile.open(path, "r:*")  # noqa: SIM115 (members are read later)
        for info in archive:
            guard.check(info.name, info.size)
            if info.issym() or info.islnk():
                raise guard.refuse(info.name, "is a link")
            if not info.isdir() and not info.isfile():
                raise guard.refuse(info.name, "is a device or pipe")
            if info.isfile():
                yield Member(
                    info.name, info.size, info.offset_data, _tar_reader(archive, info), _tar_opener(archive, info)
                )
    except (tarfile.TarError, EOFError, OSError, ValueError) as e:
        raise InputError(f"{path} is not a readable tar archive: {e}") from None
    except Exception as e:  # lzma and zlib have errors of their own
        if isinstance(e, InputError):
            raise
        raise InputError(f"{path} is damaged: {e}") from None


def _tar_opener(archive: tarfile.TarFile, info: tarfile.TarInfo) -> Callable[[], IO[bytes]]:
    def opened() -> IO[bytes]:
        file = archive.extractfile(info)
        assert file is not None  # it is a plain file
        return file

    return opened


def _tar_reader(archive: tarfile.TarFile, info: tarfile.TarInfo) -> Callable[[], bytes]:
    def read() -> bytes:
        _check_size(info.size)
        try:
            file = archive.extractfile(info)
            data = file.read() if file else b""
        except Exception as e:  # as for zip members
            raise Unreadable(f"damaged in the archive: {e}") from None
        if len(data) != info.size:
            raise Unreadable("truncated in the archive")
        return data

    return read


def _check_size(size: int) -> None:
    if size > MAX_FILE:
        raise Unreadable(f"the member has {size:,} bytes, more than the limit of {MAX_FILE:,}")
