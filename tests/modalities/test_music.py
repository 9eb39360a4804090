"""Music: encodings, grammars, files in and out, and what bad files say."""

from __future__ import annotations

import io
import json
import wave
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from genloom.core.config import DataConfig
from genloom.core.errors import InputError, Unreadable
from genloom.core.rng import Rng
from genloom.core.spec import Grid, Tokens
from genloom.data import midi, synth
from genloom.data.abc import read_abc
from genloom.data.kinds import find_kind
from genloom.data.midi import DRUMS, ONSET, PITCH, Piece
from genloom.data.prepare import prepare
from genloom.data.remi import Remi
from genloom.data.voices import EOS, STEP, Voices, from_rows, phases, rolled
from genloom.modalities.music import Music, MusicConfig
from genloom.provenance import mark
from scores import EMPTY, band, chorale, chorales, tune, write_chorales
from scores import midi as midi_file


def read(raw: object) -> Piece:
    return Music.read(raw, MusicConfig())


def fitted(**values: object) -> tuple[Music, list[Piece]]:
    pieces = [read(chorale(i)) for i in range(8)]
    return Music.fit(MusicConfig(**values), pieces), pieces


# -- voices ------------------------------------------------------------------------------------------------------------


def test_a_step_is_its_mark_and_a_token_for_each_voice() -> None:
    m = Music.fit(MusicConfig(), [read([[62, 60]] * 2 + [[64, 0]])])
    assert isinstance(m.code, Voices) and m.code.voices == 2
    rest = 3 + 16
    low = rest + 1 - 60
    steps = [[3, low + 62, low + 60], [4, low + 62, low + 60], [5, low + 64, rest]]
    assert m.encode(read([[62, 60]] * 2 + [[64, 0]])).tolist() == [1, *chain(*steps), 2]


def test_equal_pitches_in_a_row_are_one_note_unless_struck_again() -> None:
    held = from_rows(np.array([[60]] * 4))
    assert held.notes[:, :3].tolist() == [[0, 4 * STEP, 60]]
    twice = Piece(np.array([[0, 2 * STEP, 60, 80, 0], [2 * STEP, 2 * STEP, 60, 80, 0]], np.int32))
    m = Music.fit(MusicConfig(encoding="voices"), [twice, held])
    for piece in (held, twice):
        assert m.decode(m.encode(piece)).notes[:, :3].tolist() == piece.notes[:, :3].tolist()


def test_pitches_without_a_token_move_by_octaves() -> None:
    m = Music.fit(MusicConfig(), [read([[60], [71], [60]])])
    back = m.decode(m.encode(read([[48], [85]])))
    assert back.notes[:, PITCH].tolist() == [60, 61]


def test_meters_are_told_by_the_marks() -> None:
    notes = np.array([[k * STEP, STEP, 60 + k % 5, 80, 0] for k in range(40)], np.int32)
    piece = Piece(notes, meters=((0, 3, 4), (24 * STEP, 2, 4)))
    assert phases(piece, 40).tolist() == [*range(12), *range(12), *range(8), *range(8)]
    m = Music.fit(MusicConfig(), [piece])
    assert m.decode(m.encode(piece)).meters == piece.meters


def test_more_voices_than_the_model_has_are_refused() -> None:
    m, _ = fitted()
    with pytest.raises(InputError, match="5 voices, the model takes 4"):
        m.encode(read([[60, 62, 64, 65, 67]] * 4))


@pytest.mark.parametrize("kind", ["voices", "events"])
def test_whatever_the_grammar_allows_decodes(kind: str) -> None:
    """Uniform draws from what the grammar allows, the harshest model there is, are pieces that are read back."""
    if kind == "voices":
        m, pieces = fitted(transpose=2)
    else:
        pieces = [read(band(i)) for i in range(4)]
        m = Music.fit(MusicConfig(encoding="events"), pieces)
    guide, chance = m.grammar(), torch.Generator().manual_seed(0)
    x = torch.full((16, 1), 1)
    for _ in range(150):
        allowed = guide.allowed(x).float()
        assert bool((allowed.sum(1) > 0).all())
        if x.shape[1] < 60:
            allowed[:, EOS] = allowed[:, EOS] * ((x == EOS).any(1) | (allowed.sum(1) == 1))
        x = torch.cat([x, torch.multinomial(allowed, 1, generator=chance)], 1)
    assert all(m.shows_trait("playable", m.decode(row)) for row in x)
    for piece in pieces:
        row = m.encode(piece)
        for t in range(1, len(row)):
            assert guide.allowed(row[None, :t])[0, row[t]], (t, int(row[t]))


@pytest.mark.parametrize("kind", ["voices", "events", "grid"])
def test_transposing_moves_all_pitches_of_a_row_alike(kind: str) -> None:
    pieces = [read(chorale(i)) for i in range(8)]
    values = {"form": "grid"} if kind == "grid" else {"encoding": kind}
    m = Music.fit(MusicConfig(transpose=4, **values), pieces)
    encoded = [m.encode(p) for p in pieces]
    x = torch.stack(encoded) if kind == "grid" else pad_sequence(encoded, batch_first=True)
    moved = m.augment(x, Rng(1))
    shifts = set()
    for before, after in zip(x, moved, strict=True):
        a, b = m.decode(before).notes, m.decode(after).notes
        shift = set((b[:, PITCH] - a[:, PITCH]).tolist())
        assert len(shift) == 1 and np.array_equal(a[:, :2], b[:, :2])
        shifts |= shift
    assert len(shifts) > 2 and max(map(abs, shifts)) <= 4


# -- events and rolls --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bpe", [None, 600])
def test_events_keep_instruments_tempi_and_meters(bpe: int | None) -> None:
    pieces = [read(band(i)) for i in range(6)]
    m = Music.fit(MusicConfig(bpe=bpe), pieces)
    assert isinstance(m.code, Remi) and m.config.encoding == "events"
    x = m.encode(pieces[0])
    back = m.decode(x)
    assert sorted(back.programs) == [DRUMS, 0, 33, 48] and torch.equal(m.encode(back), x)
    assert [a for _, a, _ in back.meters] == [4, 3] and len(back.tempi) == 2
    assert len(back.notes) == len(pieces[0].notes)
    twin = Music.from_state(json.loads(json.dumps(m.state())))
    assert twin.spec == m.spec and torch.equal(twin.encode(pieces[1]), m.encode(pieces[1]))
    plain = Music.fit(MusicConfig(), pieces)
    assert bpe is None or len(x) < len(plain.encode(pieces[0]))


def test_a_roll_gives_back_its_notes() -> None:
    m, pieces = fitted(form="grid", steps=32)
    assert isinstance(m.spec, Grid) and m.spec.shape[0] == 2 and m.spec.shape[2] == 32
    back = m.decode(m.encode(pieces[0]))
    pitch, struck = rolled(pieces[0], 4)
    heard = {(int(o) // STEP, int(p)) for o, p in zip(back.notes[:, ONSET], back.notes[:, PITCH], strict=True)}
    assert heard == {(s, int(pitch[s, v])) for s, v in np.argwhere(struck).tolist()}


# -- files -------------------------------------------------------------------------------------------------------------


def test_every_sample_is_a_midi_a_sound_and_a_picture_and_carries_the_mark(tmp_path: Path) -> None:
    m, pieces = fitted()
    facts = mark.Mark("run", "sample")
    paths = m.write(pieces[:2], tmp_path, ["a", "b"], lambda p, data: mark.put(data, p.suffix, facts))
    assert [p.name for p in paths] == ["a.mid", "b.mid", "a.wav", "a.png", "b.wav", "b.png"]
    for path in paths:
        found = mark.find(path.read_bytes(), path.suffix)
        assert found is not None and found["run"] == "run", path
    assert np.array_equal(read(paths[0].read_bytes()).notes[:, :3], pieces[0].notes[:, :3])
    with wave.open(str(paths[2])) as f:
        assert f.getnframes() / f.getframerate() == pytest.approx(4 + synth.RELEASE, abs=0.1)


def test_a_tone_has_its_pitch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synth, "soundfont", lambda: None)
    a = Piece(np.array([[0, 960, 69, 100, 0]], np.int32))
    with wave.open(io.BytesIO(synth.wav_bytes(a))) as f:
        sound = np.frombuffer(f.readframes(f.getnframes()), "<i2")
        rate = f.getframerate()
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    assert np.argmax(spectrum) * rate / len(sound) == pytest.approx(440, abs=1)


def test_abc_is_read_and_collections_are_as_many_pieces(tmp_path: Path) -> None:
    piece = read_abc(b"X:1\nT:scale\nM:4/4\nL:1/4\nK:G\nGABc|d2F2|\n")
    assert piece.notes[:, PITCH].tolist() == [67, 69, 71, 72, 74, 66]
    assert piece.notes[:, ONSET].tolist() == [0, 480, 960, 1440, 1920, 2880]
    (tmp_path / "book.abc").write_text("\n".join(tune(i) for i in range(1, 13)))
    assert find_kind(tmp_path / "book.abc") == "music" == find_kind(tmp_path)
    prepared = prepare(tmp_path / "book.abc", None, {}, DataConfig())
    assert len(prepared.train) + len(prepared.validation) + len(prepared.test) == 12


def test_chorales_are_told_by_their_contents(tmp_path: Path) -> None:
    path = write_chorales(tmp_path)
    assert find_kind(path) == "music"
    prepared = prepare(path, None, {}, DataConfig())
    assert [len(s) for s in (prepared.train, prepared.validation, prepared.test)] == [16, 4, 4]
    assert isinstance(prepared.modality.spec, Tokens)
    (tmp_path / "text.json").write_text(json.dumps(["a text", "another"]))
    assert find_kind(tmp_path / "text.json") == "text"


def test_the_key_can_be_the_class(tmp_path: Path) -> None:
    prepared = prepare(write_chorales(tmp_path), "music", {}, DataConfig(label="key"))
    assert prepared.condition.classes and all(c.split()[1] in ("major", "minor") for c in prepared.condition.classes)


NOTE = b"\x00\x90\x3c\x40\x60\x80\x3c\x00" + EMPTY


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (midi_file(EMPTY), "no notes"),
        (midi_file(*[EMPTY] * 10_000), "10,000 tracks; at most"),
        (midi_file(NOTE)[:30], "damaged"),
        (b"MThd" + bytes(60), "no notes|damaged"),
        (b"", "empty"),
        (b"\0\1\2 no music", "neither a MIDI file nor a tune"),
        (b"X:1\nT:no key\nabc|", "no key"),
        (b"just some words\n", "no tune in ABC"),
        (b"X:1\nM:4/4\nK:C\n" + b"CDEF [[V:1 lyrics$$]] @@ ?? 99(( {{ || ~ ]] ((\n" * 20, "another dialect"),
        ([[60, 62], [61]], "equally many"),
        ([[60, 300]], "above 127"),
        ([[0, 0]], "no notes"),
    ],
)  # fmt: skip
def test_bad_files_say_why(raw: object, says: str) -> None:
    with pytest.raises(Unreadable, match=says) as e:
        read(raw)
    assert "\n" not in str(e.value)


def test_json_that_is_no_chorales_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"train": [[[60, 62]]], "rest": 3}')
    with pytest.raises(InputError, match="no set of chorales"):
        prepare(tmp_path / "x.json", "music", {}, DataConfig())


def test_a_prompt_is_a_file(tmp_path: Path) -> None:
    m, pieces = fitted()
    (tmp_path / "a.mid").write_bytes(midi.midi_bytes(pieces[0]))
    assert m.prompt(str(tmp_path / "a.mid")) == m.encode(pieces[0])[1:-1].tolist()
    with pytest.raises(InputError, match="none at"):
        m.prompt("C major")


def test_byte_pairs_and_transposing_exclude_each_other() -> None:
    with pytest.raises(InputError, match="byte pairs cannot be transposed"):
        Music.fit(MusicConfig(encoding="events", bpe=500, transpose=3), [read(p) for p in chorales()["train"]])


def test_a_synthesiser_that_fails_leaves_the_plain_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    font, program = tmp_path / "a.sf2", tmp_path / "fluidsynth"
    font.write_bytes(b"font")
    monkeypatch.setattr(synth, "soundfont", lambda: font)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    piece = read([[60]] * 4)
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    plain = synth.wav_bytes(piece)
    assert plain[:4] == b"RIFF"
    program.write_text('#!/bin/sh\ncp "$8" "$8.copy"; printf "RIFFdone" > "$6"\n')
    assert synth.wav_bytes(piece) == b"RIFFdone"
