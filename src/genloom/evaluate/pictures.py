"""Pictures of a run folder as data addresses, so that a report is one file."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

MOST_BYTES = 400_000  # a larger picture is stored again with less detail


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


def _smaller(image: Image.Image, widest: int) -> tuple[bytes, str, tuple[int, int]]:
    copy = image.convert("RGBA" if "A" in image.getbands() else "RGB")
    copy.thumbnail((widest, 16_000))
    out = io.BytesIO()
    copy.save(out, "WEBP", quality=88)
    return out.getvalue(), "WEBP", copy.size


def samples_of(folder: Path) -> tuple[Picture | None, list[Picture]]:
    """The picture of the finished model (else the latest grid) and the grids drawn during training, in order."""
    steps = sorted((int(m[1]), p) for p in folder.glob("step-*.png") if (m := re.fullmatch(r"step-(\d+)", p.stem)))
    grids = [g for step, path in steps if (g := embed(path, f"step {step:,}", 900))]
    final = embed(folder / "final.png", "the finished model, fixed seeds", 1600)
    if final is None and grids:
        return grids[-1], grids
    return final, grids
