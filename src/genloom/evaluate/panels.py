"""Rows of small pictures with words beside and below them, as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

LEAST = 64  # pixels of a cell's width
GAP, LINE = 8, 16  # pixels between rows, and of a line of words
INK, DIM = "#1c1d20", "#63666d"


@dataclass(frozen=True)
class PanelRow:
    """strip: pictures side by side, all as wide. title: stands at the left. captions: below each picture, or none."""

    strip: Image.Image
    title: tuple[str, ...]
    captions: tuple[str, ...] = ()


def panel(rows: Sequence[PanelRow], columns: int, header: Sequence[str] = ()) -> Image.Image:
    """The rows below each other on white. Words are in the Latin alphabet; header: above each of the columns."""
    font = ImageFont.load_default(size=12)
    scale = max(1, -(-LEAST * columns // min(r.strip.width for r in rows)))
    strips = [r.strip.convert("RGB").resize((r.strip.width * scale, r.strip.height * scale), 0) for r in rows]
    lines = [t for r in rows for t in r.title]
    left = round(max((font.getlength(t) for t in lines), default=0)) + 2 * GAP
    heights = [s.height + (LINE if r.captions else 0) + GAP for s, r in zip(strips, rows, strict=True)]
    top = LINE + GAP if header else GAP
    wide = max(s.width for s in strips)
    sheet = Image.new("RGB", (left + wide + GAP, top + sum(heights)), "white")
    draw = ImageDraw.Draw(sheet)
    cell = wide / columns
    for i, text in enumerate(header):
        draw.text((left + (i + 0.5) * cell, GAP), text, DIM, font, anchor="ma")
    for row, strip, height in zip(rows, strips, heights, strict=True):
        sheet.paste(strip, (left, top))
        middle = top + strip.height / 2 - LINE * len(row.title) / 2
        for j, text in enumerate(row.title):
            draw.text((GAP, middle + j * LINE), text, INK if not j else DIM, font)
        for i, text in enumerate(row.captions):
            draw.text((left + (i + 0.5) * cell, top + strip.height), text, DIM, font, anchor="ma")
        top += height
    return sheet
