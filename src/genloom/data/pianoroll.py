"""Music as a picture of its notes: a grid of pitches and sixteenth notes, for models of grids.

Dong et al. 2018, "MuseGAN" and Yang et al. 2017, "MidiNet" generate such rolls. Channel 0 is where a pitch sounds,
channel 1 where it is struck. `H` pitches, `W` steps.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from genloom.core.rng import Rng
from genloom.core.spec import Grid
from genloom.data.midi import DRUMS, DURATION, ONSET, PITCH, Piece
from genloom.data.voices import STEP


@dataclass(frozen=True)
class PianoRoll:
    """The encoding. low: the lowest pitch. program, tempo, meter: of pieces that are decoded."""

    low: int
    pitches: int
    steps: int
    program: int
    tempo: float
    meter: tuple[int, int]
    kind = "roll"

    @classmethod
    def fit(cls, pieces: Iterable[Piece], margin: int, steps: int) -> Self:
        pieces = list(pieces)
        used = np.unique(np.concatenate([p.pitched[:, PITCH] for p in pieces]))
        low, high = max(0, int(used.min()) - margin), min(127, int(used.max()) + margin)
        size = 8 * -(-(high - low + 1) // 8)
        low = max(0, min(low, 128 - size))
        programs = [p for piece in pieces for p in piece.programs if p != DRUMS] or [0]
        tempo = float(np.median([p.tempi[0][1] for p in pieces]))
        meters = [p.meters[0][1:] for p in pieces]
        return cls(low, size, steps, max(set(programs), key=programs.count), tempo, max(set(meters), key=meters.count))

    @property
    def spec(self) -> Grid:
        return Grid((2, self.pitches, self.steps), levels=2)

    def encode(self, piece: Piece) -> Tensor:
        """float32 [2, H, W] of -1 and 1: the first W steps; the lowest pitch last, as in a score."""
        roll = np.full((2, self.pitches, self.steps), -1.0, np.float32)
        notes = piece.pitched
        begins = np.rint(notes[:, ONSET] / STEP).astype(int)
        ends = np.maximum(begins + 1, np.rint((notes[:, ONSET] + notes[:, DURATION]) / STEP).astype(int))
        rows = self.low + self.pitches - 1 - notes[:, PITCH]
        for begin, end, row in zip(begins.tolist(), ends.tolist(), rows.tolist(), strict=True):
            if begin < self.steps and 0 <= row < self.pitches:
                roll[0, row, begin:end] = 1.0
                roll[1, row, begin] = 1.0
        return torch.from_numpy(roll)

    def decode(self, x: Tensor) -> Piece:
        """The piece: a pitch sounds where channel 0 is above 0, and is struck there where it did not sound before or
        channel 1 is above 0."""
        sounds, struck = (x.detach().float().cpu().numpy() > 0)[:2]
        before = np.pad(sounds[:, :-1], ((0, 0), (1, 0)))
        begins = sounds & (struck | ~before)
        notes = []
        for row in np.flatnonzero(sounds.any(1)).tolist():
            edges = np.flatnonzero(begins[row])
            for edge, following in zip(edges, [*edges[1:], self.steps], strict=True):
                silent = np.flatnonzero(~sounds[row, edge:following])
                end = edge + int(silent[0]) if len(silent) else following
                notes.append((STEP * edge, STEP * (end - edge), self.low + self.pitches - 1 - row, 80, 0))
        array = np.array(notes, np.int32).reshape(-1, 5)
        return Piece(array, (self.program,), ((0, self.tempo),), ((0, *self.meter),), STEP * self.steps)

    def transpose(self, x: Tensor, semitones: int, rng: Rng) -> Tensor:
        """Rolls x [B, 2, H, W], each by up to so many semitones, as far as its pitches have rows."""
        used = (x[:, 0] > 0).any(2)
        top = torch.where(used.any(1), used.int().argmax(1), 0)
        bottom = torch.where(used.any(1), used.flip(1).int().argmax(1), 0)
        shift = rng.integers("transpose", 2 * semitones + 1, len(x)).to(x.device) - semitones
        shift = torch.minimum(torch.maximum(shift, -top), bottom)
        return torch.stack([row.roll(s, 1) for row, s in zip(x, shift.tolist(), strict=True)])

    def state(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        return cls(**{**state, "meter": tuple(state["meter"])})
