"""Proteins as Tokens, a residue each.

An example is a str of one-letter residues; X is one that is not known. Samples hold the twenty alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from genloom.core.config import DataConfig, Settings, setting
from genloom.core.errors import InputError, Unreadable
from genloom.core.files import Finish, as_is, write_atomic
from genloom.core.modality import Fingerprint, Modality, OwnFigure
from genloom.core.spec import Tokens
from genloom.data import encoding, fasta
from genloom.data.fasta import RESIDUES
from genloom.data.items import Source, count
from genloom.data.vocabulary import BOS, EOS, FIRST, PAD
from genloom.metrics.proteins import protein_figures
from genloom.nets.esmfold import Folder, configured

UNKNOWN = FIRST + len(RESIDUES)  # X
LINE, WRAPPED = 60, 80  # residues of a line in a file, and in a picture
CELL, HIGH = 9, 15  # pixels of a residue in a picture
GAP = 40  # residues of a gap where nobody says
# Colours by what residues have in common, after Clustal X.
COLOURS = {
    "AILMFWVC": "#9fc2ee", "KR": "#f2a39a", "DE": "#d9a5e3", "NQST": "#a9dba2", "G": "#f6c78d", "P": "#eee68a",
    "HY": "#93dcd9", "X": "#dddddd",
}  # fmt: skip


class ProteinConfig(Settings):
    """How files become proteins."""

    length: int = setting(1000, "Most residues of a protein; longer ones are left out.", unit="residues", ge=5)
    properties: tuple[Literal["length"], ...] = setting(
        ("length",), "Numbers that samples can be asked for: length, or [] for none."
    )


class Twenty:
    """The grammar: the twenty residues, and an end after the first of them."""

    def __init__(self, size: int) -> None:
        self.residues = torch.zeros(size, dtype=torch.bool)
        self.residues[FIRST:UNKNOWN] = True

    def allowed(self, tokens: Tensor) -> Tensor:
        out = self.residues.to(tokens.device).repeat(len(tokens), 1)
        out[:, EOS] = ((tokens >= FIRST) & (tokens <= UNKNOWN)).any(1)
        return out

    def finished(self, tokens: Tensor) -> None:
        return None


class Protein(Modality[str]):
    """A protein as int64 [T]: bos, residues, eos."""

    Config = ProteinConfig
    forms = (Tokens,)
    extensions = fasta.EXTENSIONS

    def __init__(self, config: ProteinConfig, longest: int, notices: tuple[str, ...] = ()) -> None:
        """longest: residues of the longest training example."""
        self.config: ProteinConfig = config
        self.longest, self.notices = longest, notices
        self.spec: Tokens = Tokens(2 + longest, UNKNOWN + 1, PAD, BOS, EOS, False)

    # -- reading -----------------------------------------------------------------------------------------------------

    @classmethod
    def open(cls, data: Any, config: Settings, where: DataConfig) -> Source:
        """The source of `data`. Raises InputError, also for a missing package."""
        return fasta.open_proteins(data, where)

    @classmethod
    def recognises(cls, name: str, head: bytes) -> bool:
        return fasta.recognised(head)

    @classmethod
    def read(cls, raw: Any, config: Settings) -> str:
        """The residues of a record of FASTA or a3m, or of plain letters. Raises Unreadable: DNA, other letters, several
        records, too long."""
        assert isinstance(config, ProteinConfig)
        if not isinstance(raw, str | bytes):
            raise Unreadable(f"not a protein but {type(raw).__name__}")
        text = encoding.decode(raw) if isinstance(raw, bytes) else raw
        if text.lstrip().startswith((">", "#", ";")):
            found = fasta.records(text)
            if len(found) > 1:
                raise Unreadable(f"it holds {len(found)} sequences; give one")
            text = found[0][1]
        return fasta.residues_of(text, config.length)

    @classmethod
    def fingerprint(cls, example: str) -> Fingerprint:
        return Fingerprint(hashlib.blake2b(example.encode(), digest_size=16).digest())

    @classmethod
    def fit(cls, config: Settings, train: Iterable[str]) -> Self:
        """The length of the longest."""
        assert isinstance(config, ProteinConfig)
        longest = n = unknown = 0
        for example in train:
            n, longest, unknown = n + 1, max(longest, len(example)), unknown + example.count("X")
        if not n:
            raise InputError("there is no protein to learn from")
        notice = f"{count(unknown, 'residue')} of the training sequences are unknown (X); samples have none"
        return cls(config, longest, (notice,) if unknown else ())

    # -- tokens ------------------------------------------------------------------------------------------------------

    def encode(self, example: str) -> Tensor:
        """int64 [T]. Raises InputError for a letter that is no residue."""
        return torch.tensor([BOS, *self._ids(example), EOS])

    def _ids(self, text: str) -> list[int]:
        ids = [UNKNOWN if c == "X" else FIRST + RESIDUES.find(c) for c in text]
        wrong = [c for c, i in zip(text, ids, strict=True) if i < FIRST]
        if wrong:
            raise InputError(f"{wrong[0]!r} is no residue: a protein is written in {RESIDUES}")
        return ids

    def decode(self, x: Tensor) -> str:
        ids = x.detach().cpu().numpy().astype(np.int64)
        ended = np.flatnonzero(ids == EOS)
        ids = ids[: ended[0]] if len(ended) else ids
        return "".join((RESIDUES + "X")[i - FIRST] for i in ids.tolist() if FIRST <= i <= UNKNOWN)

    def grammar(self) -> Twenty:
        return Twenty(self.spec.vocab)

    def prompt(self, text: str) -> list[int]:
        """The residues that a sample begins (or ends) with."""
        return self._ids("".join(text.split()).upper())

    def gap(self, before: int, after: int) -> int:
        """Residues of a gap where nobody says: GAP, fewer where the longest training example would be passed."""
        return max(1, min(GAP, self.longest - before - after))

    def units(self, example: str) -> list[str]:
        """The residues."""
        return list(example)

    def sizes(self, example: str) -> dict[str, int]:
        return {"residue": len(example)}

    # -- what people look at -----------------------------------------------------------------------------------------

    def write(self, examples: Sequence[str], folder: Path, names: Sequence[str], finish: Finish = as_is) -> list[Path]:
        """NAME.fasta of each; of several also all in proteins.fasta. Where $GENLOOM_ESMFOLD says where its weights are,
        also NAME.pdb, the structure with its confidence. Raises InputError for weights that are not there."""
        folder.mkdir(parents=True, exist_ok=True)
        titles = [f"{name} length={len(example)}" for name, example in zip(names, examples, strict=True)]
        files = [(folder / f"{n}.fasta", _record(t, e)) for n, t, e in zip(names, titles, examples, strict=True)]
        if len(names) > 1:
            files.append((folder / "proteins.fasta", "".join(map(_record, titles, examples))))
        if self._folder is not None:
            for name, example in zip(names, examples, strict=True):
                structure = self._folder(example)
                told = f"REMARK 250 MEAN CONFIDENCE (PLDDT) {structure.confidence.mean():.1f}\n"
                files.append((folder / f"{name}.pdb", told + structure.pdb))
        for path, text in files:
            write_atomic(path, finish(path, text.encode()))
        return [path for path, _ in files]

    @cached_property
    def _folder(self) -> Folder | None:
        name = configured()
        return None if name is None else Folder.load(name)

    def show(self, examples: Sequence[str], columns: int | None = None) -> Image.Image:
        """The sequences one under the other, coloured by the kinds of their residues."""
        if not examples:
            raise InputError("there is no protein to show")
        wide = max(20, min(WRAPPED, max(map(len, examples))))
        blocks = [[e[i : i + wide] for i in range(0, max(1, len(e)), wide)] for e in examples]
        margin = 46
        high = sum(HIGH * len(b) + 6 for b in blocks) + 10
        picture = Image.new("RGB", (margin + CELL * wide + 10, high), "white")
        draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=11)
        fills = {c: colour for letters, colour in COLOURS.items() for c in letters}
        y = 8
        for example, lines in zip(examples, blocks, strict=True):
            draw.text((margin - 8, y + HIGH / 2), str(len(example)), "#667085", font, anchor="rm")
            for line in lines:
                for x, c in enumerate(line):
                    left = margin + CELL * x
                    draw.rectangle((left, y, left + CELL - 1, y + HIGH - 2), fills.get(c, "white"))
                    draw.text((left + CELL / 2, y + HIGH / 2 - 0.5), c, "#1d2433", font, anchor="mm")
                y += HIGH
            y += 6
        return picture

    # -- what is measured --------------------------------------------------------------------------------------------

    def property_names(self) -> tuple[str, ...]:
        return self.config.properties

    def properties(self, example: str) -> Mapping[str, float]:
        return {"length": float(len(example))}

    def figures(self) -> Mapping[str, OwnFigure]:
        return protein_figures()

    # -- state -------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        return {"config": self.config.model_dump(mode="json"), "longest": self.longest}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        return cls(ProteinConfig(**state["config"]), state["longest"])


def _record(title: str, sequence: str) -> str:
    lines = [sequence[i : i + LINE] for i in range(0, len(sequence), LINE)]
    return "\n".join([f">{title}", *lines]) + "\n"
