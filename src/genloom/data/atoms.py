"""SMILES as tokens: atoms, bonds, branches and rings, and pieces of several of them; what may follow what.

Weininger 1988 (SMILES); Sennrich et al. 2016 (byte pairs), of SMILES Li and Fourches 2021. Needs no RDKit.

Shapes: `B` rows, `t` tokens so far, `V` vocabulary, `R` ring numbers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genloom.core.errors import InputError
from genloom.data.vocabulary import FIRST

TOKEN = re.compile(r"\[[^\[\]]*\]|Br|Cl|%\d\d|%\(\d+\)|.", re.DOTALL)
AROMATIC = re.compile(r"[bcnops]|\[\d*[a-z]")  # a token of an atom in an aromatic ring
UNKNOWN = "\N{REPLACEMENT CHARACTER}"  # as a token; part of no SMILES, so that what holds it is invalid
DEEPEST = 6  # depth of branches that is told apart
LEAST = 100  # times that tokens stand side by side in the training molecules before they become one
LETTER = 0xE000  # a letter for each token, of those for private use: what byte pairs are learnt of

Ids = NDArray[np.int64]


class Atoms:
    """Every token of the training SMILES (as `marked` has them) or SELFIES, and pieces of several tokens.

    merges: pairs of numbers, of tokens and then of pieces in the order in which they were merged.
    """

    def __init__(self, tokens: Iterable[str], merges: Iterable[Sequence[int]] = ()) -> None:
        self.tokens = tuple(tokens)
        self.merges = tuple((a, b) for a, b in merges)
        self.unk = FIRST
        self._ids = {t: i for i, t in enumerate(self.tokens)}
        self._texts = {chr(LETTER + i): i for i in range(len(self.tokens))}  # each piece as letters
        for a, b in self.merges:
            every = list(self._texts)
            self._texts.setdefault(every[a] + every[b], len(every))
        self.pieces = [tuple(self.tokens[ord(c) - LETTER] for c in text) for text in self._texts]

    @classmethod
    def learnt(cls, molecules: Sequence[Sequence[str]], size: int) -> Self:
        """Every token of the molecules, and pieces until there are `size` of both together; 0: tokens alone. Raises
        InputError for a missing package."""
        tokens = sorted({t for m in molecules for t in m})
        alone = cls(tokens)
        if size <= len(tokens):
            return alone
        made = _tokenizers()
        learner = made.Tokenizer(made.models.BPE())
        trainer = made.trainers.BpeTrainer(
            vocab_size=size, min_frequency=LEAST, initial_alphabet=list(alone._texts), special_tokens=[],
            show_progress=False,
        )  # fmt: skip
        learner.train_from_iterator((alone._letters(m) for m in molecules), trainer)
        place, merges = dict(alone._texts), list[tuple[int, int]]()
        for a, b in json.loads(learner.to_str())["model"]["merges"]:
            merges.append((place[a], place[b]))
            place.setdefault(a + b, len(place))
        return cls(tokens, merges)

    @property
    def size(self) -> int:
        return FIRST + 1 + len(self.pieces)

    def _letters(self, tokens: Iterable[str]) -> str:
        return "".join(chr(LETTER + self._ids[t]) for t in tokens)

    @cached_property
    def _merging(self) -> Any:
        made, every = _tokenizers(), list(self._texts)
        return made.Tokenizer(made.models.BPE(self._texts, [(every[a], every[b]) for a, b in self.merges]))

    def encode(self, tokens: Iterable[str]) -> Ids:
        """int64 [T] of the pieces; unk for a token that is not known."""
        out, known = list[int](), list[str]()
        for token in [*tokens, ""]:
            if token in self._ids:
                known.append(token)
                continue
            letters = self._letters(known)
            found = self._merging.encode(letters).ids if self.merges else [self._texts[c] for c in letters]
            out += [FIRST + 1 + i for i in found] + ([self.unk] if token else [])
            known = []
        return np.array(out, dtype=np.int64)

    def decode(self, ids: Ids) -> list[str]:
        """Tokens without marks; UNKNOWN for one that is not known."""
        found = [self.pieces[i - FIRST - 1] if i > FIRST else (UNKNOWN,) for i in ids.tolist() if i >= FIRST]
        return [plain(t) for piece in found for t in piece]

    def unknown(self, tokens: Iterable[str]) -> list[str]:
        """Those that it does not hold, each once, in order."""
        return [plain(t) for t in dict.fromkeys(tokens) if t not in self._ids]


def _tokenizers() -> Any:
    try:
        import tokenizers
    except ModuleNotFoundError:
        raise InputError("pieces of molecules (modality.pieces) need: pip install 'genloom[molecule]'") from None
    return tokenizers


def tokenize(smiles: str) -> list[str]:
    """The tokens of a SMILES; together exactly the text, whatever it is."""
    return TOKEN.findall(smiles)


def marked(tokens: Sequence[str]) -> list[str]:
    """Tokens with marks: a branch is numbered by its depth, and a ring's second number told from its first. In SMILES
    both ends of a ring read alike and every branch ends alike, so that a model has to count; marked it need not.

    Causal, so that a beginning has the marks of the whole. What is closed that was never opened was so before.
    """
    out, opened = list[str](), set[str]()
    steps = [(t == "(") - (t == ")") for t in tokens]
    depth = -min(accumulate(steps, initial=0))
    for token, step in zip(tokens, steps, strict=True):
        depth += step > 0
        if step:
            out.append(f"{token}{min(depth, DEEPEST)}")
        elif is_ring(token):
            out.append(token + "'" if token in opened else token)
            opened ^= {token}
        else:
            out.append(token)
        depth -= step < 0
    return out


def plain(token: str) -> str:
    """A token of `marked` as it is written."""
    if token[0] in "()":
        return token[0]
    return token.removesuffix("'") if is_ring(token) else token


def is_ring(token: str) -> bool:
    return token[0].isdigit() or token[0] == "%"


# -- grammar ---------------------------------------------------------------------------------------------------

_KINDS = ("start", "atom", "bond", "open", "close", "ring", "dot", "end", "never")
_FOLLOWS = {
    "start": "atom",
    "atom": "atom bond open close ring dot end",
    "bond": "atom ring",
    "open": "atom bond",
    "close": "atom bond open close dot end",
    "ring": "atom bond open close ring dot end",
    "dot": "atom",
}


def _kind(token: str) -> str:
    if token[0] in "().":
        return {"(": "open", ")": "close", ".": "dot"}[token[0]]
    if is_ring(token):
        return "ring"
    return "bond" if token in ("-", "=", "#", ":", "$", "/", "\\", "~") else "atom"


class Balanced:
    """A guide that keeps SMILES well formed: every branch and ring that is opened is closed before the end, and bonds
    and rings stand where they may. Valences and aromaticity are left to the model."""

    def __init__(self, vocabulary: Atoms, bos: int, eos: int) -> None:
        self.eos, self.size = eos, vocabulary.size
        rings = {t: i for i, t in enumerate(t for t in vocabulary.tokens if is_ring(t) and plain(t) == t)}
        first, last = ([_KINDS.index("never")] * self.size for _ in range(2))
        first[eos], last[bos] = _KINDS.index("end"), _KINDS.index("start")
        self.needs = torch.full((self.size,), -1)  # depth at which a piece can stand; -1: any
        self.deeper = torch.zeros(self.size, dtype=torch.long)
        self.opens = torch.zeros(self.size, len(rings), dtype=torch.long)  # 1, or -1 where it closes the ring
        self.before = torch.full((self.size, len(rings)), -1)  # whether a ring must be open; -1: either
        self.ends, self.begins = torch.full((self.size,), -1), torch.full((self.size,), -2)  # rings it opens, closes
        for i, piece in enumerate(vocabulary.pieces, self.size - len(vocabulary.pieces)):
            first[i], last[i] = (_KINDS.index(_kind(t)) for t in (piece[0], piece[-1]))
            for token in piece:
                step = (token[0] == "(") - (token[0] == ")")
                if step:
                    if self.needs[i] < 0:
                        self.needs[i] = int(token[1:]) - (step > 0)
                    self.deeper[i] += step
                elif is_ring(token):
                    ring, closes = rings[plain(token)], token != plain(token)
                    if self.before[i, ring] < 0:
                        self.before[i, ring] = int(closes)
                    self.opens[i, ring] += -1 if closes else 1
            self.ends[i] = rings.get(piece[-1], -1)
            self.begins[i] = rings[plain(piece[0])] if piece[0] != plain(piece[0]) and is_ring(piece[0]) else -2
        follows = torch.zeros(len(_KINDS), len(_KINDS), dtype=torch.bool)
        for name, after in _FOLLOWS.items():
            follows[_KINDS.index(name), [_KINDS.index(k) for k in after.split()]] = True
        self.follows = follows[torch.tensor(last)][:, torch.tensor(first)]  # [V, V] of neighbours

    def allowed(self, tokens: Tensor) -> Tensor:
        """bool [B, V] after tokens [B, t]."""
        x = tokens.cpu()
        depth, rings = self.deeper[x].sum(1)[:, None], self.opens[x].sum(1)[:, None]  # [B, 1], [B, 1, R]
        last = x[:, -1]
        out = self.follows[last] & (self.ends[last][:, None] != self.begins)  # a ring of one atom is none
        out &= (self.needs < 0) | (self.needs == depth) | ((self.needs >= DEEPEST - 1) & (depth > self.needs))
        out &= ((self.before < 0) | (self.before == rings)).all(2)
        out[:, self.eos] &= (depth[:, 0] == 0) & (rings == 0).all(2)[:, 0]
        return out.to(tokens.device)

    def finished(self, tokens: Tensor) -> None:
        return None
