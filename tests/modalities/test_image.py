"""Images: every format in, the right size and channels chosen, exact to the level, and nothing hostile gets through."""

import io
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from genloom.core.config import validate
from genloom.core.errors import GenloomError, InputError, Unreadable
from genloom.core.rng import Rng
from genloom.modalities.image import Image, ImageConfig
from pictures import encoded, huge_png, pixels

GREY, COLOUR = pixels(1, 20, colour=False), pixels(2, 20)


def saved(picture: Pillow.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def read(raw: object, **settings: object) -> Pillow.Image:
    return Image.read(raw, ImageConfig(**settings))


def fitted(*pictures: Pillow.Image, **settings: object) -> Image:
    return Image.fit(ImageConfig(**settings), [read(p) for p in pictures])


def same(picture: Pillow.Image, expected: np.ndarray, tolerance: float = 0) -> bool:
    found = np.asarray(picture).astype(int)
    return found.shape == expected.shape and np.abs(found - expected).mean() <= tolerance


# -- reading ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("PNG", {}, 0), ("BMP", {}, 0), ("TIFF", {}, 0), ("WEBP", {"lossless": True}, 0), ("PPM", {}, 0),
        ("JPEG", {"quality": 95, "subsampling": 0}, 4), ("WEBP", {"quality": 95}, 8),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
    ],
)  # fmt: skip
def test_file_formats_in_colour_and_grey(kind: str, options: dict[str, object], tolerance: float) -> None:
    assert same(read(saved(Pillow.fromarray(COLOUR), kind, **options)), COLOUR, tolerance)
    if kind != "WEBP":
        assert same(read(saved(Pillow.fromarray(GREY), kind, **options)), GREY, tolerance)


def test_gif_gives_its_first_frame() -> None:
    frames = [Pillow.fromarray(np.full((8, 8), v, np.uint8)) for v in (10, 200)]
    assert same(read(saved(frames[0], "GIF", save_all=True, append_images=frames[1:])), np.full((8, 8), 10))


def test_modes_of_pixels() -> None:
    colour, grey = Pillow.fromarray(COLOUR), Pillow.fromarray(GREY)
    assert same(read(saved(grey.point(lambda v: 255 * (v > 99)).convert("1"), "PNG")), np.where(GREY > 99, 255, 0))
    palette = colour.quantize(64)
    assert same(read(saved(palette, "PNG")), np.asarray(palette.convert("RGB")))
    assert read(saved(colour.convert("CMYK"), "TIFF")).mode == "RGB"
    assert same(read(saved(colour.convert("CMYK"), "JPEG", quality=95)), COLOUR, 12)
    assert same(read(Pillow.merge("RGB", [grey] * 3)), GREY)  # colour channels that are all alike
    assert same(read(colour.convert("HSV")), COLOUR, 4)


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    wide = (GREY.astype(np.uint16) * 257).astype(np.uint16)
    for kind in ("PNG", "TIFF"):
        assert same(read(saved(Pillow.fromarray(wide), kind)), GREY)
    assert same(read(wide), GREY) and same(read(wide.astype(np.int32)), GREY)


@pytest.mark.parametrize("scale", [lambda a: a / 255, lambda a: a / 127.5 - 1, lambda a: a * 1.0])
def test_float_tiff_and_arrays(scale: object) -> None:
    values = scale(GREY).astype(np.float32)
    assert same(read(saved(Pillow.fromarray(values), "TIFF")), GREY)
    assert same(read(values), GREY) and same(read(torch.from_numpy(values)), GREY)


def test_array_layouts() -> None:
    for array in (COLOUR, np.moveaxis(COLOUR, -1, 0), torch.from_numpy(COLOUR.copy())):
        assert same(read(array), COLOUR)
    assert same(read(GREY[..., None]), GREY) and same(read(GREY > 99), np.where(GREY > 99, 255, 0))


def test_transparency() -> None:
    alpha = np.full((20, 20), 255, np.uint8)
    opaque = Pillow.fromarray(np.dstack([COLOUR, alpha]))
    assert read(opaque).mode == "RGB"
    alpha[:5] = 0
    holed = read(saved(Pillow.fromarray(np.dstack([COLOUR, alpha])), "PNG"))
    assert holed.mode == "RGBA" and not np.asarray(holed)[:5].any()  # what does not show is alike
    assert same(holed.convert("RGB").crop((0, 5, 20, 20)), COLOUR[5:])
    assert read(Pillow.fromarray(np.dstack([GREY, alpha]), "LA")).mode == "LA"
    palette = Pillow.fromarray(COLOUR).quantize(16)
    transparent = read(saved(palette, "PNG", transparency=0))
    hidden = np.asarray(palette) == 0
    assert transparent.mode == "RGBA" and np.array_equal(np.asarray(transparent)[..., 3] == 0, hidden)
    key = tuple(int(v) for v in COLOUR[0, 0])
    assert np.asarray(read(saved(Pillow.fromarray(COLOUR), "PNG", transparency=key)))[0, 0, 3] == 0


def test_exif_rotation() -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    tall = np.kron(np.arange(6, dtype=np.uint8).reshape(3, 2) * 40, np.ones((16, 16), np.uint8))
    raw = saved(Pillow.fromarray(tall), "JPEG", quality=95, exif=exif)
    assert same(read(raw), np.rot90(tall, -1), 2)
    assert same(read(Pillow.open(io.BytesIO(raw))), np.rot90(tall, -1), 2)


def test_large_pictures_are_reduced_while_decoding() -> None:
    big = Pillow.fromarray(COLOUR).resize((1800, 1200), Pillow.Resampling.NEAREST)
    assert min(read(saved(big, "JPEG")).size) in range(512, 1024)
    assert min(read(big).size) in range(512, 1024)
    assert min(read(saved(big, "JPEG"), size=800).size) == 1200
    assert read(big.crop((0, 0, 900, 600))).size == (900, 600)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "empty"), (b"hello, this is text", "not an image"), (encoded(0, "JPEG", size=64)[:900], "truncated"),
        (encoded(0, "JPEG", size=64)[:20], "JPEG|truncated"),
        (encoded(0, "PNG", size=64)[:200], "truncated|damaged|broken"),
        (encoded(0, "PNG")[:10], "PNG"), (huge_png(), "more pixels than the limit"),
        (huge_png(11_000), "11,000 x 11,000 pixels"),
        (encoded(0, "PNG", size=64)[:100] + b"\xff" * 200, "damaged|truncated|broken"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not an image"),
        (np.zeros((2, 3, 9)), "shape"), (np.array(["a"]), "shape|values"), (np.full((4, 4), np.nan), "not finite"),
        (np.full((4, 4), -300.0), "values from"), (object(), "shape|not an image"), (np.zeros((0, 4)), "shape"),
    ],
    ids=lambda v: v if isinstance(v, str) else None,
)  # fmt: skip
def test_what_cannot_be_read_says_why(raw: object, reason: str) -> None:
    with warnings.catch_warnings(), pytest.raises(Unreadable, match=reason) as e:
        warnings.simplefilter("error")  # Pillow's own warnings must not come out either
        read(raw)
    assert "\n" not in str(e.value)


def test_damaged_files_never_raise_anything_else() -> None:
    rng = np.random.default_rng(0)
    for kind in ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"):
        whole = encoded(3, kind, size=24)
        for _ in range(40):
            raw = bytearray(whole)
            for at in rng.integers(0, len(raw), 6):
                raw[at] = rng.integers(256)
            try:
                read(bytes(raw[: rng.integers(1, len(raw) + 1)]))
            except Unreadable as e:
                assert str(e)


# -- fingerprints ----------------------------------------------------------------------------------------------


def test_the_exact_print_is_of_what_shows_not_of_the_file() -> None:
    colour = Pillow.fromarray(COLOUR)
    prints = {Image.fingerprint(read(saved(colour, kind))).exact for kind in ("PNG", "BMP", "TIFF")}
    assert len(prints) == 1 and Image.fingerprint(read(COLOUR)).exact in prints
    other = COLOUR.copy()
    other[3, 3, 0] ^= 1
    assert Image.fingerprint(read(other)).exact not in prints


def test_prints_are_the_same_on_every_machine() -> None:
    grey = (np.multiply.outer(np.arange(32) ** 2, np.arange(32) + 3) // 37 % 251).astype(np.uint8)
    p = Image.fingerprint(read(grey))
    assert p.exact.hex() == "d55fc41fa132bbc87cb35870a4731ffb" and p.near == 0x803F70CF98A74C53


# -- choosing --------------------------------------------------------------------------------------------------


def blank(width: int, height: int, mode: str = "RGB") -> Pillow.Image:
    rng = np.random.default_rng(width * 7919 + height)
    depth = {"L": (), "RGB": (3,)}[mode]
    return Pillow.fromarray(rng.integers(0, 256, (height, width, *depth), dtype=np.uint8))


@pytest.mark.parametrize(
    ("sizes", "chosen"),
    [
        ([(28, 28)] * 3, (28, 28)), ([(8, 8)] * 3, (8, 8)), ([(50, 37)] * 3, (37, 50)), ([(64, 64)] * 3, (64, 64)),
        ([(128, 128)] * 3, (64, 64)), ([(300, 200), (600, 400), (320, 214)], (48, 64)), ([(200, 400)] * 4, (64, 32)),
        ([(300, 200), (200, 300), (250, 250)], (64, 64)), ([(40, 30), (36, 30), (33, 31)], (32, 32)),
        ([(20, 20), (18, 19), (17, 17)], (16, 16)), ([(900, 90)] * 3, (16, 64)),
    ],
)  # fmt: skip
def test_the_size_is_chosen_from_the_images(sizes: list[tuple[int, int]], chosen: tuple[int, int]) -> None:
    m = fitted(*(blank(*s) for s in sizes))
    assert m.spec.shape == (3, *chosen)
    alike = len(set(sizes)) == 1 and max(sizes[0]) <= 64
    assert bool(m.notices) is not alike and (alike or "--set modality.size=" in m.notices[0])


def test_size_and_channels_as_asked_for() -> None:
    assert fitted(blank(30, 30), size=16).spec.shape == (3, 16, 16)
    assert fitted(blank(30, 30), size="24x40", channels=1).spec.shape == (1, 24, 40)
    assert fitted(blank(30, 30), size="48×48").config.size == 48


@pytest.mark.parametrize("size", ["big", "3", 0, "64x", "64x64x3", 5000, "-8"])
def test_sizes_that_are_none(size: object) -> None:
    with pytest.raises(InputError, match=r"modality\.size must be a number of pixels"):
        validate(ImageConfig, {"size": size}, "modality")


def test_channels_are_chosen_from_the_images() -> None:
    grey, colour = blank(16, 16, "L"), blank(16, 16)
    holed = np.dstack([np.asarray(colour), np.full((16, 16), 255, np.uint8)])
    holed[4:9, 4:9, 3] = 0
    clear = Pillow.fromarray(holed)
    assert fitted(grey, grey.convert("RGB")).spec.channels == 1
    assert fitted(grey, colour).spec.channels == 3
    assert fitted(*[colour] * 18, clear).spec.channels == 4
    few = fitted(*[colour] * 39, clear)
    assert few.spec.channels == 3 and "1 images are laid on white" in few.notices[0]
    assert fitted(clear, channels=3).encode(read(clear))[:, 6, 6].tolist() == [1, 1, 1]
    assert fitted(clear, channels=3, background="black").encode(read(clear))[:, 6, 6].tolist() == [-1, -1, -1]


# -- encoding --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_decode_is_the_inverse_of_encode(channels: int) -> None:
    depth = () if channels == 1 else (channels,)
    values = np.random.default_rng(channels).integers(0, 256, (12, 10, *depth), dtype=np.uint8)
    if channels == 4:
        values[values[..., 3] == 0] = 0
    m = fitted(read(values), channels=channels)
    x = m.encode(read(values))
    assert x.dtype == torch.float32 and x.shape == m.spec.shape and x.abs().max() <= 1
    assert np.array_equal(np.asarray(m.decode(x)), values)
    assert torch.equal(m.encode(m.decode(x)), x)


def test_extremes_are_exactly_one_and_all_levels_differ() -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    x = fitted(read(ramp)).encode(read(ramp)).flatten()
    assert x[0] == -1 and x[-1] == 1 and (x.diff() > 0).all() and torch.equal(x, -x.flip(0))


def test_samples_outside_the_range_are_clipped() -> None:
    x = torch.tensor([-3.0, -1, 0, 1, 9, 0.5]).reshape(1, 2, 3).repeat(1, 2, 2)
    assert np.asarray(fitted(blank(8, 8)).decode(x))[0].tolist() == [0, 0, 128, 0, 0, 128]


def test_the_centre_is_kept_and_nothing_is_stretched() -> None:
    picture = np.zeros((40, 80), np.uint8)
    picture[:, 10:70] = 255
    m = fitted(read(picture), size=16)
    assert (m.encode(read(picture)) == 1).all()


def test_state_makes_an_equal_modality() -> None:
    m = fitted(blank(30, 20), blank(90, 60), flip=True, shift=2)
    twin = Image.from_state(json.loads(json.dumps(m.state())))
    assert twin.spec == m.spec and twin.config == m.config and twin.state() == m.state()
    assert torch.equal(twin.encode(read(blank(30, 20))), m.encode(read(blank(30, 20))))


# -- augmentation ----------------------------------------------------------------------------------------------

X = torch.rand(64, 4, 12, 10, generator=torch.Generator().manual_seed(0)) * 2 - 1


def augmented(**settings: object) -> torch.Tensor:
    return Image(ImageConfig(size="12x10", channels=4, **settings)).augment(X, Rng(3))


def test_nothing_changes_unless_asked_for() -> None:
    assert augmented() is X


def test_flip_mirrors_about_half() -> None:
    y = augmented(flip=True)
    flipped = [torch.equal(a, b.flip(-1)) for a, b in zip(y, X, strict=True)]
    kept = [torch.equal(a, b) for a, b in zip(y, X, strict=True)]
    assert all(f != k for f, k in zip(flipped, kept, strict=True)) and 16 < sum(flipped) < 48


def test_shift_moves_whole_pixels_and_repeats_the_edge() -> None:
    y = augmented(shift=2)
    padded = torch.nn.functional.pad(X, (2, 2, 2, 2), mode="replicate")
    windows = {(i, j): padded[:, :, i : i + 12, j : j + 10] for i in range(5) for j in range(5)}
    found = [next(k for k, w in windows.items() if torch.equal(w[n], y[n])) for n in range(len(X))]
    assert len(set(found)) > 15


def test_turning_keeps_the_centre_and_the_angle_is_in_degrees() -> None:
    m = Image(ImageConfig(size=33, channels=1, rotate=90.0))
    line = -torch.ones(200, 1, 33, 33)
    line[:, :, 16, :] = 1
    y = m.augment(line, Rng(0))
    assert (y[:, 0, 16, 16] > 0.9).all()
    upright = (y[:, 0, 4:29, 16] > 0).float().mean(1)  # 1 where the line stands upright, 90 degrees
    assert upright.max() > 0.9 and upright.min() < 0.2


def test_light_changes_colour_and_not_transparency() -> None:
    y = augmented(brightness=0.2, contrast=0.3)
    assert torch.equal(y[:, 3], X[:, 3]) and not torch.equal(y[:, :3], X[:, :3]) and y.abs().max() <= 1
    lift = augmented(brightness=0.1)[:, :3] - X[:, :3]
    assert lift.abs().max() <= 0.2 + 1e-6


@pytest.mark.parametrize(
    "settings", [{"flip": True}, {"shift": 3}, {"rotate": 20.0, "zoom": 0.2}, {"brightness": 0.1, "contrast": 0.2}]
)
def test_augmentation_is_drawn_by_row_and_repeats(settings: dict[str, object]) -> None:
    m = Image(ImageConfig(size="12x10", channels=4, **settings))
    whole = m.augment(X, Rng(5))
    assert torch.equal(m.augment(X, Rng(5)), whole) and not torch.equal(m.augment(X, Rng(6)), whole)
    assert whole.shape == X.shape and whole.abs().max() <= 1
    part = m.augment(X[16:48], Rng(5).rows(16, 64))
    assert torch.allclose(part, whole[16:48], atol=1e-6)


# -- output ----------------------------------------------------------------------------------------------------


def test_files_are_written_whole_under_any_name(tmp_path: Path) -> None:
    m = fitted(blank(8, 8))
    paths = m.write([blank(8, 8), blank(8, 8, "L")], tmp_path / "新", ["猫-1", "b"])
    assert [p.name for p in paths] == ["猫-1.png", "b.png"]
    assert np.array_equal(np.asarray(Pillow.open(paths[0])), np.asarray(blank(8, 8)))
    assert sorted(p.name for p in (tmp_path / "新").iterdir()) == ["b.png", "猫-1.png"]
    with pytest.raises(GenloomError, match="could not be written"):
        m.write([blank(8, 8)], tmp_path, ["no/such/folder"])


def test_the_grid_shows_every_picture_once() -> None:
    m = fitted(blank(8, 8))
    colours = [(i * 20, 255 - i * 20, 77) for i in range(10)]
    sheet = m.show([Pillow.new("RGB", (8, 8), c) for c in colours])
    cells = {c: n for n, c in sheet.getcolors()}
    assert all(cells[c] == 48 * 48 for c in colours) and set(cells) == {*colours, (255, 255, 255)}
    assert sheet.width > sheet.height  # 4 columns, 3 rows
    assert m.show([blank(8, 8)] * 10, columns=10).height < 60 and m.show([blank(64, 64)]).width < 80
    with pytest.raises(InputError):
        m.show([])


def test_transparency_is_shown_over_a_checkerboard() -> None:
    sheet = fitted(blank(8, 8)).show([Pillow.new("RGBA", (48, 48), (0, 0, 0, 0))])
    assert set(c for _, c in sheet.getcolors()) == {(255, 255, 255), (224, 224, 224)}
