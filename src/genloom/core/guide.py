"""What steers a sequence while it is generated: a grammar that keeps it valid, a text at which it stops."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor


class Guide(Protocol):
    """Asked before and after every token. tokens [B, t] int64: everything so far, bos and prompt included."""

    def allowed(self, tokens: Tensor) -> Tensor | None:
        """bool [B, V]: what may come next; at least one token of each row. None: anything."""
        ...

    def finished(self, tokens: Tensor) -> Tensor | None:
        """bool [B]: rows that end here. None: none of them."""
        ...


class Step(NamedTuple):
    """One more token of every row. tokens [B] int64 (pad in rows that have ended); logp [B] float32: log-probability in
    nats under the model itself, before temperature and filters (0 in rows that have ended)."""

    tokens: Tensor
    logp: Tensor
