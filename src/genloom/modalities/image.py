"""Images: any common file format, arrays and PIL images, as a Grid of 1, 3 or 4 channels.

Legend: B batch, C channels, H x W pixels. An example is a PIL image of mode L, LA, RGB or RGBA.
"""

from __future__ import annotations

import hashlib
import io
import math
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from PIL import Image as Pillow
from PIL import ImageOps
from pydantic import field_validator
from torch import Tensor
from torch.nn import functional

from genloom.core.config import Settings, setting
from genloom.core.errors import InputError
from genloom.core.files import Finish, as_is, write_atomic
from genloom.core.modality import Fingerprint, Modality
from genloom.core.rng import Rng
from genloom.core.spec import Grid
from genloom.data import pictures
from genloom.metrics.looks import PictureInspector

Picture = Pillow.Image
WORKING = 512  # pixels of the shorter side that decoding keeps; unless a larger size is asked for
SMALL, MAX_SIZE = 4, 1024
TRANSPARENT_SHARE = 0.05
FLAT = (
    4.0  # standard deviation of the coarse grey picture, of 255, below which it shows too little for a perceptual print
)


class ImageConfig(Settings):
    """What becomes of an image before a model sees it."""

    size: int | str | None = setting(
        None, "Height and width: 64, or 48x64 for height x width; None chooses from the data.", unit="pixels"
    )
    channels: Literal[1, 3, 4] | None = setting(
        None, "1 grey, 3 colour, 4 colour with transparency; None chooses from the data."
    )
    background: Literal["white", "black"] = setting(
        "white", "What shows through transparent parts where there is no transparency channel."
    )
    flip: bool = setting(False, "Mirror left and right at random.")
    shift: int = setting(0, "Largest random shift.", unit="pixels", ge=0, le=64)
    rotate: float = setting(0.0, "Largest random rotation.", unit="degrees", ge=0, le=180)
    zoom: float = setting(0.0, "Largest random change of scale; 0.1 is 0.9 to 1.1.", unit="share", ge=0, le=0.5)
    brightness: float = setting(
        0.0, "Largest random change of brightness, as a share of the range.", unit="share", ge=0, le=0.5
    )
    contrast: float = setting(0.0, "Largest random change of contrast.", unit="share", ge=0, le=0.9)

    @field_validator("size")
    @classmethod
    def _size(cls, value: int | str | None) -> int | str | None:
        if value is None:
            return None
        height, width = parse_size(value)
        return height if height == width else f"{height}x{width}"


def parse_size(value: int | str) -> tuple[int, int]:
    """(height, width) of 64 or "48x64". Raises ValueError."""
    parts = str(value).lower().replace("×", "x").split("x")
    if len(parts) > 2 or not all(p.strip().isdecimal() and SMALL <= int(p) <= MAX_SIZE for p in parts):
        raise ValueError(f"must be a number of pixels from {SMALL} to {MAX_SIZE}, or height x width as in 48x64")
    return int(parts[0]), int(parts[-1])


class Image(Modality[Picture]):
    """Images, encoded as float32 [C, H, W] in [-1, 1] with 256 levels."""

    Config = ImageConfig
    forms = (Grid,)
    extensions = frozenset({
        ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif",
        ".ppm", ".pgm", ".pbm",
    })  # fmt: skip

    def __init__(self, config: ImageConfig, notices: tuple[str, ...] = ()) -> None:
        """config has a size and channels."""
        if config.size is None or config.channels is None:
            raise ValueError("an Image modality has a size and channels; make it by fit")
        self.config: ImageConfig = config
        self.notices = notices
        self.spec: Grid = Grid((config.channels, *parse_size(config.size)), levels=256)

    @classmethod
    def read(cls, raw: Any, config: Settings) -> Picture:
        """The picture in a file's bytes, a PIL image, or an array or tensor [H, W], [H, W, C] or [C, H, W] of uint8,
        uint16, bool or floats in 0..1 or -1..1.

        The first frame, rotated as its EXIF says; 16 bits scaled to 8; opaque alpha and equal channels dropped.
        Pictures whose shorter side is twice WORKING or more are reduced by a whole factor. Raises Unreadable.
        """
        size = getattr(config, "size", None)
        working = WORKING if size is None else max(WORKING, 2 * max(parse_size(size)))
        if isinstance(raw, bytes | Picture):
            return pictures.decode(raw, working)
        return pictures.from_array(raw, working)

    @classmethod
    def fingerprint(cls, example: Picture) -> Fingerprint:
        """exact: of mode, size and pixels. near: signs of the 64 lowest frequencies against their median (pHash).

        Source of near: Zauner 2010, "Implementation and benchmarking of perceptual image hash functions", DCT based.
        The frequencies are whole numbers below 2**53, so that every machine agrees.
        """
        head = f"{example.mode} {example.width} {example.height} ".encode()
        exact = hashlib.blake2b(head + example.tobytes(), digest_size=16).digest()
        shown = _flatten(example, "white")
        grey = np.asarray(shown.convert("L").resize((32, 32), Pillow.Resampling.BICUBIC), dtype=np.float64)
        thumbnail = shown.resize((12, 12), Pillow.Resampling.BICUBIC).convert("RGB").tobytes()
        frequencies = (_COSINES @ grey @ _COSINES.T).ravel()
        if math.sqrt(frequencies[1:] @ frequencies[1:]) < FLAT * _UNIT:
            return Fingerprint(exact, None, thumbnail)
        above = frequencies > np.partition(frequencies, 32)[32]
        return Fingerprint(exact, int.from_bytes(np.packbits(above).tobytes(), "big"), thumbnail)

    @classmethod
    def fit(cls, config: Settings, train: Iterable[Picture]) -> Self:
        """Choose size and channels where the config leaves them open.

        Size: that of the images if all are alike and at most 64 pixels; else 64, 32 or 16 for the longer side, by how
        large they are.
        """
        assert isinstance(config, ImageConfig)
        seen = [(p.size, p.mode) for p in train]
        if not seen:
            raise InputError("there are no images to choose a size from")
        size, size_notice = (config.size, "") if config.size is not None else _choose_size([s for s, _ in seen])
        channels, channel_notice = (
            (config.channels, "") if config.channels else _choose_channels([m for _, m in seen], config)
        )
        notices = tuple(n for n in (size_notice, channel_notice) if n)
        return cls(config.model_copy(update={"size": size, "channels": channels}), notices)

    @classmethod
    def inspector(cls, config: Settings) -> PictureInspector:
        size = getattr(config, "size", None)
        return PictureInspector(lambda sizes: parse_size(size if size is not None else _choose_size(sizes)[0]))

    def encode(self, example: Picture) -> Tensor:
        """[C, H, W]: the largest centred part with the aspect of the spec, resampled (Lanczos)."""
        channels, height, width = self.spec.shape
        picture = _to_channels(example, channels, self.config.background)
        if picture.size != (width, height):
            picture = ImageOps.fit(picture, (width, height), Pillow.Resampling.LANCZOS)
        pixels = np.array(picture, dtype=np.float32).reshape(height, width, channels)
        pixels -= 127.5
        pixels /= 127.5
        return torch.from_numpy(pixels.transpose(2, 0, 1).copy())

    def decode(self, x: Tensor) -> Picture:
        """A picture of mode L, RGB or RGBA."""
        pixels = ((x.detach().float().cpu().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
        return Pillow.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels))

    def augment(self, x: Tensor, rng: Rng) -> Tensor:
        """A batch [B, C, H, W] with the configured random changes, drawn for each image alone."""
        c = self.config
        if c.flip:
            x = torch.where(rng.uniform("flip", len(x))[:, None, None, None] < 0.5, x.flip(-1), x)
        if c.shift:
            x = _shift(x, rng, c.shift)
        if c.rotate or c.zoom:
            x = _turn(x, rng, math.radians(c.rotate), c.zoom)
        if c.contrast or c.brightness:
            x = _relight(x, rng, c.brightness, c.contrast)
        return x

    def write(
        self, examples: Sequence[Picture], folder: Path, names: Sequence[str], finish: Finish = as_is
    ) -> list[Path]:
        """PNG files. Raises GenloomError when the disk is full or the folder cannot be written."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{name}.png" for name in names]
        for path, example in zip(paths, examples, strict=True):
            data = io.BytesIO()
            example.save(data, "PNG")
            write_atomic(path, finish(path, data.getvalue()))
        return paths

    def show(self, examples: Sequence[Picture], columns: int | None = None) -> Picture:
        """A grid on white, about square unless `columns` is given; tiny images enlarged, transparency over a
        checkerboard.
        """
        if not examples:
            raise InputError("there are no images to show")
        columns = columns or math.ceil(math.sqrt(len(examples)))
        rows = -(-len(examples) // columns)
        width, height = max(e.width for e in examples), max(e.height for e in examples)
        scale = max(1, -(-48 // max(width, height)))
        gap = max(2, scale * max(width, height) // 24)
        step_x, step_y = scale * width + gap, scale * height + gap
        sheet = Pillow.new("RGB", (columns * step_x + gap, rows * step_y + gap), "white")
        for k, example in enumerate(examples):
            cell = _over_checkerboard(
                example.resize((scale * example.width, scale * example.height), Pillow.Resampling.NEAREST)
            )
            left = gap + k % columns * step_x + (scale * width - cell.width) // 2
            sheet.paste(cell, (left, gap + k // columns * step_y + (scale * height - cell.height) // 2))
        return sheet

    def state(self) -> dict[str, Any]:
        return {"config": self.config.model_dump(mode="json")}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        return cls(ImageConfig(**state["config"]))


_COSINES = np.rint(1024 * np.cos(np.pi * np.outer(np.arange(8), 2 * np.arange(32) + 1) / 64))
_UNIT = 1024**2 * 32 * 16  # what one grey level of standard deviation over 32 x 32 pixels is in the frequencies


# -- choosing --------------------------------------------------------------------------------------------------


def _choose_size(sizes: Sequence[tuple[int, int]]) -> tuple[int | str, str]:
    """A size for images of (width, height), and the sentence that says so."""
    width, height = sizes[0]
    alike = all(s == sizes[0] for s in sizes)
    if alike and min(width, height) >= SMALL and max(width, height) <= 64:
        return (height if height == width else f"{height}x{width}"), ""
    aspects = sorted(w / h for w, h in sizes)
    middle = statistics.median(aspects)
    common = sum(0.9 <= a / middle <= 1.1 for a in aspects) >= 0.8 * len(aspects)
    short = statistics.median(min(s) for s in sizes)
    long = 64 if short >= 48 else 32 if short >= 24 else 16
    aspect = middle if common and not 0.8 <= middle <= 1.25 else 1.0
    minor = max(long // 4, round(long * min(aspect, 1 / aspect) / (long // 4)) * (long // 4))
    chosen = (long, long) if aspect == 1.0 else (minor, long) if aspect > 1 else (long, minor)
    text = "{}x{}".format(*chosen)
    shapes = f"{width}x{height}" if alike else f"{min(w for w, _ in sizes)} to {max(w for w, _ in sizes)} pixels wide"
    notice = (
        f"the images are {shapes}; each is cropped at its centre and resampled to {text} "
        "(change it with --set modality.size=128)"
    )
    return (long if chosen[0] == chosen[1] else text), notice


def _choose_channels(modes: Sequence[str], config: ImageConfig) -> tuple[Literal[1, 3, 4], str]:
    transparent = sum(m in ("LA", "RGBA") for m in modes)
    if transparent >= TRANSPARENT_SHARE * len(modes) and transparent:
        share = f"{transparent / len(modes):.0%} of the images have transparent parts"
        return (
            4,
            f"{share}, so transparency is learnt as a fourth channel (modality.channels=3 lays them on "
            f"{config.background})",
        )
    laid = f"transparent parts of {transparent:,} images are laid on {config.background}" if transparent else ""
    colour = sum(m in ("RGB", "RGBA") for m in modes)
    if not colour:
        return 1, laid
    mixed = (
        f"{len(modes) - colour:,} of {len(modes):,} images are grey and are kept as colour"
        if colour < len(modes)
        else ""
    )
    return 3, "; ".join(n for n in (laid, mixed) if n)


def _to_channels(picture: Picture, channels: int, background: str) -> Picture:
    if channels == 4:
        return picture if picture.mode == "RGBA" else picture.convert("RGBA")
    mode = "L" if channels == 1 else "RGB"
    flat = _flatten(picture, background)
    return flat if flat.mode == mode else flat.convert(mode)


def _flatten(picture: Picture, background: str) -> Picture:
    """Without alpha, laid on the background."""
    if picture.mode not in ("LA", "RGBA"):
        return picture
    base = Pillow.new("RGBA", picture.size, background)
    return Pillow.alpha_composite(base, picture.convert("RGBA")).convert("L" if picture.mode == "LA" else "RGB")


def _over_checkerboard(picture: Picture) -> Picture:
    if picture.mode not in ("LA", "RGBA"):
        return picture.convert("RGB")
    square = max(4, max(picture.size) // 12)
    rows, columns = np.indices((picture.height, picture.width)) // square
    board = np.where((rows + columns) % 2, 224, 255).astype(np.uint8)
    base = Pillow.fromarray(board).convert("RGBA")
    return Pillow.alpha_composite(base, picture.convert("RGBA")).convert("RGB")


# -- augmentation ----------------------------------------------------------------------------------------------


def _shift(x: Tensor, rng: Rng, most: int) -> Tensor:
    """Each image moved by whole pixels; its edge is repeated."""
    b, _, height, width = x.shape
    dy, dx = (rng.integers(name, 2 * most + 1, b) - most for name in ("shift-y", "shift-x"))
    rows = (torch.arange(height, device=x.device) - dy[:, None]).clamp(0, height - 1)
    columns = (torch.arange(width, device=x.device) - dx[:, None]).clamp(0, width - 1)
    batch = torch.arange(b, device=x.device)[:, None, None]
    return x.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def _turn(x: Tensor, rng: Rng, angle: float, zoom: float) -> Tensor:
    """Each image turned and scaled about its centre, bilinear; its edge is repeated."""
    b, _, height, width = x.shape
    a = (2 * rng.uniform("rotate", b) - 1) * angle
    scale = 1 + (2 * rng.uniform("zoom", b) - 1) * zoom
    cos, sin, zero = a.cos() / scale, a.sin() / scale, torch.zeros_like(a)
    theta = torch.stack([cos, -sin * height / width, zero, sin * width / height, cos, zero], 1).view(b, 2, 3)
    grid = functional.affine_grid(theta, list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _relight(x: Tensor, rng: Rng, brightness: float, contrast: float) -> Tensor:
    """Each image's colours scaled about their mean and shifted; transparency is left alone."""
    colour, alpha = (x[:, :3], x[:, 3:]) if x.shape[1] == 4 else (x, x[:, :0])
    gain = 1 + (2 * rng.uniform("contrast", len(x)) - 1) * contrast
    lift = 2 * (2 * rng.uniform("brightness", len(x)) - 1) * brightness
    mean = colour.mean((1, 2, 3), keepdim=True)
    colour = (colour - mean) * gain[:, None, None, None] + mean + lift[:, None, None, None]
    return torch.cat([colour.clamp(-1, 1), alpha], 1)
