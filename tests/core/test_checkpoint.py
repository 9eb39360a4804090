import errno
import os
from pathlib import Path

import pytest
import torch

from genloom.core import files
from genloom.core.checkpoint import Checkpoint, newest, save
from genloom.core.errors import GenloomError, InputError
from genloom.core.run import RunFolder


def checkpoint(step: int) -> Checkpoint:
    return Checkpoint(step, {"w": torch.full((3,), float(step)), "n": torch.tensor(step)}, {"步": step})


def test_round_trip_keeps_the_newest_two(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save(tmp_path, checkpoint(step))
    back = newest(tmp_path)
    assert back.step == 3 and back.state == {"步": 3} and torch.equal(back.tensors["w"], torch.full((3,), 3.0))
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("damage", ["truncate", "alter", "empty"])
def test_a_damaged_newest_checkpoint_is_passed_over(tmp_path: Path, damage: str) -> None:
    save(tmp_path, checkpoint(1))
    path = save(tmp_path, checkpoint(2))
    data = path.read_bytes()
    path.write_bytes({"truncate": data[:-5], "alter": data[:-1] + b"?", "empty": b""}[damage])
    seen: list[str] = []
    assert newest(tmp_path, seen.append).step == 1
    assert path.name in seen[0]


def test_no_checkpoint_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no checkpoint"):
        newest(tmp_path)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_older_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    save(tmp_path, checkpoint(1))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, call, full)
    with pytest.raises(GenloomError, match="disk is full"):
        save(tmp_path, checkpoint(2))
    monkeypatch.undo()
    assert newest(tmp_path).step == 1
    assert [p.suffix for p in tmp_path.iterdir()] == [".safetensors"], "a half-written file was left"


def test_a_run_folder_is_refused_when_taken_or_not_writable(tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "a").write_json("config.json", {})
    with pytest.raises(InputError, match="--resume"):
        RunFolder.create(tmp_path / "a")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    with pytest.raises(InputError, match="not an empty folder"):
        RunFolder.create(tmp_path / "full")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file/run cannot be written"):
        RunFolder.create(tmp_path / "file" / "run")
    with pytest.raises(InputError, match="no run"):
        RunFolder.open(tmp_path / "nothing")
    with pytest.raises(InputError, match="is not a run"):
        RunFolder.open(tmp_path / "full")


def test_missing_truncated_and_altered_weights_are_told_apart_from_good_ones(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run")
    folder.save_weights({"w": torch.ones(4)})
    assert torch.equal(folder.load_weights()["w"], torch.ones(4))
    path = folder.path / "model.safetensors"
    data = path.read_bytes()
    for damaged in (data[:-3], data[:-1] + b"\x01", b""):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="not what the training wrote"):
            folder.load_weights()
    path.unlink()
    with pytest.raises(InputError, match="no weights"):
        folder.load_weights()
