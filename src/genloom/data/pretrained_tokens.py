"""The tokenizer of a pretrained model as a vocabulary: its ids, moved by FIRST to leave room for pad, eos and bos.

Signs of its own such as <|endoftext|> are never made from text: a text that looks like one stays text.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar

from genloom.data.vocabulary import FIRST, BytePairs, Ids


class PretrainedTokens(BytePairs):
    """Tokens of any model of the package tokenizers. serialised: its tokenizer.json, with ids from 0."""

    kind: ClassVar[str] = "pretrained"

    def __init__(self, serialised: str) -> None:
        super().__init__(serialised)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True
        self._size = FIRST + 1 + max(self._tokenizer.get_vocab(with_added_tokens=True).values())

    @property
    def size(self) -> int:
        return self._size

    def encode(self, text: str) -> Ids:
        return super().encode(text) + FIRST

    def decode(self, ids: Ids) -> str:
        return str(self._tokenizer.decode((ids[ids >= FIRST] - FIRST).tolist(), skip_special_tokens=True))

    def keeps(self, text: str) -> bool:
        """Whether a text comes back as it was."""
        return self.decode(self.encode(text)) == text

    @classmethod
    def from_state(cls, state: Any) -> PretrainedTokens:
        return cls(json.dumps(state, ensure_ascii=False))
