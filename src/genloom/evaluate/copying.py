"""What samples repeat of the training data, word for word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from genloom.core.modality import Modality, Sequential
from genloom.data.sequences import Sequences
from genloom.evaluate.evaluation import Passage
from genloom.evaluate.passages import Ints, as_one, contents, decoded
from genloom.metrics.verbatim import Runs, Text

MOST_SEARCHED = 20_000_000  # tokens of more training data the beginning is searched
SHOWN, AROUND = 6, 160  # passages shown, and tokens of what stands around them


@dataclass(frozen=True)
class Training:
    """Training data to be searched. unit: what lengths are told in. examples: how many there are (tokens of a
    stream)."""

    text: Text
    inside: Sequences
    modality: Modality[Any]
    unit: str
    examples: int
    notices: tuple[str, ...]

    @classmethod
    def of(cls, train: Sequences, modality: Modality[Any]) -> Training:
        assert isinstance(modality, Sequential)
        inside = as_one(contents(train))
        notices: tuple[str, ...] = ()
        if inside.total > MOST_SEARCHED:
            notices = (
                f"verbatim runs are searched in the first {MOST_SEARCHED:,} of {inside.total:,} training tokens",
            )
            starts = np.unique(np.minimum(inside.starts, MOST_SEARCHED))
            inside = Sequences(inside.spec, inside.tokens[:MOST_SEARCHED], starts, None, list)
        known = modality.sizes(decoded(inside, modality, 0, 0, 1)) if inside.total else {}
        unit = "characters" if "character" in known else "tokens"
        count = train.total if train.spec.stream else len(train)
        return cls(Text(inside.tokens, inside.spec.vocab, inside.starts), inside, modality, unit, count, notices)

    def longest(self, s: Sequences) -> Ints:
        """[N] length of the longest passage that each example shares with the training data, in characters where the
        modality counts them (of the passage that is longest in tokens)."""
        inside = contents(s)
        return self.lengths(inside, self.text.runs(inside.tokens, inside.starts))

    def lengths(self, inside: Sequences, runs: Runs) -> Ints:
        """[N] lengths of runs of examples without bos and eos."""
        if self.unit == "tokens":
            return runs.length
        assert isinstance(self.modality, Sequential)
        out = np.zeros(len(inside), dtype=np.int64)
        for i in np.flatnonzero(runs.length):
            start = int(runs.start[i])
            shared = decoded(inside, self.modality, int(i), start, start + int(runs.length[i]))
            out[i] = self.modality.sizes(shared)["character"]
        return out


def most_alike(samples: Sequences, training: Training, modality: Modality[Any]) -> tuple[Passage, ...]:
    """The samples with the longest verbatim runs beside the training text, the longest first, no run twice."""
    inside = contents(samples)
    runs = training.text.runs(inside.tokens, inside.starts)
    lengths = training.lengths(inside, runs)
    out: list[Passage] = []
    for i in np.argsort(-lengths, kind="stable").tolist():
        if not lengths[i] or len(out) == SHOWN:
            break
        start, stop = int(runs.start[i]), int(runs.start[i] + runs.length[i])
        place = int(runs.place[i])
        document = int(np.searchsorted(training.inside.starts, place, side="right")) - 1
        first = place - int(training.inside.starts[document])
        last = first + stop - start
        shared = _text(inside, modality, i, start, stop)
        if any(shared == p.run for p in out):
            continue
        around = _around(inside, modality, i, start, stop) + _around(training.inside, modality, document, first, last)
        out.append(Passage(shared, int(lengths[i]), training.unit, *around))
    return tuple(out)


def _around(s: Sequences, modality: Modality[Any], i: int, first: int, last: int) -> tuple[str, str]:
    """What stands before and after tokens first to last of example i."""
    end = min(int(s.lengths[i]), last + AROUND)
    return _text(s, modality, i, max(0, first - AROUND), first), _text(s, modality, i, last, end)


def _text(s: Sequences, modality: Modality[Any], i: int, first: int, last: int) -> str:
    """Tokens first to last of example i to be read: the example itself where it is text, else its units."""
    if first >= last:
        return ""
    example = decoded(s, modality, i, first, last)
    if isinstance(example, str):
        return example
    assert isinstance(modality, Sequential)
    return " ".join(modality.units(example))
