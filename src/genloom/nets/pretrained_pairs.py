"""Models of the package transformers that read a source and write a target (T5, BART, Marian), as models of the next
token of the target.

Ids are moved as in nets/pretrained.py; the target begins with the id that the model's decoder starts from, the source
ends with the one that texts end with.

Shapes: `B` batch, `T` tokens, `S` tokens of a source, `V` vocabulary of the spec, `D` width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from genloom.core.batch import Condition
from genloom.nets.pretrained import Pretrained, transformers

PAD, EOS = 0, 1  # of sources, as of all tokens of a pretrained vocabulary


@dataclass
class PairCache:
    """What was read of the sources, and keys and values of the tokens so far, as transformers keeps them."""

    cache: Any
    read: Tensor  # [B, S, D]
    mask: Tensor  # bool [B, S]

    def branch(self, which: Tensor, sources: Tensor | None) -> PairCache:
        """As State.branch; takes the place of this one. Every row keeps a copy of its source, as transformers asks."""
        self.cache.reorder_cache(which)
        self.read, self.mask = self.read[which], self.mask[which]
        return self


@final
class PretrainedPairs(Pretrained):
    """A network of transformers that reads sources, with the interface of nets.sequence.NextToken."""

    @property
    def limit(self) -> int | None:
        """Most tokens of a target; None where places have no number (T5)."""
        most = getattr(self.net.config, "max_position_embeddings", None)
        return int(most) if most and self.net.config.model_type != "t5" else None

    def _read(self, source: Tensor | None, rows: int) -> tuple[Tensor, Tensor]:
        """Sources [B, S] (None: of nothing) as the encoder gives them [B, S, D], and their mask."""
        if source is None:
            source = torch.full((rows, 1), EOS, device=self.inward.device)
        mask = source != PAD
        found: Tensor = self.net.get_encoder()(
            input_ids=self.inward[source], attention_mask=mask.long()
        ).last_hidden_state
        return found, mask

    def begin(self, rows: int, capacity: int, condition: Condition = Condition()) -> PairCache:  # type: ignore[override] # noqa: B008
        package = transformers()
        parts = (package.DynamicCache(config=self.net.config) for _ in range(2))
        return PairCache(package.EncoderDecoderCache(*parts), *self._read(condition.source, rows))

    def forward(
        self,
        x: Tensor,
        condition: Condition | None = None,
        documents: Tensor | None = None,
        state: PairCache | None = None,  # type: ignore[override]
    ) -> Tensor:
        """x [B, T] int64 -> float32 logits [B, T, V] of what follows each token of the target, given the condition's
        sources, or those with which the state began. documents: None, a row is one."""
        source = None if condition is None else condition.source
        read, mask = (state.read, state.mask) if state is not None else self._read(source, len(x))
        kept = {"past_key_values": state.cache} if state is not None else {}
        logits = self.net(
            encoder_outputs=(read,), attention_mask=mask.long(), decoder_input_ids=self.inward[x],
            use_cache=state is not None, **kept,
        ).logits.float()  # fmt: skip
        return logits.index_select(-1, self.outward) + self.penalty
