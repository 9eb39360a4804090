"""Inception v3: the published layout, TensorFlow 1's resize, the FID's pooling, and the whole against the formulas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from genloom.core.errors import InputError
from genloom.evaluate import inception
from genloom.evaluate.inception import InceptionV3, pooled, resized

A5, A3 = ["1x1 64 1 1", "5x5_1 48 1 1", "5x5_2 64 5 5"], ["3x3dbl_1 64 1 1", "3x3dbl_2 96 3 3", "3x3dbl_3 96 3 3"]
SEVEN = ["7x7_1 {c} 1 1", "7x7_2 {c} 1 7", "7x7_3 192 7 1", "7x7dbl_1 {c} 1 1", "7x7dbl_2 {c} 7 1"]
SEVEN += ["7x7dbl_3 {c} 1 7", "7x7dbl_4 {c} 7 1", "7x7dbl_5 192 1 7"]
E_ALL = ["1x1 320 1 1", "3x3_1 384 1 1", "3x3_2a 384 1 3", "3x3_2b 384 3 1", "3x3dbl_1 448 1 1", "3x3dbl_2 384 3 3"]
E_ALL += ["3x3dbl_3a 384 1 3", "3x3dbl_3b 384 3 1", "_pool 192 1 1"]
D_ALL = ["3x3_1 192 1 1", "3x3_2 320 3 3", "7x7x3_1 192 1 1", "7x7x3_2 192 1 7", "7x7x3_3 192 7 1", "7x7x3_4 192 3 3"]
BLOCKS = {  # name: channels that come in, branches
    "5b": (192, [*A5, *A3, "_pool 32 1 1"]),
    "5c": (256, [*A5, *A3, "_pool 64 1 1"]),
    "5d": (288, [*A5, *A3, "_pool 64 1 1"]),
    "6a": (288, ["3x3 384 3 3", *A3]),
    **{
        f"6{i}": (768, ["1x1 192 1 1", *[s.format(c=c) for s in SEVEN], "_pool 192 1 1"])
        for i, c in zip("bcde", (128, 160, 160, 192), strict=True)
    },
    "7a": (768, D_ALL),
    "7b": (1280, E_ALL),
    "7c": (2048, E_ALL),
}
STEM = [
    ("1a_3x3", 3, 32, 3),
    ("2a_3x3", 32, 32, 3),
    ("2b_3x3", 32, 64, 3),
    ("3b_1x1", 64, 80, 1),
    ("4a_3x3", 80, 192, 3),
]


def published() -> dict[str, tuple[int, ...]]:
    """Names and shapes of pt_inception-2015-12-05."""
    shapes: dict[str, tuple[int, ...]] = {"fc.weight": (1008, 2048), "fc.bias": (1008,)}

    def convolution(name: str, channels: int, out: int, height: int, width: int) -> None:
        shapes[f"{name}.conv.weight"] = (out, channels, height, width)
        shapes.update({f"{name}.bn.{p}": (out,) for p in ("weight", "bias", "running_mean", "running_var")})

    for name, channels, out, k in STEM:
        convolution(f"Conv2d_{name}", channels, out, k, k)
    for block, (channels, branches) in BLOCKS.items():
        out_of: dict[str, int] = {}
        for branch in branches:
            name, out, height, width = branch.split()
            stem = name.rsplit("_", 1)[0] if name[0] != "_" else name
            before = "2" if name.endswith(("3a", "3b")) else "1" if name.endswith(("2a", "2b")) else ""
            inputs = out_of.get(f"{stem}_{before}" if before else stem, channels)
            convolution(f"Mixed_{block}.branch{name}", inputs, int(out), int(height), int(width))
            out_of[stem] = out_of[name] = int(out)
    return shapes


def test_names_and_shapes_are_the_published_ones() -> None:
    found = {n: tuple(t.shape) for n, t in InceptionV3().state_dict().items() if not n.endswith("num_batches_tracked")}
    assert found == published()
    assert sum(n.endswith("conv.weight") for n in found) == 94
    # torchvision's Inception v3 has 27,161,264 parameters, 3,326,696 of them in AuxLogits and 1,000 classes
    torchvision = 27_161_264 - 3_326_696
    assert sum(p.numel() for p in InceptionV3().parameters()) == torchvision + 8 * 2049
    assert InceptionV3().width == 2048


def as_tensorflow_1(x: np.ndarray, size: int) -> np.ndarray:
    """tf.image.resize_bilinear(align_corners=False) of TensorFlow 1 for x [H, W], pixel by pixel."""
    h, w = x.shape
    out = np.empty((size, size))
    for i in range(size):
        for j in range(size):
            y, z = i * h / size, j * w / size
            top, left = int(y), int(z)
            down, right = min(top + 1, h - 1), min(left + 1, w - 1)
            upper = x[top, left] * (1 - (z - left)) + x[top, right] * (z - left)
            lower = x[down, left] * (1 - (z - left)) + x[down, right] * (z - left)
            out[i, j] = upper * (1 - (y - top)) + lower * (y - top)
    return out


@pytest.mark.parametrize("shape", [(8, 8), (28, 21), (40, 64), (29, 29), (1, 3)])
def test_the_resize_is_tensorflow_1s(shape: tuple[int, int]) -> None:
    x = np.random.default_rng(0).integers(0, 256, shape).astype(np.float64)
    found = resized(torch.from_numpy(x).float()[None, None], 29)[0, 0].numpy()
    np.testing.assert_allclose(found, as_tensorflow_1(x, 29), atol=2e-3)
    usual = F.interpolate(torch.from_numpy(x)[None, None], (29, 29), mode="bilinear")[0, 0].numpy()
    assert shape == (29, 29) or abs(found - usual).max() > 1  # the half-pixel convention is another


def test_pooling_counts_only_what_lies_inside() -> None:
    x = torch.arange(12.0).view(1, 1, 3, 4) + 1
    inside, padded, most = (pooled(x, p)[0, 0] for p in ("inside", "padded", "max"))
    for i in range(3):
        for j in range(4):
            near = x[0, 0, max(0, i - 1) : i + 2, max(0, j - 1) : j + 2]
            assert inside[i, j] == pytest.approx(float(near.mean()))
            assert padded[i, j] == pytest.approx(float(near.sum()) / 9)
            assert most[i, j] == near.max()
    assert pooled(x, "halve").shape == (1, 1, 1, 1) and float(pooled(x, "halve")) == 11


def random_weights(channels: int = 4, classes: int = 1008, seed: int = 0) -> dict[str, Tensor]:
    """Weights of a small network of the layout, of a size that keeps signals alive, without counters."""
    generator = torch.Generator().manual_seed(seed)
    out = {}
    for name, t in InceptionV3(channels, classes).state_dict().items():
        if name.endswith("conv.weight"):
            out[name] = torch.randn(t.shape, generator=generator) * (2 / t[0].numel()) ** 0.5
        elif name.endswith(("bn.weight", "running_var")):
            out[name] = 0.5 + torch.rand(t.shape, generator=generator)
        elif not name.endswith("num_batches_tracked"):
            out[name] = 0.1 * torch.randn(t.shape, generator=generator)
    return out


def by_formula(w: dict[str, Tensor], pixels: Tensor, fid: bool) -> Tensor:
    """The network written out, branch by branch."""

    def c(name: str, x: Tensor, stride: int = 1, pad: int | tuple[int, int] = 0) -> Tensor:
        y = F.conv2d(x, w[f"{name}.conv.weight"], None, stride, pad)
        mean, var, scale, bias = (w[f"{name}.bn.{p}"] for p in ("running_mean", "running_var", "weight", "bias"))
        v = lambda t: t.view(1, -1, 1, 1)  # noqa: E731
        return torch.relu((y - v(mean)) / (v(var) + 0.001).sqrt() * v(scale) + v(bias))

    def mean(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 3, 1, 1, count_include_pad=not fid)

    x = torch.from_numpy(np.stack([[as_tensorflow_1(p, 299) for p in image] for image in pixels.double().numpy()]))
    x = (x.float() - 128) / 128
    x = c("Conv2d_2b_3x3", c("Conv2d_2a_3x3", c("Conv2d_1a_3x3", x, 2)), pad=1)
    x = F.max_pool2d(c("Conv2d_4a_3x3", c("Conv2d_3b_1x1", F.max_pool2d(x, 3, 2))), 3, 2)
    for b in ("Mixed_5b.branch", "Mixed_5c.branch", "Mixed_5d.branch"):
        five = c(b + "5x5_2", c(b + "5x5_1", x), pad=2)
        three = c(b + "3x3dbl_3", c(b + "3x3dbl_2", c(b + "3x3dbl_1", x), pad=1), pad=1)
        x = torch.cat([c(b + "1x1", x), five, three, c(b + "_pool", mean(x))], 1)
    b = "Mixed_6a.branch"
    three = c(b + "3x3dbl_3", c(b + "3x3dbl_2", c(b + "3x3dbl_1", x), pad=1), 2)
    x = torch.cat([c(b + "3x3", x, 2), three, F.max_pool2d(x, 3, 2)], 1)
    for i in "bcde":
        b = f"Mixed_6{i}.branch"
        seven = c(b + "7x7_3", c(b + "7x7_2", c(b + "7x7_1", x), pad=(0, 3)), pad=(3, 0))
        double = c(b + "7x7dbl_2", c(b + "7x7dbl_1", x), pad=(3, 0))
        double = c(b + "7x7dbl_4", c(b + "7x7dbl_3", double, pad=(0, 3)), pad=(3, 0))
        double = c(b + "7x7dbl_5", double, pad=(0, 3))
        x = torch.cat([c(b + "1x1", x), seven, double, c(b + "_pool", mean(x))], 1)
    b = "Mixed_7a.branch"
    seven = c(b + "7x7x3_3", c(b + "7x7x3_2", c(b + "7x7x3_1", x), pad=(0, 3)), pad=(3, 0))
    x = torch.cat([c(b + "3x3_2", c(b + "3x3_1", x), 2), c(b + "7x7x3_4", seven, 2), F.max_pool2d(x, 3, 2)], 1)
    for i in "bc":
        b = f"Mixed_7{i}.branch"
        three, double = c(b + "3x3_1", x), c(b + "3x3dbl_2", c(b + "3x3dbl_1", x), pad=1)
        both = [c(b + "3x3_2a", three, pad=(0, 1)), c(b + "3x3_2b", three, pad=(1, 0))]
        both += [c(b + "3x3dbl_3a", double, pad=(0, 1)), c(b + "3x3dbl_3b", double, pad=(1, 0))]
        pool = F.max_pool2d(x, 3, 1, 1) if fid and i == "c" else mean(x)
        x = torch.cat([c(b + "1x1", x), *both, c(b + "_pool", pool)], 1)
    return x.mean((2, 3))


@pytest.mark.parametrize("classes", [1008, 1000])
def test_the_network_is_the_formula(classes: int) -> None:
    """1,008 classes: of the FID; 1,000: torchvision's, which pools otherwise."""
    weights = random_weights(4, classes)
    network = InceptionV3.from_tensors({**weights, "AuxLogits.fc.bias": torch.zeros(3)}, Path("x")).eval()
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 20, 14))).float()
    with torch.no_grad():
        found, wanted = network(pixels), by_formula(weights, pixels, classes == 1008)
    assert found.shape == (2, 256)
    assert torch.allclose(found, wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max()))
    other = by_formula(weights, pixels, classes != 1008)
    assert float((found - other).abs().max()) > 1e-2 * float(wanted.abs().max())
    assert ("not of the FID" in network.title) == (classes == 1000)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"Mixed_6c.branch1x1.conv.weight": None}, r"Mixed_6c\.branch1x1\.conv\.weight is missing"),
        ({"Mixed_6c.branch1x1.conv.weight": torch.zeros(3, 3)}, r"is \[3, 3\], not \[24, 96, 1, 1\]"),
        ({"head.weight": torch.zeros(3)}, r"head\.weight is unknown"),
        ({"fc.weight": None}, "no Inception v3"),
        ({"Conv2d_1a_3x3.conv.weight": torch.zeros(5, 3, 3, 3)}, "no Inception v3"),
    ],
)
def test_another_layout_is_one_sentence(change: dict[str, Tensor | None], says: str) -> None:
    weights = {n: t for n, t in {**random_weights(), **change}.items() if t is not None}
    with pytest.raises(InputError, match=says) as told:
        InceptionV3.from_tensors(weights, Path("重.pth"))
    assert "重.pth" in str(told.value) and inception.URL in str(told.value) and "\n" not in str(told.value)
