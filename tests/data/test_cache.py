"""The cache: exact, quick, safe with several builders, rebuilt when damaged."""

import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from genloom.core.config import DataConfig
from genloom.core.errors import GenloomError
from genloom.core.spec import Grid
from genloom.data import cache
from genloom.data.prepare import Prepared, prepare

X = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)


def use(notices: list[str] | None = None, data: object = X, **settings: object) -> Prepared:
    return prepare(data, "image", settings, DataConfig(), (notices if notices is not None else []).append)


def entries(root: Path) -> list[Path]:
    return sorted(p for p in (root / "prepared").iterdir() if (p / cache.X).exists())


@pytest.mark.parametrize("levels", [2, 16, 256, 4096, 65536])
def test_levels_come_back_exactly(levels: int) -> None:
    codec = cache.Codec(Grid((1, levels), levels))
    x = np.linspace(-1, 1, levels, dtype=np.float32)
    packed = codec.pack(x)
    assert packed.tolist() == list(range(levels)) and packed.itemsize == (1 if levels <= 256 else 2)
    assert np.abs(codec.unpack(packed) - x).max() < 1.2e-7


def test_continuous_values_are_kept_as_they_are() -> None:
    codec = cache.Codec(Grid((1, 3), None))
    x = np.array([0.1234567, -3, 7], dtype=np.float32)
    assert np.array_equal(codec.unpack(codec.pack(x)), x)


def test_what_is_cached_is_what_the_modality_encodes() -> None:
    p = use()
    for split in (p.train, p.validation, p.test):
        b = split.batch(np.arange(len(split)))
        wanted = [X[int(o[6:-1])] for o in split.origins]
        expected = torch.stack([p.modality.encode(p.modality.read(a, p.modality.config)) for a in wanted])
        assert b.x.dtype == torch.float32 and torch.equal(b.x, expected)


def test_a_second_use_reads_nothing_again(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = use()
    monkeypatch.setattr("genloom.modalities.image.Image.read", None)
    second = use()
    assert second.digest == first.digest and torch.equal(second.train.batch([0, 3]).x, first.train.batch([0, 3]).x)
    third = use(size=8, channels=1)  # what was chosen, given as settings
    assert third.digest == first.digest and len(entries(own_cache)) == 1


def test_other_contents_or_settings_are_another_entry(own_cache: Path) -> None:
    use()
    use(size=4)
    use(data=X[:-1])
    prepare(X, "image", {}, DataConfig(test=0.2))
    assert len(entries(own_cache)) == 4


@pytest.mark.parametrize("name", [cache.X, cache.LABELS, cache.ORIGINS, cache.META])
@pytest.mark.parametrize("damage", ["truncate", "remove", "garbage"])
def test_a_damaged_entry_is_made_again(own_cache: Path, name: str, damage: str) -> None:
    before = use().train.batch(np.arange(5)).x.clone()
    path = entries(own_cache)[0] / name
    data = path.read_bytes()
    path.unlink()
    if damage != "remove":
        path.write_bytes(data[: len(data) // 2] if damage == "truncate" else b"\0garbage")
    notices: list[str] = []
    again = use(notices)
    assert torch.equal(again.train.batch(np.arange(5)).x, before)
    assert "damaged" in notices[0]
    assert not any("damaged" in n for n in [*again.notices]) and len(entries(own_cache)) == 1


def _build(root: str, start: float, out: multiprocessing.Queue) -> None:
    os.environ["GENLOOM_CACHE"] = root
    time.sleep(max(0.0, start - time.time()))
    out.put(use().digest)


def test_builders_at_the_same_time(own_cache: Path) -> None:
    context = multiprocessing.get_context("fork")
    out: multiprocessing.Queue = context.Queue()
    jobs = [context.Process(target=_build, args=(str(own_cache), time.time() + 0.3, out)) for _ in range(4)]
    for job in jobs:
        job.start()
    digests = {out.get(timeout=60) for _ in jobs}
    for job in jobs:
        job.join(60)
    assert len(digests) == 1 and [job.exitcode for job in jobs] == [0] * 4
    assert len(entries(own_cache)) == 1 and not list((own_cache / "prepared").glob("*.tmp"))


def test_a_failed_build_leaves_nothing(own_cache: Path) -> None:
    def fill(folder: Path) -> dict[str, object]:
        (folder / cache.X).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(GenloomError, match=r"No space left on device.*GENLOOM_CACHE"):
        cache.build("key", fill)
    assert list((own_cache / "prepared").iterdir()) == []


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("GENLOOM_CACHE", str(tmp_path / "file"))
    with pytest.raises(GenloomError, match="set GENLOOM_CACHE"):
        use()


def test_taking_a_batch_is_fast() -> None:
    x = np.random.default_rng(0).integers(0, 256, (2000, 28, 28), dtype=np.uint8)
    train = prepare(x, "image", {}, DataConfig(near_duplicates=False)).train
    indices = np.random.default_rng(1).integers(len(train), size=128)
    times = []
    for _ in range(60):
        begin = time.perf_counter()
        train.batch(indices)
        times.append(time.perf_counter() - begin)
    assert min(times) < 3e-4  # seconds; the quickest, since the machine may be busy
