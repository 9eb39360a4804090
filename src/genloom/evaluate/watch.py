"""The copying audit as a training can afford it: few samples, in values alone, the data's side measured once."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

from genloom.core.spec import Grid, Tokens
from genloom.data.sequences import Sequences
from genloom.evaluate.audit import not_tested, too_few
from genloom.evaluate.audit_grids import Reference, audit_grids
from genloom.evaluate.audit_sequences import Searched, audit_sequences
from genloom.evaluate.contracts import Data
from genloom.evaluate.grids import as_written
from genloom.evaluate.passages import held_out, tokens_of

SAMPLES, TEXTS = 100, 64  # drawn for one audit
PASSAGE = 200  # tokens of a text drawn
MOST_TRAINING = 20_000  # examples compared with
MOST_SEARCHED = 2_000_000  # training tokens searched
LEAST_TOKENS = 2_000  # of a held-out stream


class Watch:
    """Audits samples of one training against its data, as `evaluate.audit` says, but quickly.

    Grids: distances between values and equality, to at most 20,000 training examples. Sequences: the longest passage
    shared word for word and nearly so with the first 2 million training tokens. What is measured of the data alone is
    measured at the first audit and kept.
    """

    def __init__(self, data: Data) -> None:
        self.data, self.spec = data, data.modality.spec
        self._references: dict[str, Reference] = {}

    @property
    def samples(self) -> int:
        return TEXTS if isinstance(self.spec, Tokens) else SAMPLES

    def problem(self) -> str:
        """Why copying cannot be told of this data, or an empty text."""
        held = len(self.data.validation) + len(self.data.test)
        if not isinstance(self.spec, Tokens) or not self.spec.stream:
            return too_few(self.samples, len(self.data.train), held)
        total = sum(tokens_of(s, self.spec).total for s in (self.data.validation, self.data.test))
        if total < LEAST_TOKENS:
            return f"{total} held-out tokens are too few, at least {LEAST_TOKENS:,} are needed"
        return ""

    def __call__(self, x: Tensor) -> dict[str, Any]:
        """The audit of samples x as the spec says, as JSON."""
        if isinstance(self.spec, Tokens):
            return audit_sequences(x.cpu(), self.data, searched=self._searched)
        if not isinstance(self.spec, Grid):
            return not_tested("this data is neither a grid nor a sequence")
        x = as_written(x.cpu(), self.spec)
        return audit_grids(x, self.data, None, most=MOST_TRAINING, references=self._references)

    @cached_property
    def _searched(self) -> Searched:
        assert isinstance(self.spec, Tokens)
        train = tokens_of(self.data.train, self.spec)
        if train.total > MOST_SEARCHED:
            starts = np.unique(np.minimum(train.starts, MOST_SEARCHED))
            labels = None if train.labels is None else train.labels[: len(starts) - 1]
            train = Sequences(train.spec, train.tokens[:MOST_SEARCHED], starts, labels, list)
        return Searched.of(train, held_out(self.data, self.spec)[0], self.data.modality)
