"""Sequences of proteins in files: FASTA, and alignments in the a3m form, by Biopython's parser.

Pearson and Lipman 1988 (FASTA). In a3m (HH-suite) capitals and "-" are the columns of the alignment and small letters
insertions; all letters together are the sequence.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genloom.core.config import DataConfig
from genloom.core.errors import InputError, Unreadable
from genloom.data import catalog, encoding
from genloom.data.archive import TAR_ENDINGS, ZIP_ENDINGS, members_of, stem
from genloom.data.blobs import Blob, digest_of, file_blob, head_of, memory_blob
from genloom.data.columns import Asked
from genloom.data.items import Items, Source, clean, count, printable
from genloom.data.sources import found, is_text
from genloom.data.texts import Shelf, Unusable, Wishes, list_source, shelved, spread
from genloom.data.tree import arrange, folder_digest, walk

EXTENSIONS = frozenset({".fasta", ".fa", ".faa", ".fas", ".a3m"})
RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
AMBIGUOUS = frozenset("BJOUXZ")  # read as X: two or more residues, or a rare one
MOST_BYTES = 2**29  # of one file
LEAST, MOST_UNKNOWN = 5, 0.1  # residues of a sequence, and the share of them that may be X
DNA, LEAST_DNA = frozenset("ACGTUN"), 20
LONE, LEAST_KINDS = 30, 10  # residues, and different ones, from which letters alone are taken for a protein


def parser() -> Any:
    """Biopython's, of (title, letters). Raises InputError when the package is not installed."""
    try:
        from Bio.SeqIO.FastaIO import SimpleFastaParser
    except ModuleNotFoundError:
        raise InputError("proteins need Biopython: pip install 'genloom[protein]'") from None
    return SimpleFastaParser


def records(text: str) -> list[tuple[str, str]]:
    """(title, letters) of each sequence. Raises Unreadable for what is no FASTA."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").lstrip("\ufeff\n ")
    while lines[:1] in ("#", ";"):  # remarks above the first sequence
        lines = lines.partition("\n")[2]
    if not lines.startswith(">"):
        raise Unreadable("it is no FASTA: no line that begins with > stands before the first sequence")
    return [(title, letters) for title, letters in parser()(io.StringIO(lines))]


def residues_of(letters: str, most: int) -> str:
    """The sequence that letters of FASTA or a3m say. Raises Unreadable with the reason: no protein, DNA, too long."""
    found = "".join(letters.split()).replace("-", "").replace(".", "").rstrip("*").upper()
    if not found:
        raise Unreadable("it is empty")
    wrong = sorted(set(found) - set(RESIDUES) - AMBIGUOUS)
    if wrong:
        place = min(found.index(c) for c in wrong)
        raise Unreadable(f"{found[place]!r} at place {place + 1} is no residue: a protein is written in {RESIDUES}")
    if len(found) >= LEAST_DNA and set(found) <= DNA:
        raise Unreadable("it is DNA or RNA (only A, C, G, T, U, N), not a protein: translate it first")
    if len(found) < LEAST:
        raise Unreadable(f"it has {count(len(found), 'residue')}: at least {LEAST} are needed")
    if len(found) > most:
        raise Unreadable(f"it has {len(found):,} residues, more than modality.length={most:,}, the most to learn from")
    for c in AMBIGUOUS:
        found = found.replace(c, "X")
    if found.count("X") > MOST_UNKNOWN * len(found):
        raise Unreadable(f"{found.count('X')} of its {len(found)} residues are unknown (X)")
    return found


def row_of(letters: str, most: int) -> str:
    """The row of an alignment that letters of a3m say: capitals and "-" its columns, small letters insertions. Raises
    Unreadable as residues_of does."""
    residues_of(letters, most)
    row = "".join(letters.split()).replace(".", "").rstrip("*")
    for c in AMBIGUOUS:
        row = row.replace(c, "X").replace(c.lower(), "x")
    return row


def is_alignment(found: Sequence[tuple[str, str]]) -> bool:
    """Whether sequences of a3m are rows of equally many columns, some with gaps or insertions."""
    rows = ["".join(letters.split()).replace(".", "") for _, letters in found]
    widths = {sum(not c.islower() for c in row) for row in rows}
    return len(widths) == 1 and len(rows) > 1 and any("-" in r or not r.isupper() for r in rows)


def recognised(head: bytes) -> bool:
    """Whether a file of text begins as FASTA of proteins, or one word of capitals is a sequence of residues."""
    text = head.decode("utf-8", "replace").replace("\r", "")
    lines = [line for line in text.split("\n") if line.strip() and line[0] not in ">#;"]
    if not text.lstrip("\ufeff\n ").startswith((">", "#", ";")):
        if len(lines) != 1 or len(lines[0].split()) != 1 or len(lines[0].strip()) < LONE or not lines[0].isupper():
            return False
    elif ">" not in text:
        return False
    letters = "".join(lines).replace("-", "").replace(".", "").replace("*", "").replace(" ", "").upper()
    inside = sum(c in RESIDUES or c in AMBIGUOUS for c in letters)
    return len(set(letters)) >= LEAST_KINDS and inside >= 0.98 * len(letters) and not set(letters) <= DNA


class Records:
    """A shelf: the sequences of one file, each as its record."""

    def __init__(self, name: str, found: Sequence[tuple[str, str]]) -> None:
        self.name, self.found = name, found

    def __len__(self) -> int:
        return len(self.found)

    def read(self, k: int) -> str:
        title, letters = self.found[k]
        return f">{title}\n{letters}\n"

    def numbers(self) -> NDArray[np.int32]:
        return np.arange(1, len(self) + 1, dtype=np.int32)

    def close(self) -> None:
        pass


def open_proteins(data: Any, where: DataConfig) -> Source:
    """The source of sequences in `data`: a FASTA or a3m file, a folder or an archive of them (several files without
    other labels are families, called like the files), a name of the catalog, a list of sequences. Raises InputError."""
    parser()
    asked = Asked(where.column, None, where.properties, where.source or "none")
    if asked.any:
        raise InputError("data.column, data.properties and data.source are for tables; proteins are FASTA or a3m")
    if not isinstance(data, str | Path):
        source = list_source(data, Wishes(EXTENSIONS, "line"))
        return replace(source, load=lambda: replace(source.load(), chosen={}))
    if is_text(data):
        blob = memory_blob(str(data))
        digest = hashlib.sha256(str(data).encode()).hexdigest()
        return Source("proteins", digest, lambda: _items([blob], None, None, (), where))
    path = found(data)
    if path is None:
        return catalog.open_named(str(data), EXTENSIONS)
    if path.is_dir():
        files = walk(path)

        def below() -> Items:
            kept = arrange([relative for relative, _ in files], EXTENSIONS)
            _not_none(kept.kept, path)
            blobs = [file_blob(path / files[i][0]) for i in kept.kept]
            return _items(blobs, kept.labels, kept.given, kept.notices, where)

        return Source(clean(path.resolve().name) or "data", folder_digest(path, files), below)
    if path.name.lower().endswith((*ZIP_ENDINGS, *TAR_ENDINGS)):

        def inside() -> Items:
            members = members_of(path)
            kept = arrange([m.name for m in members], EXTENSIONS)
            _not_none(kept.kept, path)
            blobs = []
            for m in (members[i] for i in kept.kept):
                inner = Path(m.name)
                name = f"{printable(str(path))}!{printable(m.name)}"
                blobs.append(Blob(name, inner.suffix.lower(), m.open, max(m.size, 1), inner.stem, m.offset))
            return _items(blobs, kept.labels, kept.given, kept.notices, where)

        return Source(stem(path), digest_of(path), inside)
    blob = file_blob(path)
    return Source(clean(blob.stem) or "data", digest_of(path), lambda: _items([blob], None, None, (), where))


def families(name: str, digest: str, paths: Sequence[Path]) -> Source:
    """Known files, of which each is a family."""
    blobs = [file_blob(path) for path in paths]
    return Source(name, digest, lambda: _items(blobs, None, None, (), DataConfig()))


def _not_none(kept: Sequence[int], path: Path) -> None:
    if not kept:
        raise InputError(f"there are no proteins in {path}: no file ends in {', '.join(sorted(EXTENSIONS))}")


def _items(
    blobs: Sequence[Blob],
    labels: Sequence[str | None] | None,
    given: Sequence[Any] | None,
    notices: Sequence[str],
    where: DataConfig,
) -> Items:
    shelves = [_shelf(blob) for blob in blobs]
    notices = list(notices)
    named: Sequence[str | None] | None = None if labels is None else spread(labels, shelves)
    if where.label == "none":
        named = None
    elif where.label is not None:
        named = _from_titles(shelves, where.label)
    elif labels is None and given is None and len(blobs) > 1:
        named = spread([clean(b.stem) or b.name for b in blobs], shelves)
        notices.append(f"the names of the {len(blobs)} files are the families of their sequences (data.label=none)")
    sides = None if given is None else spread(given, shelves)
    chosen = {"aligned": True} if _all_aligned(blobs, shelves) else {}
    return replace(shelved(shelves, named, sides, notices, "document", [b.offset for b in blobs]), chosen=chosen)


def _all_aligned(blobs: Sequence[Blob], shelves: Sequence[Shelf]) -> bool:
    usable = [(b, s) for b, s in zip(blobs, shelves, strict=True) if isinstance(s, Records)]
    return bool(usable) and all(b.ending == ".a3m" and is_alignment(s.found) for b, s in usable)


def _shelf(blob: Blob) -> Shelf:
    try:
        raw = head_of(blob, MOST_BYTES + 1)
        if len(raw) > MOST_BYTES:
            raise Unreadable(f"the file has more than the limit of {MOST_BYTES:,} bytes; divide it")
        if not raw.strip():
            raise Unreadable("it is empty")
        return Records(blob.name, records(encoding.decode(raw)))
    except (Unreadable, OSError) as e:
        return Unusable(blob.name, str(e))


def _from_titles(shelves: Sequence[Shelf], key: str) -> list[str | None]:
    """What stands behind KEY= in each title, as OS= of UniProt. Raises InputError where hardly any has it."""
    pattern = re.compile(rf"(?:^|[\s|;]){re.escape(key)}=(.+?)(?=\s+[A-Za-z]\w*=|[|;]|$)")
    out: list[str | None] = []
    keys: Counter[str] = Counter()
    for shelf in shelves:
        titles = [t for t, _ in shelf.found] if isinstance(shelf, Records) else [""]
        for title in titles:
            keys.update(re.findall(r"\b([A-Za-z]\w*)=", title))
            match = pattern.search(title)
            out.append(clean(match[1]) if match else None)
    if 2 * sum(v is not None for v in out) < len(out):
        known = ", ".join(k for k, _ in keys.most_common(6)) or "none"
        raise InputError(
            f"fewer than half of the titles say {key}=...; data.label names what they say (there are {known}), or none"
        )
    return [v or "other" for v in out]
