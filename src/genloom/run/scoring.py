"""How likely a model finds examples, beside one that they are variants of, such as the wild type of a protein.

Meier et al. 2021 (with masked models) and Notin et al. 2022 (with autoregressive ones): the difference of
log-likelihoods ranks the effects of mutations, without any having been measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from genloom.core.batch import Condition
from genloom.core.errors import InputError, Unreadable
from genloom.core.family import HasSurprise
from genloom.core.spec import Tokens
from genloom.data.variants import Variant
from genloom.metrics.ranks import spearman

if TYPE_CHECKING:
    from genloom.run.trained import Run

TOGETHER = 16_384  # tokens at a time


@dataclass(frozen=True)
class Scores:
    """Of N variants that can be read. nats [N]: log-likelihood. wild: the example that differences are from, and its
    log-likelihood. consensus: that it was found, not given. refused: names and reasons of those that cannot be read."""

    variants: list[Variant]
    nats: NDArray[np.float64]
    wild: tuple[str, float] | None
    consensus: bool
    refused: list[tuple[str, str]]

    @property
    def differences(self) -> NDArray[np.float64]:
        """[N] above 0: more likely than the wild type."""
        return self.nats - (self.wild[1] if self.wild else 0.0)

    @property
    def measured(self) -> NDArray[np.float64]:
        return np.array([v.measured for v in self.variants])

    def agreement(self) -> tuple[float, tuple[float, float] | None, int]:
        """Spearman's correlation with what was measured, its interval, and of how many."""
        known = np.isfinite(self.measured)
        return (*spearman(self.differences[known], self.measured[known]), int(known.sum()))


def scored(run: Run, variants: Sequence[Variant], wild: str | None, label: str | int | None = None) -> Scores:
    """The log-likelihood of each variant, given the class `label` if any. wild: the wild type; if none, and where all
    variants are equally long, what most of them have at each place. Raises InputError for a model that tells none."""
    spec, family, modality = run.family.spec, run.family, run.modality
    if not isinstance(family, HasSurprise) or not isinstance(spec, Tokens) or spec.stream:
        raise InputError(f"{run.name} does not tell how likely whole examples are; autoregressive models of them do")
    read, kept, refused = [], [], []
    for v in variants:
        try:
            read.append(modality.encode(type(modality).read(v.raw, modality.config)))
            kept.append(v)
        except (Unreadable, InputError) as e:
            refused.append((v.name, str(e)))
    if not read:
        raise InputError(
            f"none of {len(variants):,} variants can be read; the first is {refused[0][0]}: {refused[0][1]}"
        )
    consensus = wild is None and len(read) > 2 and len({len(x) for x in read}) == 1
    if wild is not None:
        try:
            read.append(modality.encode(type(modality).read(wild, modality.config)))
        except Unreadable as e:
            raise InputError(f"the wild type cannot be read: {e}") from None
    elif consensus:
        read.append(torch.stack(read).mode(0).values)
    nats = _nats(run, read, label)
    found = (modality.decode(read[-1]), float(nats[-1])) if len(read) > len(kept) else None
    return Scores(kept, nats[: len(kept)], found, consensus, refused)


@torch.no_grad()
def _nats(run: Run, rows: Sequence[Tensor], label: str | int | None) -> NDArray[np.float64]:
    """[N] log-likelihood of each row, without properties."""
    family, device = run.family, next(run.family.parameters()).device
    assert isinstance(family, HasSurprise) and isinstance(run.family.spec, Tokens)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    out = np.zeros(len(rows))
    first = 0
    while first < len(rows):
        last = first + 1
        while last < len(rows) and (last + 1 - first) * len(rows[order[last]]) <= TOGETHER:
            last += 1
        part = order[first:last]
        x = pad_sequence([rows[i] for i in part], batch_first=True, padding_value=run.family.spec.pad).to(device)
        labels = None if label is None else run.label_indices(label, len(part), 0)
        given = Condition(label=labels).map(lambda t: t.to(device))
        out[part] = -family.surprise(x, given).double().sum(1).cpu().numpy()
        first = last
    return out
