"""Pictures of levels cut into tiles: the size of a tile, the tiles that occur, and each picture as text.

Shapes: `N` cells of all pictures, `D` different ones, `K` tiles, `S` pixels of a tile's edge.
"""

from __future__ import annotations

import math
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from genloom.core.errors import InputError, Unreadable

Pixels = NDArray[np.uint8]  # [H, W, 3], or a cell [S, S, 3]
CHARACTERS = "-" + string.ascii_uppercase + string.ascii_lowercase + string.digits + "#=+*%&@$!?~^|:;<>()[]{}"
EDGES = range(4, 65)  # pixels of a tile's edge that are tried
BITS = 12  # of a pixel, for telling the size
LOOKED_AT, STEP, MOST_KINDS = 10**6, 2.5, 800  # pixels for telling the size; how far equal tiles differ; different ones
MOST_ALIKE = 24.0  # mean difference of pixel values beyond which tiles are never taken for one


def pixels_of(picture: Image.Image) -> Pixels:
    """RGB, what is transparent on white."""
    if picture.mode in ("LA", "RGBA"):
        base = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(base, picture.convert("RGBA"))
    return np.asarray(picture.convert("RGB"))


def cells(picture: Pixels, edge: int) -> Pixels:
    """[h, w, S, S, 3]. Raises Unreadable for a picture that is not of whole tiles."""
    high, wide = picture.shape[:2]
    if high % edge or wide % edge or not high or not wide:
        raise Unreadable(
            f"its {wide} x {high} pixels are not whole tiles of {edge} pixels; cut its edges off, or set modality.tile"
        )
    return picture.reshape(high // edge, edge, wide // edge, edge, 3).swapaxes(1, 2)


def told_edge(pictures: Sequence[Pixels]) -> int:
    """The edge of a tile with which the pictures (those that it divides, if most) are told in the fewest bits: each
    different tile once, and which one stands where. Raises InputError where no size repeats anything."""
    looked: list[Pixels] = []
    room = LOOKED_AT
    for p in pictures:
        room -= p.shape[0] * p.shape[1]
        if room >= 0 or not looked:
            looked.append(p)
    costs = {}
    for edge in EDGES:
        whole = [p for p in looked if not p.shape[0] % edge and not p.shape[1] % edge]
        if 3 * len(whole) < 2 * len(looked):
            continue
        every = np.concatenate([cells(p, edge).reshape(-1, edge, edge, 3) for p in whole])
        different = _kinds(every)
        if different is not None:
            costs[edge] = different * BITS / len(every) + math.log2(max(2, different)) / edge**2
    best = min(costs, key=lambda e: costs[e], default=None)
    if best is None or costs[best] > 0.5 * BITS:
        raise InputError(
            "the pictures do not show equal tiles in rows and columns; say how large a tile is, as in modality.tile=16"
        )
    return best


def _kinds(every: Pixels) -> int | None:
    """How many different ones there are among cells [N, S, S, 3], by the mean colours of 4 x 4 blocks, so that JPEG
    does not matter, and a quarter of the pixels; None where half of them are or there are more than MOST_KINDS."""
    edge = every.shape[1]
    at = [i * edge // 4 for i in range(4)]
    means = np.add.reduceat(np.add.reduceat(every.astype(np.float32), at, 1), at, 2) * (16 / edge**2)
    thin = every[:, :: max(1, edge // 8), :: max(1, edge // 8)].astype(np.float32)
    looks = np.concatenate([means.reshape(len(every), -1), thin.reshape(len(every), -1) / 4], 1)
    looks = np.unique(looks, axis=0)
    found = _leaders(looks, STEP, min(MOST_KINDS, len(every) // 2))
    return None if found is None else len(found)


@dataclass(frozen=True)
class Tiles:
    """What tiles look like. characters, looks: K of them and float32 [K, S S 3]."""

    characters: tuple[str, ...]
    looks: NDArray[np.float32]
    edge: int

    @classmethod
    def learnt(cls, pictures: Sequence[Pixels], edge: int, alike: float) -> Tiles:
        """The tiles that occur, the most frequent first; those that differ by at most `alike` (mean of the pixel
        values, of 255) are one, by more where there would be more than can be written. Raises InputError."""
        counts: Counter[bytes] = Counter()
        for picture in pictures:
            counts.update(c.tobytes() for c in cells(picture, edge).reshape(-1, edge, edge, 3))
        every = np.stack([np.frombuffer(c, np.uint8) for c, _ in counts.most_common()]).astype(np.float32)
        kept = _leaders(every, alike, len(CHARACTERS))
        while kept is None and alike < MOST_ALIKE:
            alike = min(MOST_ALIKE, max(1.0, 1.5 * alike))
            kept = _leaders(every, alike, len(CHARACTERS))
        if kept is None:
            raise InputError(
                f"cut into tiles of {edge} pixels, the pictures show more than {len(CHARACTERS)} different ones "
                f"({len(every):,}); is that the size of a tile? modality.tile=16 sets it"
            )
        return cls(tuple(CHARACTERS[: len(kept)]), every[kept], edge)

    @classmethod
    def given(cls, pictures: Mapping[str, Image.Image]) -> Tiles:
        """Tiles that are known."""
        looks = np.stack([pixels_of(p).reshape(-1) for p in pictures.values()]).astype(np.float32)
        return cls(tuple(pictures), looks, next(iter(pictures.values())).width)

    def pictures(self) -> dict[str, Image.Image]:
        shape = self.edge, self.edge, 3
        return {
            c: Image.fromarray(look.astype(np.uint8).reshape(shape))
            for c, look in zip(self.characters, self.looks, strict=True)
        }

    def text(self, picture: Pixels) -> str:
        """The level that a picture shows, each cell as the tile it is most like. Raises Unreadable."""
        parts = cells(picture, self.edge)
        flat = parts.reshape(-1, self.edge * self.edge * 3)
        unique, place = np.unique(flat, axis=0, return_inverse=True)
        nearest = [self.characters[int(np.abs(self.looks - c).mean(1).argmin())] for c in unique.astype(np.float32)]
        letters = [nearest[int(k)] for k in place.ravel()]
        wide = parts.shape[1]
        return "\n".join("".join(letters[i : i + wide]) for i in range(0, len(letters), wide))


def _leaders(every: NDArray[np.float32], alike: float, most: int) -> list[int] | None:
    """Rows [D, ...] of which each differs from all before by more than `alike` on average; None for more than
    `most`."""
    kept: list[int] = []
    looks = np.empty((most, every.shape[1]), np.float32)
    for i, cell in enumerate(every):
        if not kept or float(np.abs(looks[: len(kept)] - cell).mean(1).min()) > alike:
            if len(kept) == most:
                return None
            looks[len(kept)] = cell
            kept.append(i)
    return kept
