"""LoRA: weights that stay as they are, and low-rank changes of them that are learned (Hu et al. 2021).

W' = W + (alpha / rank) B A, A [rank, in] random, B [out, rank] zero. A change lies beside its layer as `lora`, so that
the names and the weights of the network stay those it began with; it works on any network with linear layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genloom.core.config import Settings, setting
from genloom.core.errors import InputError

RANK = 16  # where --lora does not say


class LoraConfig(Settings):
    """Low-rank changes in place of full training."""

    rank: int = setting(0, "Rank of the change of every layer; 0 trains all weights.", ge=0, le=1024)
    alpha: float | None = setting(None, "The change counts alpha / rank times; twice the rank if none.", gt=0)
    dropout: float = setting(0.0, "Dropout of what the changes read.", unit="share", ge=0, lt=1)
    targets: tuple[str, ...] = setting(
        (), "Last parts of the names of the layers that change; all linear layers if none."
    )

    @property
    def scale(self) -> float:
        return 2.0 if self.alpha is None else self.alpha / max(1, self.rank)


class LowRank(nn.Module):
    """x [..., in] -> the change of the layer's output [..., out]."""

    def __init__(self, inputs: int, outputs: int, config: LoraConfig) -> None:
        super().__init__()
        self.scale, self.dropout = config.scale, config.dropout
        self.a = nn.Parameter(torch.empty(config.rank, inputs))
        self.b = nn.Parameter(torch.zeros(outputs, config.rank))
        nn.init.kaiming_uniform_(self.a, a=5**0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.dropout(x, self.dropout, self.training and self.dropout > 0)
        return F.linear(F.linear(x, self.a), self.b) * self.scale

    def change(self) -> Tensor:
        """[out, in]"""
        return self.scale * (self.b @ self.a)


def layers(network: nn.Module, without: Sequence[nn.Module] = ()) -> dict[str, nn.Module]:
    """Linear layers by name, and transformers' Conv1D, which is one with its weight turned; not those in `without`."""
    kept = {id(m) for m in without}
    return {n: m for n, m in network.named_modules() if id(m) not in kept and (isinstance(m, nn.Linear) or _turned(m))}


def _turned(layer: nn.Module) -> bool:
    """Whether the layer's weight is [in, out]."""
    return type(layer).__name__ == "Conv1D" and hasattr(layer, "nf")


def attach(network: nn.Module, config: LoraConfig, without: Sequence[nn.Module] = ()) -> None:
    """Freeze a network and give its layers low-rank changes. Raises InputError naming the candidates when `targets` fit
    no layer."""
    found = layers(network, without)
    chosen = {n: m for n, m in found.items() if not config.targets or n.rsplit(".", 1)[-1] in config.targets}
    lost = [t for t in config.targets if not any(n.rsplit(".", 1)[-1] == t for n in found)]
    if lost or not chosen:
        names = ", ".join(dict.fromkeys(n.rsplit(".", 1)[-1] for n in found))
        what = f"no linear layer is called {', '.join(lost)}" if lost else "the network has no linear layer to change"
        raise InputError(f"LoRA: {what}; layers it could change: {names or 'none'} (family.lora.targets)")
    network.requires_grad_(False)
    for layer in chosen.values():
        weight = layer.weight
        assert isinstance(weight, Tensor)
        outputs, inputs = weight.shape[::-1] if _turned(layer) else weight.shape
        layer.add_module("lora", LowRank(inputs, outputs, config))
        layer.register_forward_hook(_add)


def _add(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    changed: Tensor = output + layer.lora(inputs[0])  # type: ignore[operator]
    return changed


def effective(layer: nn.Linear) -> Tensor:
    """[out, in] the weight with its change."""
    change = getattr(layer, "lora", None)
    return layer.weight if change is None else layer.weight + change.change()


def changed(network: nn.Module) -> Iterator[tuple[str, nn.Module, LowRank]]:
    """Layers with a change: name, layer, change."""
    for name, layer in network.named_modules():
        change = getattr(layer, "lora", None)
        if isinstance(change, LowRank):
            yield name, layer, change


@torch.no_grad()
def merged(network: nn.Module, prefix: str = "") -> dict[str, Tensor]:
    """The state of a network with its changes added to the weights, under the names that it had without them."""
    state = {n: t.detach().clone() for n, t in network.state_dict(prefix=prefix).items() if ".lora." not in n}
    for name, layer, change in changed(network):
        delta = change.change()
        state[f"{prefix}{name}.weight"] += delta.T if _turned(layer) else delta
    return state


def adapter(network: nn.Module, config: LoraConfig, base: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The changes as the package peft keeps them: adapter_config.json and the tensors of adapter_model.safetensors.
    base: where the weights lie that they change."""
    tensors, names, turned = {}, [], False
    for name, layer, change in changed(network):
        names.append(name)
        turned = turned or _turned(layer)
        tensors[f"base_model.model.{name}.lora_A.weight"] = change.a.detach().cpu().contiguous()
        tensors[f"base_model.model.{name}.lora_B.weight"] = change.b.detach().cpu().contiguous()
    settings = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base, "inference_mode": True,
        "r": config.rank, "lora_alpha": config.scale * config.rank, "lora_dropout": config.dropout, "bias": "none",
        "target_modules": sorted(names), "fan_in_fan_out": turned,
    }  # fmt: skip
    return settings, tensors
