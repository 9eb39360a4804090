"""npy, npz, idx, CSV and what is in memory."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from genloom.core.errors import InputError, Unreadable
from genloom.data.arrays import array_items, named_arrays, read_idx
from genloom.data.items import Items
from genloom.data.sources import open_source
from pictures import encoded

PNG = frozenset({".png"})
X = np.random.default_rng(0).integers(0, 256, (6, 5, 7), dtype=np.uint8)
X[0, 0, 0], X[0, 0, 1] = 0, 255
Y = np.array([0, 1, 0, 10, 2, 1])


def idx(x: np.ndarray, kind: int = 0x08) -> bytes:
    return bytes([0, 0, kind, x.ndim]) + struct.pack(f">{x.ndim}I", *x.shape) + x.tobytes()


def stack(items: Items) -> np.ndarray:
    return np.stack([items.read(i) for i in range(len(items))])


@pytest.mark.parametrize(
    ("given", "tolerance"),
    [
        (X, 0), (X.astype(np.int64), 0), (X / 255, 0), ((X / 255).astype(np.float32), 0), (X / 127.5 - 1, 0),
        (X.astype(np.float32), 0),
    ],
)  # fmt: skip
def test_every_number_format_means_the_same_picture(given: np.ndarray, tolerance: int) -> None:
    out = stack(array_items(given, None, "x"))
    assert out.dtype == np.uint8 and np.array_equal(out, X)


def test_sixteen_bits_and_black_and_white() -> None:
    wide = X.astype(np.uint16) * 257
    assert stack(array_items(wide, None, "x")).dtype == np.uint16
    assert np.array_equal(stack(array_items(X > 99, None, "x")), np.where(X > 99, 255, 0))
    items = array_items((X > 99).astype(np.uint8), None, "x")
    assert np.array_equal(stack(items), np.where(X > 99, 255, 0)) and "black and white" in items.notices[0]


def test_the_range_is_that_of_the_whole_array() -> None:
    x = np.stack([np.full((4, 4), -1.0), np.full((4, 4), 0.5)])
    assert stack(array_items(x, None, "x"))[:, 0, 0].tolist() == [0, 191]


def test_layouts() -> None:
    colour = np.stack([X, X // 2, X // 3], -1)
    assert np.array_equal(stack(array_items(colour, None, "x")), colour)
    assert np.array_equal(stack(array_items(np.moveaxis(colour, -1, 1), None, "x")), colour)
    both = np.zeros((2, 3, 9, 3), np.uint8)
    assert array_items(both, None, "x").read(0).shape == (3, 9, 3)
    assert array_items(both, None, "x", channels_first=True).read(0).shape == (9, 3, 3)


@pytest.mark.parametrize(
    ("x", "match"),
    [
        (np.zeros((3, 4)), "shape"), (np.zeros((3, 5, 5, 7)), "channels"),
        (np.full((3, 4, 4), 16.5) - 20, "values from"),
        (np.full((3, 4, 4), 300.5), "values from"), (np.zeros((3, 4, 4), complex), "complex"),
        (np.zeros((3, 0, 4)), "shape"),
        (np.full((3, 4, 4), 70000), "values from"),
    ],
)  # fmt: skip
def test_arrays_that_are_no_images(x: np.ndarray, match: str) -> None:
    with pytest.raises(InputError, match=match):
        array_items(x, None, "x")


def test_values_that_are_not_finite_spoil_one_example() -> None:
    x = X / 255
    x[2, 1, 1] = np.nan
    items = array_items(x, None, "x")
    assert np.array_equal(items.read(1), X[1])
    with pytest.raises(Unreadable, match="not finite"):
        items.read(2)


@pytest.mark.parametrize("y", [Y[:5], np.array([0.5] * 6), np.zeros((6, 3))])
def test_labels_that_do_not_fit(y: np.ndarray) -> None:
    with pytest.raises(InputError, match="labels"):
        array_items(X, y, "x")


def test_npy_and_npz(tmp_path: Path) -> None:
    np.save(tmp_path / "数据.npy", X)
    np.savez(tmp_path / "b.npz", images=X, labels=Y)
    np.savez_compressed(tmp_path / "c.npz", x_train=X, y_train=Y, x_test=X[:2], y_test=Y[:2])
    source = open_source(tmp_path / "数据.npy", PNG)
    assert source.name == "数据" and source.load().labels is None and np.array_equal(stack(source.load()), X)
    assert source.load().origins[5] == "数据.npy[5]"
    assert open_source(tmp_path / "b.npz", PNG).load().labels == ["0", "1", "0", "10", "2", "1"]
    c = open_source(tmp_path / "c.npz", PNG).load()
    assert c.given == ["train"] * 6 + ["test"] * 2 and np.array_equal(c.read(7), X[1]) and c.labels[7] == "1"


def test_npz_with_other_names_and_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="name the examples x"):
        named_arrays({"a": X, "b": X}, "f")
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY broken")
    np.savez(tmp_path / "b.npz", x=X)
    (tmp_path / "b.npz").write_bytes((tmp_path / "b.npz").read_bytes()[:100])
    np.save(tmp_path / "c.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "d.npz", x=np.array([{"a": 1}], dtype=object))
    for name, match in (
        ("a.npy", "not a readable"),
        ("b.npz", "not a readable"),
        ("c.npy", "objects"),
        ("d.npz", "objects"),
    ):
        with pytest.raises(InputError, match=match):
            open_source(tmp_path / name, PNG).load()


def test_a_folder_of_idx_files_is_a_set_with_splits(tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(X)))
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(Y.astype(np.uint8))))
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(X[:2]))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(Y[:2].astype(np.uint8)))
    items = open_source(tmp_path, PNG).load()
    assert items.given == ["train"] * 6 + ["test"] * 2 and np.array_equal(items.read(6), X[0])
    assert items.labels == ["0", "1", "0", "10", "2", "1", "0", "1"]
    one = open_source(tmp_path / "train-images-idx3-ubyte.gz", PNG).load()
    assert one.labels == items.labels[:6] and len(one) == 6
    with pytest.raises(InputError, match="holds labels"):
        open_source(tmp_path / "train-labels-idx1-ubyte.gz", PNG)


def test_damaged_idx_files(tmp_path: Path) -> None:
    path = tmp_path / "images-idx3-ubyte"
    for data, match in (
        (idx(X)[:-1], "damaged"),
        (b"hello world", "not an idx"),
        (gzip.compress(idx(X))[:40], "cannot be read"),
    ):
        path.write_bytes(data)
        with pytest.raises(InputError, match=match):
            open_source(path, PNG).load()
    path.write_bytes(idx(X.astype(">f4"), 0x0D))
    assert np.array_equal(read_idx(path), X.astype(np.float32))


def test_a_csv_of_paths_and_labels(tmp_path: Path) -> None:
    (tmp_path / "图").mkdir()
    for k in range(3):
        (tmp_path / f"图/{k}.png").write_bytes(encoded(k))
    (tmp_path / "a.csv").write_text(
        "label,split,filename\n猫,train,图/0.png\n狗,test,图/1.png\n猫,,图/missing.png\n", "utf-8"
    )
    items = open_source(tmp_path / "a.csv", PNG).load()
    assert items.labels == ["猫", "狗", "猫"] and items.given == ["train", "test", None]
    assert items.read(1) == encoded(1)
    with pytest.raises(Unreadable, match="No such file"):
        items.read(2)
    (tmp_path / "b.csv").write_text("图/0.png;猫\n图/1.png;狗\n", "utf-8-sig")  # no header
    assert open_source(tmp_path / "b.csv", PNG).load().labels == ["猫", "狗"]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "is empty"), ("a,b,c\n1,2,3\n", "name one of them path"), ("path,label\n", "no rows"),
        ("path,label\nx.png\n", "row 2 .* 1 columns"), ("path,label\nx.png,\n", "row 2 .* no label"),
        ("path,split\nx.png,tset\n", "row 2 .* 'tset'"),
    ],
)  # fmt: skip
def test_csv_files_that_cannot_be_used(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError, match=match):
        open_source(tmp_path / "a.csv", PNG).load()


def test_what_a_program_has_in_memory() -> None:
    colour = np.stack([X, X, X], -1)
    first = torch.from_numpy(np.moveaxis(colour, -1, 1).copy())
    pictures = [Image.fromarray(a) for a in X]
    assert np.array_equal(stack(open_source(X, PNG).load()), X)
    assert np.array_equal(stack(open_source(first, PNG).load()), colour)
    assert open_source((X, Y), PNG).load().labels == open_source((first, torch.from_numpy(Y)), PNG).load().labels
    assert open_source(pictures, PNG).load().read(3) is pictures[3]
    assert open_source((pictures, list("abcabc")), PNG).load().labels == list("abcabc")
    assert open_source([(p, "猫") for p in pictures], PNG).load().labels == ["猫"] * 6
    assert np.array_equal(stack(open_source([a / 255 for a in X], PNG).load()), X)
    with pytest.raises(InputError, match="item 0 of the list is str"):
        open_source(["a.png", "b.png"], PNG)


def test_the_digest_of_memory_follows_its_contents() -> None:
    other = X.copy()
    other[5, 4, 6] ^= 1
    digests = {
        open_source(d, PNG).digest for d in (X, X.copy(), other, (X, Y), (X, Y + 1), [Image.fromarray(a) for a in X])
    }
    assert len(digests) == 5
