"""The loss on held-out examples during training: shown, the best weights kept, and a reason to stop."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from genloom.core.batch import Batch
from genloom.core.family import Family, HasLikelihood
from genloom.core.feed import Examples, Stream
from genloom.core.rng import Rng

MOST_TOKENS, MOST_EXAMPLES, ROWS = 16_384, 512, 64


@dataclass
class Verdicts:
    """What was seen so far; saved in checkpoints. best: lowest loss. worse: measurements since then. done: how many."""

    best: float = math.inf
    worse: int = 0
    done: int = 0


class Holdout:
    """Mean negative log-likelihood of the same held-out examples at `times` evenly spaced points of the training.

    patience: measurements without a new best after which `enough` says so; 0: never. The averaged weights of the best
    measurement are kept where patience is set.
    """

    def __init__(self, examples: Examples, times: int, patience: int) -> None:
        self.examples, self.times, self.patience = examples, times, patience
        self.verdicts = Verdicts()
        self.weights: dict[str, Tensor] = {}

    def due(self, fraction: float) -> bool:
        return fraction * self.times >= self.verdicts.done + 1

    @property
    def enough(self) -> bool:
        return 0 < self.patience <= self.verdicts.worse

    @torch.no_grad()
    def keep_best(self, family: Family) -> bool:
        """Put the best weights in place where the last ones did worse; whether it did."""
        if not self.weights or not self.verdicts.worse:
            return False
        for name, p in family.named_parameters():
            if name in self.weights:
                p.copy_(self.weights[name])
        return True

    @torch.no_grad()
    def measure(self, family: Family, device: torch.device) -> float:
        """Nats per token (windows of the family's own) or per example; remembers it and, if best, the weights."""
        assert isinstance(family, HasLikelihood)
        total, count = 0.0, 0
        for batch, n in self._batches(family):
            total += float(family.nll(batch.to(device), Rng(0, device=device)).sum())
            count += n
        loss, seen = total / max(1, count), self.verdicts
        seen.done += 1
        if loss < seen.best:
            seen.best, seen.worse = loss, 0
            if self.patience:
                self.weights = {n: p.detach().clone() for n, p in family.named_parameters() if p.requires_grad}
        else:
            seen.worse += 1
        return loss

    def _batches(self, family: Family) -> Iterator[tuple[Batch, int]]:
        """(batch, tokens or examples predicted in it)."""
        window = family.window()
        if window is None or not isinstance(self.examples, Stream):
            for batch in self.examples.batches(ROWS, MOST_EXAMPLES):
                yield batch, len(batch)
            return
        rows = max(1, min(self.examples.total - 1, MOST_TOKENS) // window.length)
        starts = np.linspace(0, max(0, self.examples.total - 1 - window.length), rows).astype(np.int64)
        for i in range(0, rows, ROWS):
            rows_now = self.examples.windows(starts[i : i + ROWS], window.length + 1)
            yield rows_now, len(rows_now) * min(window.length, self.examples.total - 1)
