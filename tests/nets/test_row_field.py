"""The field of a flow over rows: where its probabilities are right it is the exact velocity."""

from __future__ import annotations

import torch

from genloom.core.spec import Row, Span
from genloom.nets.row_field import RowField, RowFieldConfig

SPEC = Row((Span("size is", "category", 2), Span("size", "numeric", 0, "size is"), Span("colour", "category", 3)))


def test_the_velocity_of_levels_is_that_of_bayes() -> None:
    """E[x - n | x_t] by hand, with x one of three directions and n standard normal."""
    field = RowField(SPEC, 0, RowFieldConfig(width=8, depth=1))
    prior = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    t, place = torch.tensor(0.6), field.points.places[2]
    levels = field.points.levels(2).double()
    torch.manual_seed(0)
    x = torch.randn(7, field.points.width)
    own = x[:, place].double()
    t64 = float(t)
    log_p = prior.log() - 0.5 * ((own[:, None] - t64 * levels) / (1 - t64)).square().sum(2)
    posterior = log_p.softmax(1)
    mean = posterior @ levels
    wanted = mean - (own - t64 * mean) / (1 - t64)  # n = (x_t - t x) / (1 - t)
    out = torch.zeros(7, sum(field.sizes))
    out[:, -3:] = log_p.float()
    skip, scale = torch.tensor(0.3), torch.tensor(0.8)
    found = skip * x + scale * field.field(out, x, t, skip, scale)
    torch.testing.assert_close(found[:, place].double(), wanted, rtol=1e-4, atol=1e-4)
    number = field.points.places[1]
    torch.testing.assert_close(found[:, number], skip * x[:, number])  # its output is 0 here


def test_the_loss_is_nats_of_levels_and_squares_of_numbers() -> None:
    field = RowField(SPEC, 0, RowFieldConfig(width=8, depth=1))
    x = torch.tensor([[0.0, 0.7, 2.0], [1.0, 0.0, 1.0]])
    out, target = torch.randn(2, 6), torch.randn(2, field.points.width)
    total = 0.0
    for row, o, g in zip(x, out.double(), target.double(), strict=True):
        total += float((o[0] - g[field.points.places[1].start]) ** 2)
        total -= float(o[1:3].log_softmax(0)[int(row[0])] + o[3:].log_softmax(0)[int(row[2])])
    nothing = torch.zeros(2, 3, dtype=torch.bool)
    torch.testing.assert_close(field.loss(out, target, x, nothing), torch.tensor(total / 2 / 3, dtype=torch.float32))
    nothing[:, 1:] = True
    nats = -out[:, 1:3].log_softmax(1)[torch.arange(2), x[:, 0].long()].sum() / 6
    torch.testing.assert_close(field.loss(out, target, x, nothing), nats)


def test_rows_keep_what_is_known_and_numbers_follow_their_gates() -> None:
    field = RowField(SPEC, 0, RowFieldConfig(width=8, depth=1))
    n = 500
    points, out = torch.full((n, field.points.width), 0.5), torch.zeros(n, sum(field.sizes))
    u = torch.rand(n, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    nothing = torch.zeros(n, 3)
    x = field.rows(out, points, u, 1.0, nothing, nothing > 0)
    assert torch.equal(x[:, 1], torch.where(x[:, 0] == 0, 0.5, 0.0)) and set(x[:, 2].tolist()) == {0.0, 1.0, 2.0}
    known, mask = torch.tensor([[1.0, 0.0, 2.0]]).expand(n, 3), torch.tensor([[True, False, True]]).expand(n, 3)
    kept = field.rows(out, points, u, 1.0, known, mask)
    assert torch.equal(kept, known)
