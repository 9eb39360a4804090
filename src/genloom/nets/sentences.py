"""A sentence from one code, and back: the networks of a variational autoencoder of sequences.

Bowman et al. 2016, "Generating sentences from a continuous space": words of the decoder's input are dropped, so that it
must ask the code. The code stands beside the input at every step, and the encoder's states are averaged, not only the
last one kept: both keep the code in use (Dieng et al. 2019; Long et al. 2019).

Shapes: `B` batch, `T` tokens, `D` width of the code vector, `V` vocabulary.
"""

from __future__ import annotations

from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genloom.core.config import Settings, setting
from genloom.core.optim import edge
from genloom.core.rng import Rng
from genloom.core.spec import Tokens
from genloom.nets import decoding
from genloom.nets.blocks import Dropout, zero
from genloom.nets.recurrent import Recurrent


class SentenceConfig(Settings):
    """The encoder and the decoder of sequences."""

    length: int = setting(
        128, "Most tokens of a training sequence; longer ones are cut, streams into pieces.", unit="tokens", ge=2
    )
    width: int = setting(128, "Width of the embeddings of tokens.", unit="values", ge=4)
    encoder_hidden: int = setting(192, "Width of each direction of the encoder, a gru.", unit="values", ge=4)
    hidden: int = setting(384, "Width of the decoder, an lstm.", unit="values", ge=4)
    depth: int = setting(1, "Layers of the decoder.", ge=1)
    word_dropout: float = setting(
        0.3, "Share of the decoder's input tokens hidden from it in training.", unit="share", ge=0, le=1
    )
    dropout: float = setting(0.2, "Dropout of embeddings and states in training.", unit="share", ge=0, lt=1)


@final
class Sentences(nn.Module):
    """q(z | x) by a bidirectional GRU, p(x | z, class) by an LSTM."""

    def __init__(self, spec: Tokens, latent: int, classes: int, config: SentenceConfig) -> None:
        super().__init__()
        c, self.spec, self.config, self.classes = config, spec, config, classes
        self.read = edge(nn.Embedding(spec.vocab, c.width))
        self.forwards = Recurrent("gru", c.width, c.encoder_hidden, 1)
        self.backwards = Recurrent("gru", c.width, c.encoder_hidden, 1)
        self.posterior_of = edge(nn.Linear(self.forwards.features + self.backwards.features, 2 * latent))
        self.written = edge(nn.Embedding(spec.vocab + 1, c.width))  # the last one stands for a hidden token
        self.code = nn.Linear(latent, c.width, bias=False)
        self.label = nn.Embedding(classes + 1, c.width) if classes else None
        for module in (self.code, *([self.label] if self.label is not None else [])):
            edge(module)
        self.decoder = Recurrent("lstm", c.width, c.hidden, c.depth)
        self.head = edge(zero(nn.Linear(self.decoder.features, spec.vocab)))
        nn.init.normal_(self.code.weight, std=latent**-0.5)
        self.dropout = Dropout(c.dropout)
        self.forwards.dropout.p = self.backwards.dropout.p = self.decoder.dropout.p = c.dropout

    @property
    def length(self) -> int:
        """Most tokens of a training sequence."""
        return self.config.length if self.spec.stream else min(self.config.length, self.spec.length)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x int64 [B, T] -> mean and log-variance of the code [B, D]."""
        real = x != self.spec.pad
        count, place = real.sum(1, keepdim=True), torch.arange(x.shape[1], device=x.device)
        back = torch.where(place < count, count - 1 - place, place)  # its own inverse; padding stays at the end
        e = self.dropout(self.read(x))
        turned = e.gather(1, back[..., None].expand_as(e))
        states = torch.cat([self.forwards(e, None, None), self.backwards(turned, None, None)], 2)
        mean, logvar = self.posterior_of((states * real[..., None]).sum(1) / count).float().chunk(2, 1)
        return mean, logvar.clamp(-8, 4)

    def log_prob(self, x: Tensor, z: Tensor, label: Tensor | None, rng: Rng | None = None) -> Tensor:
        """[B] log p(x | z, label) of the tokens after the first. rng: hides input tokens, as in training."""
        inputs, targets = x[:, :-1], x[:, 1:]
        if rng is not None:
            hidden = rng.uniform("words", *inputs.shape) < self.config.word_dropout
            hidden[:, 0] = False
            inputs = inputs.masked_fill(hidden, self.spec.vocab)
        h = self.decoder(self.dropout(self._inputs(inputs, z, label)), None, None)
        logits = self.head(h).float()
        nats = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view_as(targets)
        return -(nats * (targets != self.spec.pad)).sum(1)

    def _inputs(self, x: Tensor, z: Tensor, label: Tensor | None) -> Tensor:
        e = self.written(x) + self.code(z)[:, None]
        if self.label is not None:
            e = e + (self.label.weight[-1] if label is None else self.label(label)[:, None])
        return e

    @torch.no_grad()
    def draw(self, z: Tensor, label: Tensor | None, uniform: Tensor, temperature: float) -> Tensor:
        """int64 [B, T] sequences of codes z, at most uniform.shape[1] [B, M] tokens after the first; temperature 0
        takes the most probable token each time."""
        s, eos = self.spec, None if self.spec.stream else self.spec.eos
        forbidden = torch.tensor([s.pad, s.eos if s.stream else s.bos], device=z.device)
        filters = decoding.Filters(temperature, forbidden=forbidden)
        state = self.decoder.begin(len(z), 0, z)
        tokens = torch.full((len(z), 1), s.bos, device=z.device)
        ended = torch.zeros(len(z), dtype=torch.bool, device=z.device)
        for u in uniform.double().unbind(1):
            h = self.decoder(self._inputs(tokens[:, -1:], z, label), None, state)[:, 0]
            chosen = decoding.draw(filters(self.head(h).float(), tokens, None), u)
            chosen = chosen.masked_fill(ended, s.pad)
            tokens = torch.cat([tokens, chosen[:, None]], 1)
            ended = ended | (chosen == eos) if eos is not None else ended
            if bool(ended.all()):
                break
        return tokens[:, 1:] if s.stream else tokens
