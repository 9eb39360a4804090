"""Pictures to put into folders and archives, for tests of reading data."""

import io
import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def pixels(seed: int, size: int = 16, colour: bool = True) -> np.ndarray:
    """A picture with structure, different for each seed."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (5, 5, 3) if colour else (5, 5), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC))


def encoded(seed: int, kind: str = "PNG", **picture: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels(seed, **picture)).save(out, kind)
    return out.getvalue()


def write(root: Path, names: list[str], start: int = 0) -> Path:
    """A different picture under each name below `root`."""
    for k, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = {"jpg": "JPEG", "png": "PNG"}[name.rsplit(".", 1)[1]]
        path.write_bytes(encoded(start + k, kind))
    return root


def huge_png(side: int = 60_000) -> bytes:
    """A few hundred bytes that claim to be side x side pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")

    head = side.to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )
