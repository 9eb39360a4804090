"""Vocabularies: text as whole numbers and back. Contents begin at FIRST (characters keep one id below for the unknown).

char: a character each. byte: UTF-8 bytes. bpe: byte pairs merged by how often they occur (Sennrich et al. 2016), on
bytes, so that every text comes back exactly; by the package tokenizers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from genloom.core.errors import InputError

PAD, EOS, BOS = 0, 1, 2
FIRST = 3
UNKNOWN = "�"
_NAMES = ("⟨pad⟩", "⟨eos⟩", "⟨bos⟩")  # ⟨ is no sign of the alphabet of bytes, so that no text becomes these

Ids = NDArray[np.int64]


class Vocabulary(Protocol):
    """Text to ids from FIRST on (or UNK) and back."""

    kind: ClassVar[str]

    @property
    def size(self) -> int:
        """Ids there are, with the special ones."""
        ...

    def encode(self, text: str) -> Ids:
        """int64 [T] of the contents."""
        ...

    def decode(self, ids: Ids) -> str:
        """The text of contents."""
        ...

    def unknown(self, text: str) -> list[str]:
        """Characters that it does not hold, each once, in order."""
        ...

    def state(self) -> Any:
        """JSON from which `from_state` makes an equal one."""
        ...


def points(text: str) -> NDArray[np.uint32]:
    """[N] the code points."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


class Characters:
    """Every character of the training examples. unk: the id of all others. first: the id of the first character."""

    kind: ClassVar[str] = "char"

    def __init__(self, characters: str, unk: int, first: int | None = None) -> None:
        self.characters, self.unk = characters, unk
        self.first = max(FIRST, unk + 1) if first is None else first

    def grown(self, characters: Iterable[str], stream: bool) -> Characters:
        """With more characters behind those it has, whose ids stay. In a stream, bos may stand for the unknown; where
        documents follow a stream, U+FFFD does."""
        new = "".join(sorted(set(characters) - set(self.characters)))
        if stream or self.unk >= FIRST:
            return Characters(self.characters + new, self.unk, self.first)
        known = self.characters + new + ("" if UNKNOWN in self.characters + new else UNKNOWN)
        return Characters(known, self.first + known.index(UNKNOWN), self.first)

    @property
    def size(self) -> int:
        return self.first + len(self.characters)

    @cached_property
    def _table(self) -> NDArray[np.int32]:
        """The id of each code point up to the last known one; unk for that after it."""
        known = points(self.characters)
        table = np.full(int(known.max(initial=0)) + 2, self.unk, np.int32)
        table[known] = np.arange(self.first, self.size)
        return table

    @cached_property
    def _points(self) -> NDArray[np.uint32]:
        """[size] the code point of each id; U+FFFD for those that are no contents."""
        return np.concatenate([np.full(self.first, ord(UNKNOWN), np.uint32), points(self.characters)])

    def encode(self, text: str) -> Ids:
        table = self._table
        return table[np.minimum(points(text), len(table) - 1)].astype(np.int64)

    def decode(self, ids: Ids) -> str:
        return self._points[ids].astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")

    def unknown(self, text: str) -> list[str]:
        return [c for c in dict.fromkeys(text) if c not in self.characters]

    def state(self) -> Any:
        return {"characters": self.characters, "unk": self.unk, "first": self.first}

    @classmethod
    def from_state(cls, state: Any) -> Characters:
        return cls(state["characters"], state["unk"], state.get("first"))


class Bytes:
    """The 256 bytes of UTF-8."""

    kind: ClassVar[str] = "byte"
    size = FIRST + 256

    def encode(self, text: str) -> Ids:
        return np.frombuffer(text.encode(), np.uint8).astype(np.int64) + FIRST

    def decode(self, ids: Ids) -> str:
        return (ids[ids >= FIRST] - FIRST).astype(np.uint8).tobytes().decode("utf-8", "replace")

    def unknown(self, text: str) -> list[str]:
        return []

    def state(self) -> Any:
        return {}

    @classmethod
    def from_state(cls, state: Any) -> Bytes:
        return cls()


class BytePairs:
    """Merged bytes. serialised: the contents of a tokenizer.json, whose ids are those used here."""

    kind: ClassVar[str] = "bpe"

    def __init__(self, serialised: str) -> None:
        tokenizers = _tokenizers()
        self.serialised = serialised
        self._tokenizer = tokenizers.Tokenizer.from_str(serialised)

    @classmethod
    def train(cls, texts: Iterable[str], size: int) -> BytePairs:
        """At most `size` ids, learnt from texts."""
        tokenizers = _tokenizers()
        learner = tokenizers.Tokenizer(tokenizers.models.BPE())
        learner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        learner.decoder = tokenizers.decoders.ByteLevel()
        alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=max(size - FIRST, 256), initial_alphabet=alphabet, special_tokens=[], show_progress=False
        )
        learner.train_from_iterator(texts, trainer)
        return cls(_with_specials(learner.to_str()))

    @property
    def size(self) -> int:
        return int(self._tokenizer.get_vocab_size())

    def encode(self, text: str) -> Ids:
        return np.array(self._tokenizer.encode(text, add_special_tokens=False).ids, dtype=np.int64)

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text."""
        return [len(e.ids) for e in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def scattered(self, text: str) -> list[str]:
        """Characters without a token of their own, which the text it was learnt from hardly had; each once."""
        return [c for c in dict.fromkeys(text) if not c.isascii() and len(self.encode(c)) > 1]

    def decode(self, ids: Ids) -> str:
        return str(self._tokenizer.decode(ids[ids >= FIRST].tolist(), skip_special_tokens=False))

    def unknown(self, text: str) -> list[str]:
        return []

    def state(self) -> Any:
        return json.loads(self.serialised)

    @classmethod
    def from_state(cls, state: Any) -> BytePairs:
        return cls(json.dumps(state, ensure_ascii=False))


KINDS: dict[str, Any] = {c.kind: c for c in (Characters, Bytes, BytePairs)}


def _tokenizers() -> Any:
    try:
        import tokenizers
    except ModuleNotFoundError:
        raise InputError(
            "tokens of several characters (modality.tokenizer=bpe) need: pip install 'genloom[text]'; char and byte "
            "need nothing more"
        ) from None
    return tokenizers


def _with_specials(serialised: str) -> str:
    """The tokenizer with the special ids before the others. They are in its vocabulary only: a text that looks like one
    stays text.
    """
    data = json.loads(serialised)
    vocab = data["model"]["vocab"]
    moved = {token: i + FIRST for token, i in sorted(vocab.items(), key=lambda e: e[1])}
    data["model"]["vocab"] = {**{name: i for i, name in enumerate(_NAMES)}, **moved}
    return json.dumps(data, ensure_ascii=False)


def batched(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    """Lists of `size` texts."""
    part: list[str] = []
    for text in texts:
        part.append(text)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part
