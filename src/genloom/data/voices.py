"""Music in a fixed number of voices on a grid of sixteenth notes, as tokens.

A step is a mark of the place in the bar, then a token for each voice from the first to the last: a rest, a pitch that
sounds (it goes on if it sounded before), or a pitch that is struck again. Allan & Williams 2005 and
Boulanger-Lewandowski et al. 2012 divide chorales into such steps; interleaved voices as in Huang et al. 2019, "Music
Transformer".

`S` steps, `V` voices, `B` rows, `t` tokens.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genloom.core.errors import InputError
from genloom.core.rng import Rng
from genloom.core.spec import Tokens
from genloom.data.midi import DRUMS, DURATION, ONSET, PITCH, QUARTER, TRACK, Piece

PAD, BOS, EOS, FIRST = 0, 1, 2, 3
STEP = QUARTER // 4
MOST_VOICES, MOST_BAR = 8, 32
OFF_GRID = 0.05  # share of onsets off the grid up to which music is taken to be on it
REST = -1

Pitches = NDArray[np.int16]  # [S, V], REST where a voice is silent
Struck = NDArray[np.bool_]  # [S, V] where a note begins


def rolled(piece: Piece, voices: int) -> tuple[Pitches, Struck]:
    """The pitch of every voice (a track each) at every step, and where notes begin; of notes that overlap in a voice
    the later one, of a chord the highest note. Raises InputError for more voices."""
    if len(piece.programs) > voices:
        raise InputError(f"this piece has {len(piece.programs)} voices, the model takes {voices}")
    steps = max(1, -(-piece.end // STEP))
    pitch, struck = np.full((steps, voices), REST, np.int16), np.zeros((steps, voices), bool)
    begins = np.rint(piece.notes[:, ONSET] / STEP).astype(int)
    ends = np.maximum(begins + 1, np.rint((piece.notes[:, ONSET] + piece.notes[:, DURATION]) / STEP).astype(int))
    order = np.lexsort((piece.notes[:, PITCH], begins))
    for begin, end, p, voice in zip(
        begins[order].tolist(), ends[order].tolist(), piece.notes[order, PITCH].tolist(),
        piece.notes[order, TRACK].tolist(), strict=True,
    ):  # fmt: skip
        if begin < steps:
            pitch[begin:end, voice] = p
            struck[begin + 1 : end, voice] = False
            struck[begin, voice] = True
    return pitch, struck


def unrolled(pitch: Pitches, struck: Struck, velocity: int = 80) -> NDArray[np.int32]:
    """Notes [N, 5] of voices, the inverse of `rolled`: a note goes on while its pitch does and is not struck."""
    steps, voices = pitch.shape
    parts = []
    for voice in range(voices):
        p = pitch[:, voice]
        edge = np.flatnonzero(np.concatenate([[True], (p[1:] != p[:-1]) | (struck[1:, voice] & (p[1:] != REST))]))
        ends = np.append(edge[1:], steps)
        keep = p[edge] != REST
        a, b = edge[keep], ends[keep]
        same = np.ones_like(a)
        parts.append(np.stack([STEP * a, STEP * (b - a), p[a], velocity * same, voice * same], 1))
    return np.concatenate(parts).astype(np.int32)


def from_rows(rows: NDArray[Any]) -> Piece:
    """A piece of pitches [S, V] (below 1, or not a number: silent), a note for each run of equal ones."""
    pitch = np.where(np.nan_to_num(rows, nan=REST) >= 1, np.nan_to_num(rows, nan=REST), REST).astype(np.int16)
    notes = unrolled(pitch, np.zeros(pitch.shape, bool))
    return Piece(notes, (0,) * pitch.shape[1], end=STEP * len(pitch))


def phases(piece: Piece, steps: int) -> NDArray[np.int64]:
    """[S] the place of each step in its bar, from 0 on."""
    out = np.empty(steps, np.int64)
    for (begin, a, b), following in zip(piece.meters, [*(m[0] for m in piece.meters[1:]), steps * STEP], strict=True):
        first, last = round(begin / STEP), min(steps, round(following / STEP))
        if first < last:
            out[first:last] = np.arange(last - first) % bar_of(a, b)
    return out


def bar_of(numerator: int, denominator: int) -> int:
    """Steps of a bar; 16 for meters that have no whole number of them or too many."""
    steps = 16 * numerator / denominator
    return int(steps) if steps == int(steps) and 2 <= steps <= MOST_BAR else 16


@dataclass(frozen=True)
class Voices:
    """The encoding. low, high: pitches that tokens have. struck: whether pitches may be struck again. longest: tokens
    of the longest training piece. bars: steps that a bar may have. programs: instruments of the voices."""

    voices: int
    low: int
    high: int
    struck: bool
    longest: int
    bars: tuple[int, ...]
    programs: tuple[int, ...]
    tempo: float
    kind = "voices"

    @classmethod
    def fits(cls, pieces: Iterable[Piece]) -> bool:
        """Whether all have as many voices, of one note at a time and on the grid."""
        counts = set()
        for p in pieces:
            counts.add(len(p.programs))
            if len(counts) > 1 or len(p.programs) > MOST_VOICES or DRUMS in p.programs:
                return False
            off = np.abs(p.notes[:, ONSET] / STEP - np.rint(p.notes[:, ONSET] / STEP)) > 0.2
            _, struck = rolled(p, len(p.programs))
            if off.mean() > OFF_GRID or struck.sum() < 0.98 * len(p.notes):
                return False
        return bool(counts)

    @classmethod
    def fit(cls, pieces: Iterable[Piece], margin: int) -> Self:
        """margin: semitones below and above the data's pitches that tokens are made for."""
        low, high, longest, again, voices = 127, 0, 0, False, 1
        bars: set[int] = set()
        tempi: list[float] = []
        programs: tuple[int, ...] = (0,)
        for p in pieces:
            voices, programs = (len(p.programs), p.programs) if len(p.programs) > voices else (voices, programs)
            pitch, struck = rolled(p, len(p.programs))
            low, high = min(low, int(p.notes[:, PITCH].min())), max(high, int(p.notes[:, PITCH].max()))
            again = again or bool((struck[1:] & (pitch[1:] == pitch[:-1])).any())
            longest = max(longest, len(pitch) * (voices + 1))
            bars |= {bar_of(a, b) for _, a, b in p.meters}
            tempi.append(p.tempi[0][1])
        if len(programs) < voices:
            programs = (*programs, *(0,) * (voices - len(programs)))
        return cls(
            voices, max(0, low - margin), min(127, high + margin), again, longest + 2, tuple(sorted(bars)),
            programs, float(np.median(tempi)),
        )  # fmt: skip

    # -- tokens -------------------------------------------------------------------------------------------------------

    @property
    def rest(self) -> int:
        return FIRST + max(self.bars)

    @property
    def pitches(self) -> int:
        return self.high - self.low + 1

    @property
    def spec(self) -> Tokens:
        return Tokens(self.longest, self.rest + 1 + self.pitches * (2 if self.struck else 1), PAD, BOS, EOS)

    def encode(self, piece: Piece) -> Tensor:
        """int64 [2 + S * (1 + V)]. Pitches outside the range move by octaves."""
        pitch, struck = rolled(piece, self.voices)
        marks = phases(piece, len(pitch))
        marks = FIRST + np.where(marks < max(self.bars), marks, marks % max(self.bars))
        p = pitch.astype(np.int64)
        p = np.where(p > self.high, self.high - 11 + (p - self.high - 1) % 12, p)
        p = np.where((p < self.low) & (p != REST), self.low + (p - self.low) % 12, p)
        same = np.zeros_like(struck)
        same[1:] = struck[1:] & (p[1:] == p[:-1]) & (p[1:] != REST)
        tokens = np.where(p == REST, self.rest, self.rest + 1 + p - self.low)
        tokens = tokens + (same * self.pitches if self.struck else 0)
        rows = np.concatenate([marks[:, None], tokens], 1)
        return torch.from_numpy(np.concatenate([[BOS], rows.ravel(), [EOS]]))

    def decode(self, x: Tensor) -> Piece:
        """The piece up to eos. A step that lacks voices has rests for them; what stands before the first step is
        left out."""
        ids = x.detach().cpu().numpy().astype(np.int64)
        ended = np.flatnonzero(ids == EOS)
        ids = ids[: ended[0]] if len(ended) else ids
        ids = ids[ids >= FIRST]
        at = np.flatnonzero(ids < self.rest)
        if not len(at):
            return Piece(np.zeros((0, 5), np.int32), self.programs, ((0, self.tempo),))
        room = np.diff(np.append(at, len(ids)))
        places = at[:, None] + np.arange(1, self.voices + 1)
        there = np.arange(1, self.voices + 1) < room[:, None]
        tokens = np.where(there, ids[np.minimum(places, len(ids) - 1)], self.rest)
        value = tokens - self.rest - 1
        pitch = np.where(tokens == self.rest, REST, self.low + value % self.pitches).astype(np.int16)
        meters = _meters(ids[at] - FIRST)
        notes = unrolled(pitch, value >= self.pitches)
        return Piece(notes, self.programs, ((0, self.tempo),), meters, STEP * len(pitch))

    def transpose(self, x: Tensor, semitones: int, rng: Rng) -> Tensor:
        """Rows x [B, T], each by up to so many semitones down or up, as far as its pitches have tokens."""
        value = x - self.rest - 1
        sounds = value >= 0
        pitch = value % self.pitches
        lowest = torch.where(sounds, pitch, self.pitches).amin(1)
        highest = torch.where(sounds, pitch, -1).amax(1)
        shift = rng.integers("transpose", 2 * semitones + 1, len(x)).to(x.device) - semitones
        shift = torch.minimum(torch.maximum(shift, -lowest), self.pitches - 1 - highest)
        return torch.where(sounds, x + shift[:, None], x)

    def grammar(self) -> StepGrammar:
        return StepGrammar(self)

    def known(self, piece: Piece, voices: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """The tokens of a piece and which of them are given when only some voices are: those, the marks, bos, eos."""
        x = self.encode(piece)
        mask = torch.zeros(self.voices + 1, dtype=torch.bool)
        mask[0] = True
        mask[torch.tensor(voices) + 1] = True
        return x, torch.cat(
            [torch.tensor([True]), mask.repeat((len(x) - 2) // (self.voices + 1)), torch.tensor([True])]
        )

    def state(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        kept: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in state.items()}
        return cls(**kept)


def _meters(marks: NDArray[np.int64]) -> tuple[tuple[int, int, int], ...]:
    """Meters of marks [S]: of each bar as long as the next one begins."""
    bars = np.flatnonzero(marks == 0)
    lengths = np.diff(bars)
    if not len(lengths):
        return ((0, 4, 4),) if not len(marks) or marks.max() >= 12 else _meter(0, int(marks.max()) + 1)
    out: list[tuple[int, int, int]] = []
    for begin, length in zip(bars[:-1].tolist(), lengths.tolist(), strict=True):
        (meter,) = _meter(0 if not out else STEP * begin, length)
        if not out or out[-1][1:] != meter[1:]:
            out.append(meter)
    return tuple(out)


def _meter(tick: int, steps: int) -> tuple[tuple[int, int, int]]:
    """The meter of a bar of so many steps, in quarters where that is a whole number, else in eighths, sixteenths."""
    for per, denominator in ((4, 4), (2, 8)):
        if steps % per == 0:
            return ((tick, steps // per, denominator),)
    return ((tick, steps, 16),)


class StepGrammar:
    """What may follow: after a mark and each voice the next voice, after the last voice the next mark or the end."""

    def __init__(self, code: Voices) -> None:
        size, self.code = code.spec.vocab, code
        ids = torch.arange(size)
        self.marks = (ids >= FIRST) & (ids < code.rest)
        self.sounding = (ids >= code.rest) & (ids <= code.rest + code.pitches)
        following = torch.zeros(size, size, dtype=torch.bool)  # [mark, next mark]
        for mark in range(max(code.bars)):
            if mark + 1 < max(code.bars):
                following[FIRST + mark, FIRST + mark + 1] = True
            if mark + 1 in code.bars:
                following[FIRST + mark, FIRST] = True
            following[FIRST + mark, EOS] = True
        self.following = following
        self.begin = ids == FIRST

    def allowed(self, tokens: Tensor) -> Tensor:
        """bool [B, V]."""
        code, device = self.code, tokens.device
        place = (tokens.shape[1] - 1) % (code.voices + 1)  # tokens of the step so far
        if tokens.shape[1] == 1:
            return self.begin.to(device).expand(len(tokens), -1)
        if place == 0:
            return self.following.to(device)[tokens[:, -code.voices - 1]] | self._over(tokens)
        out = self.sounding.to(device).repeat(len(tokens), 1)
        back = code.voices + 1
        if code.struck and tokens.shape[1] > back:
            before = tokens[:, -back]
            again = before + torch.where(before <= code.rest + code.pitches, code.pitches, 0)
            rows = torch.nonzero(before > code.rest)[:, 0]
            out[rows, again[rows]] = True
        return out | self._over(tokens)

    def _over(self, tokens: Tensor) -> Tensor:
        """bool [B, V]: rows that have ended may have anything, it is not used."""
        return ((tokens == EOS) | (tokens[:, -1:] == PAD)).any(1, keepdim=True)

    def finished(self, tokens: Tensor) -> Tensor | None:
        return None
