"""Which examples train, which validate, which test: by what they show, so that every machine agrees."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genloom.core.modality import Fingerprint
from genloom.data.items import GivenSplit

TRAIN, VALIDATION, TEST = 0, 1, 2
CODES: dict[GivenSplit, int] = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
ENOUGH = 10  # examples from which validation and test get at least one each

Codes = NDArray[np.int8]


@dataclass(frozen=True)
class Shares:
    """Parts of the free examples to hold out."""

    validation: float
    test: float


def place(exact: bytes) -> float:
    """A number in [0, 1) that depends on the content alone."""
    return int.from_bytes(hashlib.blake2b(exact, digest_size=7).digest(), "big") / 2**56


def assign(
    prints: Sequence[Fingerprint],
    groups: NDArray[np.int64],
    given: Sequence[GivenSplit | None],
    labels: Sequence[str | None],
    shares: Shares,
) -> Codes:
    """[N] TRAIN, VALIDATION or TEST for each example.

    A given split stays as it is, so that published divisions remain comparable; where validation or test is not given,
    it is taken from the training examples. Groups of duplicates stay together. Every label keeps an example to train
    on.
    """
    there = {g for g in given if g is not None}
    wanted = Shares(0.0 if "validation" in there else shares.validation, 0.0 if "test" in there else shares.test)
    out = np.array([CODES[g] if g in ("validation", "test") else TRAIN for g in given], dtype=np.int8)
    members: dict[int, list[int]] = defaultdict(list)
    for i, g in enumerate(groups.tolist()):
        if given[i] in (None, "train"):
            members[g].append(i)
    places = {g: place(min(prints[i].exact for i in group)) for g, group in members.items()}
    side = {g: _side(p, wanted) for g, p in places.items()}
    side.update(dict.fromkeys(_needed(members, labels, places, side), TRAIN))
    _fill(side, members, places, labels, wanted)
    for g, group in members.items():
        out[group] = side[g]
    return out


def same(digests: NDArray[np.uint64]) -> NDArray[np.int64]:
    """[N] a number from 0 on for each different row of the digests [N, 2]."""
    order = np.lexsort((digests[:, 1], digests[:, 0]))
    ranked = digests[order]
    new = np.concatenate([[False], (ranked[1:] != ranked[:-1]).any(1)])
    out = np.empty(len(digests), dtype=np.int64)
    out[order] = np.cumsum(new)
    return out


def assign_exact(
    places: NDArray[np.float64],
    groups: NDArray[np.int64],
    given: Codes,
    labels: NDArray[np.int64],
    shares: Shares,
) -> Codes:
    """[N] as `assign` does where only equal examples are duplicates, for millions of them.

    places: of each example's content, so that those of a group are equal. given: -1 where there is none. labels: whole
    numbers, all 0 without labels.
    """
    wanted = Shares(
        0.0 if (given == VALIDATION).any() else shares.validation, 0.0 if (given == TEST).any() else shares.test
    )
    free = given <= TRAIN
    drawn = np.where(places < wanted.test, TEST, np.where(places < wanted.test + wanted.validation, VALIDATION, TRAIN))
    out = np.where(free, drawn, given).astype(np.int8)
    trained = np.unique(labels[free & (out == TRAIN)])
    for label in np.setdiff1d(labels[free], trained):
        own = np.flatnonzero(free & (labels == label))
        out[free & (groups == groups[own[np.argmax(places[own])]])] = TRAIN
    if int(free.sum()) >= ENOUGH and any(
        share and not (out[free] == code).any()
        for code, share in ((TEST, wanted.test), (VALIDATION, wanted.validation))
    ):
        members: dict[int, list[int]] = defaultdict(list)
        for i in np.flatnonzero(free).tolist():
            members[int(groups[i])].append(i)
        side = {g: int(out[group[0]]) for g, group in members.items()}
        _fill(side, members, {g: float(places[m[0]]) for g, m in members.items()}, [str(v) for v in labels], wanted)
        for g, group in members.items():
            out[group] = side[g]
    return out


def _side(p: float, shares: Shares) -> int:
    if p < shares.test:
        return TEST
    return VALIDATION if p < shares.test + shares.validation else TRAIN


def _needed(
    members: dict[int, list[int]], labels: Sequence[str | None], places: dict[int, float], side: dict[int, int]
) -> set[int]:
    """Groups that must train: of each label that would otherwise have no training example, the one with the highest
    place.
    """
    trained = {labels[i] for g, group in members.items() if side[g] == TRAIN for i in group}
    last: dict[str | None, int] = {}
    for g in sorted(members, key=lambda g: places[g]):
        for i in members[g]:
            last[labels[i]] = g
    return {g for label, g in last.items() if label not in trained}


def _fill(
    side: dict[int, int],
    members: dict[int, list[int]],
    places: dict[int, float],
    labels: Sequence[str | None],
    shares: Shares,
) -> None:
    """Give an empty part of a small set its first example: the smallest group of the lowest place that no label needs
    to train.
    """
    if sum(map(len, members.values())) < ENOUGH:
        return
    for code, share in ((TEST, shares.test), (VALIDATION, shares.validation)):
        if share == 0 or code in side.values():
            continue
        training = [g for g in sorted(members, key=lambda g: (len(members[g]), places[g])) if side[g] == TRAIN]
        left = Counter(labels[i] for g in training for i in members[g])
        for g in training[: len(training) - 1]:
            loss = Counter(labels[i] for i in members[g])
            if all(left[label] > n for label, n in loss.items()):
                side[g] = code
                break


def crossing(groups: NDArray[np.int64], codes: Codes) -> int:
    """Number of held-out examples with a duplicate among the training examples (given splits may have them)."""
    trained = set(groups[codes == TRAIN].tolist())
    return sum(g in trained for g in groups[codes != TRAIN].tolist())


def singles(labels: Sequence[str | None]) -> list[str]:
    """Labels with one example."""
    return sorted(label for label, n in Counter(labels).items() if n == 1 and label is not None)
