"""Music: MIDI files, tunes in ABC, chorales in JSON; as tokens of voices or events, or as a piano roll.

An example is a Piece (`data/midi.py`). Pieces of a fixed number of voices on sixteenth notes become steps of voices
(`data/voices.py`), all others events (`data/remi.py`); models of grids take piano rolls (`data/pianoroll.py`).
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw
from torch import Tensor

from genloom.core.config import DataConfig, Settings, setting
from genloom.core.errors import InputError, Unreadable
from genloom.core.files import Finish, as_is, write_atomic
from genloom.core.guide import Guide
from genloom.core.modality import Fingerprint, Modality, OwnFigure
from genloom.core.rng import Rng
from genloom.core.spec import Grid, Tokens
from genloom.data import midi, notation, scores, synth
from genloom.data.abc import read_abc
from genloom.data.items import Source
from genloom.data.midi import DURATION, ONSET, PITCH, Piece
from genloom.data.pianoroll import PianoRoll
from genloom.data.remi import Remi
from genloom.data.voices import STEP, Voices, from_rows
from genloom.metrics import music as figures

CODES: dict[str, type[Voices | Remi | PianoRoll]] = {c.kind: c for c in (Voices, Remi, PianoRoll)}
DISTANCES = (
    (
        "pitch_class_distance",
        "Distance of pitch classes",
        "how long each degree of the scale sounds",
        figures.pitch_classes,
    ),
    (
        "interval_distance",
        "Distance of melodic intervals",
        "the steps and leaps of each track",
        figures.melodic_intervals,
    ),
    (
        "harmonic_distance",
        "Distance of harmonic intervals",
        "the intervals that sound together",
        figures.harmonic_intervals,
    ),
    ("duration_distance", "Distance of durations", "the lengths of the notes", figures.durations),
)
QUALITIES = (
    (
        "scale_consistency",
        "Scale consistency",
        "Share of a piece's notes in the one scale that fits it best.",
        "share",
        figures.scale_consistency,
    ),
    ("groove", "Groove", "How alike the rhythms of neighbouring bars are.", "share", figures.groove),
    ("polyphony", "Polyphony", "Pitches that sound together where any does.", "pitches", figures.polyphony),
    (
        "structure",
        "Structure",
        "Share of the bars that repeat an earlier one of their piece, in any key.",
        "share",
        figures.structure,
    ),
)
LOOKED_AT = 200  # pieces from which the encoding is chosen
COLOURS = ("#c8443c", "#2456a6", "#3d8c40", "#8a4fa3", "#c98a1b", "#1f8a8c", "#7a5c42", "#5a5a5a")


class MusicConfig(Settings):
    """How music becomes examples and tokens."""

    form: Literal["tokens", "grid"] | None = setting(
        None, "Tokens, or a piano roll as a grid; if none, what suits the model, tokens before a grid."
    )
    encoding: Literal["auto", "voices", "events"] = setting(
        "auto",
        "Of tokens: voices are steps of sixteenths with a pitch for every voice, events are REMI; auto takes voices "
        "where all pieces have as many, of one note at a time.",
    )
    bpe: int | None = setting(
        None, "Tokens of a vocabulary of byte pairs of events; none: events.", unit="tokens", ge=64
    )
    steps: int = setting(64, "Length of a piano roll.", unit="sixteenths", ge=16, le=512)
    transpose: int = setting(0, "Largest random transposition in training.", unit="semitones", ge=0, le=12)
    sound: bool = setting(True, "Write a WAV file beside each MIDI file of samples.")
    picture: bool = setting(True, "Write a picture of the piano roll beside each MIDI file of samples.")
    musicxml: bool = setting(False, "Write a score (MusicXML) beside each MIDI file of samples.")


class Music(Modality[Piece]):
    """Music as int64 [T] tokens, or as float32 [2, pitches, steps]."""

    Config = MusicConfig
    forms = (Tokens, Grid)
    extensions = frozenset({".mid", ".midi", ".kar", ".abc"})
    prompt_is_file = True
    writing = frozenset({"sound", "picture", "musicxml"})

    def __init__(self, config: MusicConfig, code: Voices | Remi | PianoRoll, notices: tuple[str, ...] = ()) -> None:
        self.config: MusicConfig = config
        self.code, self.notices = code, notices
        self.spec: Tokens | Grid = code.spec

    @classmethod
    def recognises(cls, name: str, head: bytes) -> bool:
        """Whether a JSON file holds chorales."""
        return name.lower().endswith(".json") and scores.is_chorales(head)

    @classmethod
    def open(cls, data: Any, config: Settings, where: DataConfig) -> Source:
        """The source of `data`; with data.label=key the key of each piece is its class. Raises InputError."""
        source = scores.open_scores(data, cls.extensions)
        if where.label == scores.KEYS:
            return scores.with_keys(source, lambda raw: figures.key_name(cls.read(raw, config).pitched))
        return source

    @classmethod
    def read(cls, raw: Any, config: Settings) -> Piece:
        """The piece in a MIDI or ABC file, or of pitches [steps, voices]. Raises Unreadable with the reason."""
        if isinstance(raw, Piece):
            return raw
        if isinstance(raw, bytes):
            if raw.startswith(b"MThd"):
                return midi.read_midi(raw)
            if b"\0" in raw[:4096] or not raw.strip():
                raise Unreadable("it is neither a MIDI file nor a tune in ABC notation" if raw else "it is empty")
            return read_abc(raw)
        try:
            rows = np.asarray(raw, np.float64)
        except (TypeError, ValueError) as e:
            raise Unreadable(f"not steps of equally many pitches ({e})") from None
        if rows.ndim != 2 or not 1 <= rows.shape[1] <= 64 or not len(rows):
            raise Unreadable(f"not steps of equally many pitches but an array of shape {list(rows.shape)}")
        if np.nanmax(rows, initial=0) > 127:
            raise Unreadable(f"the pitch {np.nanmax(rows):g} is above 127, the highest of MIDI")
        piece = from_rows(rows)
        if not len(piece.notes):
            raise Unreadable("it has no notes")
        return piece

    @classmethod
    def fingerprint(cls, example: Piece) -> Fingerprint:
        return Fingerprint(example.digest)

    @classmethod
    def fit(cls, config: Settings, train: Iterable[Piece]) -> Self:
        """Choose the encoding and what it takes from the data. `train` may be gone through several times."""
        assert isinstance(config, MusicConfig)
        if config.musicxml:
            notation.library()  # what is missing is told before the training
        if iter(train) is train:
            train = list(train)
        if config.form == "grid":
            roll = PianoRoll.fit(train, config.transpose, config.steps)
            beats = config.steps // 4
            return cls(config, roll, (f"a piano roll holds the first {beats} quarter notes of each piece",))
        encoding = config.encoding
        fits = Voices.fits(islice(train, LOOKED_AT))
        if encoding == "auto":
            encoding = "voices" if fits else "events"
        if encoding == "events" and config.bpe and config.transpose:
            raise InputError("byte pairs cannot be transposed; leave modality.bpe or modality.transpose out")
        code = (
            Voices.fit(train, config.transpose)
            if encoding == "voices"
            else Remi.fit(train, config.transpose, config.bpe)
        )
        chosen = config.model_copy(update={"form": "tokens", "encoding": encoding})
        return cls(chosen, code, (cls._notice(code, config),) if config.encoding == "auto" else ())

    @staticmethod
    def _notice(code: Voices | Remi, config: MusicConfig) -> str:
        if isinstance(code, Voices):
            count = f"{code.voices} voice{'s' if code.voices > 1 else ''}"
            return (
                f"all pieces have {count} on sixteenths: tokens are steps of them (modality.encoding=events for REMI)"
            )
        return f"tokens are {code.vocab:,} events (REMI)"

    def encode(self, example: Piece) -> Tensor:
        return self.code.encode(example)

    def decode(self, x: Tensor) -> Piece:
        return self.code.decode(x)

    def augment(self, x: Tensor, rng: Rng) -> Tensor:
        """Every row in another key, by up to modality.transpose semitones."""
        return self.code.transpose(x, self.config.transpose, rng) if self.config.transpose else x

    def grammar(self) -> Guide:
        """What keeps every sample a piece."""
        assert not isinstance(self.code, PianoRoll)
        return self.code.grammar()

    def prompt(self, text: str) -> list[int]:
        """The tokens of the MIDI or ABC file that `text` is the path of. Raises InputError."""
        if not text:
            return []
        return [int(t) for t in self.code.encode(self.piece_at(text))[1:-1]]

    def given(self, example: Piece, parts: str) -> tuple[Tensor, Tensor]:
        """The tokens of a piece of which the voices `parts` are kept, as in "1" or "1,4", counted from the first. A
        piece with fewer voices than the model's stands for the first ones. Raises InputError."""
        if not isinstance(self.code, Voices):
            raise InputError("voices can be filled in where tokens are steps of voices; see modality.encoding")
        try:
            kept = tuple(sorted({int(p) - 1 for p in parts.split(",")}))
        except ValueError:
            raise InputError(f"voices to keep are numbers such as 1 or 1,4; got {parts!r}") from None
        if not kept or kept[0] < 0 or kept[-1] >= self.code.voices:
            raise InputError(f"the model has the voices 1 to {self.code.voices}; got {parts!r}")
        return self.code.known(example, kept)

    def piece_at(self, text: str) -> Piece:
        """The piece in a file. Raises InputError."""
        path = Path(text).expanduser()
        try:
            return self.read(path.read_bytes(), self.config)
        except (OSError, ValueError):
            raise InputError(f"a prompt of music is a MIDI or ABC file, and there is none at {text[:200]!r}") from None
        except Unreadable as e:
            raise InputError(f"{path} cannot be read: {e}") from None

    def units(self, example: Piece) -> list[str]:
        """The notes by onset, each as pitch:sixteenths."""
        return [f"{p}:{d}" for p, d in zip(example.notes[:, PITCH], figures.lengths(example.notes), strict=True)]

    def sizes(self, example: Piece) -> dict[str, int]:
        """Notes, and steps of sixteenths."""
        return {"step": max(1, -(-example.end // STEP)), "note": max(1, len(example.notes))}

    def figures(self) -> dict[str, OwnFigure]:
        """Distances between what samples and held-out pieces have, and what pieces are like on their own."""
        out = {
            name: OwnFigure(
                title,
                f"How much {what} would have to change (total variation).",
                "lower",
                "share",
                figures.distance(of),
            )
            for name, title, what, of in DISTANCES
        }
        return out | {
            name: OwnFigure(title, meaning, "reference", unit, figures.each(of))
            for name, title, meaning, unit, of in QUALITIES
        }

    def traits(self) -> Mapping[str, str]:
        return {"playable": "Share that is a MIDI file with notes, which is read back note by note."}

    def shows_trait(self, name: str, example: Piece) -> bool:
        try:
            again = midi.read_midi(midi.midi_bytes(example))
        except (Unreadable, ValueError, RuntimeError):
            return False
        own, back = (sorted(map(tuple, p.notes[:, [ONSET, DURATION, PITCH]].tolist())) for p in (example, again))
        return own == back

    def write(
        self, examples: Sequence[Piece], folder: Path, names: Sequence[str], finish: Finish = as_is
    ) -> list[Path]:
        """MIDI files, each with a WAV file, a picture and a score of the same name where settings ask for them. Raises
        GenloomError when the disk is full or the folder cannot be written."""
        folder.mkdir(parents=True, exist_ok=True)
        paths: list[Path] = []
        beside: list[Path] = []
        for name, example in zip(names, examples, strict=True):
            files = {".mid": midi.midi_bytes(example)}
            if self.config.sound and len(example.notes):
                files[".wav"] = synth.wav_bytes(example)
            if self.config.picture:
                data = io.BytesIO()
                self.show([example]).save(data, "PNG")
                files[".png"] = data.getvalue()
            if self.config.musicxml:
                tonic, minor = figures.key(example.pitched)
                files[".musicxml"] = notation.musicxml(example, tonic, bool(minor))
            for suffix, data_of in files.items():
                path = folder / f"{name}{suffix}"
                write_atomic(path, finish(path, data_of))
                (paths if suffix == ".mid" else beside).append(path)
        return [*paths, *beside]

    def show(self, examples: Sequence[Piece], columns: int | None = None) -> Pillow.Image:
        """Piano rolls, one below the other unless `columns` is given: a row for each semitone, a colour for each track,
        lines at bars and at every C."""
        if not examples:
            raise InputError("there is no music to show")
        columns = columns or 1
        wide = max(160, 960 // columns)
        sheet = Pillow.new("RGB", (columns * wide, -(-len(examples) // columns) * HIGH), "white")
        draw = ImageDraw.Draw(sheet)
        for k, example in enumerate(examples):
            _roll(draw, example, k % columns * wide, k // columns * HIGH, wide)
        return sheet

    def state(self) -> dict[str, Any]:
        state = {"kind": self.code.kind, **json.loads(json.dumps(self.code.state()))}
        return {"config": self.config.model_dump(mode="json"), "code": state}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        kept = dict(state["code"])
        return cls(MusicConfig(**state["config"]), CODES[kept.pop("kind")].from_state(kept))


HIGH, MARGIN = 120, 6  # pixels of a piano roll


def _roll(draw: ImageDraw.ImageDraw, piece: Piece, left: int, top: int, wide: int) -> None:
    notes = piece.notes
    low = int(notes[:, PITCH].min(initial=72)) - 1
    high = max(low + 12, int(notes[:, PITCH].max(initial=48)) + 1)
    across = (wide - 2 * MARGIN) / max(piece.end, 16 * STEP)
    up = (HIGH - 2 * MARGIN) / (high - low + 1)
    bottom = top + HIGH - MARGIN
    for pitch in range(low, high + 1):
        y = bottom - (pitch - low + 1) * up
        if pitch % 12 in (1, 3, 6, 8, 10):
            draw.rectangle((left + MARGIN, y, left + wide - MARGIN, y + up), "#f3f3f3")
        if pitch % 12 == 0:
            draw.line((left + MARGIN, y + up, left + wide - MARGIN, y + up), "#c8c8c8")
    for (begin, a, b), following in zip(piece.meters, [*(m[0] for m in piece.meters[1:]), piece.end], strict=True):
        for tick in range(begin, max(begin, following) + 1, max(STEP, 16 * STEP * a // b)):
            x = left + MARGIN + tick * across
            draw.line((x, top + MARGIN, x, bottom), "#dddddd")
    for onset, length, pitch, _, track in notes.tolist():
        x, y = left + MARGIN + onset * across, bottom - (pitch - low + 1) * up
        end = max(x + 1, x + length * across - 1)
        draw.rectangle((x, y, end, y + max(1, up - 1)), COLOURS[track % len(COLOURS)])
