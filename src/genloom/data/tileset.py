"""Pictures of tiles: given ones, readable default ones, a whole level drawn with them, and a map for Tiled."""

from __future__ import annotations

import base64
import io
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from genloom.core.errors import InputError
from genloom.data.legend import Tags, View, role

SIZE = 16  # pixels of a default tile
PATH = "#e4572e"
Pictures = Mapping[str, Image.Image]

_EMPTY = {"side": "#dcebf7", "top": "#e9dfc9"}
_SOLID = ("#8a6242", "#a9743f", "#6d6f7b", "#7a5c66", "#5f7a52", "#946b2d", "#4f6a78", "#85505a")
_VOID, _WATER, _DEADLY, _DOOR, _ENEMY, _OTHER = "#26242b", "#3f7fbf", "#c8443c", "#b98a2f", "#7b4fa3", "#4d8f6a"


def default_pictures(legend: Tags, view: View) -> dict[str, Image.Image]:
    """A picture for each tile that shows what it does: colours by role, its character where the role does not say it
    all."""
    solids = [t for t, tags in legend.items() if role(tags, "solid") and "void" not in tags]
    return {t: _default(t, tags, view, solids.index(t) if t in solids else 0) for t, tags in legend.items()}


def _default(tile: str, tags: Sequence[str], view: View, order: int) -> Image.Image:
    words = " ".join(tags)
    picture = Image.new("RGB", (SIZE, SIZE), _EMPTY[view])
    draw = ImageDraw.Draw(picture)
    last = SIZE - 1
    if role(tags, "solid"):
        base = _VOID if "void" in tags else _SOLID[order % len(_SOLID)]
        draw.rectangle((0, 0, last, last), base)
        if "void" not in tags:
            draw.line((0, 0, last, 0), _mixed(base, "#ffffff", 0.35))
            draw.line((0, last, last, last), _mixed(base, "#000000", 0.35))
            draw.line((last, 0, last, last), _mixed(base, "#000000", 0.25))
            if not {"ground", "wall"} & set(tags):
                _letter(draw, tile, _mixed(base, "#ffffff", 0.75))
    elif "climb" in words or "ladder" in words or "rope" in words:
        for y in range(2, SIZE, 4):
            draw.line((4, y, last - 4, y), "#8a5a2b")
        for x in (4, last - 4):
            draw.line((x, 0, x, last), "#8a5a2b")
    elif role(tags, "deadly"):
        colour = _WATER if "water" in words else _DEADLY
        if "water" in words:
            draw.rectangle((0, 0, last, last), colour)
            for y in (5, 10):
                draw.arc((2, y - 2, 8, y + 2), 180, 360, "#a9cdee")
                draw.arc((8, y - 2, 14, y + 2), 180, 360, "#a9cdee")
        else:
            for x in (0, 8):
                draw.polygon([(x, last), (x + 4, 4), (x + 7, last)], colour)
    elif role(tags, "exits"):
        draw.rectangle((1, 0, last - 1, last), _DOOR)
        _letter(draw, tile, "#ffffff")
    elif role(tags, "start") or role(tags, "goal"):
        colour = "#2f8f4e" if role(tags, "start") else "#c8443c"
        draw.line((5, 2, 5, last), "#4a4a4a", 2)
        draw.polygon([(6, 2), (14, 5), (6, 9)], colour)
    elif "coin" in words or "gold" in words:
        draw.ellipse((4, 3, last - 4, last - 3), "#f0b429", "#a87710")
    elif "enem" in words or "monster" in words:
        draw.ellipse((2, 2, last - 2, last - 2), _ENEMY)
        _letter(draw, tile, "#ffffff")
    elif "empty" not in tags and tile.strip():
        draw.rectangle((2, 2, last - 2, last - 2), _mixed(_OTHER, _EMPTY[view], 0.5))
        _letter(draw, tile, "#1f2a24")
    return picture


def _letter(draw: ImageDraw.ImageDraw, tile: str, colour: str) -> None:
    draw.text((SIZE / 2, SIZE / 2), tile, colour, ImageFont.load_default(size=11), anchor="mm")


def _mixed(a: str, b: str, share: float) -> str:
    one, two = (tuple(int(c[i : i + 2], 16) for i in (1, 3, 5)) for c in (a, b))
    return "#" + "".join(f"{round(x + (y - x) * share):02x}" for x, y in zip(one, two, strict=True))


def given_pictures(folder: str, legend: Tags, view: View) -> dict[str, Image.Image]:
    """Default pictures, with those in `folder` in their place: files called like a tile, its code point (u0058) or one
    of its words (solid.png). Raises InputError for a folder without any that fits."""
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise InputError(f"the tile set {root} is not a folder; give one with pictures such as X.png or ground.png")
    files = {p.stem if len(p.stem) == 1 else p.stem.lower(): p for p in sorted(root.glob("*.png"))}
    out = default_pictures(legend, view)
    found = 0
    for tile, tags in legend.items():
        names = [tile, f"u{ord(tile):04x}", *(t.lower() for t in reversed(tags))]
        path = next((files[n] for n in names if n in files), None)
        if path is None:
            continue
        try:
            with Image.open(path) as picture:
                image = picture.convert("RGBA").resize((SIZE, SIZE), Image.Resampling.LANCZOS)
        except (OSError, ValueError) as e:
            raise InputError(f"the tile {path} cannot be read: {e}") from None
        base = Image.new("RGBA", image.size, _EMPTY[view])
        out[tile] = Image.alpha_composite(base, image).convert("RGB")
        found += 1
    if not found:
        raise InputError(f"no picture in {root} is called like a tile or one of its words, such as {_example(legend)}")
    return out


def _example(legend: Tags) -> str:
    tile, tags = next(iter(legend.items()))
    return f"{tile}.png or {tags[0] if tags else 'solid'}.png"


def draw_level(level: str, pictures: Pictures, path: Sequence[tuple[int, int]] | None = None) -> Image.Image:
    """A level with its tiles; path: places (row, column) that a line is drawn through."""
    rows, edge = level.split("\n"), _edge(pictures)
    sheet = Image.new("RGB", (edge * len(rows[0]), edge * len(rows)), "white")
    for y, row in enumerate(rows):
        for x, tile in enumerate(row):
            sheet.paste(pictures[tile], (edge * x, edge * y))
    if path:
        points = [(edge * x + edge // 2, edge * y + edge // 2) for y, x in path]
        draw = ImageDraw.Draw(sheet)
        if len(points) > 1:
            draw.line(points, PATH, 3, joint="curve")
        for (x, y), colour in ((points[0], "#2f8f4e"), (points[-1], PATH)):
            draw.ellipse((x - 4, y - 4, x + 4, y + 4), colour, "white")
    return sheet


def strip(pictures: Pictures) -> Image.Image:
    """All tiles side by side, as Tiled reads a tile set."""
    edge = _edge(pictures)
    sheet = Image.new("RGB", (edge * len(pictures), edge), "white")
    for i, picture in enumerate(pictures.values()):
        sheet.paste(picture, (edge * i, 0))
    return sheet


def _edge(pictures: Pictures) -> int:
    return next(iter(pictures.values())).width


def tiled(level: str, pictures: Pictures, legend: Tags, image: str) -> bytes:
    """A map for Tiled (.tmx, format 1.10) with one layer. image: the file of the tile set beside it.

    https://doc.mapeditor.org/en/stable/reference/tmx-map-format/
    """
    rows, tiles, size = level.split("\n"), list(pictures), _edge(pictures)
    width, height, edge = str(len(rows[0])), str(len(rows)), str(size)
    root = ElementTree.Element("map", {
        "version": "1.10", "orientation": "orthogonal", "renderorder": "right-down", "width": width, "height": height,
        "tilewidth": edge, "tileheight": edge, "infinite": "0",
    })  # fmt: skip
    tileset = ElementTree.SubElement(root, "tileset", {
        "firstgid": "1", "name": "tiles", "tilewidth": edge, "tileheight": edge, "tilecount": str(len(tiles)),
        "columns": str(len(tiles)),
    })  # fmt: skip
    ElementTree.SubElement(tileset, "image", {"source": image, "width": str(size * len(tiles)), "height": edge})
    for i, tile in enumerate(tiles):
        entry = ElementTree.SubElement(tileset, "tile", {"id": str(i), "type": " ".join(legend[tile][:1])})
        properties = ElementTree.SubElement(entry, "properties")
        ElementTree.SubElement(properties, "property", {"name": "tile", "value": tile})
        ElementTree.SubElement(properties, "property", {"name": "tags", "value": ", ".join(legend[tile])})
    layer = ElementTree.SubElement(root, "layer", {"id": "1", "name": "level", "width": width, "height": height})
    number = {tile: str(i) for i, tile in enumerate(tiles, 1)}
    data = ElementTree.SubElement(layer, "data", {"encoding": "csv"})
    data.text = "\n" + ",\n".join(",".join(number[t] for t in row) for row in rows) + "\n"
    ElementTree.indent(root)
    return ElementTree.tostring(root, "utf-8", xml_declaration=True) + b"\n"


def packed(pictures: Pictures) -> dict[str, str]:
    """The pictures as JSON: PNG files in base64."""
    out = {}
    for tile, picture in pictures.items():
        file = io.BytesIO()
        picture.save(file, "PNG")
        out[tile] = base64.b64encode(file.getvalue()).decode()
    return out


def unpacked(state: Mapping[str, str]) -> dict[str, Image.Image]:
    return {t: Image.open(io.BytesIO(base64.b64decode(v))).convert("RGB") for t, v in state.items()}
