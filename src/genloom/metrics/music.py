"""What music is like: pitches, intervals, durations, scale, groove, polyphony, repetition. Functions of notes.

Notes are int [N, 5]: onset and duration in ticks (480 to a quarter note), pitch, velocity, track. Sources: Dong et al.
2018, "MuseGAN" (scale consistency, polyphony); Wu & Yang 2020, "The Jazz Transformer" (groove, pitch-class entropy);
Krumhansl & Kessler 1982 (key profiles).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Notes = NDArray[np.int32]
ONSET, DURATION, PITCH, _, TRACK = range(5)
STEP, BAR = 120, 1920  # ticks of a sixteenth and of a bar of four quarters
MAJOR = (0, 2, 4, 5, 7, 9, 11)
_PROFILES = (
    (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
)
KEYS = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")


def total_variation(a: Counter[Hashable], b: Counter[Hashable]) -> float:
    """Half the sum of differences of the shares, 0 (alike) to 1 (nothing in common); nan where one is empty."""
    n, m = a.total(), b.total()
    if not n or not m:
        return float("nan")
    return 0.5 * sum(abs(a[k] / n - b[k] / m) for k in a.keys() | b.keys())


def pitch_classes(notes: Notes) -> Iterable[Hashable]:
    """The pitch class of each note, counted by its sixteenths, from the key's tonic on."""
    tonic = key(notes)[0]
    for pitch, length in zip(notes[:, PITCH].tolist(), lengths(notes).tolist(), strict=True):
        for _ in range(min(length, 16)):
            yield (pitch - tonic) % 12


def lengths(notes: Notes) -> NDArray[np.int64]:
    """[N] durations in sixteenths, at least 1."""
    return np.maximum(1, np.rint(notes[:, DURATION] / STEP)).astype(np.int64)


def durations(notes: Notes) -> Iterable[Hashable]:
    return np.minimum(lengths(notes), 32).tolist()


def melodic_intervals(notes: Notes) -> Iterable[Hashable]:
    """Semitones from each note to the next of its track, of chords from their highest note."""
    for track in np.unique(notes[:, TRACK]):
        own = notes[notes[:, TRACK] == track]
        own = own[np.lexsort((-own[:, PITCH], own[:, ONSET]))]
        line = own[np.concatenate([[True], own[1:, ONSET] != own[:-1, ONSET]])][:, PITCH]
        yield from np.clip(np.diff(line), -24, 24).tolist()


def sounding(notes: Notes) -> list[list[int]]:
    """The pitches that sound at each sixteenth, from low to high."""
    begins = np.rint(notes[:, ONSET] / STEP).astype(int)
    ends = begins + lengths(notes)
    out: list[list[int]] = [[] for _ in range(int(ends.max(initial=0)))]
    for begin, end, pitch in zip(begins.tolist(), ends.tolist(), notes[:, PITCH].tolist(), strict=True):
        for step in range(begin, end):
            out[step].append(pitch)
    return [sorted(s) for s in out]


def harmonic_intervals(notes: Notes) -> Iterable[Hashable]:
    """Semitones, within an octave, between every two pitches that sound together, counted at each sixteenth."""
    for chord in sounding(notes):
        for i, low in enumerate(chord):
            for high in chord[i + 1 :]:
                yield (high - low) % 12


def distance(features: Callable[[Notes], Iterable[Hashable]]) -> Callable[[Sequence[Any], Sequence[Any]], float]:
    """The total variation between what two lists of pieces have."""

    def measure(examples: Sequence[Any], others: Sequence[Any]) -> float:
        a, b = (Counter(f for p in side if len(p.pitched) for f in features(p.pitched)) for side in (examples, others))
        return total_variation(a, b)

    return measure


def key(notes: Notes) -> tuple[int, int]:
    """(tonic, 0 major or 1 minor): the profile that the pitches' durations correlate with most."""
    heard = np.bincount(notes[:, PITCH] % 12, weights=notes[:, DURATION], minlength=12).astype(float)
    if heard.std() == 0:
        return int(heard.argmax()) if heard.any() else 0, 0
    best = max(
        ((float(np.corrcoef(np.roll(profile, tonic), heard)[0, 1]), -tonic, -mode) for mode, profile in
         enumerate(_PROFILES) for tonic in range(12))
    )  # fmt: skip
    return -best[1], -best[2]


def key_name(notes: Notes) -> str:
    """As in "C major", "F# minor"."""
    tonic, mode = key(notes)
    return f"{KEYS[tonic]} {('major', 'minor')[mode]}"


def scale_consistency(notes: Notes) -> float:
    """Largest share of the notes that lie in one major scale (or the natural minor of its notes); nan without notes."""
    if not len(notes):
        return float("nan")
    heard = np.bincount(notes[:, PITCH] % 12, minlength=12)
    return max(float(np.roll(heard, -tonic)[list(MAJOR)].sum() / heard.sum()) for tonic in range(12))


def groove(notes: Notes) -> float:
    """Mean share of the sixteenths of a bar at which it and the next both have an onset or both have none; nan for
    pieces of one bar."""
    steps = np.rint(notes[:, ONSET] / STEP).astype(int)
    bars = int(steps.max(initial=0)) // 16 + 1
    if bars < 2:
        return float("nan")
    pattern = np.zeros(16 * bars, bool)
    pattern[steps] = True
    rows = pattern.reshape(bars, 16)
    return float((rows[1:] == rows[:-1]).mean())


def polyphony(notes: Notes) -> float:
    """Mean number of pitches that sound where any do; nan without notes."""
    counts = [len(s) for s in sounding(notes) if s]
    return float(np.mean(counts)) if counts else float("nan")


def structure(notes: Notes) -> float:
    """Share of the bars whose rhythm and pitches (from the first note on, so transposed too) were there before; nan for
    pieces of one bar."""
    steps = np.rint(notes[:, ONSET] / STEP).astype(int)
    bars: dict[int, list[tuple[int, int]]] = {}
    for step, pitch in sorted(zip(steps.tolist(), notes[:, PITCH].tolist(), strict=True)):
        bars.setdefault(step // 16, []).append((step % 16, pitch))
    shapes = [tuple((s, p - bar[0][1]) for s, p in bar) for _, bar in sorted(bars.items())]
    if len(shapes) < 2:
        return float("nan")
    return 1 - len(set(shapes)) / len(shapes)


def each(value: Callable[[Notes], float]) -> Callable[[Sequence[Any], Sequence[Any]], NDArray[np.float64]]:
    """A value of every example alone; those that have none are left out."""

    def measure(examples: Sequence[Any], others: Sequence[Any]) -> NDArray[np.float64]:
        values = np.array([value(p.pitched) if len(p.pitched) else float("nan") for p in examples])
        out: NDArray[np.float64] = values[~np.isnan(values)]
        return out

    return measure
