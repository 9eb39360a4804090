"""LSTM and GRU against torch.nn."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import nn

from genloom.nets.recurrent import Recurrent

Cell = Literal["lstm", "gru"]


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@torch.no_grad()
def test_layers_equal_those_of_torch(cell: Cell) -> None:
    torch.manual_seed(0)
    net = Recurrent(cell, 6, 10, 3).eval()
    kind = nn.LSTM if cell == "lstm" else nn.GRU
    theirs = kind(6, 10, 3, batch_first=True)
    for i, layer in enumerate(net.layers):
        for name, p in layer.named_parameters():
            nn.init.normal_(p, std=0.3)
            dict(theirs.named_parameters())[name.replace("l0", f"l{i}")].copy_(p)
    e = torch.randn(4, 11, 6)
    y, last = theirs(e)
    state = net.begin(4, 0, e)
    out = net(e, None, state)
    torch.testing.assert_close(out, torch.cat([y, e], 2), atol=1e-6, rtol=1e-5)
    memories = [m[i] for i in range(3) for m in (last if cell == "lstm" else (last,))]
    for own, other in zip(state.memory, memories, strict=True):
        torch.testing.assert_close(own[0], other, atol=1e-6, rtol=1e-5)
    assert net.features == out.shape[2] == 16


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@torch.no_grad()
def test_a_state_goes_on_where_it_stopped(cell: Cell) -> None:
    torch.manual_seed(0)
    net, e = Recurrent(cell, 6, 10, 2).eval(), torch.randn(3, 12, 6)
    state = net.begin(3, 0, e)
    parts = [net(part, None, state) for part in e.split([5, 1, 6], 1)]
    torch.testing.assert_close(torch.cat(parts, 1), net(e, None, None), atol=1e-6, rtol=1e-5)


def test_forget_gates_begin_open_and_recurrent_matrices_orthogonal() -> None:
    net = Recurrent("lstm", 6, 10, 1)
    weights = dict(net.layers[0].named_parameters())
    assert weights["bias_ih_l0"][10:20].tolist() == [1.0] * 10 and float(weights["bias_hh_l0"].abs().sum()) == 0
    for gate in weights["weight_hh_l0"].split(10):
        torch.testing.assert_close(gate @ gate.T, torch.eye(10), atol=1e-5, rtol=0)
