"""Proteins as Tokens, a residue each; of alignments a column each, then the insertions.

An example is a str of one-letter residues, or a row of an alignment as in a3m; X is a residue that is not known.
Samples hold the twenty alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
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
from genloom.core.guide import Guide
from genloom.core.modality import Fingerprint, Modality, OwnFigure
from genloom.core.spec import Tokens
from genloom.data import alignment, encoding, fasta
from genloom.data.alignment import bare
from genloom.data.fasta import RESIDUES
from genloom.data.items import Source, count
from genloom.data.vocabulary import BOS, EOS, FIRST, PAD
from genloom.metrics.proteins import aligned, nearest, protein_figures
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


Measure = Callable[[Sequence[Any], Sequence[Any]], Any]


class ProteinConfig(Settings):
    """How files become proteins."""

    length: int = setting(1000, "Most residues of a protein; longer ones are left out.", unit="residues", ge=5)
    properties: tuple[Literal["length"], ...] = setting(
        ("length",), "Numbers that samples can be asked for: length, or [] for none."
    )
    aligned: bool | None = setting(
        None, "Learn rows of alignments (a3m), column by column; None: where all files are alignments."
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

    def __init__(
        self, config: ProteinConfig, longest: int, families: Sequence[str] = (), notices: tuple[str, ...] = ()
    ) -> None:
        """longest: tokens of the longest training example. families: of alignments the consensus of each."""
        self.config: ProteinConfig = config
        self.longest, self.families, self.notices = longest, tuple(families), notices
        self.spec: Tokens = Tokens(2 + longest, alignment.SIZE if families else UNKNOWN + 1, PAD, BOS, EOS, False)

    # -- reading -----------------------------------------------------------------------------------------------------

    @classmethod
    def open(cls, data: Any, config: Settings, where: DataConfig) -> Source:
        """The source of `data`. Raises InputError, also for a missing package."""
        source = fasta.open_proteins(data, where)
        if getattr(config, "aligned", None) is None:
            return source
        return replace(source, load=lambda: replace(source.load(), chosen={}))

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
        return (fasta.row_of if config.aligned else fasta.residues_of)(text, config.length)

    @classmethod
    def fingerprint(cls, example: str) -> Fingerprint:
        return Fingerprint(hashlib.blake2b(bare(example).encode(), digest_size=16).digest())

    @classmethod
    def fit(cls, config: Settings, train: Iterable[str]) -> Self:
        """The length of the longest, and of alignments the consensus of each."""
        assert isinstance(config, ProteinConfig)
        rows = list(train)
        if not rows:
            raise InputError("there is no protein to learn from")
        notices = []
        unknown = sum(row.upper().count("X") for row in rows)
        if unknown:
            notices.append(f"{count(unknown, 'residue')} of the training sequences are unknown (X); samples have none")
        if not config.aligned:
            return cls(config, max(map(len, rows)), (), tuple(notices))
        families = alignment.consensus(rows)
        widths = ", ".join(str(len(f)) for f in families)
        notices.append(
            f"alignments of {widths} columns are learnt column by column, then insertions (modality.aligned=false: "
            "the sequences alone)"
        )
        return cls(config, max(len(alignment.encode(row)) for row in rows), families, tuple(notices))

    # -- tokens ------------------------------------------------------------------------------------------------------

    def encode(self, example: str) -> Tensor:
        """int64 [T]. A sequence that is no row of a known alignment is aligned to the one that it resembles most.
        Raises InputError for a letter that is no residue."""
        if not self.families:
            return torch.tensor([BOS, *self._ids(example), EOS])
        if len(alignment.columns_of(example)) not in map(len, self.families):
            sequence = bare(example)
            family = self.families[nearest(sequence, self.families, 1)[0]]
            example = alignment.laid(sequence, [place for place, _ in aligned(family, sequence)], len(family))
        return torch.tensor([BOS, *alignment.encode(example), EOS])

    def _ids(self, text: str) -> list[int]:
        letters = alignment.COLUMN if self.families else RESIDUES + "X"
        wrong = [c for c in text if c not in letters]
        if wrong:
            raise InputError(f"{wrong[0]!r} is no residue: a protein is written in {RESIDUES}")
        return [FIRST + letters.index(c) for c in text]

    def decode(self, x: Tensor) -> str:
        ids = x.detach().cpu().numpy().astype(np.int64)
        ended = np.flatnonzero(ids == EOS)
        found = (ids[: ended[0]] if len(ended) else ids).tolist()
        if self.families:
            return alignment.decode(found)
        return "".join((RESIDUES + "X")[i - FIRST] for i in found if FIRST <= i <= UNKNOWN)

    def grammar(self) -> Guide:
        return alignment.Rows({len(f) for f in self.families}) if self.families else Twenty(self.spec.vocab)

    def prompt(self, text: str) -> list[int]:
        """The residues that a sample begins (or ends) with; of alignments the columns, where - is a gap."""
        return self._ids("".join(text.split()).upper())

    def gap(self, before: int, after: int) -> int:
        """Residues of a gap where nobody says: GAP, fewer where the longest training example would be passed; of
        alignments as many columns as the widest one lacks."""
        room = (max(map(len, self.families)) if self.families else self.longest) - before - after
        return max(1, room if self.families else min(GAP, room))

    def units(self, example: str) -> list[str]:
        """The residues."""
        return list(bare(example))

    def sizes(self, example: str) -> dict[str, int]:
        return {"residue": len(bare(example))}

    # -- what people look at -----------------------------------------------------------------------------------------

    def write(self, examples: Sequence[str], folder: Path, names: Sequence[str], finish: Finish = as_is) -> list[Path]:
        """NAME.fasta of each; of several also all in proteins.fasta, and of rows in proteins.a3m. Where
        $GENLOOM_ESMFOLD says where its weights are, also NAME.pdb, the structure with its confidence. Raises InputError
        for weights that are not there."""
        folder.mkdir(parents=True, exist_ok=True)
        rows, examples = examples, [bare(e) for e in examples]
        titles = [f"{name} length={len(example)}" for name, example in zip(names, examples, strict=True)]
        files = [(folder / f"{n}.fasta", _record(t, e)) for n, t, e in zip(names, titles, examples, strict=True)]
        if len(names) > 1:
            files.append((folder / "proteins.fasta", "".join(map(_record, titles, examples))))
            if self.families:
                together = "".join(f">{t}\n{row}\n" for t, row in zip(titles, rows, strict=True))
                files.append((folder / "proteins.a3m", together))
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
        """The sequences one under the other, coloured by the kinds of their residues; of rows the columns."""
        if not examples:
            raise InputError("there is no protein to show")
        sizes = [len(bare(e)) for e in examples]
        if self.families:
            examples = [alignment.columns_of(e) for e in examples]
        wide = max(20, min(WRAPPED, max(map(len, examples))))
        blocks = [[e[i : i + wide] for i in range(0, max(1, len(e)), wide)] for e in examples]
        margin = 46
        high = sum(HIGH * len(b) + 6 for b in blocks) + 10
        picture = Image.new("RGB", (margin + CELL * wide + 10, high), "white")
        draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=11)
        fills = {c: colour for letters, colour in COLOURS.items() for c in letters}
        y = 8
        for size, lines in zip(sizes, blocks, strict=True):
            draw.text((margin - 8, y + HIGH / 2), str(size), "#667085", font, anchor="rm")
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
        return {"length": float(len(bare(example)))}

    def figures(self) -> Mapping[str, OwnFigure]:
        return {name: replace(f, measure=_of_sequences(f.measure)) for name, f in protein_figures().items()}

    # -- state -------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        return {"config": self.config.model_dump(mode="json"), "longest": self.longest, "families": self.families}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        return cls(ProteinConfig(**state["config"]), state["longest"], state["families"])


def _of_sequences(
    measure: Callable[[Sequence[Any], Sequence[Any]], Any],
) -> Callable[[Sequence[str], Sequence[str]], Any]:
    """A figure of sequences, of examples that may be rows."""
    return lambda a, b: measure([bare(e) for e in a], [bare(e) for e in b])


def _record(title: str, sequence: str) -> str:
    lines = [sequence[i : i + LINE] for i in range(0, len(sequence), LINE)]
    return "\n".join([f">{title}", *lines]) + "\n"
