"""Names of points cover neither each other nor a point, and stay on the page."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from genloom.comparison.labels import HEIGHT, RADIUS, Box, gap, place, width_of

PAGE = Box(60, 20, 380, 280)
NAMES = ["vae", "gan", "flow:digits-flow", "autoencoder", "自回归模型", "fsq", "flow:mnist-latent-flow", "x"]


@pytest.mark.parametrize("spread", [0.0, 3.0, 40.0, 400.0])
@pytest.mark.parametrize("seed", range(5))
def test_no_name_covers_another_or_a_point(spread: float, seed: int) -> None:
    draw = np.random.default_rng(seed)
    middle = draw.uniform((70, 30), (430, 290))
    points = [tuple(np.clip(middle + draw.uniform(-spread, spread, 2), (66, 26), (434, 294))) for _ in NAMES]
    boxes = place(points, NAMES, PAGE)  # type: ignore[arg-type]
    for a, b in itertools.combinations(boxes, 2):
        assert a.shared(b) == 0
    dots = [Box(x - RADIUS, y - RADIUS, 2 * RADIUS, 2 * RADIUS) for x, y in points]
    assert all(box.shared(dot) < 1e-6 for box in boxes for dot in dots)
    for box, name in zip(boxes, NAMES, strict=True):
        assert (box.width, box.height) == (width_of(name), HEIGHT)
        assert PAGE.left <= box.left and box.right <= PAGE.right + 1e-9
        assert PAGE.top <= box.top and box.bottom <= PAGE.bottom + 1e-9


def test_a_lone_name_stands_beside_its_point() -> None:
    (box,) = place([(200.0, 150.0)], ["vae"], PAGE)
    assert box.left > 200 and gap(box, (200.0, 150.0)) < 12


def test_the_shared_area_of_boxes() -> None:
    assert Box(0, 0, 10, 10).shared(Box(7, 8, 10, 10)) == 3 * 2
    assert Box(0, 0, 10, 10).shared(Box(10, 0, 5, 5)) == 0


def test_wide_letters_count_as_wide() -> None:
    assert width_of("模型") > 1.5 * width_of("ab")
