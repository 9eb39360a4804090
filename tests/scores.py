"""Small pieces of music for tests, made by this script: chord progressions in four voices, tunes, broken files."""

from __future__ import annotations

import json
import random
from pathlib import Path

PROGRESSIONS = ((0, 3, 4, 0), (0, 5, 3, 4), (0, 1, 4, 0), (0, 4, 5, 3))  # degrees of the chords
SCALE = (0, 2, 4, 5, 7, 9, 11)


def chorale(seed: int, bars: int = 2) -> list[list[int]]:
    """Steps [16 * bars, 4]: a chord a beat, the soprano with passing notes, all voices in one key."""
    chance = random.Random(seed)
    tonic, chords = 48 + chance.randrange(12), PROGRESSIONS[seed % len(PROGRESSIONS)]
    at = lambda degree: tonic + SCALE[degree % 7] + 12 * (degree // 7)  # noqa: E731
    steps = []
    for beat in range(4 * bars):
        root = chords[beat % 4]
        top = root + 14 + chance.choice((0, 2, 4))
        voices = [top, root + 11 if top < root + 16 else root + 9, root + 7, root - 7 + 7 * (beat % 2)]
        second = [top + (1 if chance.random() < 0.5 else 0), *voices[1:]]
        steps += [[at(d) for d in voices]] * 2 + [[at(d) for d in second]] * 2
    return steps


def chorales(n: int = 24) -> dict[str, list[list[list[int]]]]:
    pieces = [chorale(i, 1 + i % 3) for i in range(n)]
    return {"train": pieces[: n - 8], "valid": pieces[n - 8 : n - 4], "test": pieces[n - 4 :]}


def write_chorales(folder: Path) -> Path:
    path = folder / "chorales.json"
    path.write_text(json.dumps(chorales()))
    return path


def tune(seed: int) -> str:
    """A tune in ABC notation with chords."""
    chance = random.Random(seed)
    bars = ["".join(chance.choice("CDEFGABcde") + chance.choice(("", "", "2")) for _ in range(6)) for _ in range(8)]
    return f'X:{seed}\nT:Tune {seed}\nM:4/4\nL:1/8\nK:G\n"G"' + "|".join(bars) + "|\n"


def band(seed: int) -> bytes:
    """A MIDI file of three instruments and drums, with triplets, a change of tempo and of meter."""
    import symusic as s

    chance = random.Random(seed)
    score = s.Score(480)
    score.tempos = [s.Tempo(0, 120.0), s.Tempo(3840, 90.0)]
    score.time_signatures = [s.TimeSignature(0, 4, 4), s.TimeSignature(3840, 3, 4)]
    for program, drum in ((0, False), (33, False), (48, False), (0, True)):
        track = s.Track("", program, drum)
        for k in range(16):
            pitch = 36 + chance.randrange(6) if drum else 48 + chance.randrange(24)
            track.notes.append(s.Note(k * 320, 160 * (1 + chance.randrange(3)), pitch, 60 + chance.randrange(60)))
        score.tracks.append(track)
    return bytes(score.dumps_midi())


def midi(*tracks: bytes, format_: int = 1) -> bytes:
    """A MIDI file of raw tracks."""
    head = b"MThd" + (6).to_bytes(4, "big") + format_.to_bytes(2, "big") + len(tracks).to_bytes(2, "big") + b"\x01\xe0"
    return head + b"".join(b"MTrk" + len(t).to_bytes(4, "big") + t for t in tracks)


EMPTY = b"\x00\xff\x2f\x00"  # nothing but the end of the track
