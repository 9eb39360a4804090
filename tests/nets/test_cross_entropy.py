"""Cross-entropy in pieces equals torch's, and its gradients too."""

import pytest
import torch
import torch.nn.functional as F

from genloom.nets import cross_entropy
from genloom.nets.cross_entropy import linear_cross_entropy


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_it_equals_torch(smoothing: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cross_entropy, "PIECE", 3 * 11)  # several pieces, the last not full
    torch.manual_seed(0)
    h, w = torch.randn(2, 5, 4, requires_grad=True), torch.randn(11, 4, requires_grad=True)
    targets, counted = torch.randint(11, (2, 5)), torch.rand(2, 5) < 0.7
    loss, nats = linear_cross_entropy(h, w, targets, counted, smoothing)
    logits = F.linear(h, w)[counted]
    wanted = F.cross_entropy(logits, targets[counted], reduction="sum", label_smoothing=smoothing)
    torch.testing.assert_close(loss, wanted)
    torch.testing.assert_close(nats, F.cross_entropy(logits, targets[counted], reduction="sum").detach())
    assert not nats.requires_grad
    got, due = torch.autograd.grad(3 * loss, (h, w)), torch.autograd.grad(3 * wanted, (h, w))
    for a, b in zip(got, due, strict=True):
        torch.testing.assert_close(a, b)


def test_what_is_frozen_gets_no_gradient_and_nothing_counted_is_nothing() -> None:
    h, w = torch.randn(1, 3, 4, requires_grad=True), torch.randn(11, 4)
    loss, nats = linear_cross_entropy(h, w, torch.zeros(1, 3, dtype=torch.long), torch.zeros(1, 3, dtype=torch.bool))
    assert float(loss) == float(nats) == 0
    (grad,) = torch.autograd.grad(loss, h)
    assert float(grad.abs().sum()) == 0


def test_autocast_is_honoured() -> None:
    torch.manual_seed(0)
    h, w = torch.randn(1, 64, 32), torch.randn(50, 32)
    targets, counted = torch.randint(50, (1, 64)), torch.ones(1, 64, dtype=torch.bool)
    exact, _ = linear_cross_entropy(h, w, targets, counted)
    with torch.autocast("cpu", torch.bfloat16):
        rough, _ = linear_cross_entropy(h, w, targets, counted)
    assert 0 < abs(float(rough - exact)) < 0.02 * float(exact)
