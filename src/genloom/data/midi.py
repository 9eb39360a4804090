"""Pieces of music: notes with tracks, tempi and meters, from MIDI bytes and back.

Files are read and written by the package symusic (the extra `genloom[music]`); a piece itself is arrays, so that what
counts and draws notes needs no package.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genloom.core.errors import InputError, Unreadable

if TYPE_CHECKING:
    from symusic.core import ScoreTick

QUARTER = 480  # ticks of a quarter note
DRUMS = -1  # the program of a track of percussion
MOST_TRACKS, MOST_NOTES, MOST_BYTES = 256, 200_000, 16_000_000
LONGEST = 24 * 60 * 2 * QUARTER  # ticks of a piece: 12 minutes at 120 quarter notes a minute, times 4
ONSET, DURATION, PITCH, VELOCITY, TRACK = range(5)

Notes = NDArray[np.int32]  # [N, 5]: onset and duration in ticks, pitch and velocity in 0..127, track


@dataclass(frozen=True, eq=False)
class Piece:
    """notes [N, 5] sorted by onset, then track, then falling pitch. programs: General MIDI's number of each track, from
    0, or DRUMS. tempi: (tick, quarter notes a minute). meters: (tick, numerator, denominator). end: ticks in all."""

    notes: Notes
    programs: tuple[int, ...] = (0,)
    tempi: tuple[tuple[int, float], ...] = ((0, 120.0),)
    meters: tuple[tuple[int, int, int], ...] = ((0, 4, 4),)
    end: int = field(default=0)

    def __post_init__(self) -> None:
        n = self.notes
        object.__setattr__(self, "notes", n[np.lexsort((-n[:, PITCH], n[:, TRACK], n[:, ONSET]))].astype(np.int32))
        last = int((n[:, ONSET] + n[:, DURATION]).max(initial=0))
        object.__setattr__(self, "end", max(self.end, last))

    @property
    def nbytes(self) -> int:
        """Bytes in memory, about."""
        return int(self.notes.nbytes) + 200

    @cached_property
    def digest(self) -> bytes:
        """16 bytes of what sounds: notes without velocity, instruments, tempi and meters."""
        head = repr((self.programs, self.tempi, self.meters)).encode()
        played = np.ascontiguousarray(np.delete(self.notes, VELOCITY, 1), "<i4")
        return hashlib.blake2b(head + played.tobytes(), digest_size=16).digest()

    @property
    def pitched(self) -> Notes:
        """The notes that are no percussion."""
        drums = [t for t, p in enumerate(self.programs) if p == DRUMS]
        return self.notes[~np.isin(self.notes[:, TRACK], drums)] if drums else self.notes

    def seconds(self, ticks: NDArray[Any]) -> NDArray[np.float64]:
        """When ticks sound."""
        at = np.array([t for t, _ in self.tempi], np.float64)
        per = np.array([60.0 / (bpm * QUARTER) for _, bpm in self.tempi])
        begun = np.concatenate([[0.0], np.cumsum(np.diff(at) * per[:-1])])
        k = np.maximum(0, np.searchsorted(at, ticks, "right") - 1)
        out: NDArray[np.float64] = begun[k] + (ticks - at[k]) * per[k]
        return out


def library() -> Any:
    """The package symusic. Raises InputError where it is not installed."""
    try:
        import symusic
    except ImportError:
        raise InputError(
            "MIDI and ABC files need the package symusic; install it with: pip install 'genloom[music]'"
        ) from None
    return symusic


def read_midi(raw: bytes) -> Piece:
    """The piece in a MIDI file. Raises Unreadable: not MIDI, cut, too large, without notes."""
    if not raw.startswith(b"MThd"):
        raise Unreadable("it is no MIDI file (it does not begin with MThd)")
    if len(raw) > MOST_BYTES:
        raise Unreadable(f"the MIDI file has more than {MOST_BYTES:,} bytes")
    tracks = int.from_bytes(raw[10:12], "big")
    if tracks > MOST_TRACKS:
        raise Unreadable(f"it has {tracks:,} tracks; at most {MOST_TRACKS} are read")
    try:
        score = library().Score.from_midi(raw)
    except (RuntimeError, ValueError, MemoryError) as e:
        reason = " ".join(str(e).removesuffix(": iostream error").split())[:120]
        raise Unreadable(f"the MIDI file is damaged ({reason})") from None
    return from_score(score)


def from_score(score: ScoreTick) -> Piece:
    """A symusic Score as a piece. Raises Unreadable for one without notes or one that is too large."""
    tracks = [t for t in score.tracks if len(t.notes)]
    if not tracks:
        raise Unreadable("it has no notes")
    if sum(len(t.notes) for t in tracks) > MOST_NOTES:
        raise Unreadable(f"it has more than {MOST_NOTES:,} notes")
    scale = QUARTER / max(1, score.tpq)
    parts = []
    for number, track in enumerate(tracks):
        n = track.notes.numpy()
        begin = np.rint(n["time"] * scale)
        ends = np.rint((n["time"] + n["duration"]) * scale)
        length = np.maximum(1, ends - begin)
        parts.append(np.stack([begin, length, n["pitch"], n["velocity"], np.full(len(begin), number)], 1))
    notes = np.concatenate(parts)
    if notes[:, PITCH].min() < 0 or notes[:, PITCH].max() > 127 or notes[:, :2].sum(1).max() > LONGEST:
        raise Unreadable("its notes are out of range: pitches from 0 to 127 and at most an hour or so are read")
    at = lambda tick: round(tick * scale)  # noqa: E731
    tempi = _changes([(at(t.time), round(float(t.qpm), 3)) for t in score.tempos], (120.0,))
    meters = _changes([(at(m.time), m.numerator, m.denominator) for m in score.time_signatures], (4, 4))
    programs = tuple(DRUMS if t.is_drum else int(t.program) for t in tracks)
    return Piece(notes.astype(np.int32), programs, tempi, meters)


def _changes(events: list[Any], first: tuple[Any, ...]) -> tuple[Any, ...]:
    """Events (tick, values...) that change something, from tick 0 on; values that cannot be are left out."""
    out: list[Any] = []
    for event in sorted(dict((e[0], e) for e in events if min(e[1:]) > 0).values()):
        if not out and event[0] > 0:
            out.append((0, *first))
        if not out or out[-1][1:] != event[1:]:
            out.append(event)
    return tuple(out) or ((0, *first),)


def to_score(piece: Piece) -> ScoreTick:
    """The piece as a symusic Score; a track for each program, named by its number."""
    s = library()
    score = s.Score(QUARTER)
    score.tempos = [s.Tempo(t, bpm) for t, bpm in piece.tempi]
    score.time_signatures = [s.TimeSignature(t, a, b) for t, a, b in piece.meters]
    for number, program in enumerate(piece.programs):
        own = piece.notes[piece.notes[:, TRACK] == number]
        track = s.Track(f"Track {number + 1}", max(0, program), program == DRUMS)
        columns = (np.ascontiguousarray(own[:, k]) for k in (ONSET, DURATION, PITCH, VELOCITY))
        onset, duration, pitch, velocity = columns
        track.notes = s.Note.from_numpy(onset, duration, pitch.astype(np.int8), velocity.astype(np.int8))
        score.tracks.append(track)
    return score


def midi_bytes(piece: Piece) -> bytes:
    """A standard MIDI file of format 1."""
    return bytes(to_score(piece).dumps_midi())
