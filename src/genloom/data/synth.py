"""Music as sound: by a SoundFont found on this machine, else by sums of sines that are made here."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tempfile
import wave
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from genloom.data.midi import DRUMS, DURATION, ONSET, PITCH, TRACK, VELOCITY, Piece, midi_bytes

RATE = 44_100  # samples a second of a SoundFont's sound
PLAIN_RATE = 22_050
SECONDS = 120  # that fluidsynth may take
RELEASE = 0.25  # seconds that a note sounds on
FOLDERS = ("/usr/share/sounds/sf2", "/usr/share/sounds/sf3", "/usr/share/soundfonts", "/usr/local/share/soundfonts")


@cache
def soundfont() -> Path | None:
    """$GENLOOM_SOUNDFONT, else the first SoundFont where systems keep them; nothing is downloaded."""
    own = os.environ.get("GENLOOM_SOUNDFONT")
    if own:
        return Path(own).expanduser() if Path(own).expanduser().is_file() else None
    folders = [*map(Path, FOLDERS), Path.home() / ".local/share/soundfonts"]
    found = [p for f in folders if f.is_dir() for p in sorted(f.iterdir()) if p.suffix.lower() in (".sf2", ".sf3")]
    return found[0] if found else None


def wav_bytes(piece: Piece) -> bytes:
    """A WAV file of 16 bits: by the program fluidsynth where it and a SoundFont are found, else by `plain`."""
    program, font = shutil.which("fluidsynth"), soundfont()
    played = with_soundfont(piece, program, font) if program and font is not None else None
    if played is not None:
        return played
    samples = plain(piece)
    peak = float(np.abs(samples).max(initial=1e-9))
    data = io.BytesIO()
    with wave.open(data, "wb") as f:
        f.setnchannels(1)
        f.setsampwidth(2)
        f.setframerate(PLAIN_RATE)
        f.writeframes(np.rint(samples * (0.9 * 32767 / peak)).astype("<i2").tobytes())
    return data.getvalue()


def with_soundfont(piece: Piece, program: str, font: Path) -> bytes | None:
    """What fluidsynth makes of the piece; None where it fails."""
    with tempfile.TemporaryDirectory() as folder:
        notes, out = Path(folder, "notes.mid"), Path(folder, "sound.wav")
        notes.write_bytes(midi_bytes(piece))
        order = [program, "-ni", "-q", "-r", str(RATE), "-F", str(out), str(font), str(notes)]
        try:
            subprocess.run(order, capture_output=True, timeout=SECONDS, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        sound = out.read_bytes() if out.is_file() else b""
        return sound if sound[:4] == b"RIFF" else None


def plain(piece: Piece) -> NDArray[np.float32]:
    """[N]: each note a sum of falling harmonics with a quick attack, percussion a burst of noise."""
    begins = piece.seconds(piece.notes[:, ONSET])
    ends = piece.seconds(piece.notes[:, ONSET] + piece.notes[:, DURATION])
    out = np.zeros(int(PLAIN_RATE * (float(piece.seconds(np.array([piece.end]))[0]) + RELEASE)) + 2, np.float32)
    known: dict[tuple[int, int, bool], NDArray[np.float32]] = {}
    for note, begin, end in zip(piece.notes.tolist(), begins, ends, strict=True):
        drum = piece.programs[note[TRACK]] == DRUMS
        key = (note[PITCH], round(PLAIN_RATE * (end - begin)), drum)
        if key not in known:
            known[key] = _burst(note[PITCH]) if drum else _tone(note[PITCH], key[1])
        first = round(PLAIN_RATE * begin)
        sound = known[key][: len(out) - first]
        out[first : first + len(sound)] += note[VELOCITY] / 127 * sound
    return out


def _tone(pitch: int, length: int) -> NDArray[np.float32]:
    t = np.arange(length + int(PLAIN_RATE * RELEASE)) / PLAIN_RATE
    f = 440.0 * 2 ** ((pitch - 69) / 12)
    partials = [k for k in range(1, 9) if k * f < 0.45 * PLAIN_RATE]
    wave_form = sum(k**-1.6 * np.sin(2 * np.pi * k * f * t) * np.exp(-0.5 * k * t) for k in partials)
    attack = np.minimum(1, t / 0.015)
    release = np.clip(1 - (t - length / PLAIN_RATE) / RELEASE, 0, 1) ** 2
    return np.asarray(wave_form * attack * release, np.float32)


def _burst(pitch: int) -> NDArray[np.float32]:
    t = np.arange(int(0.15 * PLAIN_RATE)) / PLAIN_RATE
    noise = np.random.Generator(np.random.PCG64(pitch)).standard_normal(len(t))
    return np.asarray(0.5 * noise * np.exp(-t * (20 + pitch / 2)), np.float32)
