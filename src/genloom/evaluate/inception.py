"""Inception v3 as the Frechet inception distance (FID) uses it: images to 2,048 values.

Sources: Szegedy et al. 2016, "Rethinking the Inception Architecture for Computer Vision"; Heusel et al. 2017, "GANs
Trained by a Two Time-Scale Update Rule" (the values after the last pooling). Names and shapes are those of the
TensorFlow network of 2015-12-05 as pytorch-fid and torch-fidelity publish it, and of torchvision's. torchmetrics has
the network only together with torch-fidelity.

`B` batch, `C` channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genloom.core.errors import InputError
from genloom.evaluate.weights import misfit

SIZE = 299
FULL, FID_CLASSES = 32, 1008  # channels of the first convolution, logits of the network of 2015
MARKS = ("Conv2d_1a_3x3.conv.weight", "Mixed_7c.branch_pool.conv.weight", "fc.weight")  # names that tell the layout
URL = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
PUBLISHED = "6726825d"  # how the sha256 of the published file begins, as its name says

Layer = tuple[str, int, int, int]  # name, channels that come out, height and width of the kernel
Branch = list[list[Layer]]  # layers one after the other; those of one step stand side by side
Pool = Literal["inside", "padded", "max", "halve"]


class Convolution(nn.Module):
    """Convolution without bias, BatchNorm, ReLU."""

    def __init__(self, channels: int, out: int, kernel: tuple[int, int], stride: int, padding: tuple[int, int]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


class Block(nn.Module):
    """Branches side by side, their results joined. The last branch begins with pooling.

    pool: "inside", mean of the 3x3 values that lie inside the image; "padded", zeros outside count; "max"; "halve",
    maximum of 3x3 every 2 pixels, and then the last layers of the other branches move by 2 too.
    """

    def __init__(self, channels: int, branches: list[Branch], pool: Pool, scale: float) -> None:
        super().__init__()
        self.pool: Pool = pool
        self.names = [[[name for name, *_ in step] for step in branch] for branch in branches]
        self.out = 0
        for branch in branches:
            width = channels
            for step in branch:
                halving = pool == "halve" and step is branch[-1]
                for name, out, height, length in step:
                    padding = (0, 0) if halving else (height // 2, length // 2)
                    layer = Convolution(width, int(out * scale), (height, length), 2 if halving else 1, padding)
                    self.add_module(name, layer)
                width = sum(int(out * scale) for _, out, *_ in step)
            self.out += width

    def forward(self, x: Tensor) -> Tensor:
        out = []
        for i, branch in enumerate(self.names):
            y = pooled(x, self.pool) if i == len(self.names) - 1 else x
            for step in branch:
                y = torch.cat([self.get_submodule(name)(y) for name in step], 1)
            out.append(y)
        return torch.cat(out, 1)


def pooled(x: Tensor, pool: Pool) -> Tensor:
    if pool == "halve":
        return F.max_pool2d(x, 3, 2)
    if pool == "max":
        return F.max_pool2d(x, 3, 1, 1)
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=pool == "padded")


def block_a(last: int) -> list[Branch]:
    return [
        [[("branch1x1", 64, 1, 1)]],
        [[("branch5x5_1", 48, 1, 1)], [("branch5x5_2", 64, 5, 5)]],
        [[("branch3x3dbl_1", 64, 1, 1)], [("branch3x3dbl_2", 96, 3, 3)], [("branch3x3dbl_3", 96, 3, 3)]],
        [[("branch_pool", last, 1, 1)]],
    ]


def block_b() -> list[Branch]:
    return [
        [[("branch3x3", 384, 3, 3)]],
        [[("branch3x3dbl_1", 64, 1, 1)], [("branch3x3dbl_2", 96, 3, 3)], [("branch3x3dbl_3", 96, 3, 3)]],
        [],
    ]


def block_c(inner: int) -> list[Branch]:
    return [
        [[("branch1x1", 192, 1, 1)]],
        [[("branch7x7_1", inner, 1, 1)], [("branch7x7_2", inner, 1, 7)], [("branch7x7_3", 192, 7, 1)]],
        [
            [("branch7x7dbl_1", inner, 1, 1)],
            [("branch7x7dbl_2", inner, 7, 1)],
            [("branch7x7dbl_3", inner, 1, 7)],
            [("branch7x7dbl_4", inner, 7, 1)],
            [("branch7x7dbl_5", 192, 1, 7)],
        ],
        [[("branch_pool", 192, 1, 1)]],
    ]


def block_d() -> list[Branch]:
    return [
        [[("branch3x3_1", 192, 1, 1)], [("branch3x3_2", 320, 3, 3)]],
        [
            [("branch7x7x3_1", 192, 1, 1)],
            [("branch7x7x3_2", 192, 1, 7)],
            [("branch7x7x3_3", 192, 7, 1)],
            [("branch7x7x3_4", 192, 3, 3)],
        ],
        [],
    ]


def block_e() -> list[Branch]:
    return [
        [[("branch1x1", 320, 1, 1)]],
        [[("branch3x3_1", 384, 1, 1)], [("branch3x3_2a", 384, 1, 3), ("branch3x3_2b", 384, 3, 1)]],
        [
            [("branch3x3dbl_1", 448, 1, 1)],
            [("branch3x3dbl_2", 384, 3, 3)],
            [("branch3x3dbl_3a", 384, 1, 3), ("branch3x3dbl_3b", 384, 3, 1)],
        ],
        [[("branch_pool", 192, 1, 1)]],
    ]


class InceptionV3(nn.Module):
    """Images [B, 3, H, W] of values 0 to 255 -> [B, 64 channels] (2,048 in full size).

    channels: of the first convolution, a multiple of 4; all others are in proportion. classes: logits, which are loaded
    and not used; other than 1,008 it is the network that torchvision publishes, which counts the zeros around an image
    in its means and has a mean instead of a maximum in its last block.
    """

    def __init__(self, channels: int = FULL, classes: int = FID_CLASSES) -> None:
        super().__init__()
        scale = channels / FULL
        self.fid = classes == FID_CLASSES
        mean: Pool = "inside" if self.fid else "padded"
        stem = [("1a", 3, 3, 32, 2, 0), ("2a", 3, 32, 32, 1, 0), ("2b", 3, 32, 64, 1, 1)]
        stem += [("3b", 1, 64, 80, 1, 0), ("4a", 3, 80, 192, 1, 0)]
        for name, k, before, out, stride, pad in stem:
            inputs = 3 if name == "1a" else int(before * scale)
            layer = Convolution(inputs, int(out * scale), (k, k), stride, (pad, pad))
            self.add_module(f"Conv2d_{name}_{k}x{k}", layer)
        blocks: list[tuple[str, list[Branch], Pool]] = [
            *((f"5{i}", block_a(last), mean) for i, last in zip("bcd", (32, 64, 64), strict=True)),
            ("6a", block_b(), "halve"),
            *((f"6{i}", block_c(inner), mean) for i, inner in zip("bcde", (128, 160, 160, 192), strict=True)),
            ("7a", block_d(), "halve"),
            ("7b", block_e(), mean),
            ("7c", block_e(), "max" if self.fid else "padded"),
        ]
        width = int(192 * scale)
        self.blocks = []
        for name, branches, pool in blocks:
            block = Block(width, branches, pool, scale)
            self.add_module(f"Mixed_{name}", block)
            self.blocks.append(f"Mixed_{name}")
            width = block.out
        self.width = width
        self.fc = nn.Linear(width, classes)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], path: Path) -> InceptionV3:
        """The network with the weights read from `path`. Raises InputError when they are laid out otherwise."""
        stem, head = tensors.get(MARKS[0]), tensors.get(MARKS[2])
        if stem is None or head is None or stem.ndim != 4 or head.ndim != 2 or not stem.shape[0] or stem.shape[0] % 4:
            raise InputError(f"{path} is no Inception v3: it lacks {MARKS[0]} or {MARKS[2]}; {HOW}")
        network = cls(stem.shape[0], head.shape[0])
        given = {n: t for n, t in tensors.items() if not n.startswith("AuxLogits.") and not n.endswith(COUNTER)}
        wrong = misfit({n: t for n, t in network.state_dict().items() if not n.endswith(COUNTER)}, given)
        if wrong:
            raise InputError(f"{path} is laid out otherwise than Inception v3: {wrong}; {HOW}")
        network.load_state_dict(given, strict=False)
        return network

    @property
    def title(self) -> str:
        return "Inception v3 of the FID" if self.fid else "Inception v3 of torchvision (not of the FID)"

    def forward(self, pixels: Tensor) -> Tensor:
        x = (resized(pixels, SIZE) - 128) / 128
        for name in ("1a_3x3", "2a_3x3", "2b_3x3"):
            x = self.get_submodule(f"Conv2d_{name}")(x)
        x = F.max_pool2d(x, 3, 2)
        for name in ("3b_1x1", "4a_3x3"):
            x = self.get_submodule(f"Conv2d_{name}")(x)
        x = F.max_pool2d(x, 3, 2)
        for name in self.blocks:
            x = self.get_submodule(name)(x)
        return x.mean((2, 3))


COUNTER = "num_batches_tracked"  # of BatchNorm; older files lack it
HOW = f"the file of the FID is at {URL}"


def resized(x: Tensor, size: int) -> Tensor:
    """x [B, C, H, W] to [B, C, size, size], bilinear as TensorFlow 1 without align_corners: place i of the result lies
    at i * H / size, not at the centres of pixels, and nothing is smoothed before it is made smaller."""
    for axis in (2, 3):
        n = x.shape[axis]
        place = torch.arange(size, device=x.device, dtype=torch.float32) * (n / size)
        low = place.floor().long().clamp(max=n - 1)
        share = (place - low).view([-1, 1] if axis == 2 else [-1])
        first, second = x.index_select(axis, low), x.index_select(axis, (low + 1).clamp(max=n - 1))
        x = first + (second - first) * share
    return x
