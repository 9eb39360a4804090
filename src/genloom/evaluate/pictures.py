"""Samples of a run folder as a report holds them: pictures as data addresses, texts as they are."""

from __future__ import annotations

import base64
import io
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

MOST_BYTES = 400_000  # a larger picture is stored again with less detail
MOST_CHARACTERS = 20_000  # of a longer text the beginning is shown


@dataclass(frozen=True)
class Picture:
    """An embedded picture. address: a data: address; width, height: pixels; caption: what it shows."""

    address: str
    width: int
    height: int
    caption: str


def embed(path: Path, caption: str, widest: int) -> Picture | None:
    """The picture at `path`, at most `widest` pixels wide where it is large; None when it cannot be read."""
    try:
        data = path.read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            kind, size = image.format or "", image.size
            if len(data) > MOST_BYTES:
                data, kind, size = _smaller(image, widest)
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    address = f"data:image/{kind.lower()};base64,{base64.b64encode(data).decode()}"
    return Picture(address, *size, caption)


def drawn(image: Image.Image, caption: str, widest: int) -> Picture:
    """A picture in memory, at most `widest` pixels wide."""
    out = io.BytesIO()
    if image.width > widest:
        data, kind, size = _smaller(image, widest)
    else:
        image.save(out, "PNG")
        data, kind, size = out.getvalue(), "PNG", image.size
    return Picture(f"data:image/{kind.lower()};base64,{base64.b64encode(data).decode()}", *size, caption)


def _smaller(image: Image.Image, widest: int) -> tuple[bytes, str, tuple[int, int]]:
    copy = image.convert("RGBA" if "A" in image.getbands() else "RGB")
    copy.thumbnail((widest, 16_000))
    out = io.BytesIO()
    copy.save(out, "WEBP", quality=88)
    return out.getvalue(), "WEBP", copy.size


def samples_of(folder: Path) -> tuple[Picture | None, list[Picture]]:
    """The picture of the finished model (else the latest grid) and the grids drawn during training, in order."""
    grids = [g for step, path in _steps(folder, "png") if (g := embed(path, f"step {step:,}", 900))]
    final = embed(folder / "final.png", "the finished model, fixed seeds", 1600)
    if final is None and grids:
        return grids[-1], grids
    return final, grids


@dataclass(frozen=True)
class Writing:
    """Samples of text. caption: which model wrote them."""

    text: str
    caption: str


def writings_of(folder: Path) -> tuple[Writing | None, list[Writing]]:
    """The text of the finished model (else the latest) and what was written during training, in order."""
    drafts = [w for step, path in _steps(folder, "txt") if (w := _written(path, f"step {step:,}"))]
    final = _written(folder / "final.txt", "the finished model, fixed seeds")
    if final is None and drafts:
        return drafts[-1], drafts
    return final, drafts


def legible(text: str) -> str:
    """Text that HTML can hold: control characters and halves of pairs become U+FFFD, long text is cut."""
    cut = text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + " …"
    return "".join(c if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs") else "\ufffd" for c in cut)


def _steps(folder: Path, ending: str) -> list[tuple[int, Path]]:
    """(step, file) of what was drawn during training, in order."""
    found = ((re.fullmatch(r"step-(\d+)", p.stem), p) for p in folder.glob(f"step-*.{ending}"))
    return sorted((int(m[1]), p) for m, p in found if m)


def _written(path: Path, caption: str) -> Writing | None:
    """The text in a file; None when it cannot be read."""
    try:
        return Writing(path.read_bytes().decode("utf-8", "replace"), caption)
    except OSError:
        return None
