"""Chorales of Bach in four voices on sixteenths: nats per step of the test split, harmonising, copying.

Trains a recipe on the training split. The figures are counted here, on arrays of pitches [steps, voices], and share no
code with genloom's: nats per step (all that the model predicts: notes, marks of the bar, the end) beside uniform,
bigram and Markov models; the sopranos of the test pieces harmonised, beside the pieces themselves; the longest run of
notes that stands in a training piece; the share of MIDI files that symusic reads as four voices.

    python benchmarks/chorales.py Jsb16thSeparated.json --clock cpu --out benchmarks/results/chorales.json
"""

from __future__ import annotations

import itertools
import json
import math
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from records import begun, command, machine, publish, trained, training_options

Piece = NDArray[np.int64]  # [S, 4] pitches from the soprano to the bass, below 1: silent
Context = Callable[[list[list[int]], int, int], list[Hashable]]
VALUES = 47  # pitches 36 to 81, and silence
SCALE = (0, 2, 4, 5, 7, 9, 11)
DISCOUNT = 2.0  # pseudo-counts of the shorter context, for each value seen after the longer one; best on validation


def read(path: Path) -> dict[str, list[Piece]]:
    return {split: [np.array(p) for p in pieces] for split, pieces in json.loads(path.read_bytes()).items()}


# -- reference models -------------------------------------------------------------------------------------------------


def bigram(piece: list[list[int]], t: int, voice: int) -> list[Hashable]:
    """What a note depends on, from short to long: the same voice before."""
    return [(voice,), (voice, piece[t - 1][voice] if t else None)]


def markov(piece: list[list[int]], t: int, voice: int) -> list[Hashable]:
    """The same voice before, the place in the beat, the voice above now and before."""
    own = piece[t - 1][voice] if t else None
    above = piece[t][voice - 1] if voice else None
    before = piece[t - 1][voice - 1] if voice and t else None
    place = (voice, own, t % 4)
    return [(voice,), place[:2], place, (*place, above), (*place, above, before)]


def counted(context: Context, train: Sequence[Piece], test: Sequence[Piece]) -> float:
    """Nats per step of `test` under counts of `train`, each context smoothed by the next shorter one (Witten & Bell
    1991)."""
    counts: dict[Hashable, Counter[int]] = defaultdict(Counter)
    for piece in map(np.ndarray.tolist, train):
        for t, voice in itertools.product(range(len(piece)), range(4)):
            for c in context(piece, t, voice):
                counts[c][piece[t][voice]] += 1
    total = 0.0
    for piece in map(np.ndarray.tolist, test):
        for t, voice in itertools.product(range(len(piece)), range(4)):
            p = 1 / VALUES
            for seen in filter(None, (counts.get(c) for c in context(piece, t, voice))):
                mass = DISCOUNT * len(seen)
                p = (seen[piece[t][voice]] + mass * p) / (seen.total() + mass)
            total -= math.log(p)
    return total / sum(map(len, test))


# -- what pieces are like ---------------------------------------------------------------------------------------------


def notes(piece: Piece) -> list[tuple[int, int, int, int]]:
    """(onset, voice, pitch, steps) in that order, a note for each run of equal pitches."""
    out = []
    for voice in range(piece.shape[1]):
        at = 0
        for pitch, run in itertools.groupby(piece[:, voice].tolist()):
            length = len(list(run))
            if pitch > 0:
                out.append((at, voice, pitch, length))
            at += length
    return sorted(out)


def scale_consistency(piece: Piece) -> float:
    """Share of the notes in the major scale that holds most of them."""
    heard = Counter(pitch % 12 for _, _, pitch, _ in notes(piece))
    return max(sum(heard[(t + s) % 12] for s in SCALE) for t in range(12)) / heard.total()


def intervals(pieces: Iterable[Piece]) -> Counter[int]:
    """Semitones between every two voices at every step, from the upper to the lower one (below 0 where they cross)."""
    out: Counter[int] = Counter()
    for piece in pieces:
        for a, b in itertools.combinations(range(piece.shape[1]), 2):
            both = (piece[:, a] > 0) & (piece[:, b] > 0)
            out.update((piece[both, a] - piece[both, b]).tolist())
    return out


def variation(a: Counter[int], b: Counter[int]) -> float:
    """Total variation between two distributions."""
    return 0.5 * sum(abs(a[k] / a.total() - b[k] / b.total()) for k in a.keys() | b.keys())


def beside(pieces: Sequence[Piece], test: Sequence[Piece]) -> dict[str, float]:
    scale = statistics.mean(map(scale_consistency, pieces))
    return {
        "scale_consistency": round(scale, 4),
        "scale_difference": round(abs(scale - statistics.mean(map(scale_consistency, test))), 4),
        "harmonic_distance": round(variation(intervals(pieces), intervals(test)), 4),
    }


class Copying:
    """The longest runs of notes on end (pitches in the order of onsets) that also stand in a training piece; in any key
    when `keys` is set: runs of the steps between them, with the lengths of the notes."""

    def __init__(self, train: Sequence[Piece], keys: bool) -> None:
        self.keys = keys
        self.train = [self.line(p) for p in train]
        self.grams: dict[int, set[tuple[Hashable, ...]]] = {}

    def line(self, piece: Piece) -> list[Hashable]:
        found = notes(piece)
        if not self.keys:
            return [n[2] for n in found]
        return [(b[2] - a[2], b[3]) for a, b in itertools.pairwise(found)]

    def run(self, piece: Piece) -> int:
        line = self.line(piece)
        low, high = 0, len(line)
        while low < high:  # a run of n holds one of n - 1
            n = (low + high + 1) // 2
            if n not in self.grams:
                self.grams[n] = {g for known in self.train for g in windows(known, n)}
            low, high = (n, high) if self.grams[n] & set(windows(line, n)) else (low, n - 1)
        return low + (low > 0 and self.keys)

    def of(self, pieces: Sequence[Piece]) -> dict[str, float]:
        runs = [self.run(p) for p in pieces]
        return {"longest": max(runs), "median": statistics.median(runs)}


def windows(line: list[Hashable], n: int) -> Iterable[tuple[Hashable, ...]]:
    return (tuple(line[i : i + n]) for i in range(len(line) - n + 1))


# -- the model --------------------------------------------------------------------------------------------------------


def nats(run: Any, pieces: Sequence[Piece]) -> dict[str, Any]:
    """Nats per step. A piece's tokens are a mark of the bar and four voices a step, then the end."""
    voices, marks, ends, each = np.zeros(4), 0.0, 0.0, []
    for piece in pieces:
        own = run.surprise(piece.tolist()).astype(np.float64)
        assert len(own) == 5 * len(piece) + 1, "tokens are not five a step"
        rows = own[:-1].reshape(-1, 5)
        voices, marks, ends = voices + rows[:, 1:].sum(0), marks + rows[:, 0].sum(), ends + own[-1]
        each.append((own.sum(), len(piece)))
    steps = sum(n for _, n in each)
    means = np.array([total / n for total, n in each])
    return {
        "nats_per_step": round(sum(t for t, _ in each) / steps, 4),
        "of_notes": round(float(voices.sum()) / steps, 4),
        "of_voices": (voices / steps).round(4).tolist(),
        "of_marks_of_the_bar": round(float(marks) / steps, 5),
        "of_the_end": round(float(ends) / steps, 5),
        "mean_of_pieces": round(float(means.mean()), 4),
        "error": round(float(means.std(ddof=1)) / len(means) ** 0.5, 4),
        "steps": steps,
    }


def from_midi(path: Path) -> Piece | None:
    """A MIDI file on sixteenths, by symusic; None where it is not one of four voices or less with notes."""
    import symusic

    try:
        score = symusic.Score(str(path))
    except Exception:
        return None
    step = score.ticks_per_quarter // 4
    end = max((n.end for t in score.tracks for n in t.notes), default=0)
    if not end or len(score.tracks) > 4:
        return None
    piece = np.zeros((-(-end // step), len(score.tracks)), np.int64)
    for voice, track in enumerate(score.tracks):
        for n in track.notes:
            if n.start % step or n.duration % step or piece[n.start // step : n.end // step, voice].any():
                return None
            piece[n.start // step : n.end // step, voice] = n.pitch
    return piece


def written(run: Any, examples: Sequence[Any], folder: Path) -> list[Piece | None]:
    names = [str(i) for i in range(len(examples))]
    paths = run.modality.write(examples, folder, names)
    return [from_midi(p) for p in paths if p.suffix == ".mid"]


def main() -> None:
    parser = training_options(__doc__, "chorales")
    parser.add_argument("data", type=Path, help="Jsb16thSeparated.json")
    parser.add_argument("--samples", type=int, default=77, help="pieces to sample")
    parser.add_argument("--limit", type=int, help="test pieces to harmonise, fewer for a quick look")
    parser.add_argument("--temperature", type=float, default=1.0, help="of harmonising and sampling")
    given = begun(parser)
    run = trained(given, given.data)
    run.modality.config = run.modality.config.model_copy(update={"sound": False, "picture": False})
    pieces = read(given.data)
    test, valid, train = pieces["test"], pieces["valid"], pieces["train"]
    options = {"temperature": given.temperature}
    with tempfile.TemporaryDirectory() as kept:
        begin = time.perf_counter()
        harmonised = written(
            run,
            [
                run.complete(p.tolist(), "1", seed=given.seed + i, options=options)[0]
                for i, p in enumerate(test[: given.limit])
            ],
            Path(kept) / "harmonised",
        )  # fmt: skip
        seconds = time.perf_counter() - begin
        sampled = written(run, run.sample(given.samples, seed=given.seed, options=options), Path(kept) / "sampled")
    own = [p for p in harmonised if p is not None]
    free = [p for p in sampled if p is not None]
    sopranos = [
        p is not None and np.array_equal(p[: len(t), 0], np.maximum(t[: len(p), 0], 0))
        for p, t in zip(harmonised, test, strict=False)
    ]
    absolute, relative = Copying(train, keys=False), Copying(train, keys=True)
    losses = [r for r in map(json.loads, run.folder.history.read_text().splitlines()) if "validation" in r["logs"]]
    result: dict[str, Any] = {
        "command": command("chorales.py", sys.argv[1:]), **machine("symusic"),
        "precision": run.manifest["precision"], "seed": given.seed, "clock": given.clock,
        "temperature": given.temperature,
        "parameters": run.manifest["parameters"], "steps": run.manifest["steps"],
        "train_seconds": run.manifest["seconds"],
        "nats_of_a_validation_token": [round(r["logs"]["validation"], 4) for r in losses],
        "test": nats(run, test),
        "valid": nats(run, valid),
        "references": {
            "uniform": round(4 * math.log(VALUES), 2),
            "bigram": round(counted(bigram, train, test), 3),
            "markov": round(counted(markov, train, test), 3),
        },
        "beside_test": {
            "validation split": beside(valid, test), "training split": beside(train, test),
            "harmonised": beside(own, test), "sampled": beside(free, test),
        },
        "copied_notes": {
            name: {"as_is": absolute.of(of), "in_any_key": relative.of(of)}
            for name, of in (("test split", test), ("harmonised", own), ("sampled", free))
        },
        "decoded": {"harmonised": [len(own), len(harmonised)], "sampled": [len(free), len(sampled)]},
        "sopranos_kept": [sum(sopranos), len(sopranos)],
        "seconds_to_harmonise_one": round(seconds / len(harmonised), 2),
        "steps_of_a_sample": statistics.median(map(len, free)) if free else None,
    }  # fmt: skip
    publish(given, result)


if __name__ == "__main__":
    main()
