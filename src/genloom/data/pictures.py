"""Pictures from untrusted bytes and from arrays, as PIL images of mode L, LA, RGB or RGBA."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError
from torch import Tensor

from genloom.core.errors import Unreadable

Picture = Pillow.Image
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "PPM")  # not EPS: it starts another program
MAX_PIXELS = 100_000_000


def decode(raw: bytes | Picture, working: int) -> Picture:
    """A file's bytes or a PIL image of any mode as mode L, LA, RGB or RGBA, turned as its EXIF says.

    working: pixels of the shorter side that must remain. Raises Unreadable, whatever the bytes are.
    """
    if isinstance(raw, bytes) and not raw:
        raise Unreadable("the file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # broken metadata and Pillow's own pixel warning; ours is an error
            picture = _open(raw) if isinstance(raw, bytes) else raw
            if picture.width * picture.height > MAX_PIXELS:
                raise Unreadable(
                    f"{picture.width:,} x {picture.height:,} pixels, more than the limit of {MAX_PIXELS:,}"
                )
            if isinstance(raw, bytes):
                picture.draft(None, (working, working))  # JPEG: decode at a fraction, never below what is asked for
            picture.load()
            return canonical(_plain(ImageOps.exif_transpose(picture)), working)
    except Unreadable:
        raise
    except Pillow.DecompressionBombError:
        raise Unreadable(f"more pixels than the limit of {MAX_PIXELS:,}") from None
    except UnidentifiedImageError:
        raise Unreadable(_unidentified(raw if isinstance(raw, bytes) else b"")) from None
    except MemoryError:
        raise Unreadable("too large for the memory") from None
    except Exception as e:  # a damaged file makes Pillow's decoders raise nearly anything
        reason = str(e) or type(e).__name__
        raise Unreadable(reason if "truncated" in reason else f"damaged: {reason}") from None


def _open(raw: bytes) -> Picture:
    Pillow.init()  # once; Pillow knows few formats before, and may be built without WebP
    return Pillow.open(io.BytesIO(raw), formats=[f for f in FORMATS if f in Pillow.OPEN])


def _unidentified(raw: bytes) -> str:
    for start, name in (
        (b"\xff\xd8\xff", "JPEG"),
        (b"\x89PNG", "PNG"),
        (b"GIF8", "GIF"),
        (b"RIFF", "WebP"),
        (b"BM", "BMP"),
    ):
        if raw.startswith(start):
            return f"truncated or damaged {name}"
    return "not an image: its content is no PNG, JPEG, WebP, BMP, TIFF or GIF"


def _plain(picture: Picture) -> Picture:
    """The same picture in mode L, LA, RGB or RGBA; 16 bits and floats scaled, palettes and CMYK resolved."""
    mode = picture.mode
    if mode in ("L", "RGB") and "transparency" not in picture.info:
        return picture
    if mode in ("LA", "RGBA"):
        return picture
    if mode.startswith("I") or mode == "F":
        return _from_pixels(np.asarray(picture))
    if mode == "1":
        return picture.convert("L")
    transparent = "transparency" in picture.info or mode in ("PA", "La", "RGBa")
    grey = mode in ("L", "La")
    return picture.convert(("LA" if grey else "RGBA") if transparent else "RGB")


def from_array(raw: Any, working: int) -> Picture:
    """The picture in an array or tensor [H, W], [H, W, C] or [C, H, W]. Raises Unreadable."""
    return canonical(_from_pixels(raw), working)


def _from_pixels(raw: Any) -> Picture:
    try:
        array: NDArray[Any] = np.asarray(raw.detach().cpu() if isinstance(raw, Tensor) else raw)
    except (TypeError, ValueError):
        raise Unreadable(f"{type(raw).__name__} is not an image") from None
    if array.ndim == 3 and array.shape[2] not in (1, 2, 3, 4) and array.shape[0] in (1, 3, 4):
        array = np.moveaxis(array, 0, -1)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 2, 3, 4)) or 0 in array.shape:
        raise Unreadable(f"an array of the shape {list(array.shape)} is not an image")
    pixels = np.ascontiguousarray(_to_uint8(array))
    return Pillow.fromarray(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels)


def _to_uint8(a: NDArray[Any]) -> NDArray[np.uint8]:
    if a.dtype == np.uint8:
        return a
    if a.dtype == np.bool_:
        return a.astype(np.uint8) * np.uint8(255)
    if a.dtype.kind not in "uif":
        raise Unreadable(f"{a.dtype} values are not pixels")
    if a.dtype.kind == "f" and not np.isfinite(a).all():
        raise Unreadable("holds values that are not finite")
    low, high = float(a.min()), float(a.max())
    if a.dtype.kind == "f" and low >= -1 and high <= 1:
        return np.rint((a + 1) * 127.5 if low < 0 else a * 255.0).astype(np.uint8)
    if low < 0 or high > 65535:
        raise Unreadable(
            f"values from {low:g} to {high:g} are no pixels: they must lie in 0..1, -1..1, 0..255 or 0..65535"
        )
    wide = a.dtype.itemsize == 2 if a.dtype.kind == "u" else high > 255
    return np.rint(a / 257.0 if wide else a).astype(np.uint8)


def canonical(picture: Picture, working: int) -> Picture:
    """Reduced to working size; without opaque alpha, colours that do not show, and colour channels all alike."""
    factor = min(picture.size) // working
    if factor > 1:
        picture = picture.reduce(factor)
    if picture.mode in ("LA", "RGBA"):
        alpha = np.asarray(picture.getchannel("A"))
        if alpha.min() == 255:
            picture = picture.convert(picture.mode[:-1])
        elif alpha.min() == 0:
            pixels = np.array(picture)
            pixels[alpha == 0] = 0
            picture = Pillow.fromarray(pixels)
    if picture.mode in ("RGB", "RGBA"):
        red, green, blue = picture.split()[:3]
        if red.tobytes() == green.tobytes() == blue.tobytes():
            picture = red if picture.mode == "RGB" else Pillow.merge("LA", (red, picture.getchannel("A")))
    return picture
