"""Music from the command line, on tiny sizes: trained, sampled, harmonised, judged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genloom.core.config import DataConfig
from genloom.data.midi import PITCH, TRACK, midi_bytes, read_midi
from genloom.data.prepare import prepare
from genloom.data.voices import from_rows, rolled
from genloom.evaluate.likelihoods import likelihoods
from genloom.run import Run
from scores import band, chorale, write_chorales

Cli = Callable[..., Any]

SMALL = [
    word
    for name, value in {
        "family.width": 16, "family.hidden": 16, "family.context": 40, "family.ngram_rows": 64, "train.batch": 8,
        "train.grids": 1, "train.precision": "fp32", "train.validate_times": 0,
    }.items()
    for word in ("--set", f"{name}={value}")
]  # fmt: skip


@pytest.fixture(scope="module")
def run(cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("音樂")
    done = cli("train", write_chorales(folder), "--steps", 8, "--out", folder / "run", *SMALL)
    assert done.code == 0, done.err
    assert "recipe chorales" in done.err and "4 voices" in done.err
    return folder / "run"


def test_samples_are_midi_files_that_are_read_back(cli: Cli, run: Path, tmp_path: Path) -> None:
    done = cli("sample", run, "-n", 3, "--max-tokens", 100, "-o", tmp_path, "--json")
    assert done.code == 0, done.err
    files = [Path(f) for f in done.document["files"]]
    assert sorted(f.suffix for f in files) == [".mid"] * 3 + [".png"] * 3 + [".wav"] * 3
    for path in files[:3]:
        assert len(read_midi(path.read_bytes()).notes)
        assert cli("verify", path).code == 0


def test_a_melody_is_harmonised(cli: Cli, run: Path, tmp_path: Path) -> None:
    melody = from_rows(np.array(chorale(5))[:, :1])
    (tmp_path / "melody.mid").write_bytes(midi_bytes(melody))
    done = cli("sample", run, "--known", tmp_path / "melody.mid", "--keep", "1", "-n", 2, "-o", tmp_path, "--json")
    assert done.code == 0, done.err
    for path in [Path(f) for f in done.document["files"] if f.endswith(".mid")]:
        piece = read_midi(path.read_bytes())
        assert np.array_equal(rolled(piece, 4)[0][:, 0], rolled(melody, 1)[0][:, 0])
        assert len(piece.programs) > 1 and len(np.unique(piece.notes[piece.notes[:, TRACK] > 0, PITCH])) > 1
    wrong = cli("sample", run, "--known", tmp_path / "melody.mid", "--keep", "7")
    assert wrong.code == 2 and "voices 1 to 4" in wrong.err
    wrong = cli("sample", run, "--prompt", "C E G")
    assert wrong.code == 2 and "a prompt of music is a MIDI or ABC file" in wrong.err


def test_a_finished_run_is_told_which_files_to_write(cli: Cli, run: Path, tmp_path: Path) -> None:
    pytest.importorskip("music21")
    told = ["--set", "modality.musicxml=true", "--set", "modality.sound=false"]
    done = cli("sample", run, "-n", 1, "--max-tokens", 60, "-o", tmp_path, "--json", *told)
    assert done.code == 0, done.err
    files = {Path(f).suffix: Path(f) for f in done.document["files"]}
    assert set(files) == {".mid", ".png", ".musicxml"}
    assert cli("verify", files[".musicxml"]).code == 0
    again = cli("reproduce", files[".musicxml"], "--run", run, "--json")
    assert again.code == 0 and again.document["same"] is True, again.err
    wrong = cli("sample", run, "-n", 1, "--set", "modality.transpose=2")
    assert wrong.code == 2 and "settled by the training" in wrong.err and "modality.musicxml" in wrong.err


def test_likelihoods_are_told_by_the_step(run: Path) -> None:
    trained = Run.open(run)
    data = prepare(run.parent / "chorales.json", None, {}, DataConfig())
    figures = {f.name: f for f in likelihoods(trained.family, data).figures}
    per_token, per_step = figures["nats_per_token"], figures["nats_per_step"]
    assert per_step.value == pytest.approx(per_token.value * per_token.n / STEPS, rel=1e-6)


STEPS = 16 * sum(1 + i % 3 for i in range(16, 24))  # of the held-out chorales: validation and test


def test_any_midi_files_make_events_and_a_gan_gets_piano_rolls(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "midi").mkdir()
    for i in range(12):
        (tmp_path / "midi" / f"{i}.mid").write_bytes(band(i))
    out = tmp_path / "events"
    done = cli("train", tmp_path / "midi", "--steps", 2, "--out", out, *SMALL, "--set", "family.cell=lstm")
    assert done.code == 0 and "events (REMI)" in done.err, done.err
    assert cli("sample", out, "-n", 1, "--max-tokens", 60, "-o", tmp_path / "s").code == 0
    out = tmp_path / "rolls"
    done = cli(
        "train", tmp_path / "midi", "--model", "flow", "--steps", 2, "--out", out, "--set", "family.width=8",
        "--set", "modality.steps=16", "--set", "train.grids=1",
    )  # fmt: skip
    assert done.code == 0 and "piano roll" in done.err, done.err
    assert cli("sample", out, "-n", 1, "-o", tmp_path / "s").code == 0
