"""Tunes in ABC notation (https://abcnotation.com/wiki/abc:standard), read by abc2midi.

abc2midi comes with the package symusic; it runs as a program of its own, so that what it says is kept apart.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np

from genloom.core.errors import Unreadable
from genloom.data.midi import DURATION, ONSET, QUARTER, Piece, library, read_midi

MOST_BYTES, SECONDS = 1_000_000, 20
GRID = QUARTER // 24  # ticks: divides thirty-seconds and triplets
_TUNE = re.compile(r"^X:", re.MULTILINE)


def tunes(text: str) -> list[str]:
    """The tunes of a file, each from its X: field on."""
    starts = [m.start() for m in _TUNE.finditer(text)]
    return [text[a:b] for a, b in pairwise([*starts, len(text)])]


def read_abc(raw: bytes) -> Piece:
    """The first tune in ABC notation. Raises Unreadable: no tune, another dialect, without notes."""
    if len(raw) > MOST_BYTES:
        raise Unreadable(f"the ABC file has more than {MOST_BYTES:,} bytes")
    text = raw.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
    found = tunes(text)
    if not found:
        raise Unreadable("it has no tune in ABC notation: each begins with a line X: and a number, as in X:1")
    if not re.search(r"^K:", found[0], re.MULTILINE):
        raise Unreadable("the tune has no key (a line K:, as in K:G), after which ABC notation has its notes")
    program = Path(library().__file__).parent / "bin" / "abc2midi"
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder, "tune.abc"), Path(folder, "tune.mid")
        source.write_text(found[0], encoding="utf-8")
        try:
            said = subprocess.run(
                [program, source, "-o", out], capture_output=True, timeout=SECONDS, cwd=folder, check=False
            ).stdout
        except (OSError, subprocess.TimeoutExpired) as e:
            raise Unreadable(f"abc2midi could not read the tune ({type(e).__name__})") from None
        errors = re.findall(r"Error in line-char [\d-]+ : (.*)", said.decode("utf-8", "replace"))
        if not out.is_file():
            raise Unreadable(f"the tune is in no ABC that abc2midi reads ({'; '.join(errors)[:120] or 'no notes'})")
        bars = len(re.findall(r"\|", found[0]))
        if len(errors) > max(2, bars // 4):
            raise Unreadable(f"the tune is in another dialect of ABC: {len(errors)} errors, first: {errors[0][:100]}")
        return _snapped(read_midi(out.read_bytes()))


def _snapped(piece: Piece) -> Piece:
    """The piece with its times on the grid of the notation: abc2midi begins notes a tick late and ends them early."""
    notes = piece.notes.copy()
    ends = np.rint((notes[:, ONSET] + notes[:, DURATION]) / GRID) * GRID
    notes[:, ONSET] = np.rint(notes[:, ONSET] / GRID) * GRID
    notes[:, DURATION] = np.maximum(GRID, ends - notes[:, ONSET])
    return Piece(notes, piece.programs, piece.tempi, piece.meters)
