"""Optimisers: Adam(W), and Muon on hidden matrices with AdamW elsewhere; averaged weights."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from genloom.core.config import Settings, setting


class OptimiserConfig(Settings):
    """How one player's parameters move."""

    kind: Literal["adamw", "muon"] = setting("adamw", "adamw, or muon on hidden weight matrices with adamw elsewhere.")
    lr: float = setting(1e-3, "Peak learning rate of AdamW.", gt=0)
    table_lr: float | None = setting(
        None, "Peak learning rate of embedding tables; that of AdamW if none. Small text wants it high.", gt=0
    )
    beta1: float = setting(0.9, "Decay of AdamW's first moment.", ge=0, lt=1)
    beta2: float = setting(0.99, "Decay of AdamW's second moment.", ge=0, lt=1)
    weight_decay: float = setting(0.0, "Decoupled weight decay.", ge=0)
    muon_lr: float = setting(0.02, "Peak learning rate of Muon.", gt=0)
    momentum: float = setting(0.95, "Momentum of Muon.", ge=0, lt=1)


def edge(module: nn.Module) -> nn.Module:
    """Mark a layer whose weight is not a hidden matrix (input, output, embedding, modulation): Muon leaves it to
    AdamW."""
    for p in module.parameters():
        p.edge = True  # type: ignore[attr-defined]
    return module


def lazy(table: nn.Embedding) -> nn.Embedding:
    """Mark a large table of which a step uses few rows: only those move (SparseAdam), and no average is
    kept of it. The time of a step then does not depend on the table's size, and rows that are rarely used move
    little. While `table.sparse` is False all rows move, at AdamW's learning rate."""
    table.sparse = True
    table.weight.lazy = True  # type: ignore[attr-defined]
    return table


def is_lazy(p: nn.Parameter) -> bool:
    return bool(getattr(p, "lazy", False))


def is_hidden_matrix(p: nn.Parameter) -> bool:
    return p.ndim >= 2 and not getattr(p, "edge", False)


def orthogonalise(g: Tensor, steps: int = 5) -> Tensor:
    """[N, R, C] matrices with their singular values pushed towards 1, by the quintic Newton-Schulz iteration.

    Source: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks".
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g / (g.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    for _ in range(steps):
        s = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(s, s, s, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised: each weight of two or more axes moves as the matrix [out, everything else].

    torch.optim.Muon takes 2-D parameters only; here convolution kernels are flattened and equal shapes are batched.
    """

    def __init__(
        self, params: Iterable[nn.Parameter], lr: float = 0.02, momentum: float = 0.95, weight_decay: float = 0.0
    ):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            shapes: dict[tuple[int, int], list[nn.Parameter]] = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    shapes[p.shape[0], p[0].numel()].append(p)
            for (rows, columns), params in shapes.items():
                moved = []
                for p in params:
                    assert p.grad is not None
                    m = self.state[p].setdefault("momentum", torch.zeros_like(p))
                    m.lerp_(p.grad, 1 - group["momentum"])
                    moved.append(p.grad.lerp(m, group["momentum"]).reshape(rows, columns))
                direction = orthogonalise(torch.stack(moved))
                scale = group["lr"] * max(1.0, rows / columns) ** 0.5
                for p, d in zip(params, direction.unbind(), strict=True):
                    p.mul_(1 - group["lr"] * group["weight_decay"]).add_(d.view_as(p), alpha=-scale)


class Optimiser:
    """One player's optimiser(s). `step(rate)` scales every peak learning rate by `rate`."""

    def __init__(self, player: nn.Module, config: OptimiserConfig) -> None:
        self.params = [p for p in player.parameters() if p.requires_grad]
        matrices = [p for p in self.params if config.kind == "muon" and is_hidden_matrix(p)]
        chosen = {id(p) for p in matrices}
        rest = [p for p in self.params if id(p) not in chosen and not is_lazy(p)]
        rows = [p for p in self.params if is_lazy(p)]
        betas = (config.beta1, config.beta2)
        self.parts: list[torch.optim.Optimizer] = []
        if rest:
            groups: list[dict[str, Any]] = [{"params": rest, "lr": config.lr}]
            if config.table_lr is not None:
                tables = {id(m.weight) for m in player.modules() if isinstance(m, nn.Embedding)}
                groups = [
                    {"params": [p for p in rest if id(p) not in tables], "lr": config.lr},
                    {"params": [p for p in rest if id(p) in tables], "lr": config.table_lr, "weight_decay": 0.0},
                ]
            self.parts.append(torch.optim.AdamW(groups, config.lr, betas, weight_decay=config.weight_decay, fused=True))
        self.rows: dict[torch.optim.Optimizer, bool] = {}  # of lazy tables: whether it takes sparse gradients
        if rows:
            self.rows[torch.optim.SparseAdam(rows, config.table_lr or config.lr, betas)] = True
            self.rows[torch.optim.AdamW(rows, config.lr, betas, weight_decay=0.0, fused=True)] = False
            self.parts += self.rows
        if matrices:
            decay = config.weight_decay or 0.01
            self.parts.append(Muon(matrices, config.muon_lr, config.momentum, decay))
        for optimiser in self.parts:
            for group in optimiser.param_groups:
                group["peak"] = group["lr"]

    def step(self, rate: float) -> None:
        for optimiser in self.parts:
            for group in optimiser.param_groups:
                group["lr"] = group["peak"] * rate
            kept = self._hidden(optimiser)
            optimiser.step()
            for p, grad in kept:
                p.grad = grad

    def _hidden(self, optimiser: torch.optim.Optimizer) -> list[tuple[nn.Parameter, Tensor]]:
        """Gradients of lazy tables that are the other optimiser's, taken away until it has stepped."""
        if optimiser not in self.rows:
            return []
        params = [p for group in optimiser.param_groups for p in group["params"]]
        others = [(p, p.grad) for p in params if p.grad is not None and p.grad.is_sparse != self.rows[optimiser]]
        for p, _ in others:
            p.grad = None
        return others

    def zero_grad(self) -> None:
        for p in self.params:
            p.grad = None

    def tensors(self) -> dict[str, Tensor]:
        """The state as named tensors, for a checkpoint without pickled objects."""
        out: dict[str, Tensor] = {}
        for i, optimiser in enumerate(self.parts):
            for j, state in optimiser.state_dict()["state"].items():
                out |= {f"{i}.{j}.{key}": torch.as_tensor(value) for key, value in state.items()}
        return out

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        states: list[dict[int, dict[str, Any]]] = [defaultdict(dict) for _ in self.parts]
        for name, value in tensors.items():
            i, j, key = name.split(".")
            parameters = [p for group in self.parts[int(i)].param_groups for p in group["params"]]
            like = parameters[int(j)]
            # Fused steps read state and parameter side by side in memory: the state must have the parameter's strides.
            kept = torch.empty_like(like).copy_(value) if value.shape == like.shape else value
            # SparseAdam counts its steps in a number: as a tensor it would round otherwise.
            number = isinstance(self.parts[int(i)], torch.optim.SparseAdam) and key == "step"
            states[int(i)][int(j)][key] = int(value) if number else kept
        for optimiser, state in zip(self.parts, states, strict=True):
            optimiser.load_state_dict({**optimiser.state_dict(), "state": dict(state)})


class Average:
    """Exponential moving average of a module's parameters; buffers and lazy tables are the module's own."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module, self.decay = module, decay
        self.params = {n: p.detach().clone() for n, p in module.named_parameters() if not is_lazy(p)}

    @torch.no_grad()
    def update(self, names: list[str], step: int) -> None:
        """Move the averages of parameters `names` towards the module's; short memory at the start."""
        live = dict(self.module.named_parameters())
        names = [n for n in names if n in self.params]
        weight = 1 - min(self.decay, (step + 1) / (step + 10))
        torch._foreach_lerp_([self.params[n] for n in names], [live[n].detach() for n in names], weight)

    @torch.no_grad()
    def copy_to(self, module: nn.Module, names: Iterable[str] | None = None) -> None:
        live = dict(module.named_parameters())
        for n in self.params if names is None else names:
            if n in self.params:
                live[n].copy_(self.params[n])

    def averaged(self) -> nn.Module:
        """A copy of the module with the averaged parameters."""
        twin = copy.deepcopy(self.module)
        self.copy_to(twin)
        return twin
