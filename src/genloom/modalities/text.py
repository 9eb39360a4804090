"""Text: lines, documents or one long stream, as Tokens of characters, bytes or byte pairs.

An example is a str. Unicode is kept as it is: no normalisation, no change of newlines.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor

from genloom.core.config import DataConfig, Settings, setting, unknown
from genloom.core.errors import InputError, Unreadable
from genloom.core.files import Finish, as_is, write_atomic
from genloom.core.modality import Fingerprint, Modality, Score
from genloom.core.rng import Rng
from genloom.core.spec import Tokens
from genloom.data import encoding
from genloom.data.augmenting import AugmentConfig, changed_ids
from genloom.data.columns import Asked
from genloom.data.items import Source, listing
from genloom.data.pretrained_tokens import PretrainedTokens
from genloom.data.sources import open_text
from genloom.data.texts import Wishes
from genloom.data.units import is_cjk, units
from genloom.data.vocabulary import (
    BOS,
    EOS,
    FIRST,
    KINDS,
    PAD,
    BytePairs,
    Bytes,
    Characters,
    Vocabulary,
    batched,
    points,
)
from genloom.data.wording import MEASURES, SCORES, likeness
from genloom.metrics.writing import TextInspector

LOOKED_AT, LOOKED_LENGTH = 200, 2000  # texts and their characters on which a foreign tokenizer is tried
STREAM = 1024  # tokens of a sample from a stream, unless asked otherwise
SMALL, DISTINCT = 5_000_000, 500  # characters in all, and different ones, up to which characters are the tokens
CJK_SMALL = 50_000_000  # the same for Chinese and Japanese, of which a character says as much as a word part
LEARNT = 20_000_000  # characters from which byte pairs are learnt and the longest example is counted exactly
VOCABS = ((1_000_000, 1024), (5_000_000, 2048), (20_000_000, 4096), (100_000_000, 8192))  # up to characters: ids
MOST_VOCAB = 16384


class TextConfig(Settings):
    """How text becomes examples and tokens."""

    unit: Literal["auto", "line", "document", "stream"] = setting(
        "auto", "What one example is: a line, a document, or any part of one long text; auto chooses from the data."
    )
    tokenizer: Literal["auto", "char", "byte", "bpe", "pretrained"] = setting(
        "auto",
        "Tokens are characters, bytes, or byte pairs learnt from the training split; auto chooses by size. Pretrained: "
        "those of the model given by --from.",
    )
    vocab: int | None = setting(
        None, "Most tokens that bpe learns; None chooses 1024 to 16384 by size.", unit="tokens", ge=300, le=65536
    )
    title: Literal["none", "first line"] = setting(
        "none", "Whether the first line of each document is a title that the rest follows from."
    )
    source_tokenizer: Literal["shared", "own"] = setting(
        "shared", "Whether sources have the vocabulary of the texts or, as another language wants, their own."
    )
    properties: tuple[str, ...] = setting(
        (), "Numbers measured on each text that samples can be asked for: characters, words, lines."
    )
    augment: AugmentConfig = AugmentConfig()


class Text(Modality[str]):
    """Text as int64 [T]: bos, contents, eos for lines and documents; contents alone for a stream."""

    Config = TextConfig
    forms = (Tokens,)
    shows_text = True
    extensions = frozenset(
        {".txt", ".text", ".md", ".markdown", ".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet"}
    )

    def __init__(self, config: TextConfig, vocabulary: Vocabulary, length: int, notices: tuple[str, ...] = ()) -> None:
        """config: with a unit and a tokenizer. length: tokens of the longest training example with bos and eos."""
        self.config: TextConfig = config
        self.vocabulary, self.notices = vocabulary, notices
        stream = config.unit == "stream"
        bos = BOS
        if stream:
            newline = vocabulary.encode("\n")
            bos = int(newline[0]) if len(newline) == 1 and newline[0] >= FIRST else FIRST
        self.spec: Tokens = Tokens(length, vocabulary.size, PAD, bos, EOS, stream)

    @classmethod
    def open(cls, data: Any, config: Settings, where: DataConfig) -> Source:
        """The source of `data`. Raises InputError."""
        assert isinstance(config, TextConfig)
        columns = Asked(where.column, where.label, where.properties, where.source)
        first_line = config.title == "first line"
        if first_line and where.source is None:
            columns = replace(columns, source="none")
        wishes = Wishes(cls.extensions, config.unit, columns, first_line, where.validation, where.test, where.task)
        return open_text(data, wishes)

    @classmethod
    def read(cls, raw: Any, config: Settings) -> str:
        """Text, or the text in a file's bytes. Raises Unreadable: nothing in it, binary data, an unknown encoding."""
        if not isinstance(raw, str | bytes):
            raise Unreadable(f"not text but {type(raw).__name__}")
        text = encoding.decode(raw) if isinstance(raw, bytes) else str(raw)
        if not text or (getattr(config, "unit", "auto") != "stream" and not text.strip()):
            raise Unreadable("it is empty")
        try:
            text.encode()
        except UnicodeEncodeError as e:
            raise Unreadable(f"character {e.start:,} is {text[e.start]!r}, half of a pair and no character") from None
        return text

    def parts(self, example: str) -> list[str]:
        """The lines of a file that are not empty, where a line is an example."""
        if self.config.unit != "line":
            return [example]
        return [line for line in example.splitlines() if line.strip()]

    @classmethod
    def fingerprint(cls, example: str) -> Fingerprint:
        return Fingerprint(hashlib.blake2b(example.encode(), digest_size=16).digest())

    @classmethod
    def fit_pairs(
        cls,
        config: Settings,
        train: Iterable[str],
        sources: Iterable[str],
        state: Mapping[str, Any] | None = None,
    ) -> tuple[Self, Self]:
        """The texts' modality and that of their sources: one that has learnt from both, or two."""
        assert isinstance(config, TextConfig)
        if state is not None:
            if config.source_tokenizer == "own":
                raise InputError("a training that goes on has one vocabulary for both sides; see source_tokenizer")
            grown = cls.continued(config, _Both(train, sources), state)
            longest = _longest(grown.vocabulary, train, _facts(train))
            both = cls(grown.config, grown.vocabulary, 2 + longest, grown.notices)
            return both, both
        if config.source_tokenizer == "own":
            own = cls.fit(config.model_copy(update={"unit": "document", "properties": ()}), _Both(sources))
            return cls.fit(config, train), own
        both = cls._fitted(config, _Both(train, sources), train)
        return both, both

    @classmethod
    def fit(cls, config: Settings, train: Iterable[str]) -> Self:
        """Choose the tokenizer and learn its vocabulary. `train` may be gone through several times.

        Characters for up to SMALL characters of which DISTINCT differ, and for Chinese and Japanese; else byte pairs.
        """
        assert isinstance(config, TextConfig)
        if iter(train) is train:
            train = list(train)
        return cls._fitted(config, train, train)

    @classmethod
    def _fitted(cls, config: TextConfig, train: Iterable[str], examples: Iterable[str]) -> Self:
        """train: what the vocabulary is learnt from. examples: what the longest length is that of."""
        for name in config.properties:
            if name not in MEASURES:
                raise InputError(unknown(name, MEASURES, "property of text"))
        facts = _facts(train)
        if not facts.characters:
            raise InputError("there is no text to learn a vocabulary from")
        if config.tokenizer == "pretrained":
            raise InputError("modality.tokenizer=pretrained comes with a model: say which by --from")
        unit = "document" if config.unit == "auto" else config.unit
        kind = facts.tokenizer() if config.tokenizer == "auto" else config.tokenizer
        wanted = config.vocab or next((v for most, v in VOCABS if facts.characters <= most), MOST_VOCAB)
        vocabulary = _learn(kind, unit, wanted, train, facts)
        if unit == "stream" and config.properties:
            raise InputError("modality.properties are of lines and documents; one long text has none")
        if examples is not train:
            facts = _facts(examples)
        length = STREAM if unit == "stream" else 2 + _longest(vocabulary, examples, facts)
        chosen = {"unit": unit, "tokenizer": kind, "vocab": wanted if kind == "bpe" else config.vocab}
        notice = _notice(vocabulary) if config.tokenizer == "auto" else ""
        return cls(config.model_copy(update=chosen), vocabulary, length, (notice,) if notice else ())

    @classmethod
    def continued(cls, config: Settings, train: Iterable[str], state: Mapping[str, Any]) -> Self:
        """With the vocabulary of a model that is trained on; characters that it lacks are added behind it."""
        assert isinstance(config, TextConfig)
        old = cls.from_state(dict(state))
        if config.tokenizer not in ("auto", old.config.tokenizer):
            raise InputError(
                f"the model to start from knows the tokens of modality.tokenizer={old.config.tokenizer}, not of "
                f"{config.tokenizer}; leave that setting out"
            )
        facts, unit = _Facts(), "document" if config.unit == "auto" else config.unit
        lossy, looked_at = 0, 0
        for text in train:
            facts.add(text)
            if isinstance(old.vocabulary, PretrainedTokens) and looked_at < LOOKED_AT:
                looked_at, lossy = looked_at + 1, lossy + (not old.vocabulary.keeps(text[:LOOKED_LENGTH]))
        vocabulary, notices = old.vocabulary, []
        if isinstance(vocabulary, Characters):
            new = sorted(facts.distinct - set(vocabulary.characters))
            vocabulary = vocabulary.grown(new, unit == "stream")
            if new:
                shown = listing([repr(c) for c in new])
                notices.append(f"{len(new):,} characters are new to the model and are added to its vocabulary: {shown}")
        if lossy:
            notices.append(
                f"the model's tokenizer does not give {lossy} of {looked_at} texts back exactly (white space or rare "
                "characters): what is scored and written is its version of them"
            )
        length = STREAM if unit == "stream" else 2 + _longest(vocabulary, train, facts)
        chosen = {"unit": unit, "tokenizer": old.config.tokenizer, "vocab": old.config.vocab}
        return cls(config.model_copy(update=chosen), vocabulary, length, tuple(notices))

    @classmethod
    def of_tokenizer(cls, serialised: str) -> Self:
        """With the tokenizer of a pretrained model, the text of its tokenizer.json, as the ground for `continued`."""
        return cls(TextConfig(unit="document", tokenizer="pretrained"), PretrainedTokens(serialised), STREAM)

    def encode(self, example: str) -> Tensor:
        """int64 [T]; characters that the vocabulary lacks become the unknown one."""
        ids = self.vocabulary.encode(example)
        if not self.spec.stream:
            ids = np.concatenate([[BOS], ids, [EOS]])
        return torch.from_numpy(ids)

    def decode(self, x: Tensor) -> str:
        """The text up to the first eos, without pad and bos. Unknown characters are shown as U+FFFD."""
        ids = x.detach().cpu().numpy().astype(np.int64)
        ended = np.flatnonzero(ids == EOS)
        ids = ids[: ended[0]] if len(ended) else ids
        keep = ids != PAD if self.spec.stream else (ids != PAD) & (ids != BOS)
        return self.vocabulary.decode(ids[keep])

    def augment(self, x: Tensor, rng: Rng) -> Tensor:
        """Sources, or whole texts, changed as the settings say; the longest is no longer after."""
        return changed_ids(x, self.config.augment, self.vocabulary, rng)

    def property_names(self) -> tuple[str, ...]:
        return self.config.properties

    def properties(self, example: str) -> dict[str, float]:
        """Code points, words (signs left out; characters of unspaced scripts) and lines that are not blank."""
        return {name: float(MEASURES[name](example)) for name in self.config.properties}

    def scores(self) -> Mapping[str, Score]:
        return SCORES

    def identity(self, example: str) -> str | None:
        return example if example.strip() else None

    def similarity(self, text: str) -> Callable[[str], float]:
        return likeness(text)

    @classmethod
    def inspector(cls, config: Settings) -> TextInspector:
        unit = getattr(config, "unit", "auto")
        return TextInspector(
            units().findall, lambda raw: encoding.detect(raw, whole=True)[0],
            stream=unit == "stream", lines=unit == "line",
        )  # fmt: skip

    @property
    def unknown(self) -> int | None:
        """The id of characters that the vocabulary lacks; None where there are none."""
        return self.vocabulary.unk if isinstance(self.vocabulary, Characters) else None

    def unseen(self, text: str) -> list[str]:
        """Characters that the training text lacked, or hardly had where tokens are byte pairs; each once."""
        if isinstance(self.vocabulary, BytePairs):
            return self.vocabulary.scattered(text)
        return self.vocabulary.unknown(text)

    def prompt(self, text: str) -> list[int]:
        """The contents tokens of a beginning. Raises InputError naming characters that the training text lacks."""
        try:
            text.encode()
        except UnicodeEncodeError as e:
            raise InputError(f"character {e.start} of the prompt is no character: {text[e.start]!r}") from None
        missing = self.vocabulary.unknown(text)
        if missing:
            shown = listing([repr(c) for c in missing])
            raise InputError(f"the model does not know {shown}: the text it was trained on has no such character")
        return [int(i) for i in self.vocabulary.encode(text)]

    def units(self, example: str) -> list[str]:
        """Words and signs; single characters of scripts written without spaces. White space is left out."""
        return units().findall(example)

    def sizes(self, example: str) -> dict[str, int]:
        """Characters (code points) and bytes of UTF-8."""
        return {"character": len(example), "byte": len(example.encode())}

    def write(self, examples: Sequence[str], folder: Path, names: Sequence[str], finish: Finish = as_is) -> list[Path]:
        """UTF-8 files, exactly the text. Raises GenloomError when the disk is full or the folder cannot be written."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{name}.txt" for name in names]
        for path, example in zip(paths, examples, strict=True):
            write_atomic(path, finish(path, example.encode()))
        return paths

    def write_tokenizer(self, path: Path) -> Path | None:
        """The byte pairs as a tokenizer.json that the package tokenizers opens; None for characters and bytes, which
        need none.
        """
        if not isinstance(self.vocabulary, BytePairs):
            return None
        write_atomic(path, self.vocabulary.serialised.encode())
        return path

    def traits(self) -> dict[str, str]:
        """Of documents in Chinese or Japanese characters: whether they are regulated verse."""
        known = getattr(self.vocabulary, "characters", "")
        share = sum(map(is_cjk, known)) / len(known) if known else 0.0
        if self.spec.stream or share < 0.5:
            return {}
        return {
            "regular_verse": "Share whose lines, between signs of punctuation, all have the same number of characters."
        }

    def shows_trait(self, name: str, example: str) -> bool:
        lengths = {len(line) for line in re.split(r"[\W_]+", example) if line}
        return len(lengths) == 1

    def show(self, examples: Sequence[str], columns: int | None = None) -> str:
        """The examples one below the other: a line each, or with a numbered rule above each when they have several.

        A single one is shown as it is.
        """
        if not examples:
            raise InputError("there is no text to show")
        if len(examples) == 1:
            return examples[0] if examples[0].endswith("\n") else examples[0] + "\n"
        texts = [e.strip("\r\n") for e in examples]
        if not any("\n" in t for t in texts):
            return "".join(t + "\n" for t in texts)
        return "\n".join(f"──── {k} ────\n{t}\n" for k, t in enumerate(texts, 1))

    def state(self) -> dict[str, Any]:
        return {
            "config": self.config.model_dump(mode="json"),
            "length": self.spec.length,
            "vocabulary": {"kind": self.vocabulary.kind, "state": self.vocabulary.state()},
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        kept = state["vocabulary"]
        kind = PretrainedTokens if kept["kind"] == PretrainedTokens.kind else KINDS[kept["kind"]]
        return cls(TextConfig(**state["config"]), kind.from_state(kept["state"]), state["length"])


class _Both:
    """The texts of two collections, each of which may be gone through several times."""

    def __init__(self, *parts: Iterable[str]) -> None:
        self.parts = [p if iter(p) is not p else list(p) for p in parts]

    def __iter__(self) -> Iterator[str]:
        return (text for part in self.parts for text in part if text)


# -- choosing --------------------------------------------------------------------------------------------------


@dataclass
class _Facts:
    """What one pass over the training text tells."""

    characters: int = 0
    cjk: int = 0
    longest: int = 0  # characters
    widest: int = 0  # bytes
    distinct: set[str] = field(default_factory=set)

    def add(self, text: str) -> None:
        self.characters += len(text)
        self.longest = max(self.longest, len(text))
        self.widest = max(self.widest, len(text.encode()))
        self.distinct.update(text)
        if not text.isascii():
            p = points(text)
            self.cjk += int(
                ((p >= 0x3040) & (p <= 0x30FF) | (p >= 0x3400) & (p <= 0x9FFF) | (p >= 0x20000) & (p <= 0x3FFFF)).sum()
            )

    def tokenizer(self) -> Literal["char", "bpe"]:
        if 3 * self.cjk > self.characters:  # spaces between them are common
            return "char" if self.characters <= CJK_SMALL else "bpe"
        return "char" if self.characters <= SMALL and len(self.distinct) <= DISTINCT else "bpe"


def _facts(texts: Iterable[str]) -> _Facts:
    facts = _Facts()
    for text in texts:
        facts.add(text)
    return facts


def _learn(kind: str, unit: str, wanted: int, train: Iterable[str], facts: _Facts) -> Vocabulary:
    if kind == "byte":
        return Bytes()
    if kind == "char":
        return Characters("".join(sorted(facts.distinct)), BOS if unit == "stream" else FIRST)
    every = -(-facts.characters // LEARNT)
    return BytePairs.train((t for i, t in enumerate(train) if i % every == 0), wanted)


def _longest(vocabulary: Vocabulary, train: Iterable[str], facts: _Facts) -> int:
    """Tokens of the longest example; of much text in byte pairs, of the longest by its bytes."""
    if isinstance(vocabulary, Characters):
        return facts.longest
    if not isinstance(vocabulary, BytePairs):
        return facts.widest
    if facts.characters > LEARNT:
        train = (t for t in train if 2 * len(t) >= facts.longest)
    return max(max(vocabulary.lengths(part)) for part in batched(train, 256))


def _notice(vocabulary: Vocabulary) -> str:
    if isinstance(vocabulary, Characters):
        n = len(vocabulary.characters)
        return f"tokens are the {n:,} characters of the training text (modality.tokenizer=bpe for parts of words)"
    return (
        f"tokens are {vocabulary.size:,} byte pairs learnt from the training text (modality.tokenizer=char for "
        "characters)"
    )
