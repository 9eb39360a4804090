"""DINOv2: a vision transformer trained without labels; its class token describes an image.

Sources: Oquab et al. 2023, "DINOv2: Learning Robust Visual Features without Supervision"; Stein et al. 2023, "Exposing
flaws of generative model evaluation metrics and their unfair treatment of diffusion models" (why to judge by it, and
the 224 pixels). The network is that of the package transformers; here are the two published layouts of its weights and
what is done to an image. `B` batch.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genloom.core.errors import InputError

SIZE = 224
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet
ORIGINAL = ("pos_embed", "blocks.0.attn.qkv.weight")  # names that tell the layout of facebook's own files
HUB = ("embeddings.position_embeddings", "embeddings.patch_embeddings.projection.weight")
REPOSITORY = "facebook/dinov2-small"
HOW = f"take model.safetensors and config.json of {REPOSITORY}, -base or -large"
HEAD = 64  # values of an attention head in every published size

RENAMED = (
    (r"^cls_token$", "embeddings.cls_token"),
    (r"^mask_token$", "embeddings.mask_token"),
    (r"^pos_embed$", "embeddings.position_embeddings"),
    (r"^patch_embed\.proj\.", "embeddings.patch_embeddings.projection."),
    (r"^blocks\.", "encoder.layer."),
    (r"\.attn\.proj\.", ".attention.output.dense."),
    (r"\.ls([12])\.gamma$", r".layer_scale\1.lambda1"),
    (r"^norm\.", "layernorm."),
)


def renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Facebook's names as the names on the hub: queries, keys and values apart instead of in one matrix."""
    out: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        for old, new in RENAMED:
            name = re.sub(old, new, name)
        if ".attn.qkv." in name:
            for part, values in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                out[name.replace(".attn.qkv.", f".attention.attention.{part}.")] = values.clone()
        else:
            out[name] = tensor
    return out


class Dinov2(nn.Module):
    """Images [B, 3, H, W] of values 0 to 255 -> [B, D], D = 384 (small), 768 (base) or 1,024 (large)."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, model: nn.Module, width: int) -> None:
        super().__init__()
        self.model, self.width = model, width
        self.register_buffer("mean", 255 * torch.tensor(MEAN).view(3, 1, 1))
        self.register_buffer("deviation", 255 * torch.tensor(DEVIATION).view(3, 1, 1))

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], path: Path) -> Dinov2:
        """The network with the weights read from `path`, in either layout; a config.json beside it is obeyed.

        Raises InputError when they are laid out otherwise or transformers is not installed.
        """
        try:
            from transformers import Dinov2Config, Dinov2Model
            from transformers.utils.logging import disable_progress_bar, set_verbosity
        except ImportError:
            raise InputError("DINOv2 features need the package transformers; install genloom[features]") from None
        set_verbosity(logging.CRITICAL)
        disable_progress_bar()
        given = (
            renamed(tensors) if ORIGINAL[1] in tensors else {n.removeprefix("dinov2."): t for n, t in tensors.items()}
        )
        try:
            config = Dinov2Config(**(_told(path) or _seen(given)))
            loaded: Any = Dinov2Model.from_pretrained(None, config=config, state_dict=given, output_loading_info=True)
        except (RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError, ZeroDivisionError):
            raise InputError(f"{path} is laid out otherwise than DINOv2; {HOW}") from None
        model, report = loaded
        for key, what in (("missing_keys", "is missing"), ("unexpected_keys", "is unknown")):
            if report[key]:
                raise InputError(f"{path} is laid out otherwise than DINOv2: {min(report[key])} {what}; {HOW}")
        return cls(model.float(), config.hidden_size)

    @property
    def title(self) -> str:
        return "DINOv2"

    def forward(self, pixels: Tensor) -> Tensor:
        x = F.interpolate(pixels, (SIZE, SIZE), mode="bicubic", antialias=True).clamp(0, 255)
        out: Tensor = self.model((x - self.mean) / self.deviation).last_hidden_state[:, 0]
        return out


def _told(path: Path) -> dict[str, Any] | None:
    """The settings in config.json beside the weights; None without one. Raises InputError for another network."""
    file = path.parent / "config.json"
    if not file.is_file():
        return None
    try:
        settings = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        raise InputError(f"{file} is damaged; fetch it again") from None
    kind = settings.get("model_type") if isinstance(settings, dict) else None
    if kind != "dinov2":
        raise InputError(f"{file} is of the network {kind}, not dinov2; {HOW}")
    known = ("hidden_size", "num_hidden_layers", "num_attention_heads", "mlp_ratio", "image_size", "patch_size")
    more = ("layer_norm_eps", "qkv_bias", "use_swiglu_ffn", "hidden_act", "use_mask_token")
    return {k: settings[k] for k in (*known, *more) if k in settings}


def _seen(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The settings that the shapes tell."""
    positions, patches = tensors[HUB[0]], tensors[HUB[1]]
    width, patch = patches.shape[0], patches.shape[-1]
    return {
        "hidden_size": width,
        "num_hidden_layers": 1 + max(int(n.split(".")[2]) for n in tensors if n.startswith("encoder.layer.")),
        "num_attention_heads": width // HEAD,
        "mlp_ratio": tensors["encoder.layer.0.mlp.fc1.weight"].shape[0] // width,
        "image_size": patch * round((positions.shape[1] - 1) ** 0.5),
        "patch_size": patch,
        "use_mask_token": "embeddings.mask_token" in tensors,
    }
