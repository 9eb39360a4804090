"""Music as events: the encoding REMI of the package MidiTok, with byte pairs on top if asked for.

Huang & Yang 2020, "Pop music transformer" (bars, positions, tempi, pitches, velocities, durations), with an instrument
before each note; Fradet et al. 2021, "MidiTok"; Fradet et al. 2023 (byte pairs of such tokens).

`B` rows, `t` tokens, `V` vocabulary.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from genloom.core.errors import InputError, Unreadable
from genloom.core.rng import Rng
from genloom.core.spec import Tokens
from genloom.data.midi import PITCH, Piece, from_score, to_score

PAD, BOS, EOS = 0, 1, 2
PER_BEAT = 12  # places in a quarter note: sixteenths and triplets both fall on them
BEATS = 16  # quarter notes of the longest note
METERS = {1: [2, 3, 4], 2: [1, 2, 3, 4], 4: [1, 2, 3, 4, 5, 6, 7], 8: [2, 3, 4, 5, 6, 7, 9, 12], 16: [3, 6]}


def library() -> Any:
    """The package MidiTok. Raises InputError where it is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import miditok
    except ImportError:
        raise InputError(
            "music as events needs the package miditok; install it with: pip install 'genloom[music]'"
        ) from None
    return miditok


class Remi:
    """The encoding. tokenizer: MidiTok's. longest: tokens of the longest training piece."""

    kind = "events"

    def __init__(self, tokenizer: Any, longest: int) -> None:
        self.tokenizer, self.longest = tokenizer, longest

    @classmethod
    def fit(cls, pieces: Iterable[Piece], margin: int, bpe: int | None) -> Self:
        """margin: semitones below and above the data's pitches that tokens are made for. bpe: tokens of the vocabulary
        of byte pairs, None for none."""
        pieces = list(pieces)
        programs = sorted({p for piece in pieces for p in piece.programs})
        # MidiTok decodes percussion within the range of the other pitches only.
        pitches = [int(v) for piece in pieces for v in np.unique(piece.notes[:, PITCH])]
        miditok = library()
        config = miditok.TokenizerConfig(
            pitch_range=(max(0, min(pitches) - margin), min(127, max(pitches) + margin + 1)),
            beat_res={(0, BEATS): PER_BEAT}, num_velocities=8, use_tempos=True, use_time_signatures=True,
            time_signature_range=METERS, use_programs=True, programs=programs, remove_duplicated_notes=True,
            special_tokens=["PAD", "BOS", "EOS"], drums_pitch_range=(0, 127),
        )  # fmt: skip
        tokenizer = miditok.REMI(config)
        own = cls(tokenizer, 0)
        if bpe is not None:
            if bpe <= len(tokenizer):
                raise InputError(f"modality.bpe must be more than the {len(tokenizer)} tokens of this data without it")
            bars = [tokenizer.encode(to_score(p), encode_ids=False).split_per_bars() for p in pieces]
            words = [tokenizer._ids_to_bytes([bar.ids for bar in piece], as_one_str=True) for piece in bars]
            with _to_stderr():
                tokenizer.train(bpe, "BPE", iterator=words)
        own.longest = max(len(own.encode(p)) for p in pieces)
        return own

    @cached_property
    def vocab(self) -> int:
        return len(self.tokenizer)

    @property
    def spec(self) -> Tokens:
        return Tokens(self.longest, self.vocab, PAD, BOS, EOS)

    @property
    def merged(self) -> bool:
        """Whether tokens are byte pairs."""
        return bool(self.tokenizer.is_trained)

    def encode(self, piece: Piece) -> Tensor:
        """int64 [T]: bos, the events, eos. Times, velocities and tempi become the nearest that the encoding has."""
        ids = self.tokenizer.encode(to_score(piece)).ids
        return torch.tensor([BOS, *ids, EOS])

    def decode(self, x: Tensor) -> Piece:
        """The piece up to eos; events that do not fit are left out."""
        ids = x.detach().cpu().tolist()
        ids = ids[: ids.index(EOS)] if EOS in ids else ids
        ids = [i for i in ids if i > EOS]
        sequence = library().TokSequence(ids=ids, are_ids_encoded=self.merged)
        try:
            return from_score(self.tokenizer.decode(sequence))
        except (Unreadable, IndexError, ValueError, KeyError):
            return Piece(np.zeros((0, 5), np.int32))

    @cached_property
    def types(self) -> list[tuple[str, str]]:
        """[V] the kinds of the first and of the last event of each token."""
        names: dict[int, list[str]] = {i: [name] for name, i in self.tokenizer.vocab.items()}
        if self.merged:
            learnt = self.tokenizer._vocab_learned_bytes_to_tokens
            names = {i: learnt.get(b, [b]) for b, i in self.tokenizer.vocab_model.items()}
            names |= {i: [name] for name, i in self.tokenizer.vocab.items() if i <= EOS}
        return [(names[i][0].split("_")[0], names[i][-1].split("_")[0]) for i in range(self.vocab)]

    def transpose(self, x: Tensor, semitones: int, rng: Rng) -> Tensor:
        """Rows x [B, T], each by up to so many semitones down or up, as far as its pitches have tokens."""
        own = [i for i, (kind, _) in enumerate(self.types) if kind == "Pitch"]
        low, high = own[0], own[-1]
        sounds = (x >= low) & (x <= high)
        lowest = torch.where(sounds, x, high).amin(1)
        highest = torch.where(sounds, x, low).amax(1)
        shift = rng.integers("transpose", 2 * semitones + 1, len(x)).to(x.device) - semitones
        shift = torch.minimum(torch.maximum(shift, low - lowest), high - highest)
        return torch.where(sounds, x + shift[:, None], x)

    def grammar(self) -> EventGrammar:
        return EventGrammar(self)

    def state(self) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            self.tokenizer.save(Path(folder), filename="t.json")
            return {"longest": self.longest, "tokenizer": json.loads(Path(folder, "t.json").read_text("utf-8"))}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "t.json")
            path.write_text(json.dumps(state["tokenizer"]), "utf-8")
            return cls(library().REMI(params=path), state["longest"])


@contextlib.contextmanager
def _to_stderr() -> Iterator[None]:
    """Standard output goes to standard error: the trainer of byte pairs prints its progress."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


class EventGrammar:
    """MidiTok's graph of which kind of event may follow which; a piece begins with a bar and ends after a note."""

    def __init__(self, code: Remi) -> None:
        graph, types = code.tokenizer.tokens_types_graph, code.types
        size = len(types)
        kinds = sorted({t for pair in types for t in pair})
        number = {kind: k for k, kind in enumerate(kinds)}
        first = torch.tensor([number[a] for a, _ in types])
        special = torch.arange(size) <= EOS
        table = torch.zeros(len(kinds), size, dtype=torch.bool)
        for kind in kinds:
            after = torch.tensor([b in graph.get(kind, ()) for b in kinds])
            table[number[kind]] = after[first] & ~special
            table[number[kind], EOS] = kind == "Duration"
        table[number["BOS"]] = (first == number["Bar"]) & ~special
        for kind in ("PAD", "EOS"):
            table[number[kind], EOS] = True
        self.following = table[torch.tensor([number[b] for _, b in types])]  # [V, V]

    def allowed(self, tokens: Tensor) -> Tensor:
        """bool [B, V]."""
        return self.following.to(tokens.device)[tokens[:, -1]]

    def finished(self, tokens: Tensor) -> Tensor | None:
        return None
