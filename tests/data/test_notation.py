"""Scores in MusicXML: read back here, tag by tag, they hold the notes of the piece."""

from __future__ import annotations

import builtins
import xml.etree.ElementTree as ElementTree
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from genloom.core.errors import InputError
from genloom.data import notation
from genloom.data.midi import QUARTER, Piece
from genloom.data.voices import from_rows
from scores import chorale

Heard = list[tuple[int, Fraction, Fraction, int]]  # part, onset and length in quarters, pitch
STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


def heard(raw: bytes) -> Heard:
    """The notes of a score with those that are tied put together; MusicXML 4.0, chapter "note"."""
    out: Heard = []
    for number, part in enumerate(ElementTree.fromstring(raw).iter("part")):
        divisions, now, longest = 1, Fraction(0), Fraction(0)
        tied: dict[int, tuple[Fraction, Fraction]] = {}
        begun = now
        for measure in part.iter("measure"):
            for item in measure:
                if item.tag == "attributes" and item.find("divisions") is not None:
                    divisions = int(item.findtext("divisions") or 1)
                length = Fraction(int(item.findtext("duration") or 0), divisions)
                if item.tag == "backup":
                    now -= length
                elif item.tag == "forward":
                    now += length
                elif item.tag == "note":
                    if item.find("chord") is None:
                        begun, now = now, now + length
                    if (p := item.find("pitch")) is not None:
                        pitch = STEPS[p.findtext("step") or ""] + int(p.findtext("alter") or 0)
                        pitch += 12 * (int(p.findtext("octave") or 0) + 1)
                        ties = {t.get("type") for t in item.findall("tie")}
                        start, so_far = tied.pop(pitch, (begun, Fraction(0))) if "stop" in ties else (begun, Fraction())
                        if "start" in ties:
                            tied[pitch] = (start, so_far + length)
                        else:
                            out.append((number, start, so_far + length, pitch))
                longest = max(longest, now)
            now = longest
    return sorted(out)


def wanted(piece: Piece) -> Heard:
    rows = piece.notes.tolist()
    return sorted((t, Fraction(on, QUARTER), Fraction(length, QUARTER), p) for on, length, p, _, t in rows)


def test_a_chorale_is_four_parts_with_its_notes() -> None:
    pytest.importorskip("music21")
    piece = from_rows(np.array(chorale(3)))
    raw = notation.musicxml(piece, 3, False)
    assert heard(raw) == wanted(piece)
    root = ElementTree.fromstring(raw)
    assert root.tag == "score-partwise" and len(root.findall("part")) == 4
    assert {f.text for f in root.iter("fifths")} == {"-3"}
    assert raw == notation.musicxml(piece, 3, False), "the same bytes each time"


def test_chords_drums_triplets_and_notes_that_overlap() -> None:
    pytest.importorskip("music21")
    third = QUARTER // 3
    notes = [
        [0, QUARTER, 60, 80, 0], [0, QUARTER, 64, 80, 0], [QUARTER, third, 65, 80, 0],
        [QUARTER + third, third, 67, 80, 0],
        [2 * QUARTER, 4 * QUARTER, 72, 80, 0], [3 * QUARTER, QUARTER // 2, 55, 80, 0], [0, QUARTER // 4, 38, 80, 1],
    ]  # fmt: skip
    piece = Piece(np.array(notes, np.int32), (0, -1), ((0, 90.0),), ((0, 3, 4), (3 * QUARTER, 4, 4)))
    raw = notation.musicxml(piece, 0, False)
    assert heard(raw) == wanted(piece)
    assert [b.text for b in ElementTree.fromstring(raw).iter("beats")][:2] == ["3", "4"]


def test_a_piece_without_notes_is_an_empty_score() -> None:
    pytest.importorskip("music21")
    assert heard(notation.musicxml(Piece(np.zeros((0, 5), np.int32)), 0, False)) == []


@pytest.mark.parametrize(
    ("sharps", "names"),
    [
        (0, "C4 C#4 D4 E-4 E4 F4 F#4 G4 G#4 A4 B-4 B4"),
        (-3, "C4 D-4 D4 E-4 E4 F4 G-4 G4 A-4 A4 B-4 B4"),
        (4, "B#3 C#4 D4 D#4 E4 E#4 F#4 G4 G#4 A4 A#4 B4"),
    ],
)
def test_pitches_are_spelled_in_their_key(sharps: int, names: str) -> None:
    assert [notation.spelled(p, sharps) for p in range(60, 72)] == names.split()


def test_without_the_package_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *args: Any) -> Any:
        if name == "music21":
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(InputError, match=r"genloom\[musicxml\]"):
        notation.library()
