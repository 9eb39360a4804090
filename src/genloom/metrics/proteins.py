"""Figures of protein sequences: composition, k-mers, repeats, identity to the nearest, and a position-wise profile.

Alignments are Biopython's, with BLOSUM62, 11 to open a gap and 1 to extend it, as BLAST has them.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from genloom.core.modality import OwnFigure

Floats = NDArray[np.float64]

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
NEAREST = 8  # training sequences that share most 3-mers, to which a sequence is aligned
MOST = 400  # sequences of a side that are aligned
LEARNT = 2500  # training sequences of a profile
HOMOLOGOUS = 50.0  # raw score of a local alignment that chance hardly reaches: E-value 0.001 for 150 x 150 residues
REFERENCES, LOOKED_AT, UNEXPLAINED = 48, 300, 0.05  # of the profiles
TRIED = 3  # profiles of which a sequence has the one that tells it best
PSEUDO = 5.0  # residues of the background added to each column of a profile
RUN, COPIES, LEAST_REPEAT = 8, 4, 10  # equal residues in a row; copies and length of a repeat of 2 to 6 residues


@cache
def aligner(mode: Literal["global", "local"]) -> Any:
    """Of two sequences; in the global mode gaps at the ends are free."""
    from Bio.Align import PairwiseAligner, substitution_matrices

    made = PairwiseAligner(
        mode=mode, substitution_matrix=substitution_matrices.load("BLOSUM62"), open_gap_score=-11, extend_gap_score=-1
    )
    if mode == "global":
        made.end_gap_score = 0
    return made


def protein_figures() -> dict[str, OwnFigure]:
    """The figures by name."""
    return {
        "identity": OwnFigure(
            "Identity to the nearest training sequence",
            "Share of a sequence's residues that the most similar training sequence has at the aligned place.",
            "reference", "share of residues", identities, "training",
        ),
        "composition_distance": OwnFigure(
            "Composition distance", "Share of residues that would have to change for the proportions of held-out data.",
            "lower", "share", composition_distance,
        ),
        "kmer_distance_2": OwnFigure(
            "2-mer distance", "Jensen-Shannon divergence of runs of 2 residues from those of held-out data.", "lower",
            "nats", kmer_distance(2),
        ),
        "kmer_distance_3": OwnFigure(
            "3-mer distance", "The same of runs of 3 residues.", "lower", "nats", kmer_distance(3),
        ),
        "repeats": OwnFigure(
            "Unnatural repeats",
            f"Share of sequences with one residue {RUN} times in a row or a short piece {COPIES} times.", "reference",
            "share", repeats,
        ),
        "profile_perplexity": OwnFigure(
            "Perplexity per residue of a profile",
            "Of a position-wise profile of the training families; that of real sequences is what a model must beat.",
            "reference", "residues", profile_perplexity, "training",
        ),
    }  # fmt: skip


# -- counts ------------------------------------------------------------------------------------------------------------


def composition(sequences: Sequence[str]) -> Floats:
    """[20] shares of the residues, X left out; nan without any."""
    counts = Counter("".join(sequences))
    values = np.array([counts[r] for r in RESIDUES], np.float64)
    return values / values.sum() if values.sum() else np.full(len(RESIDUES), np.nan)


def composition_distance(a: Sequence[str], b: Sequence[str]) -> float:
    """Total variation."""
    return float(np.abs(composition(a) - composition(b)).sum() / 2)


def kmers(sequence: str, size: int) -> list[str]:
    return [sequence[i : i + size] for i in range(len(sequence) - size + 1)]


def kmer_distance(size: int) -> Callable[[Sequence[str], Sequence[str]], float]:
    """The Jensen-Shannon divergence of k-mers in nats, 0 to ln 2."""

    def measure(a: Sequence[str], b: Sequence[str]) -> float:
        one, two = (Counter(k for s in side for k in kmers(s, size)) for side in (a, b))
        if not one or not two:
            return float("nan")
        p, q = (np.array([c[k] for k in {*one, *two}], np.float64) for c in (one, two))
        p, q = p / p.sum(), q / q.sum()
        middle = (p + q) / 2
        return float(sum((x[x > 0] * np.log(x[x > 0] / middle[x > 0])).sum() for x in (p, q)) / 2)

    return measure


def repeated(sequence: str) -> bool:
    """Whether one residue stands RUN times in a row, or a piece of 2 to 6 residues COPIES times on end."""
    codes = np.frombuffer(sequence.encode("ascii", "replace"), np.uint8)
    for period in range(1, 7):
        if len(codes) <= period:
            break
        same = np.concatenate([[0], codes[period:] == codes[:-period], [0]]).astype(np.int8)
        edges = np.flatnonzero(np.diff(same))
        longest = int((edges[1::2] - edges[::2]).max(initial=0))
        if longest and longest + period >= (RUN if period == 1 else max(LEAST_REPEAT, COPIES * period)):
            return True
    return False


def repeats(a: Sequence[str], b: Sequence[str]) -> Floats:
    return np.array([float(repeated(s)) for s in a])


# -- the nearest -------------------------------------------------------------------------------------------------------


def identities(a: Sequence[str], training: Sequence[str]) -> Floats:
    """[at most MOST] share of the residues of each that the nearest training sequence has at the aligned place, the
    nearest among those that share most 3-mers."""
    index: dict[str, list[int]] = defaultdict(list)
    known = list(training)
    for i, sequence in enumerate(known):
        for k in set(kmers(sequence, 3)):
            index[k].append(i)
    return np.array([_identity(s, known, index) for s in a[:MOST]])


def _identity(sequence: str, known: Sequence[str], index: dict[str, list[int]]) -> float:
    if not sequence:
        return float("nan")
    shared: Counter[int] = Counter()
    for k in set(kmers(sequence, 3)):
        shared.update(index.get(k, ()))
    return max((equal(sequence, known[i]) for i, _ in shared.most_common(NEAREST)), default=0.0) / len(sequence)


def equal(a: str, b: str) -> int:
    """Residues that a and b have in common when aligned."""
    if a == b:
        return len(a)
    return int(aligner("global").align(a, b)[0].counts().identities)


# -- the profile -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Profiles:
    """Of each family its reference and, for every place of it, the shares of the residues [L, 20] of training
    sequences aligned to it. background [20]: shares for residues that are aligned to no place."""

    references: list[str]
    columns: list[Floats]
    background: Floats

    @classmethod
    def learnt(cls, training: Sequence[str]) -> Profiles:
        """Families and their branches are found: a reference is added while more than a twentieth of the sequences look
        like none. (With 12 references instead of 48 the profile of five diverse families is far too weak.)"""
        step = max(1, -(-len(training) // LEARNT))
        known = [s for s in training[::step] if s]
        background = composition(known)
        references = _references(known[:: max(1, -(-len(known) // LOOKED_AT))])
        counts = [PSEUDO * np.tile(background, (len(r), 1)) for r in references]
        for sequence in known:
            [which] = nearest(sequence, references, 1)
            for place, residue in aligned(references[which], sequence):
                if residue >= 0 and place is not None:
                    counts[which][place, residue] += 1
        return cls(references, [c / c.sum(1, keepdims=True) for c in counts], background)

    def nats(self, sequence: str) -> tuple[float, int]:
        """Of all residues, X left out, and how many those are. Gaps cost nothing."""
        return min(self._nats(sequence, which) for which in nearest(sequence, self.references, TRIED))

    def _nats(self, sequence: str, which: int) -> tuple[float, int]:
        total, n = 0.0, 0
        for place, residue in aligned(self.references[which], sequence):
            if residue >= 0:
                p = self.background if place is None else self.columns[which][place]
                total, n = total - math.log(max(1e-9, float(p[residue]))), n + 1
        return total, n


def profile_perplexity(a: Sequence[str], training: Sequence[str]) -> float:
    """Per residue."""
    profiles = Profiles.learnt(training)
    found = np.array([profiles.nats(s) for s in a[:MOST] if s]).reshape(-1, 2)
    total, n = found.sum(0)
    return math.exp(total / n) if n else float("nan")


def _references(sequences: Sequence[str]) -> list[str]:
    """At least one; the longest of half of those that are like no earlier one."""
    open_, found = list(sequences), list[str]()
    while open_ and len(found) < REFERENCES and (not found or len(open_) > UNEXPLAINED * len(sequences)):
        found.append(sorted(open_, key=len)[(3 * len(open_)) // 4])
        open_ = [s for s in open_ if aligner("local").score(found[-1], s) < HOMOLOGOUS and s != found[-1]]
    return found


def nearest(sequence: str, references: Sequence[str], n: int) -> list[int]:
    """The n references that align best, the best first."""
    scores = [-float(aligner("local").score(r, sequence)) for r in references]
    return sorted(range(len(references)), key=scores.__getitem__)[:n]


def aligned(reference: str, sequence: str) -> list[tuple[int | None, int]]:
    """Of each residue of a sequence its place in the reference (None: an insertion) and its number (-1: X)."""
    places: list[int | None] = [None] * len(sequence)
    if reference and sequence:
        for (a, end), (b, _) in zip(*aligner("global").align(reference, sequence)[0].aligned, strict=True):
            places[b : b + end - a] = range(a, end)
    return [(place, RESIDUES.find(c)) for place, c in zip(places, sequence, strict=True)]
