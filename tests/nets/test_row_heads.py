"""Distributions of table rows against scipy and against counts, and directions of levels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from examples import table
from genloom.core.rng import Joined, Rng
from genloom.core.spec import Row, Span
from genloom.nets.density import MixtureDensity
from genloom.nets.row_coder import RowCoder, RowCoderConfig, RowOptions
from genloom.nets.row_heads import Points, RowHead, RowLikelihood, directions, inverse

SPEC = Row(
    (Span("colour", "category", 3), Span("size is", "category", 2), Span("size", "numeric", 0, "size is"),
     Span("weight", "numeric"))
)  # fmt: skip


def likelihood(n: int = 1) -> tuple[RowLikelihood, list[torch.Tensor]]:
    torch.manual_seed(0)
    parts = [torch.randn(1, k).expand(n, k) for k in (3, 2, 6, 6)]
    return RowLikelihood(SPEC, parts), parts


def by_hand(part: torch.Tensor) -> list[tuple[float, float, float]]:
    """(share, mean, deviation) of each component."""
    weights, means, scales = part[0].double().chunk(3)
    return list(zip(weights.softmax(0).tolist(), means.tolist(), scales.clamp(-4, 1).exp().tolist(), strict=True))


def test_log_probability_is_the_product_over_the_columns_that_count() -> None:
    found, parts = likelihood(2)
    x = torch.tensor([[2.0, 0.0, 0.4, -1.0], [0.0, 1.0, 0.0, 0.3]])
    for row, own in zip(x.tolist(), found.log_prob(x).tolist(), strict=True):
        wanted = np.log(parts[0][0].softmax(0)[int(row[0])]) + np.log(parts[1][0].softmax(0)[int(row[1])])
        numbers = [(2, row[2])] * (row[1] == 0) + [(3, row[3])]
        wanted += sum(np.log(sum(w * stats.norm.pdf(v, m, s) for w, m, s in by_hand(parts[i]))) for i, v in numbers)
        assert own == pytest.approx(float(wanted), abs=1e-5)
    mask = torch.tensor([[True, False, True, False], [False, True, True, True]])
    each = found.each(x)
    torch.testing.assert_close(found.between(x, mask)[:, 0], (each * mask).sum(1))


def test_rows_are_drawn_as_they_are_likely() -> None:
    n = 20_000
    found, parts = likelihood(n)
    x = found.draw(Rng(0).uniforms("u", n, 4), 1.0)
    for i in (0, 1):
        shares = torch.bincount(x[:, i].long(), minlength=len(parts[i][0])) / n
        torch.testing.assert_close(shares, parts[i][0].softmax(0), atol=0.012, rtol=0)
    assert not bool(x[x[:, 1] == 1, 2].any())
    numbers = x[:, 3].numpy()
    cdf = lambda v: sum(w * stats.norm.cdf(v, m, s) for w, m, s in by_hand(parts[3]))  # noqa: E731
    assert stats.kstest(numbers, cdf).pvalue > 1e-3
    tame = found.draw(Rng(1).uniforms("u", n, 4), 0.0)
    assert bool((tame == tame[:1]).all()) and int(tame[0, 0]) == int(parts[0][0].argmax())
    kept = found.draw(Rng(1).uniforms("u", n, 4), 1.0, torch.zeros(n, 4), tame == tame)
    assert not bool(kept.any())


def test_what_is_left_of_a_uniform_number_is_uniform_again() -> None:
    u = torch.rand(5000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    code, left = inverse(torch.tensor([[0.0, 1.0, -1.0]]).expand(5000, 3), u)
    for level in range(3):
        assert stats.kstest(left[code == level].numpy(), "uniform").pvalue > 1e-3


def test_levels_have_directions_of_their_own() -> None:
    few = directions(4, 4, torch.Generator())
    torch.testing.assert_close(torch.cdist(few, few), 2 * (1 - torch.eye(4)), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(few.mean(0), torch.zeros(4), rtol=0, atol=1e-6)
    many = directions(5000, 64, torch.Generator().manual_seed(0))
    angles = (many[:200] @ many.T / 2)[~torch.eye(200, 5000, dtype=torch.bool)]
    assert float(angles.abs().max()) < 0.8 and many.shape == (5000, 64)
    data, spec, _ = table(50)
    points = Points(spec, 64)
    where = points.places[0], points.places[3]
    z = points(data.x)
    assert z.shape == (50, points.width) and where[1].stop - where[1].start == 64
    nearest = torch.cdist(z[:, where[1]], points.levels(3)).argmin(1)
    assert torch.equal(nearest.float(), data.x[:, 3])


def test_codes_that_fit_what_is_known_are_as_bayes_has_them() -> None:
    """Two codes apart that make colours differently: what is known of the colour tells how often each is right."""
    torch.manual_seed(0)
    coder = RowCoder(SPEC, 1, RowCoderConfig(width=8, depth=1, components=1))

    class Known(RowHead):
        def forward(self, h: torch.Tensor) -> RowLikelihood:
            high = (h[:, :1] > 0).float()
            colour = torch.cat([2 * high, 2 * (1 - high), torch.full_like(high, -9)], 1)
            weight = torch.cat([torch.zeros_like(high), 4 * high - 2, torch.full_like(high, -4)], 1)
            return RowLikelihood(SPEC, [colour, torch.zeros(len(h), 2), torch.zeros(len(h), 3), weight])

    coder.head = Known(SPEC, 8, 1)
    coder.code, coder.decoder = torch.nn.Identity(), torch.nn.Identity()
    coder.likelihood = lambda z: coder.head(z)  # type: ignore[method-assign]
    n = 4000
    known, mask = torch.zeros(n, 4), torch.zeros(n, 4, dtype=torch.bool)
    mask[:, 0] = True
    for rounds in (0, 3):
        options = RowOptions(codes=2048, rounds=rounds)
        x = coder.drawn_given(known, mask, MixtureDensity(1, (), 1), Rng(0), options, 1.0)
        right = float((x[:, 3] > 0).float().mean())
        assert right == pytest.approx(float(torch.tensor([2.0, 0.0]).softmax(0)[0]), abs=0.03), rounds
        assert not bool(x[:, 0].any())


def test_rows_of_several_requests_are_those_of_each_alone() -> None:
    parts = [(Rng(3), 4), (Rng(5, offset=2), 3)]
    both = Joined.of(parts).uniform_rows("u", 7)
    assert np.array_equal(both, np.concatenate([rng.uniform_rows("u", n) for rng, n in parts]))
