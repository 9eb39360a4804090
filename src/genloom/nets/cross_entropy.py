"""Cross-entropy of a linear layer's output, without ever holding the logits of all tokens.

The logits of a batch are its largest tensor by far: 4,096 tokens of 8,192 kinds are 128 MB, read and written a dozen
times. Here a piece of the tokens goes from features to gradients while it is in the processor's cache.

Shapes: `N` tokens, `F` features, `V` vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

PIECE = 2**21  # logits held at a time


def linear_cross_entropy(
    h: Tensor, weight: Tensor, targets: Tensor, counted: Tensor, smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Sums over the counted tokens: the loss, with gradients, and the nats of the targets, without.

    h [..., F], weight [V, F], targets [...] int64, counted [...] bool. loss = (1 - smoothing) * nats + smoothing * mean
    of the nats of all V (label smoothing, Szegedy et al. 2016). With autocast the products are in its format, the rest
    in float32.
    """
    keep = counted.flatten().nonzero()[:, 0]
    loss, nats = _Summed.apply(h.flatten(0, -2), weight, targets.flatten()[keep], keep, smoothing)
    return loss, nats


class _Summed(torch.autograd.Function):
    """The gradients for a loss of weight 1 are made on the way forward; backward multiplies them."""

    @staticmethod
    def forward(
        ctx: Any, h: Tensor, weight: Tensor, targets: Tensor, keep: Tensor, smoothing: float
    ) -> tuple[Tensor, Tensor]:
        kind = h.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
        w, vocab = weight.detach().to(dtype), len(weight)
        wants_h, wants_weight = ctx.needs_input_grad[:2]
        loss, nats = (torch.zeros((), device=h.device) for _ in range(2))
        grad_h = torch.zeros_like(h, dtype=torch.float32) if wants_h else None
        grad_w = torch.zeros_like(weight, dtype=torch.float32) if wants_weight else None
        with torch.autocast(kind, enabled=False):
            size = max(1, PIECE // vocab)
            for rows, wanted in zip(keep.split(size), targets.split(size), strict=True):
                x = h.detach()[rows].to(dtype)
                logits = (x @ w.T).float()
                total = logits.logsumexp(1, keepdim=True)
                own = total[:, 0] - logits.gather(1, wanted[:, None])[:, 0]
                nats += own.sum()
                evenly = total[:, 0] - logits.mean(1) if smoothing else own
                loss += torch.lerp(own, evenly, smoothing).sum()
                grad = logits.sub_(total).exp_()
                if smoothing:
                    grad.sub_(smoothing / vocab)
                grad.scatter_add_(1, wanted[:, None], grad.new_full((len(wanted), 1), smoothing - 1))
                low = grad.to(dtype)
                if grad_h is not None:
                    grad_h[rows] = (low @ w).float()
                if grad_w is not None:
                    grad_w += low.T @ x
        ctx.save_for_backward(*(t for t in (grad_h, grad_w) if t is not None))
        ctx.mark_non_differentiable(nats)
        ctx.dtypes = h.dtype, weight.dtype
        return loss, nats

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        saved = list(ctx.saved_tensors)
        out: list[Tensor | None] = []
        for wanted, dtype in zip(ctx.needs_input_grad[:2], ctx.dtypes, strict=True):
            out.append((saved.pop(0) * grads[0]).to(dtype) if wanted else None)
        return (*out, None, None, None)
