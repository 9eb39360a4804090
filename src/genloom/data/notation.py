"""Pieces of music as scores in MusicXML, by the package music21 (the extra `genloom[musicxml]`)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from itertools import groupby
from typing import Any

import numpy as np

from genloom.core.errors import InputError
from genloom.data.midi import DRUMS, DURATION, ONSET, PITCH, QUARTER, TRACK, Notes, Piece

GRID = QUARTER // 24  # ticks that a score can tell apart: 32nds and triplets of 16ths
SHARPS = (0, -5, 2, -3, 4, -1, 6, 1, -4, 3, -2, 5)  # sharps of the major key on each pitch class


def library() -> Any:
    """The package music21. Raises InputError where it is not installed."""
    try:
        import music21
    except ImportError:
        raise InputError(
            "MusicXML needs the package music21; install it with: pip install 'genloom[musicxml]'"
        ) from None
    return music21


def musicxml(piece: Piece, tonic: int, minor: bool) -> bytes:
    """A score of a piece in a key, tonic a pitch class: a part for each track, the same bytes each time."""
    m = library()
    sharps = SHARPS[(tonic + 3) % 12 if minor else tonic]
    score = m.stream.Score()
    score.metadata = m.metadata.Metadata(movementName="genloom", composer="genloom")
    for number, program in enumerate(piece.programs):
        part = m.stream.Part()
        part.append(_instrument(m, number, program))
        part.insert(0, m.key.KeySignature(sharps))
        for tick, a, b in piece.meters:
            part.insert(_quarters(tick), m.meter.TimeSignature(f"{a}/{b}"))
        if number == 0:
            for tick, bpm in piece.tempi:
                part.insert(_quarters(tick), m.tempo.MetronomeMark(number=round(bpm, 2)))
        for onset, length, pitches in _chords(piece.notes[piece.notes[:, TRACK] == number]):
            names = [spelled(p, sharps) for p in pitches]
            kind = m.note.Note(names[0]) if len(names) == 1 else m.chord.Chord(names)
            kind.duration.quarterLength = length
            part.insert(onset, kind)
        score.insert(0, part)
    raw: bytes = m.musicxml.m21ToXml.GeneralObjectExporter(score).parse()
    return re.sub(rb"\s*<encoding-date>[^<]*</encoding-date>", b"", raw)


def _instrument(m: Any, number: int, program: int) -> Any:
    try:
        out = m.instrument.Percussion() if program == DRUMS else m.instrument.instrumentFromMidiProgram(program)
    except m.exceptions21.Music21Exception:
        out = m.instrument.Instrument()
    # Ids are random numbers unless they are set.
    out.partId, out.instrumentId = f"P{number + 1}", f"P{number + 1}-I1"
    out.midiChannel = 9 if program == DRUMS else number % 9
    return out


def _chords(notes: Notes) -> Iterator[tuple[Fraction, Fraction, list[int]]]:
    """Onset, length in quarters and rising pitches of the notes of a track that begin and end together."""
    begin = np.rint(notes[:, ONSET] / GRID).astype(int)
    length = np.maximum(1, np.rint(notes[:, DURATION] / GRID).astype(int))
    rows = sorted(set(zip(begin.tolist(), length.tolist(), notes[:, PITCH].tolist(), strict=True)))
    for (onset, steps), same in groupby(rows, lambda r: r[:2]):
        yield Fraction(onset * GRID, QUARTER), Fraction(steps * GRID, QUARTER), [r[2] for r in same]


def _quarters(tick: int) -> Fraction:
    return Fraction(round(tick / GRID) * GRID, QUARTER)


def spelled(pitch: int, sharps: int) -> str:
    """The name of a MIDI pitch in a key of so many sharps (flats below 0), as in "B-4": of the line of fifths the part
    from a minor third above the tonic to an augmented fifth."""
    low = sharps - 3
    fifths = low + (7 * pitch - low) % 12
    turns, place = divmod(fifths + 1, 7)
    letter = "FCGDAEB"[place]
    natural = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}[letter]
    octave = (pitch - natural - turns) // 12 - 1
    return letter + ("#" * turns if turns > 0 else "-" * -turns) + str(octave)
