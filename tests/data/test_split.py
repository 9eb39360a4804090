"""Duplicates are found, stay together, and the split is the same everywhere."""

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from sklearn.datasets import load_digits

from genloom.core.modality import Fingerprint
from genloom.data.duplicates import DISTANCE, exact_groups, near_groups
from genloom.data.split import TEST, TRAIN, VALIDATION, Shares, assign, crossing
from genloom.modalities.image import Image as Modality
from genloom.modalities.image import ImageConfig
from pictures import pixels

SHARES = Shares(0.1, 0.2)


def prints(pictures: list[Image.Image]) -> list[Fingerprint]:
    return [Modality.fingerprint(Modality.read(p, ImageConfig())) for p in pictures]


def made(n: int) -> list[Fingerprint]:
    return [Fingerprint(i.to_bytes(8, "big")) for i in range(n)]


def split(
    p: list[Fingerprint], groups: list[int] | None = None, given: object = None, labels: object = None
) -> np.ndarray:
    n = len(p)
    g = exact_groups(p) if groups is None else np.array(groups)
    return assign(p, g, given or [None] * n, labels or [None] * n, SHARES)


def photo(seed: int) -> Image.Image:
    noise = np.random.default_rng(seed).normal(0, 12, (96, 96, 3))
    return Image.fromarray(np.clip(pixels(seed, 96) + noise, 0, 255).astype(np.uint8))


def recompressed(p: Image.Image) -> Image.Image:
    out = io.BytesIO()
    p.save(out, "JPEG", quality=50)
    return Image.open(io.BytesIO(out.getvalue()))


@pytest.mark.parametrize(
    "change",
    [
        recompressed,
        lambda p: p.resize((70, 70)),
        lambda p: ImageEnhance.Brightness(p).enhance(1.05),
        lambda p: p.convert("P"),
    ],
    ids=["jpeg50", "smaller", "brighter", "palette"],
)
def test_altered_copies_are_near_duplicates_and_others_are_not(change: object) -> None:
    pictures = [photo(i) for i in range(30)]
    p = prints([*pictures, *(change(q) for q in pictures)])
    assert len(set(exact_groups(p).tolist())) == 60
    groups = near_groups(p, exact_groups(p)).tolist()
    assert sum(groups[i] == groups[30 + i] for i in range(30)) >= 25
    assert len(set(groups[:30])) == 30


def test_digits_that_look_alike_are_not_chained_together() -> None:
    bunch = load_digits()
    p = prints([Image.fromarray((a * 15.9375).astype(np.uint8)) for a in bunch.images])
    groups = near_groups(p, exact_groups(p))
    joined = [int(n) for n in np.unique(groups, return_counts=True)[1] if n > 1]
    assert sum(joined) < 0.01 * len(p) and max(joined, default=1) <= 8


def test_flat_pictures_are_only_exact_duplicates() -> None:
    p = prints([Image.new("RGB", (20, 20), (c, c, 90)) for c in (10, 11, 11, 200)])
    assert near_groups(p, exact_groups(p)).tolist() == [0, 1, 1, 3]


def test_near_groups_agree_with_comparing_every_pair() -> None:
    rng = np.random.default_rng(1)
    base = rng.integers(0, 2**63, 60, dtype=np.uint64)
    near = np.concatenate(
        [base, base ^ (np.uint64(1) << rng.integers(0, 64, 60).astype(np.uint64)), base ^ np.uint64(0b1110001)]
    )
    p = [Fingerprint(bytes([i]), int(v)) for i, v in enumerate(near)]
    groups = near_groups(p, exact_groups(p))
    close = np.array([[(int(a) ^ int(b)).bit_count() <= DISTANCE for a in near] for b in near])
    for _ in range(8):
        close = (close.astype(int) @ close.astype(int)) > 0
    assert np.array_equal(groups[:, None] == groups[None, :], close)


def test_thumbnails_decide_where_both_are_there() -> None:
    ramp, other = bytes(range(100)), bytes(reversed(range(100)))
    thumbnails = [ramp, ramp, other, None]
    p = [Fingerprint(bytes([i]), 7, t) for i, t in enumerate(thumbnails)]
    assert near_groups(p[:3], exact_groups(p[:3])).tolist() == [0, 0, 2]
    assert near_groups(p[2:], exact_groups(p[2:])).tolist() == [0, 0]
    assert near_groups(p, exact_groups(p)).tolist() == [0, 0, 0, 0]  # the one without joins them


def test_the_split_does_not_depend_on_order_or_company() -> None:
    p = made(400)
    codes = split(p)
    shuffled = np.random.default_rng(0).permutation(400)
    assert np.array_equal(split([p[i] for i in shuffled]), codes[shuffled])
    assert np.array_equal(split(p[:100]), codes[:100])
    assert 20 <= (codes == VALIDATION).sum() <= 60 and 55 <= (codes == TEST).sum() <= 105
    assert codes[:16].tolist() == [0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]  # on every machine


def test_groups_stay_on_one_side() -> None:
    groups = [i // 4 for i in range(200)]
    codes = split(made(200), groups)
    assert all(len(set(codes[4 * g : 4 * g + 4])) == 1 for g in range(50))
    assert crossing(np.array(groups), codes) == 0


def test_given_splits_stay_and_validation_comes_from_training() -> None:
    p = made(300)
    given = ["train"] * 200 + ["test"] * 100
    codes = split(p, [i % 200 for i in range(300)], given)  # every test example has a double in train
    assert (codes[200:] == TEST).all() and (codes[:200] != TEST).all()
    assert 5 <= (codes[:200] == VALIDATION).sum() <= 40
    assert crossing(np.arange(300) % 200, codes) == (codes[:100] == TRAIN).sum()


@pytest.mark.parametrize("n", [10, 11, 15, 20])
def test_small_sets_hold_out_at_least_one(n: int) -> None:
    for start in range(0, 200, 20):
        codes = split(made(300)[start : start + n])
        assert {TRAIN, VALIDATION, TEST} <= set(codes.tolist())


def test_tiny_sets_train_on_something() -> None:
    for start in range(100):
        assert TRAIN in split(made(200)[start : start + 2])


def test_every_label_keeps_an_example_to_train_on() -> None:
    p = made(60)
    labels = [str(i // 2) for i in range(59)] + ["alone"]
    codes = split(p, labels=labels)
    assert {labels[i] for i in np.flatnonzero(codes == TRAIN)} == set(labels)
    assert {VALIDATION, TEST} <= set(codes.tolist())
