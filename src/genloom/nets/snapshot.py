"""A net as it was once, beside the net that trains on: the weak net of autoguidance."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call


class Snapshot(nn.Module):
    """A net's parameters as they were once, in buffers: saved with the family, neither trained nor averaged."""

    kept: Tensor

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.register_buffer("kept", torch.tensor(False))
        self.names = {n: n.replace(".", "/") for n, _ in net.named_parameters()}
        for name, p in net.named_parameters():
            self.register_buffer(self.names[name], p.detach().clone())

    @torch.no_grad()
    def keep(self, net: nn.Module) -> None:
        """Copy the net's parameters as they are now."""
        for name, p in net.named_parameters():
            self.get_buffer(self.names[name]).copy_(p)
        self.kept.fill_(True)

    def forward(self, net: nn.Module, *inputs: Tensor) -> Tensor:
        """net(*inputs) with the parameters kept."""
        out: Tensor = functional_call(net, {n: self.get_buffer(b) for n, b in self.names.items()}, inputs)
        return out
