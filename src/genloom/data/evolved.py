"""Made-up protein families: random ancestors whose descendants lose, gain and exchange residues along a tree."""

from __future__ import annotations

import numpy as np

from genloom.data.fasta import RESIDUES

# Shares of the residues in natural proteins, in percent, in the order of RESIDUES (Swiss-Prot, rounded).
SHARES = (8.3, 1.4, 5.5, 6.7, 3.9, 7.1, 2.3, 5.9, 5.8, 9.7, 2.4, 4.1, 4.7, 3.9, 5.5, 6.6, 5.4, 6.9, 1.1, 2.9)
GROUPS = ("ILVM", "FWY", "KRH", "DE", "NQST", "AGCP")  # within which most exchanges happen
LENGTHS = {"alpha": 60, "beta": 80, "gamma": 100}
MEMBERS, GENERATIONS = 120, 8


def evolved(seed: int = 0) -> list[tuple[str, int, str]]:
    """(family, number, sequence) of MEMBERS different members of each family. A fifth of the places never changes."""
    rng = np.random.Generator(np.random.PCG64(seed))
    shares = np.array(SHARES) / sum(SHARES)
    out = []
    for family, length in LENGTHS.items():
        ancestor = "M" + "".join(rng.choice(list(RESIDUES), length - 1, p=shares))
        kept = rng.random(length) < 0.2
        living = [(ancestor, kept)]
        for _ in range(GENERATIONS):
            children = [_child(*parent, rng) for parent in living for _ in range(2)]
            order = rng.permutation(len(children))[:MEMBERS]
            living = [children[i] for i in order]
        found = list(dict.fromkeys(sequence for sequence, _ in living))
        while len(found) < MEMBERS:
            found = list(dict.fromkeys([*found, _child(*living[len(found) % len(living)], rng)[0]]))
        out += [(family, k, sequence) for k, sequence in enumerate(found, 1)]
    return out


def _child(sequence: str, kept: np.ndarray, rng: np.random.Generator) -> tuple[str, np.ndarray]:
    residues, fixed = list(sequence), kept.tolist()
    for i in range(len(residues)):
        if not fixed[i] and rng.random() < 0.06:
            alike = next(g for g in GROUPS if residues[i] in g)
            residues[i] = str(rng.choice(list(alike if rng.random() < 0.7 else RESIDUES)))
    if rng.random() < 0.3:  # a short piece is lost, or comes in
        at, size = int(rng.integers(1, len(residues) - 4)), int(rng.integers(1, 4))
        if rng.random() < 0.5 and not any(fixed[at : at + size]):
            del residues[at : at + size], fixed[at : at + size]
        else:
            residues[at:at], fixed[at:at] = [str(c) for c in rng.choice(list(RESIDUES), size)], [False] * size
    return "".join(residues), np.array(fixed)
