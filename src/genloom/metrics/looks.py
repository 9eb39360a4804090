"""What pictures of a set look like as a whole, and which of them look wrong: blank, tiny, cut off, unlike in light."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from genloom.core.finding import SHOWN, Fact, Finding, Ints, spread

BLANK = 2.0  # standard deviation of grey and of transparency, of 255, below which a picture shows nothing
DARK, BRIGHT = 20.0, 235.0  # mean grey, of 255, of pictures in which little can be made out
RARE = 0.05  # share of the set up to which dark or bright ones are not simply what the set is
ENLARGED = 2.0  # times that a picture is enlarged for training, from which it looks blurred
CUT = 0.5  # share of a picture's area that must be left when it is cropped
_FORMATS = (
    (b"\x89PNG", "PNG"), (b"\xff\xd8\xff", "JPEG"), (b"GIF8", "GIF"), (b"BM", "BMP"), (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"), (b"P1", "PBM"), (b"P4", "PBM"), (b"P2", "PGM"), (b"P5", "PGM"), (b"P3", "PPM"), (b"P6", "PPM"),
)  # fmt: skip
_MODES = {"L": "grey", "LA": "grey with transparency", "RGB": "colour", "RGBA": "colour with transparency"}


class PictureInspector:
    """Looks at PIL images of mode L, LA, RGB or RGBA.

    target: (height, width) to which pictures of these (width, height) are brought for training.
    """

    def __init__(self, target: Callable[[Sequence[tuple[int, int]]], tuple[int, int]]) -> None:
        self._target = target
        self._formats: Counter[str] = Counter()
        self._modes: Counter[str] = Counter()
        self._numbers = array("d")  # index, width, height, mean, deviation of each picture

    def add(self, i: int, raw: Any, example: Pillow.Image) -> None:
        if isinstance(raw, bytes):
            self._formats[format_of(raw)] += 1
        self._modes[example.mode] += 1
        pixels = np.asarray(example.convert("L") if example.mode != "L" else example, np.float32)
        deviation = float(pixels.std())
        if example.mode in ("LA", "RGBA"):
            deviation = max(deviation, float(np.asarray(example.getchannel("A"), np.float32).std()))
        self._numbers.extend((i, example.width, example.height, float(pixels.mean()), deviation))

    def alike(self) -> Ints:
        return np.empty((0, 2), np.int64)  # fingerprints tell all

    def _columns(self) -> tuple[NDArray[Any], ...]:
        return tuple(np.frombuffer(self._numbers, np.float64).reshape(-1, 5).T)

    def facts(self) -> list[Fact]:
        if not self._numbers:
            return []
        _, width, height, mean, deviation = self._columns()
        out = [Fact("formats", dict(self._formats.most_common()))] if self._formats else []
        out.append(Fact("channels", {_MODES[m]: n for m, n in self._modes.most_common()}))
        sizes, counts = np.unique(np.stack([width, height]).astype(int), axis=1, return_counts=True)
        if sizes.shape[1] == 1:
            out.append(Fact("size", f"all {sizes[0, 0]}x{sizes[1, 0]}", "pixels"))
        elif sizes.shape[1] <= 8:
            order = np.argsort(-counts, kind="stable")
            out.append(Fact("sizes", {f"{sizes[0, k]}x{sizes[1, k]}": int(counts[k]) for k in order}))
        else:
            out += [Fact("width", spread(width), "pixels"), Fact("height", spread(height), "pixels")]
        if sizes.shape[1] > 1:
            out.append(Fact("aspect", spread(np.round(width / height, 3)), "width / height"))
        out.append(Fact("brightness", spread(np.round(mean / 255, 3)), "0 black, 1 white"))
        out.append(Fact("contrast", spread(np.round(deviation / 127.5, 3)), "0 one colour, 1 half black, half white"))
        return out

    def findings(self) -> list[Finding]:
        if not self._numbers:
            return []
        index, width, height, mean, deviation = self._columns()
        goal_height, goal_width = self._target(list(zip(width.astype(int), height.astype(int), strict=True)))
        goal = f"{goal_width}x{goal_height}"
        scale = np.maximum(goal_width / width, goal_height / height)
        left = goal_width * goal_height / (scale**2 * width * height)
        blank = deviation < BLANK
        some = len(mean) * RARE
        out: list[Finding] = []

        def report(code: str, where: NDArray[Any], worst: NDArray[Any], what: str, advice: str, grave: bool) -> None:
            """A finding on the pictures `where`, those of the least `worst` first; {n} and {be} stand for them."""
            chosen = np.flatnonzero(where)
            if len(chosen):
                order = chosen[np.argsort(worst[chosen], kind="stable")][:SHOWN]
                n, be = ("1 picture", "is") if len(chosen) == 1 else (f"{len(chosen):,} pictures", "are")
                groups = tuple((int(index[k]),) for k in order)
                quotes = tuple(f"{width[k]:.0f}x{height[k]:.0f}, brightness {mean[k] / 255:.2f}" for k in order)
                said = f"{n} {be} {what}"
                out.append(Finding(code, "warning" if grave else "note", said, advice, len(chosen), groups, quotes))

        report(
            "blank", blank, deviation, "blank: one colour all over",
            "remove them, or the model learns to draw nothing", True,
        )  # fmt: skip
        report(
            "small", scale > ENLARGED, -scale, f"very small: blurred when enlarged over {ENLARGED:g} times to {goal}",
            "replace or remove them, or train at a lower modality.size", True,
        )  # fmt: skip
        report(
            "cropped", left < CUT, left, f"long and thin: less than {CUT:.0%} is left when cropped to {goal}",
            "crop them yourself to what matters, or set modality.size to their shape, as in 48x64", False,
        )  # fmt: skip
        for code, where, worst in (("dark", mean < DARK, mean), ("bright", mean > BRIGHT, -mean)):
            where = where & ~blank
            if where.sum() <= some:
                report(code, where, worst, f"nearly {'black' if code == 'dark' else 'white'}, unlike the others",
                       "look at them; remove those that show too little", False)  # fmt: skip
        return out


def format_of(raw: bytes) -> str:
    """The format of a picture's file by its first bytes."""
    if raw[:4] == b"RIFF":
        return "WebP"
    return next((name for start, name in _FORMATS if raw.startswith(start)), "other")
