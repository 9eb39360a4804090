"""Pretrained features: what is read and what is refused, DINOv2 against the formulas, the cache, the sentences."""

from __future__ import annotations

import hashlib
import json
import pickle
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from evaluate.languages import documents
from evaluate.test_inception import random_weights
from genloom.core.errors import GenloomError, InputError
from genloom.core.spec import Grid
from genloom.evaluate import figures, pretrained
from genloom.evaluate.dinov2 import DEVIATION, MEAN, SIZE, Dinov2
from genloom.evaluate.evaluation import Evaluation
from genloom.evaluate.features import features_of
from genloom.evaluate.figures import evaluate_samples
from genloom.evaluate.pretrained import PretrainedFeatures, as_pixels, pretrained_for
from genloom.evaluate.weights import read_tensors


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GENLOOM_FEATURES", raising=False)
    monkeypatch.setenv("GENLOOM_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights in every layout: tiny, random."""
    folder = tmp_path_factory.mktemp("权重")
    weights = random_weights()
    for name in ("fid", "both"):
        (folder / name).mkdir()
        torch.save(weights, folder / name / "weights-inception.pth")
    safetensors.torch.save_file(weights, folder / "inception.safetensors")
    original = tiny_dinov2()
    torch.save(original, folder / "dinov2_vits14.pth")
    torch.save(original, folder / "both" / "dinov2.pth")
    transformers = pytest.importorskip("transformers")
    model = Dinov2.from_tensors(original, folder / "dinov2_vits14.pth").model
    assert isinstance(model, transformers.Dinov2Model)
    model.save_pretrained(folder / "dinov2-tiny")
    torch.save(model.state_dict(), folder / "dinov2-tiny" / "pytorch_model.bin")
    return folder


def tiny_dinov2(width: int = 128, layers: int = 2, side: int = 5) -> dict[str, Tensor]:
    """Random weights of facebook's layout: two heads, 5 x 5 positions of patches of 14."""
    generator = torch.Generator().manual_seed(1)
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width), "mask_token": (1, width), "pos_embed": (1, 1 + side * side, width),
        "patch_embed.proj.weight": (width, 3, 14, 14), "patch_embed.proj.bias": (width,),
        "norm.weight": (width,), "norm.bias": (width,),
    }  # fmt: skip
    linear = {"attn.qkv": (3 * width, width), "attn.proj": (width, width)}
    linear |= {"mlp.fc1": (4 * width, width), "mlp.fc2": (width, 4 * width)}
    for i in range(layers):
        b = f"blocks.{i}."
        for name, shape in linear.items():
            shapes |= {f"{b}{name}.weight": shape, f"{b}{name}.bias": shape[:1]}
        for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "ls1.gamma", "ls2.gamma"):
            shapes[b + name] = (width,)
    return {n: 0.15 * torch.randn(s, generator=generator) for n, s in shapes.items()}


def dinov2_by_formula(w: dict[str, Tensor], pixels: Tensor, heads: int = 2) -> Tensor:
    """The class token [B, D] of images [B, 3, 224, 224] that are resized already."""
    mean, deviation = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, DEVIATION))
    x = F.conv2d((pixels / 255 - mean) / deviation, w["patch_embed.proj.weight"], w["patch_embed.proj.bias"], 14)
    side, width = int((w["pos_embed"].shape[1] - 1) ** 0.5), x.shape[1]
    grid = w["pos_embed"][:, 1:].transpose(1, 2).reshape(1, width, side, side)
    grid = F.interpolate(grid, x.shape[2:], mode="bicubic").flatten(2).transpose(1, 2)
    x = torch.cat([(w["cls_token"] + w["pos_embed"][:, :1]).expand(len(x), -1, -1), x.flatten(2).mT + grid], 1)

    def norm(name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, (width,), w[f"{name}.weight"], w[f"{name}.bias"], 1e-6)

    def linear(name: str, x: Tensor) -> Tensor:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    for i in range(2):
        b = f"blocks.{i}."
        q, k, v = linear(b + "attn.qkv", norm(b + "norm1", x)).view(len(x), -1, 3, heads, width // heads).unbind(2)
        scores = torch.einsum("bihd,bjhd->bhij", q, k) / (width // heads) ** 0.5
        y = torch.einsum("bhij,bjhd->bihd", scores.softmax(-1), v).flatten(2)
        x = x + w[b + "ls1.gamma"] * linear(b + "attn.proj", y)
        y = linear(b + "mlp.fc2", F.gelu(linear(b + "mlp.fc1", norm(b + "norm2", x))))
        x = x + w[b + "ls2.gamma"] * y
    return norm("norm", x)[:, 0]


def pictures(n: int, channels: int = 3, size: tuple[int, int] = (10, 7), seed: int = 0) -> Tensor:
    values = np.random.default_rng(seed).integers(0, 256, (n, channels, *size))
    return torch.from_numpy(values).float() / 127.5 - 1


@pytest.fixture
def data(held: Any) -> Any:
    """30 training, 5 validation and 25 test images in grey."""
    return held(pictures(60, 1), None, (30, 5), Grid((1, 10, 7), 256), "图片")


# -- the networks ------------------------------------------------------------------------------


def test_dinov2_of_either_layout_is_the_formula(files: Path) -> None:
    weights = tiny_dinov2()
    pixels = as_pixels(pictures(3, size=(SIZE, SIZE)))
    wanted = dinov2_by_formula(weights, pixels)
    for path in (files / "dinov2_vits14.pth", files / "dinov2-tiny" / "model.safetensors"):
        with torch.no_grad():
            found = Dinov2.from_tensors(read_tensors(path), path).eval()(pixels)
        assert torch.allclose(found, wanted, atol=2e-4 * float(wanted.abs().max())), path


def test_dinov2_reads_the_names_on_the_hub(files: Path, tmp_path: Path) -> None:
    """Newer versions of transformers write other names than those that the published files have."""
    from genloom.evaluate.dinov2 import renamed

    hub = renamed(tiny_dinov2())
    assert "encoder.layer.1.attention.attention.query.weight" in hub and "layernorm.bias" in hub
    safetensors.torch.save_file(hub, tmp_path / "model.safetensors")
    x = pictures(2)
    of_hub, original = (
        PretrainedFeatures(Dinov2.from_tensors(read_tensors(p), p), Any, tmp_path / "k", print)(x)  # type: ignore[arg-type]
        for p in (tmp_path / "model.safetensors", files / "dinov2_vits14.pth")
    )
    assert torch.equal(of_hub, original)


def test_images_are_resized_as_pillow_does() -> None:
    seen: list[Tensor] = []

    class Model(torch.nn.Module):
        def forward(self, x: Tensor) -> Any:
            seen.append(x)
            return SimpleNamespace(last_hidden_state=x.flatten(2))

    for size in ((20, 31), (300, 260)):
        x = np.random.default_rng(0).integers(0, 256, size).astype(np.float32)
        Dinov2(Model(), 3)(torch.from_numpy(x).expand(1, 3, -1, -1))
        pillow = np.asarray(Image.fromarray(x).resize((SIZE, SIZE), Image.Resampling.BICUBIC)).clip(0, 255)
        for c in range(3):
            found = (seen[-1][0, c].numpy() * DEVIATION[c] + MEAN[c]) * 255
            np.testing.assert_allclose(found, pillow, atol=0.02)


def test_pixels_are_whole_numbers_in_colour() -> None:
    grey = torch.tensor([0, 1, 128, 255]).float().view(1, 1, 2, 2) / 127.5 - 1
    assert as_pixels(grey)[0].flatten(1).tolist() == [[0, 1, 128, 255]] * 3
    clear = torch.tensor([[0.2, -1.0], [0.2, 0.0], [0.2, 1.0], [-1.0, 1.0]]).view(1, 4, 1, 2)
    assert as_pixels(clear)[0, :, 0].tolist() == [[255, 0], [255, 128], [255, 255]]  # on white where transparent


# -- which are taken ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "place", "found", "width"),
    [
        (None, "fid", "inception", 256),
        ("inception", "both", "inception", 256),
        ("dinov2", "both", "dinov2", 128),
        (None, "inception.safetensors", "inception", 256),
        (None, "dinov2-tiny", "dinov2", 128),
        ("dinov2", "dinov2_vits14.pth", "dinov2", 128),
    ],
)
def test_weights_are_found_and_named(
    kind: str | None, place: str, found: str, width: int, files: Path, data: Any
) -> None:
    space = pretrained_for(data, kind, files / place)
    assert space is not None and space.facts.kind == found and space.width == width
    (path,) = [p for p in files.rglob(space.facts.file) if p == files / place or p.parent == files / place]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert space.facts.weights == digest and digest[:12] in space.name
    assert ("not the published file" in space.name) == (found == "inception")
    assert space(pictures(2, 1)).shape == (2, width)


def test_the_default_is_what_is_configured(files: Path, data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert pretrained_for(data) is None
    monkeypatch.setenv("GENLOOM_FEATURES", str(files / "fid"))
    space = pretrained_for(data)
    assert space is not None and space.facts.kind == "inception"
    assert pretrained_for(data, "learned") is None
    assert pretrained_for(documents(30, 10)) is None  # type: ignore[arg-type]  # texts are judged as before
    monkeypatch.setenv("GENLOOM_FEATURES", str(files / "nowhere"))
    with pytest.raises(InputError, match="nowhere"):
        pretrained_for(data)


@pytest.mark.parametrize("shape", [(1, 5, 5), (3, 33, 20), (4, 8, 8)])
def test_grey_colour_and_transparency_of_any_size(shape: tuple[int, ...], files: Path, held: Any) -> None:
    x = pictures(6, shape[0], shape[1:])
    space = pretrained_for(held(x, None, (3, 1), Grid(shape, 256)), None, files / "fid")
    assert space is not None
    assert bool(torch.isfinite(space(x)).all()) and torch.equal(space(x[:2]), space(x)[:2])


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("EXPLODED"),))


def test_bad_weights_are_one_sentence_each(
    files: Path, data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    good = {n: (files / n).read_bytes() for n in ("inception.safetensors", "fid/weights-inception.pth")}
    for name, content in {
        "cut.safetensors": good["inception.safetensors"][:5000],
        "cut.pth": good["fid/weights-inception.pth"][:5000],
        "empty.pth": b"",
        "text.pth": "不是权重".encode(),
        "bomb.pth": pickle.dumps({"fc.weight": Bomb()}),
        "list.pth": b"",
        "other.pth": b"",
    }.items():
        (tmp_path / name).write_bytes(content)
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save(Bomb(), tmp_path / "zip.pth")
    torch.save({"layer1.weight": torch.zeros(2)}, tmp_path / "other.pth")
    (tmp_path / "nothing").mkdir()
    (tmp_path / "two").mkdir()
    for name in ("a.pth", "b.pth"):
        (tmp_path / "two" / name).write_bytes(good["fid/weights-inception.pth"])
    registers = tmp_path / "registers"
    registers.mkdir()
    safetensors.torch.save_file(read_tensors(files / "dinov2-tiny" / "model.safetensors"), registers / "a.safetensors")
    (registers / "config.json").write_text(json.dumps({"model_type": "dinov2_with_registers"}))
    torch.save({n: t for n, t in tiny_dinov2().items() if n != "norm.bias"}, tmp_path / "short.pth")
    for place, kind, says in [
        ("missing.pth", None, "there are no weights at"),
        ("nothing", None, "holds no weights"),
        ("cut.safetensors", None, "cut short"),
        ("cut.pth", None, "cut short"),
        ("empty.pth", None, "cut short"),
        ("text.pth", None, "no file of weights"),
        ("bomb.pth", None, "which is not run"),
        ("zip.pth", None, "which is not run"),
        ("list.pth", None, "no named tensors"),
        ("other.pth", "inception", "no weights of inception in a known layout"),
        ("two", None, r"several weights \(a\.pth, b\.pth\)"),
        ("registers", None, "dinov2_with_registers, not dinov2"),
        ("short.pth", None, r"layernorm\.bias is missing"),
    ]:
        with pytest.raises(InputError, match=says) as told:
            pretrained_for(data, kind, tmp_path / place)
        assert place in str(told.value) and "\n" not in str(told.value), told.value
    assert not Path("EXPLODED").exists()


def test_what_cannot_be_is_one_sentence(files: Path, data: Any, held: Any) -> None:
    with pytest.raises(InputError, match="for images, but 句子 is Tokens"):
        pretrained_for(documents(30, 10), "inception")  # type: ignore[arg-type]
    curves = held(torch.zeros(20, 1, 30), None, (10, 5), Grid((1, 30)), "曲线")
    with pytest.raises(InputError, match="for images, but 曲线 is Grid"):
        pretrained_for(curves, None, files / "fid")
    with pytest.raises(InputError, match="no features fid; there are learned, inception, dinov2"):
        pretrained_for(data, "fid")
    with pytest.raises(InputError, match="take no weights"):
        pretrained_for(data, "learned", files / "fid")


def test_without_a_network_it_says_where_to_put_the_file(data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any, **__: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    for kind, name in (("inception", "weights-inception-2015-12-05-6726825d.pth"), ("dinov2", "facebook/dinov2-small")):
        with pytest.raises(GenloomError, match="no route to host") as told:
            pretrained_for(data, kind)
        for part in (name, str(pretrained.weights_folder()), "--features-weights", "GENLOOM_FEATURES"):
            assert part in str(told.value)


def test_a_file_put_into_the_cache_is_taken(files: Path, data: Any) -> None:
    folder = pretrained.weights_folder()
    folder.mkdir(parents=True)
    name = "weights-inception-2015-12-05-6726825d.pth"
    (folder / name).write_bytes((files / "fid" / "weights-inception.pth").read_bytes())
    space = pretrained_for(data, "inception")
    assert space is not None and space.facts.file == name and space.facts.published is False


# -- what is kept ------------------------------------------------------------------------------


def test_features_of_real_examples_are_kept_and_no_others(
    files: Path, data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = pretrained_for(data, None, files / "dinov2-tiny")
    assert space is not None
    values, _ = features_of(space, data.test, limit=100, seed=0)
    sample = space(pictures(4, 1, seed=9))
    space.save()
    (kept,) = pretrained.features_folder().iterdir()
    again = pretrained_for(data, None, files / "dinov2-tiny")
    assert again is not None and len(again.known) == 25
    monkeypatch.setattr(again, "network", lambda _: pytest.fail("measured again although it was kept"))
    assert torch.equal(features_of(again, data.test, limit=100, seed=0)[0], values)
    monkeypatch.undo()
    other = pretrained_for(replace(data, digest="another"), None, files / "dinov2-tiny")
    assert other is not None and not other.known
    kept.write_bytes(kept.read_bytes()[:200])
    damaged = pretrained_for(data, None, files / "dinov2-tiny")
    assert damaged is not None and not damaged.known
    assert torch.allclose(damaged(pictures(4, 1, seed=9)), sample, atol=1e-6)


def test_a_cache_that_cannot_be_written_is_only_told(files: Path, data: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    said: list[str] = []
    space = pretrained_for(data, None, files / "dinov2-tiny", cache=tmp_path / "file" / "x", notify=said.append)
    assert space is not None
    space.of_real(data.test.x)
    space.save()
    assert "could not be kept" in said[-1]


class Replay:
    """A generator that gives training examples and others."""

    def __init__(self, x: Tensor) -> None:
        self.x, self.family = x, torch.nn.Linear(1, 1)
        self.family.honours = lambda: frozenset()  # type: ignore[assignment]

    def sample_tensor(
        self, n: int, *, seed: int = 0, given: object = None, options: object = None
    ) -> tuple[Tensor, None]:
        return self.x[:n], None


def test_an_evaluation_names_the_weights(files: Path, held: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    data = held(pictures(180, 1), None, (90, 20), Grid((1, 10, 7), 256), "图片")
    monkeypatch.setattr(figures, "features_for", lambda *_, **__: pytest.fail("learnt although pretrained"))
    generator = Replay(pictures(70, 1, seed=5))
    path = files / "dinov2_vits14.pth"
    found = evaluate_samples(generator, data, n=70, space=pretrained_for(data, "dinov2", path))  # type: ignore[arg-type]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert document["features"]["weights"] == digest and document["features"]["kind"] == "dinov2"
    assert digest[:12] in found["kernel"].features and found["kernel"].value is not None
    assert "130" in found["frechet"].note and "label_agreement" not in [f.name for f in found.figures]
    assert found.copying is not None and found.copying["verdict"] == "none"
    assert digest[:12] in found.copying["compared"]["what"] and Evaluation.from_json(document) == found
    (kept,) = pretrained.features_folder().iterdir()
    rows = len(safetensors.torch.load_file(kept)["digests"])
    assert rows == 180  # real examples, not the 70 samples
