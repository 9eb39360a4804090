"""A little language, a modality of its characters, and a bigram model: token sequences from the contract alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from genloom.core.batch import Batch, Condition, ConditionSpec
from genloom.core.config import Settings
from genloom.core.family import Clock, Family, Update
from genloom.core.modality import Fingerprint, Modality
from genloom.core.optim import OptimiserConfig
from genloom.core.rng import Rng
from genloom.core.spec import Tokens
from genloom.data.sequences import Sequences

CHARACTERS = "\n abcdefghijklmnopqrstuvwxyz.春眠不觉晓处闻啼鸟"
FIRST = 3


class Letters(Modality[str]):
    """Characters as tokens; words are units, but every Chinese character is one."""

    Config = Settings
    forms = (Tokens,)
    extensions = frozenset({".txt"})

    def __init__(self, stream: bool, length: int) -> None:
        self.config = Settings()
        self.spec: Tokens = Tokens(length, FIRST + len(CHARACTERS), 0, FIRST if stream else 2, 1, stream)

    @classmethod
    def read(cls, raw: Any, config: Any) -> str:
        return str(raw)

    @classmethod
    def fingerprint(cls, example: str) -> Fingerprint:
        return Fingerprint(example.encode())

    @classmethod
    def fit(cls, config: Any, train: Iterable[str]) -> Self:
        return cls(False, 2 + max(map(len, train)))

    def encode(self, example: str) -> Tensor:
        ids = [FIRST + CHARACTERS.index(c) for c in example]
        return torch.tensor(ids if self.spec.stream else [2, *ids, 1])

    def decode(self, x: Tensor) -> str:
        ids = x.tolist()
        ids = ids[: ids.index(1)] if 1 in ids else ids
        return "".join(CHARACTERS[i - FIRST] for i in ids if i >= FIRST)

    def write(self, examples: Sequence[str], folder: Path, names: Sequence[str]) -> list[Path]:
        raise NotImplementedError

    def show(self, examples: Sequence[str], columns: int | None = None) -> Any:
        return "\n".join(examples)

    def state(self) -> dict[str, Any]:
        return {"stream": self.spec.stream, "length": self.spec.length}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        return cls(**state)

    def prompt(self, text: str) -> list[int]:
        return [FIRST + CHARACTERS.index(c) for c in text]

    def units(self, example: str) -> list[str]:
        return re.findall(r"[a-z]+|[^a-z\s]", example)

    def sizes(self, example: str) -> dict[str, int]:
        return {"character": len(example), "byte": len(example.encode())}


def sentences(n: int, seed: int) -> list[str]:
    """Sentences of a grammar, different ones for different seeds as a rule."""
    draw = np.random.default_rng(seed)
    nouns = ["cat", "dog", "bird", "tree", "river", "stone", "child", "house", "star", "boat"]
    words = ["small", "red", "old", "quiet", "bright", "green", "heavy", "kind"]
    verbs = ["sees", "follows", "finds", "leaves", "loves", "hears"]

    def phrase() -> str:
        chosen = [w for w in draw.permutation(words)[: draw.integers(0, 3)]]
        return " ".join(["the", *chosen, str(draw.choice(nouns))])

    return [f"{phrase()} {draw.choice(verbs)} {phrase()}." for _ in range(n)]


@dataclass(frozen=True)
class Prepared:
    """Prepared data in memory."""

    name: str
    digest: str
    modality: Letters
    condition: ConditionSpec
    train: Sequences
    validation: Sequences
    test: Sequences
    notices: list[str] = field(default_factory=list)


def sequences(modality: Letters, examples: list[str]) -> Sequences:
    rows = [modality.encode(e).numpy() for e in examples]
    starts = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    tokens = np.concatenate([np.zeros(0, dtype=np.uint8), *rows]).astype(np.uint8)
    return Sequences(modality.spec, tokens, starts, None, list)


def documents(train: int = 600, held: int = 300) -> Prepared:
    texts = sentences(train + held, 0)
    modality = Letters(False, 2 + max(map(len, texts)))
    parts = [texts[:train], texts[train : train + held // 3], texts[train + held // 3 :]]
    return Prepared(
        "句子", f"documents-{train}-{held}", modality, ConditionSpec(), *(sequences(modality, p) for p in parts)
    )


def stream(train: int = 700, held: int = 200) -> Prepared:
    text = ["\n".join(sentences(n, seed)) + "\n" for n, seed in ((train, 0), (held // 2, 1), (held // 2, 2))]
    modality = Letters(True, 256)
    return Prepared(
        "книга", f"stream-{train}-{held}", modality, ConditionSpec(), *(sequences(modality, [t]) for t in text)
    )


class Bigram(Family):
    """p(token | token before it), counted; `sharp` below 1 makes it worse than it could be."""

    Config = Settings
    Options = Settings
    accepts = (Tokens,)
    exact, context, stride = True, 8, 4

    def __init__(self, data: Prepared, sharp: float = 1.0) -> None:
        super().__init__()
        self.spec, self.condition, self.data = data.modality.spec, data.condition, data
        v = self.spec.vocab
        counts = torch.full((v, v), 0.01)
        t = torch.from_numpy(data.train.tokens.astype(np.int64))
        counts.index_put_((t[:-1], t[1:]), torch.ones(len(t) - 1), accumulate=True)
        self.log_p = nn.Parameter((sharp * counts.log()).log_softmax(1))
        self.shapes: list[tuple[int, ...]] = []

    def surprise(self, x: Tensor, condition: Condition = Condition()) -> Tensor:  # noqa: B008
        self.shapes.append(tuple(x.shape))
        nats = -self.log_p[x[:, :-1], x[:, 1:]]
        if self.spec.stream:
            return nats
        done = ((x == self.spec.eos).cumsum(1) > 0)[:, :-1] | (x[:, 1:] == self.spec.pad)
        return torch.where(done, 0.0, nats)

    def players(self) -> dict[str, nn.Module]:
        raise NotImplementedError

    def optimisers(self) -> dict[str, OptimiserConfig]:
        raise NotImplementedError

    def updates(self, batch: Batch, clock: Clock, rng: Rng) -> Iterator[Update]:
        raise NotImplementedError

    @torch.no_grad()
    def sample(self, n: int, condition: Condition, rng: Rng, options: Any) -> Tensor:
        generator = torch.Generator().manual_seed(rng.seed)
        x = torch.full((n, 1), self.spec.bos)
        while x.shape[1] < self.spec.length:
            x = torch.cat([x, torch.multinomial(self.log_p[x[:, -1]].exp(), 1, generator=generator)], 1)
        ended = ((x == self.spec.eos).cumsum(1) - (x == self.spec.eos).long()) > 0
        return x if self.spec.stream else torch.where(ended, self.spec.pad, x)


@dataclass
class Generator:
    """What evaluate_samples takes."""

    family: Family

    def sample_tensor(
        self, n: int, *, seed: int = 0, given: object = None, options: object = None
    ) -> tuple[Tensor, None]:
        return self.family.sample(n, Condition(), Rng(seed), None), None
