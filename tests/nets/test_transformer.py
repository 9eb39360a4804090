"""The transformer against its formulas."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from genloom.nets.transformer import SHARPNESS, Transformer, rms, rotate


def transformer(depth: int = 2) -> Transformer:
    torch.manual_seed(0)
    net = Transformer(16, depth, 2, 24).eval()
    for p in net.parameters():
        nn.init.normal_(p, std=0.4)
    return net


def by_hand(net: Transformer, e: Tensor) -> Tensor:
    """One row, [T, D], token by token and head by head, with rotations as sines and cosines."""
    norm = lambda v: v / (v.square().mean(-1, keepdim=True) + torch.finfo(torch.float32).eps).sqrt()  # noqa: E731
    length, width, heads = len(e), 16, 2
    part = width // heads
    speeds = 1000.0 ** -(torch.arange(part // 2) / (part // 2))

    def turn(v: Tensor, place: int) -> Tensor:
        a, out = place * speeds, torch.empty_like(v)
        out[0::2] = v[0::2] * a.cos() - v[1::2] * a.sin()
        out[1::2] = v[0::2] * a.sin() + v[1::2] * a.cos()
        return out

    h = first = norm(e)
    for i, layer in enumerate(net.layers):
        h = h + net.skip[i] * first
        q, k, v = (norm(h) @ layer.qkv.weight.T).view(length, 3, heads, part).unbind(1)  # type: ignore[union-attr]
        o = torch.zeros(length, heads, part)
        for t in range(length):
            for g in range(heads):
                scores = torch.stack([turn(norm(q[t, g]), t) @ turn(norm(k[s, g]), s) for s in range(t + 1)])
                o[t, g] = (scores * SHARPNESS * part**-0.5).softmax(0) @ v[: t + 1, g]
        h = h + o.flatten(1) @ layer.out.weight.T  # type: ignore[union-attr]
        h = h + (norm(h) @ layer.up.weight.T).relu().square() @ layer.down.weight.T  # type: ignore[union-attr]
    return norm(h)


@torch.no_grad()
def test_it_equals_its_formulas() -> None:
    net, e = transformer(), torch.randn(1, 9, 16)
    torch.testing.assert_close(net(e, None, None)[0], by_hand(net, e[0]), atol=1e-4, rtol=1e-4)


def test_rms_gives_unit_mean_square() -> None:
    x = 7 * torch.randn(3, 5, 16)
    torch.testing.assert_close(rms(x).square().mean(-1), torch.ones(3, 5))


def test_rotations_keep_lengths_and_depend_on_distances_alone() -> None:
    turns = transformer().turns
    q, k = torch.randn(1, 1, 1, 8), torch.randn(1, 1, 1, 8)
    at = lambda x, place: rotate(x, turns[place : place + 1])  # noqa: E731
    torch.testing.assert_close(at(q, 5).norm(), q.norm())
    torch.testing.assert_close((at(q, 9) * at(k, 4)).sum(), (at(q, 17) * at(k, 12)).sum(), atol=1e-4, rtol=1e-4)
    assert not torch.isclose((at(q, 9) * at(k, 4)).sum(), (at(q, 9) * at(k, 5)).sum(), atol=1e-3)


@torch.no_grad()
def test_documents_packed_in_a_row_do_not_see_each_other() -> None:
    net, e = transformer(), torch.randn(1, 14, 16)
    documents = torch.tensor([[0] * 5 + [1] * 9])
    packed = net(e, documents, None)
    torch.testing.assert_close(packed[:, :5], net(e[:, :5], None, None), atol=1e-5, rtol=1e-5)
    # Positions are relative, so a document later in the row is as one that stands alone.
    torch.testing.assert_close(packed[:, 5:], net(e[:, 5:], None, None), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(net(e, None, None)[:, 5:], packed[:, 5:], atol=1e-3)


def test_widths_that_cannot_be_divided_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of twice"):
        Transformer(18, 1, 2, 8)
