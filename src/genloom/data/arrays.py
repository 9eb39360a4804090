"""Arrays as data sets: .npy, .npz and idx files, and what a program already has in memory.

N examples, C channels, H x W pixels. Whatever the number format, items come out as uint8 or uint16 arrays [H, W] or [H,
W, C].
"""

from __future__ import annotations

import gzip
import hashlib
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genloom.core.errors import InputError, Unreadable
from genloom.core.files import sha256_of
from genloom.data.archive import MAX_RATIO, RATIO_FROM
from genloom.data.items import GivenSplit, Items, Numbered, Source, clean, join

Pixels = NDArray[Any]
CHANNELS = (1, 3, 4)
IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MAX_IDX = 8 * 2**30
_EXAMPLES, _LABELS = ("x", "images", "image", "data"), ("y", "labels", "label", "targets")


def array_items(x: Pixels, y: Any, prefix: str, split: GivenSplit | None = None, channels_first: bool = False) -> Items:
    """Items of x, [N, H, W], [N, H, W, C] or [N, C, H, W] with C in 1, 3, 4, and labels y [N] or None.

    Values: uint8, uint16, bool, whole numbers that fit these, or floats in 0..1, -1..1 or 0..255; the range is that of
    the whole array. channels_first decides when both layouts are possible. Raises InputError.
    """
    to_picture = _layout(x.shape, prefix, channels_first)
    convert, notices = _scale(x, prefix)
    labels = None if y is None else label_names(y, len(x), prefix)
    return Items(
        Numbered(prefix, len(x)), lambda i: convert(to_picture(np.asarray(x[i]))), labels,
        None if split is None else [split] * len(x), None, notices,
    )  # fmt: skip


def _layout(shape: tuple[int, ...], prefix: str, channels_first: bool) -> Callable[[Pixels], Pixels]:
    if len(shape) not in (3, 4) or 0 in shape[1:]:
        raise InputError(f"{prefix} has the shape {list(shape)}; images are [N, H, W], [N, H, W, C] or [N, C, H, W]")
    if len(shape) == 3:
        return lambda a: a
    first, last = shape[1] in CHANNELS, shape[3] in CHANNELS
    if not first and not last:
        raise InputError(f"{prefix} has the shape {list(shape)}; one of its axes must be 1, 3 or 4 channels")
    return (lambda a: np.moveaxis(a, 0, -1)) if first and (channels_first or not last) else (lambda a: a)


def _scale(x: Pixels, prefix: str) -> tuple[Callable[[Pixels], Pixels], tuple[str, ...]]:
    """How one example's values become uint8 or uint16, decided by the range of all."""
    if x.dtype.kind not in "buif":
        raise InputError(f"{prefix} holds {x.dtype} values; images are numbers")
    if x.dtype == np.bool_:
        return lambda a: a.astype(np.uint8) * np.uint8(255), ()
    low, high = _range(x)
    if x.dtype.kind == "f":
        return _scale_floats(low, high, prefix)
    if low < 0 or high > 65535:
        raise InputError(f"{prefix} has values from {low:g} to {high:g}; whole numbers must lie in 0..255 or 0..65535")
    if 0 < high <= 1:
        return lambda a: a.astype(np.uint8) * np.uint8(255), (
            f"{prefix} has only the values 0 and 1: taken as black and white",
        )
    kind = np.uint8 if high <= 255 else np.uint16
    return lambda a: a.astype(kind, copy=False), ()


def _scale_floats(low: float, high: float, prefix: str) -> tuple[Callable[[Pixels], Pixels], tuple[str, ...]]:
    notices: tuple[str, ...] = ()
    slack = 1e-3  # resized or decoded pictures overshoot a little
    if -slack <= low and high <= 1 + slack:
        scale, shift = 255.0, 0.0
    elif -1 - slack <= low and high <= 1 + slack:
        scale, shift = 127.5, 127.5
    elif low >= 0 and high <= 255:
        scale, shift, notices = 1.0, 0.0, (f"{prefix} has fractional values up to {high:g}: taken as 0..255",)
    else:
        raise InputError(f"{prefix} has values from {low:g} to {high:g}; floats must lie in 0..1 or -1..1")

    def convert(a: Pixels) -> Pixels:
        if not np.isfinite(a).all():
            raise Unreadable("holds values that are not finite")
        return np.clip(np.rint(a * scale + shift), 0, 255).astype(np.uint8)

    return convert, notices


def _range(x: Pixels) -> tuple[float, float]:
    """Smallest and largest finite value, a piece at a time: x may be a file larger than memory."""
    low, high = np.inf, -np.inf
    step = max(1, 2**24 // max(1, x[0].size)) if len(x) else 1
    for start in range(0, len(x), step):
        part = np.asarray(x[start : start + step])
        if part.dtype.kind == "f":
            part = part[np.isfinite(part)]
        if part.size:
            low, high = min(low, float(part.min())), max(high, float(part.max()))
    return (low, high) if low <= high else (0.0, 0.0)


def label_names(y: Any, n: int, prefix: str) -> list[str | None]:
    """[n] label names of whole numbers or text. Raises InputError when there are not n."""
    y = as_array(y)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1 or len(y) != n:
        raise InputError(
            f"{prefix} has {n:,} examples, but its labels have the shape {list(y.shape)}; give one label for each"
        )
    if y.dtype.kind == "f":
        if not np.equal(np.mod(y, 1), 0).all():
            raise InputError(f"{prefix} has labels that are not whole numbers or text; give a class for each example")
        y = y.astype(np.int64)
    if y.dtype.kind not in "iubUSO":
        raise InputError(f"{prefix} has labels of the kind {y.dtype}; give whole numbers or text")
    return [clean(v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v)) for v in y.tolist()]


# -- files -----------------------------------------------------------------------------------------------------


def numpy_source(path: Path) -> Source:
    """An .npy file, or an .npz with x (or images, data) and perhaps y (or labels); x_train, train_images and so on give
    splits.
    """
    return Source(clean(path.stem) or "data", _file_digest([path]), lambda: _numpy_items(path))


def _numpy_items(path: Path) -> Items:
    try:
        if path.suffix.lower() == ".npz":
            _check_npz(path)
            with np.load(path, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        else:
            return array_items(np.load(path, mmap_mode="r", allow_pickle=False), None, path.name)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, SyntaxError, struct.error) as e:
        if "allow_pickle" in str(e) or "Object arrays" in str(e):
            raise InputError(
                f"{path} holds Python objects, which are not read for safety; save plain numbers in it"
            ) from None
        raise InputError(f"{path} is not a readable array file: {e}") from None
    return named_arrays(arrays, path.name)


def _check_npz(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        total = sum(info.file_size for info in archive.infolist())
    if total > max(
        RATIO_FROM, 5 * MAX_RATIO * path.stat().st_size
    ):  # masks and drawings compress far better than photos
        raise InputError(f"{path} is refused: it would take {total:,} bytes, out of proportion to its size")


def named_arrays(arrays: dict[str, Pixels], prefix: str) -> Items:
    """Items of arrays by the names that people give them: x and y, images and labels, x_train, test_images, ..."""
    lower = {name.lower(): value for name, value in arrays.items()}

    def find(words: Sequence[str], split: str) -> Pixels | None:
        names = [n for w in words for n in ((w,) if not split else (f"{w}_{split}", f"{split}_{w}"))]
        return next((lower[n] for n in names if n in lower), None)

    parts: list[tuple[Items, GivenSplit | None]] = []
    wanted: list[tuple[str, GivenSplit | None]] = [
        ("", None), ("train", "train"), ("val", "validation"), ("valid", "validation"), ("validation", "validation"),
        ("test", "test"),
    ]  # fmt: skip
    for word, split in wanted:
        x = find(_EXAMPLES, word)
        if x is not None:
            parts.append((array_items(x, find(_LABELS, word), f"{prefix}:{word or 'x'}"), split))
    if not parts and len(arrays) == 1:
        parts.append((array_items(next(iter(arrays.values())), None, prefix), None))
    if not parts:
        raise InputError(
            f"{prefix} holds {', '.join(sorted(arrays)) or 'nothing'}; name the examples x (and the labels y)"
        )
    return parts[0][0] if len(parts) == 1 else join(parts)


_IDX_NAME = re.compile(r"idx\d?[-.]?u?byte|\.idx\d?(\.gz)?$", re.IGNORECASE)


def is_idx(path: Path) -> bool:
    """Whether the name is that of an idx file (the format of MNIST), such as train-images-idx3-ubyte.gz."""
    return bool(_IDX_NAME.search(path.name))


def idx_source(path: Path) -> Source:
    """One idx file of images, with the label file beside it if there is one."""
    if "label" in path.name.lower():
        raise InputError(f"{path} holds labels; give the file of images, or the folder")
    return idx_files(
        clean(re.split(r"[-.]images|[-.]idx", path.name)[0]) or "data", [(path, _labels_beside(path), None)]
    )


def idx_folder(root: Path) -> Source | None:
    """The idx image files directly in a folder, with their labels; train and t10k or test are splits. None without such
    files.
    """
    images = sorted(p for p in root.iterdir() if p.is_file() and is_idx(p) and "image" in p.name.lower())
    by_stem = {p.name.removesuffix(".gz"): p for p in reversed(images)}  # the same file plain and packed counts once
    if not images:
        return None
    splits = [_idx_split(p) for p in by_stem.values()]
    given = splits if len(set(splits)) == len(splits) and "train" in splits else [None] * len(splits)
    parts = [(p, _labels_beside(p), s) for p, s in zip(by_stem.values(), given, strict=True)]
    return idx_files(clean(root.resolve().name) or "data", sorted(parts, key=lambda part: str(part[2]), reverse=True))


def idx_files(name: str, parts: Sequence[tuple[Path, Path | None, GivenSplit | None]]) -> Source:
    """A source of idx files: (images, labels, split) each."""

    def load() -> Items:
        loaded: list[tuple[Items, GivenSplit | None]] = []
        for images, labels, split in parts:
            x = read_idx(images)
            if x.ndim < 3:
                raise InputError(f"{images} has {x.ndim} axes; an idx file of images has 3 or 4")
            loaded.append((array_items(x, None if labels is None else read_idx(labels), images.name), split))
        return join(loaded) if len(loaded) > 1 or loaded[0][1] else loaded[0][0]

    files = [p for images, labels, _ in parts for p in (images, labels) if p is not None]
    return Source(name, _file_digest(files), load)


def _idx_split(path: Path) -> GivenSplit | None:
    name = path.name.lower()
    kinds: dict[str, GivenSplit] = {"train": "train", "t10k": "test", "test": "test", "val": "validation"}
    return next((split for start, split in kinds.items() if name.startswith(start)), None)


def _labels_beside(path: Path) -> Path | None:
    name = re.sub("image", "label", path.name.removesuffix(".gz"))
    for candidate in {name: 0, re.sub(r"idx\d", "idx1", name): 0}:
        for ending in ("", ".gz"):
            found = path.with_name(candidate + ending)
            if found != path and found.is_file():
                return found
    return None


def read_idx(path: Path) -> Pixels:
    """The array in an idx file, plain or gz. Format: 0, 0, type, number of axes, their lengths as big-endian uint32,
    values.

    Source: LeCun, Cortes, Burges, "The MNIST database", file formats. Raises InputError.
    """
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            with gzip.open(path) as f:
                data = f.read(min(MAX_IDX, max(RATIO_FROM, 1100 * len(data))) + 1)  # deflate packs at most 1032 to 1
    except (OSError, EOFError, zlib.error) as e:
        raise InputError(f"{path} cannot be read: {e}") from None
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in IDX_TYPES or len(data) < 4 + 4 * data[3]:
        raise InputError(f"{path} is not an idx file: its first bytes are {data[:4].hex(' ')}")
    shape = struct.unpack(f">{data[3]}I", data[4 : 4 + 4 * data[3]])
    dtype = np.dtype(IDX_TYPES[data[2]])
    body = len(data) - 4 - 4 * data[3]
    size = dtype.itemsize
    for length in shape:
        size *= length
    if body != size:
        raise InputError(f"{path} is damaged: its head promises {size:,} bytes of values, it has {body:,}")
    return np.frombuffer(data, dtype, offset=4 + 4 * data[3]).reshape(shape)


def _file_digest(paths: Sequence[Path]) -> str:
    try:
        return hashlib.sha256(
            "\n".join(f"{p.name} {sha256_of(p)}" for p in paths).encode("utf-8", "surrogateescape")
        ).hexdigest()
    except OSError as e:
        raise InputError(f"{e.filename} cannot be read: {e.strerror}") from None


# -- in memory -------------------------------------------------------------------------------------------------


def memory_source(data: Any) -> Source:
    """An array or tensor, a list of PIL images or arrays, a pair (x, y), or a list of pairs (example, label)."""
    x, y = pair(data)
    if not isinstance(x, list):
        items = array_items(as_array(x), y, "array", channels_first=_is_tensor(x))
        name = "array"
    else:
        items, name = _list_items(x, y), "images"
    return Source(name, _memory_digest(items, x), lambda: items)


def pair(data: Any) -> tuple[Any, Any]:
    """Examples (an array, or a list) and labels or None."""
    if isinstance(data, tuple) and len(data) == 2 and _is_many(data[0]):
        x, y = data
        return (list(x) if isinstance(x, list | tuple) else x), y
    if isinstance(data, list | tuple):
        if data and all(isinstance(e, tuple) and len(e) == 2 for e in data):
            return [e[0] for e in data], [str(e[1]) for e in data]
        return list(data), None
    return data, None


def _is_many(x: Any) -> bool:
    axes = getattr(x, "ndim", 0)
    return isinstance(x, list | tuple) or axes >= 3 or (axes == 1 and getattr(x.dtype, "kind", "") in "UO")


def _is_tensor(x: Any) -> bool:
    return type(x).__module__.partition(".")[0] == "torch"


def as_array(x: Any) -> Pixels:
    """A numpy array of an array, tensor or list, without a copy where possible."""
    return x.detach().cpu().numpy() if _is_tensor(x) else np.asarray(x)


def _list_items(x: list[Any], y: Any) -> Items:
    if x and all(_is_tensor(e) or isinstance(e, np.ndarray) for e in x):
        arrays = [as_array(e) for e in x]
        if len({(a.shape, a.dtype) for a in arrays}) == 1:
            return array_items(np.stack(arrays), y, "array", channels_first=_is_tensor(x[0]))
        x = arrays
    wrong = next((i for i, e in enumerate(x) if isinstance(e, str | Path | int | float)), None)
    if wrong is not None:
        raise InputError(
            f"item {wrong} of the list is {type(x[wrong]).__name__}; give PIL images or arrays, or the path of a folder"
        )
    return Items(Numbered("images", len(x)), lambda i: x[i], None if y is None else label_names(y, len(x), "the list"))


def _memory_digest(items: Items, x: Any) -> str:
    digest = hashlib.sha256(repr(items.labels).encode())
    for e in x if isinstance(x, list) else [x]:
        if hasattr(e, "mode") and hasattr(e, "tobytes"):
            digest.update(_picture_bytes(e))
        else:
            a = np.ascontiguousarray(as_array(e))
            digest.update(f"{a.shape} {a.dtype}".encode())
            digest.update(a.data if a.size else b"")
    return digest.hexdigest()


def _picture_bytes(picture: Any) -> bytes:
    """What decides how a PIL image looks; of one that cannot be loaded, its kind alone."""
    palette = picture.getpalette() if picture.mode in ("P", "PA") else None
    head = repr((picture.mode, picture.size, picture.info.get("transparency"), palette)).encode()
    try:
        return head + bytes(picture.tobytes())
    except OSError:
        return head
