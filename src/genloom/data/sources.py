"""Opening whatever a person gives: a path, the name of a set, or data in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from genloom.core.errors import InputError
from genloom.data import catalog, texts
from genloom.data.archive import TAR_ENDINGS, ZIP_ENDINGS, archive_source, is_archive
from genloom.data.arrays import idx_folder, idx_source, is_idx, memory_source, numpy_source
from genloom.data.items import Items, Source, clean
from genloom.data.table import table_source
from genloom.data.tree import folder_source, read_file


def open_source(data: Any, extensions: frozenset[str], properties: Sequence[str] = ()) -> Source:
    """The source for `data`; files whose ending is in `extensions` are examples; properties: columns of numbers of a
    table. Raises InputError when there is none.

    data: a folder, archive, .npy, .npz, idx or CSV file; a name of the catalog (a path of that name comes first);
    an array, a list of images, pairs with labels.
    """
    table = isinstance(data, str | Path) and Path(data).suffix.lower() in (".csv", ".tsv")
    if properties and not table:
        raise InputError("data.properties are columns of a CSV of paths; give such a table, or leave them out")
    if not isinstance(data, str | Path):
        _refuse(data)
        return memory_source(data)
    path = found(data)
    if path is None:
        return catalog.open_named(str(data), extensions)
    return _shadowing(data, path, _open_path(path, extensions, properties))


def open_text(data: Any, wishes: texts.Wishes) -> Source:
    """The source of text in `data`, read as `wishes` say. Raises InputError when there is none.

    data: a file, folder or archive; a name of the catalog (a path of that name comes first); a list of texts or pairs
    with labels; one long text.
    """
    if not isinstance(data, str | Path):
        _refuse(data)
        return texts.list_source(data, wishes)
    if is_text(data):
        return texts.memory_source(str(data), wishes)
    path = found(data)
    if path is None:
        return catalog.open_texts(str(data), wishes)
    if not path.is_dir() and not path.is_file():
        raise InputError(f"{path} is neither a file nor a folder")
    return _shadowing(data, path, texts.path_source(path, wishes))


def is_text(data: Any) -> bool:
    """Whether a str is itself the text: it has several lines or is longer than any path."""
    return isinstance(data, str) and ("\n" in data.strip() or len(data) > 4096) and not _there(data)


def found(data: str | Path) -> Path | None:
    """The path of `data`; None for a name of the catalog. Raises InputError when it is neither."""
    if isinstance(data, str) and not data.strip():
        raise InputError(
            "the path of the data is empty; give a folder, a file, an archive or a name from `genloom list data`"
        )
    path = Path(data).expanduser()
    try:
        if path.exists():
            return path
    except (OSError, ValueError) as e:
        raise InputError(f"{str(data)[:200]!r} is not a path: {e}") from None
    if isinstance(data, str) and data in catalog.catalog_names():
        return None
    raise InputError(_missing(data))


def _there(data: str) -> bool:
    try:
        return Path(data).expanduser().exists()
    except (OSError, ValueError, RuntimeError):
        return False


def _refuse(data: Any) -> None:
    if data is None or isinstance(data, dict | set | int | float | bytes):
        raise InputError(
            f"cannot train on {type(data).__name__}; give a path, a name from the catalog, an array, or a list of "
            "images or texts"
        )


def _shadowing(data: str | Path, path: Path, source: Source) -> Source:
    """`source` with a notice when the path hides a name of the catalog."""
    if not isinstance(data, str) or data not in catalog.catalog_names():
        return source
    notice = f"{data} is read from {path.resolve()}; start elsewhere to get the named set"
    return replace(source, notices=(*source.notices, notice))


def _missing(data: str | Path) -> str:
    import difflib

    near = difflib.get_close_matches(str(data).lower(), catalog.catalog_names(), 1, 0.6)
    return f"there is no file or folder {data}" + (f"; did you mean the named set {near[0]!r}?" if near else "")


def _open_path(path: Path, extensions: frozenset[str], properties: Sequence[str]) -> Source:
    name = path.name.lower()
    if path.is_dir():
        try:
            found = idx_folder(path)
        except OSError as e:
            raise InputError(f"the folder {path} cannot be read: {e.strerror or e}") from None
        return found or folder_source(path, extensions)
    if not path.is_file():
        raise InputError(f"{path} is neither a file nor a folder")
    if name.endswith((".npy", ".npz")):
        return numpy_source(path)
    if name.endswith((".csv", ".tsv")):
        return table_source(path, properties)
    if name.endswith((*ZIP_ENDINGS, *TAR_ENDINGS)):
        return archive_source(path, extensions)
    if is_idx(path):
        return idx_source(path)
    if path.suffix.lower() in extensions:
        return Source(clean(path.stem), str(path.resolve()), lambda: Items([str(path)], lambda i: read_file(path)))
    if is_archive(path):
        return archive_source(path, extensions)
    raise InputError(f"cannot tell what {path} is; give a folder, a zip or tar, an .npy, .npz, idx or CSV file")
