"""Critics of sequences: how real each token looks after those before it.

A verdict at every place, not one for the whole sequence, tells a generator where it went wrong (de Masson d'Autume et
al. 2019). So every body is causal.

Shapes: `B` batch, `T` tokens, `D` width, `V` vocabulary.
"""

from __future__ import annotations

from typing import Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from genloom.core.config import Settings, setting
from genloom.core.optim import edge
from genloom.nets.blocks import Dropout
from genloom.nets.recurrent import Recurrent

KERNEL = 3


class CriticConfig(Settings):
    """The network that tells real sequences from generated ones."""

    net: Literal["cnn", "recurrent", "mlp"] = setting(
        "cnn", "cnn: dilated convolutions; recurrent: a gru; mlp: layers over the last `reach` tokens."
    )
    width: int = setting(128, "Width of the embedding and of every layer.", unit="values", ge=4)
    depth: int = setting(3, "Layers; a cnn of d layers sees 2 ** (d + 1) - 1 tokens.", ge=1, le=8)
    reach: int = setting(5, "Tokens that the mlp sees, the present one among them.", unit="tokens", ge=1)
    dropout: float = setting(0.1, "Dropout of embeddings and layers.", unit="share", ge=0, lt=1)
    spectral: bool = setting(
        True, "Keep the largest singular value of every convolution and linear layer at 1 (Miyato et al. 2018)."
    )


class Causal(nn.Module):
    """A convolution over [B, D, T] that sees the present place and those before it."""

    def __init__(self, width: int, kernel: int, dilation: int, spectral: bool) -> None:
        super().__init__()
        self.past = dilation * (kernel - 1)
        conv = nn.Conv1d(width, width, kernel, dilation=dilation)
        self.conv = spectral_norm(conv) if spectral else conv

    def forward(self, h: Tensor) -> Tensor:
        return self.conv(F.pad(h, (self.past, 0)))


@final
class Critic(nn.Module):
    """Logits [B, T] that each token is real, given those before it and the class."""

    def __init__(self, vocab: int, classes: int, config: CriticConfig) -> None:
        super().__init__()
        c = self.config = config
        self.token, self.dropout = edge(nn.Embedding(vocab, c.width)), Dropout(c.dropout)
        self.label = edge(nn.Embedding(classes + 1, c.width)) if classes else None
        self.layers = nn.ModuleList()
        self.recurrent: Recurrent | None = None
        if c.net == "recurrent":
            self.recurrent = Recurrent("gru", c.width, c.width, c.depth)
            self.recurrent.dropout.p = c.dropout
        else:
            # Of an mlp the first layer looks at `reach` tokens and the others at their own place.
            kernels = [KERNEL] * c.depth if c.net == "cnn" else [c.reach] + [1] * (c.depth - 1)
            self.layers.extend(
                Causal(c.width, k, 2**i if c.net == "cnn" else 1, c.spectral) for i, k in enumerate(kernels)
            )
        out = nn.Linear(self.recurrent.features if self.recurrent is not None else c.width, 1)
        self.out = edge(spectral_norm(out) if c.spectral else out)

    def forward(self, x: Tensor, label: Tensor | None) -> Tensor:
        """x int64 [B, T], or float [B, T, V] shares of tokens; label [B] (the last class: unknown) -> [B, T]."""
        table = self.token.weight
        assert isinstance(table, Tensor)
        e = x @ table if x.is_floating_point() else F.embedding(x, table)
        if self.label is not None and label is not None:
            e = e + self.label(label)[:, None]
        e = self.dropout(e)
        if self.recurrent is not None:
            h = self.recurrent(e, None, None)
        else:
            h = e.mT
            for layer in self.layers:
                h = h + self.dropout(F.leaky_relu(layer(h), 0.2))
            h = h.mT
        return self.out(h)[..., 0].float()


def returns(rewards: Tensor, discount: float) -> Tensor:
    """[B, T] sums over s >= t of discount ** (s - t) * rewards[s]."""
    places = torch.arange(rewards.shape[1], device=rewards.device)
    ahead = places[:, None] - places  # [T, T]: s - t
    return rewards @ torch.where(ahead >= 0, float(discount) ** ahead.clamp(min=0), 0.0).to(rewards.dtype)


def relaxed(logits: Tensor, tokens: Tensor, uniform: Tensor, temperature: float) -> Tensor:
    """[B, T, V]: one-hot tokens forwards, the Gumbel-softmax that would have drawn them backwards.

    logits [B, T, V] finite; tokens [B, T] drawn from them; uniform [B, T, V] in [0, 1). Jang et al. 2017, straight
    through; the noise is drawn given which token won (truncated Gumbels, Maddison et al. 2014; Paulus et al. 2021), so
    tokens that were drawn by other means serve.
    """
    logp = logits.log_softmax(-1)
    hard = F.one_hot(tokens, logits.shape[-1])
    with torch.no_grad():
        noise = -torch.log(-torch.log(uniform.clamp(1e-20, 1 - 1e-7)))
        best = noise.gather(-1, tokens[..., None])  # the largest of all is a Gumbel about log-sum-exp, which is 0
        scores = torch.where(hard.bool(), best, -torch.logaddexp(-best, -(logp + noise)))
    soft = torch.softmax((logp + (scores - logp).detach()) / temperature, -1)
    return hard + soft - soft.detach()
