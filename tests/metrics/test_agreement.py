"""The figures on the same features: torchmetrics' own metric objects, and the papers' formulas by brute force."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from torch import Tensor, nn

from genloom.metrics.frechet import Gaussian, frechet_distance
from genloom.metrics.kernel import kernel_distance
from genloom.metrics.manifold import manifold
from genloom.metrics.ngrams import bleu, numbered

CLOSE = 1e-4  # relative


class AsTheyAre(nn.Module):
    """Takes features for images: torchmetrics then measures the arrays themselves."""

    num_features = 16

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


def sets(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Features [300, 16] and [240, 16]."""
    draw = np.random.default_rng(0)
    a, b = draw.standard_normal((300, 16)), draw.standard_normal((240, 16))
    mix = draw.standard_normal((16, 16))
    if kind == "far":
        return a @ mix, b @ mix.T + 3
    if kind == "sparse":  # as after a ReLU, in few directions
        return np.maximum(a @ mix, 0), np.maximum(b @ mix - 1, 0)
    return a @ mix, 1.1 * b @ mix + 0.2


@pytest.mark.parametrize("kind", ["near", "far", "sparse"])
def test_frechet_distance_is_torchmetrics(kind: str) -> None:
    fid = pytest.importorskip("torchmetrics.image.fid")
    real, fake = sets(kind)
    theirs = fid.FrechetInceptionDistance(feature=AsTheyAre()).set_dtype(torch.float64)
    for x, is_real in ((real, True), (fake, False)):
        for part in np.array_split(x, 3):
            theirs.update(torch.from_numpy(part), real=is_real)
    found = frechet_distance(Gaussian.fit(fake), Gaussian.fit(real))
    assert found == pytest.approx(float(theirs.compute()), rel=CLOSE)


@pytest.mark.parametrize("kind", ["near", "far", "sparse"])
def test_kernel_distance_is_torchmetrics(kind: str) -> None:
    """One subset of everything is what the figure takes."""
    kid = pytest.importorskip("torchmetrics.image.kid")
    real, fake = (x[:240] for x in sets(kind))
    theirs: Any = kid.KernelInceptionDistance(feature=AsTheyAre(), subsets=1, subset_size=240)
    theirs.update(torch.from_numpy(real), real=True)
    theirs.update(torch.from_numpy(fake), real=False)
    assert kernel_distance(fake, real).value == pytest.approx(float(theirs.compute()[0]), rel=CLOSE)


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("kind", ["near", "far", "sparse"])
def test_manifold_figures_are_the_papers_formulas(kind: str, k: int) -> None:
    """Kynkaanniemi et al. 2019, eq. 1 and 2, and Naeem et al. 2020, eq. 5 and 6, with loops."""
    real, fake = sets(kind)
    among_real, among_fake, between = cdist(real, real), cdist(fake, fake), cdist(real, fake)
    ball_real = [sorted(row)[k] for row in among_real]  # the row's own distance, 0, comes first
    ball_fake = [sorted(row)[k] for row in among_fake]
    n, m = len(real), len(fake)
    precision = sum(any(between[i, j] <= ball_real[i] for i in range(n)) for j in range(m)) / m
    recall = sum(any(between[i, j] <= ball_fake[j] for j in range(m)) for i in range(n)) / n
    density = sum(between[i, j] <= ball_real[i] for i in range(n) for j in range(m)) / (k * m)
    coverage = sum(min(between[i]) <= ball_real[i] for i in range(n)) / n
    found = manifold(real, fake, k)
    wanted = (precision, recall, density, coverage)
    assert (found.precision, found.recall, found.density, found.coverage) == pytest.approx(wanted, rel=CLOSE)


def test_bleu_of_a_sentence_is_sacrebleus() -> None:
    """sacrebleu smooths by 1 / 2^k unless told otherwise, so sentences in which every order matches are compared."""
    metrics = pytest.importorskip("sacrebleu.metrics")
    references = [
        "the cat sat on the mat by the door",
        "春 眠 不 觉 晓 处 处 闻 啼 鸟",
        "a dog sat on the mat in the sun",
    ]
    samples = ["the cat sat on the mat in the sun", "处 处 闻 啼 鸟 春 眠 不 觉 晓", "a dog sat on the mat"]
    found = bleu(*numbered([s.split() for s in samples], [r.split() for r in references])).sentences(4)
    judge = metrics.BLEU(tokenize="none", effective_order=False, smooth_method="none")
    for value, line in zip(found, samples, strict=True):
        assert 100 * value == pytest.approx(judge.sentence_score(line, references).score, rel=CLOSE)
