"""Interpolated Kneser-Ney: how often each token followed the tokens before it, discounted and backed off.

Kneser and Ney 1995, "Improved backing-off for m-gram language modeling"; interpolated and with three discounts an order
as in Chen and Goodman 1999, "An empirical study of smoothing techniques for language modeling", section 3 ("modified
Kneser-Ney"). The discounts are not their closed form but the best ones on blocks that the counts leave out.

Shapes: `N` tokens of the text, `B` batch, `T` tokens of a row, `V` vocabulary, `C` contexts, `G` n-grams, `L` orders.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

MOST_TOKENS = 10_000_000  # of a longer text the beginning is counted
MOST_GRAMS = 24_000_000  # n-grams kept; an order that would pass it is left out
ROWS = 2**20  # positions scored at a time
BLOCKS, LEFT_OUT, LEAST_LEFT_OUT, MOST_LEFT_OUT = 20, 0.05, 200, 20_000  # text that the discounts are chosen on
USUAL = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.9)  # discounts to begin with, of texts too short to choose any on
PLAIN, CONTINUED = 0, 1  # counts of the longest context at hand, and counts of different continuations below it


class KneserNey(nn.Module):
    """p(token | up to order - 1 tokens before it) from counts. Uniform until it is fitted.

    A context is a node of a tree in which the next deeper node adds the token before it: node 0 is the empty context,
    node i + 1 has the key contexts[i] = parent * V + token. An n-gram has the key node * V + next token. Both lists are
    sorted, so a look-up is a binary search. With the longest context at hand counts are plain, below it they count how
    many different tokens went before (so text that begins in the middle of a window is scored as well as can be). The
    probability of a node is share[n-gram] + rest[node] * probability of its parent; without a parent it is 1 / V.

    eos, pad: tokens across which no context reaches; both are scored as 0 and so is all after an eos.
    """

    contexts: Tensor  # [C - 1] int64, sorted
    grams: Tensor  # [G] int64, sorted
    share: Tensor  # [2, G] float32: plain and continued
    rest: Tensor  # [2, C] float32
    orders: Tensor  # int64 scalar: orders in use, at most `order`

    def __init__(self, vocab: int, order: int = 7, eos: int | None = None, pad: int | None = None) -> None:
        super().__init__()
        if not 1 <= order <= 7:
            raise ValueError(f"order must be 1 to 7, got {order}")
        self.vocab, self.order, self.eos, self.pad = vocab, order, eos, pad
        self.register_buffer("contexts", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("grams", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("share", torch.zeros(2, 0))
        self.register_buffer("rest", torch.ones(2, 1))
        self.register_buffer("orders", torch.tensor(order))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """The tables have the size that the text gave them, so they take the size of what is loaded."""
        for name, buffer in self._buffers.items():
            given = state_dict.get(prefix + name)
            if buffer is not None and given is not None and given.shape != buffer.shape:
                self._buffers[name] = buffer.new_empty(given.shape)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    # -- counting -----------------------------------------------------------------------------------------------------

    def fit(self, tokens: NDArray[np.integer], discounts: Sequence[float] | None = None) -> None:
        """Count tokens [N] of the training text, documents one after the other. The first token of a document (of the
        text without eos) is never predicted. Of more than 10 million tokens the first are counted, and orders are left
        out, the longest first, where they would hold more than 24 million n-grams in all.

        discounts: one for each order, the shortest first. None chooses them: the counts of 95% of the text predict the
        other 5%, then everything is counted with the discounts that did best.
        """
        text = np.asarray(tokens[:MOST_TOKENS])
        if text.ndim != 1 or (len(text) and (text.min() < 0 or text.max() >= self.vocab)):
            raise ValueError(f"tokens must be one-dimensional and in 0 to {self.vocab - 1}")
        taken = torch.tensor((discounts or USUAL)[: self.order]).view(1, -1, 1).expand(2, self.order, 3)
        size = min(MOST_LEFT_OUT, int(LEFT_OUT * len(text))) // BLOCKS
        if discounts is None and size * BLOCKS >= LEAST_LEFT_OUT:
            starts = (np.arange(BLOCKS) + 1) * (len(text) // BLOCKS) - size
            rows = starts[:, None] + np.arange(size)
            counted = self._count(np.delete(text, rows.ravel()))
            self._keep(counted, taken)
            taken = self._choose(counted, torch.from_numpy(text[rows].astype(np.int64)).to(self.rest.device), taken)
        self._keep(self._count(text), taken)

    def _count(self, text: NDArray[np.integer]) -> Counted:
        # torch sorts whole numbers several times faster than numpy
        x = torch.from_numpy(text.astype(np.int64))
        depth = self._depth(x[None])[0].clamp(max=self.order).to(torch.int8)
        places = (depth > 0).nonzero()[:, 0]
        nodes = torch.zeros_like(places)  # the context of each place, one token longer in each round
        contexts: list[Tensor] = []
        grams: list[Tensor] = []
        plain: list[Tensor] = []
        ends = [1]  # nodes up to and including each level
        for level in range(self.order):
            if level:
                keep = depth[places] >= level
                places, nodes = places[keep], nodes[keep]
                keys, order = torch.sort(nodes * self.vocab + x[places - level])
                places = places[order]
                known, index = torch.unique_consecutive(keys, return_inverse=True)
                nodes = ends[-1] + index
            found, counts = torch.unique(nodes * self.vocab + x[places], return_counts=True)
            if level and sum(map(len, grams)) + len(found) > MOST_GRAMS:
                break
            grams.append(found)
            plain.append(counts)
            if level:
                contexts.append(known)
                ends.append(ends[-1] + len(known))
        table = torch.cat([x[:0], *contexts])
        continued = [torch.zeros_like(c) for c in plain]
        for level, longer in enumerate(grams[1:]):
            shorter = table[longer // self.vocab - 1] // self.vocab * self.vocab + longer % self.vocab
            place = torch.searchsorted(grams[level], shorter)
            continued[level] = torch.bincount(place, minlength=len(grams[level]))
        counts = torch.stack([torch.cat(plain), torch.cat(continued)])
        return Counted.of(table, torch.cat(grams), counts, ends, self.vocab)

    def _keep(self, counted: Counted, discounts: Tensor) -> None:
        """Take the tables with shares and rests for discounts [2, L, 3]."""
        device = self.rest.device
        share, rest = [], []
        for kind in (PLAIN, CONTINUED):
            taken, total = discounts[kind], counted.total[kind].clamp(min=1)
            left = (counted.counts[kind] - taken_from(taken, counted.gram_level, counted.counts[kind])).clamp(min=0)
            share.append(left / total[counted.gram_node])
            freed = (counted.different[kind] * taken[counted.node_level]).sum(1) / total
            rest.append(torch.where(counted.total[kind] > 0, freed, 1.0))
        self.contexts, self.grams = counted.contexts.to(device), counted.grams.to(device)
        self.share, self.rest = torch.stack(share).to(device), torch.stack(rest).to(device)
        self.orders = torch.tensor(int(counted.node_level[-1]) + 1, device=device)

    def _choose(self, counted: Counted, x: Tensor, start: Tensor) -> Tensor:
        """Discounts [2, L, 3] under which text that was not counted, x [B, T], is the least surprising. Every token is
        predicted from all before it and once more from a random shorter context, as at the beginning of a window."""
        top, device = int(self.orders) - 1, x.device
        generator = torch.Generator().manual_seed(0)
        full = self._depth(x)[:, 1:]
        cut = torch.randint(0, max(1, top), full.shape, generator=generator).to(device)
        scored = self._scored(x)
        parts = []
        for depth in (full, torch.minimum(full, cut)):
            steps = []
            for kind, alive, node, place, found in self._walk(x, depth):
                kind, node, place = (t[scored].cpu() for t in (kind, node, place))
                alive, found = alive[scored].cpu(), found[scored].cpu()
                count = torch.where(found, counted.counts[kind, place], 0.0) if len(self.grams) else 0.0 * place
                total = torch.where(alive, counted.total[kind, node], 0.0)
                steps.append((kind, count, total, counted.different[kind, node]))
            parts.append(steps)
        logits = torch.logit(start.clone().float()).requires_grad_()
        optimiser = torch.optim.LBFGS([logits], max_iter=15, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimiser.zero_grad()
            value = torch.zeros(())
            for steps in parts:
                p = torch.full(steps[0][1].shape, 1 / self.vocab)
                for level, (kind, count, total, different) in enumerate(steps):
                    taken = logits.sigmoid()[kind, level]  # [P, 3]
                    which = (count.long() - 1).clamp(0, 2)[:, None]
                    left = torch.where(count > 0, count - taken.gather(1, which)[:, 0], 0.0)
                    new = (left + (different * taken).sum(1) * p) / total.clamp(min=1)
                    p = torch.where(total > 0, new, p)
                value = value - p.log().mean()
            value.backward()
            return value

        optimiser.step(loss)
        return logits.detach().sigmoid().nan_to_num(0.75)

    # -- asking -------------------------------------------------------------------------------------------------------

    def _depth(self, x: Tensor) -> Tensor:
        """[B, T] tokens before each token of x [B, T] that are not across an eos or pad."""
        place = torch.arange(x.shape[1], device=x.device).expand_as(x)
        border = torch.zeros_like(x)
        for token in (self.eos, self.pad):
            if token is not None:
                border = torch.where(x == token, place + 1, border)
        before = torch.zeros_like(border)
        before[:, 1:] = border.cummax(1).values[:, :-1]
        return place - before

    def _find(self, table: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Places of keys in a sorted table, and whether they are there."""
        if not len(table):
            return torch.zeros_like(keys), torch.zeros_like(keys, dtype=torch.bool)
        place = torch.searchsorted(table, keys).clamp(max=len(table) - 1)
        return place, table[place] == keys

    @torch.no_grad()
    def surprise(self, x: Tensor) -> Tensor:
        """[B, T - 1] float32 nats of x[:, 1:], x int64 [B, T], each given up to order - 1 tokens before it in its row;
        0 at pad and after eos."""
        rows = max(1, ROWS // max(1, x.shape[1]))
        return torch.cat([self._surprise(part) for part in x.split(rows)]) if len(x) else x[:, 1:].float()

    def _surprise(self, x: Tensor) -> Tensor:
        p = torch.full((len(x), x.shape[1] - 1), 1 / self.vocab, device=x.device)
        for kind, alive, node, place, found in self._walk(x, self._depth(x)[:, 1:]):
            share = torch.where(found, self.share[kind, place], 0.0) if len(self.grams) else torch.zeros_like(p)
            p = torch.where(alive, share + self.rest[kind, node] * p, p)
        return torch.where(self._scored(x), -p.log(), 0.0)

    def _scored(self, x: Tensor) -> Tensor:
        """[B, T - 1] bool: which of x[:, 1:] are predicted."""
        scored = torch.ones_like(x[:, 1:], dtype=torch.bool)
        if self.eos is not None:
            scored &= (x == self.eos).cumsum(1)[:, :-1] == 0
        if self.pad is not None:
            scored &= x[:, 1:] != self.pad
        return scored

    def _walk(self, x: Tensor, depth: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """From the empty context to the longest: (kind, whether the context is known, its node, place of the n-gram,
        whether that is known), each [B, T - 1] for the tokens x[:, 1:] with contexts of at most depth tokens."""
        target, top = x[:, 1:].contiguous(), int(self.orders) - 1
        node = torch.zeros_like(target)
        alive = torch.ones_like(target, dtype=torch.bool)
        for level in range(min(top + 1, x.shape[1])):
            if level:
                earlier = torch.zeros_like(target)
                earlier[:, level - 1 :] = x[:, : x.shape[1] - level]
                place, found = self._find(self.contexts, node * self.vocab + earlier)
                alive = alive & found & (depth >= level)
                node = torch.where(alive, place + 1, 0)
            kind = torch.where(depth.clamp(max=top) == level, PLAIN, CONTINUED)
            place, found = self._find(self.grams, node * self.vocab + target)
            yield kind, alive, node, place, found & alive

    @torch.no_grad()
    def probabilities(self, context: Tensor) -> Tensor:
        """[B, V] float32 probabilities of the next token after context int64 [B, K], of which the last order - 1 tokens
        that no eos or pad cuts off are used."""
        top = int(self.orders) - 1
        context = context[:, max(0, context.shape[1] - top) :]
        rows, width = context.shape
        # the depth of the token that would come next
        depth = self._depth(torch.cat([context, context.new_full((rows, 1), -1)], 1))[:, -1]
        p = torch.full((rows, self.vocab), 1 / self.vocab, device=context.device)
        node = torch.zeros(rows, dtype=torch.int64, device=context.device)
        alive = torch.ones_like(node, dtype=torch.bool)
        for level in range(width + 1):
            if level:
                place, found = self._find(self.contexts, node * self.vocab + context[:, width - level])
                node, alive = place + 1, alive & found & (depth >= level)
                if not bool(alive.any()):
                    break
            kind = torch.where(depth == level, PLAIN, CONTINUED)
            p *= torch.where(alive, self.rest[kind, node], 1.0)[:, None]
            ends = torch.searchsorted(self.grams, torch.stack([node, node + 1]) * self.vocab)
            count = torch.where(alive, ends[1] - ends[0], 0)
            row = torch.repeat_interleave(torch.arange(rows, device=node.device), count)
            step = torch.arange(len(row), device=node.device) - (count.cumsum(0) - count)[row]
            place = ends[0][row] + step
            p[row, self.grams[place] % self.vocab] += self.share[kind[row], place]
        return p


@dataclass(frozen=True)
class Counted:
    """Counts of a text. counts [2, G], total [2, C] and different [2, C, 3] (n-grams of a context counted once, twice
    and more often) are float32: plain and continued. Levels and nodes of the n-grams are int64."""

    contexts: Tensor
    grams: Tensor
    counts: Tensor
    gram_node: Tensor
    gram_level: Tensor
    node_level: Tensor
    total: Tensor
    different: Tensor

    @classmethod
    def of(cls, contexts: Tensor, grams: Tensor, counts: Tensor, ends: Sequence[int], vocab: int) -> Counted:
        node = grams // vocab
        level = torch.repeat_interleave(torch.tensor(ends).diff(prepend=torch.zeros(1, dtype=torch.int64)))
        total = torch.zeros(2, ends[-1])
        different = torch.zeros(2, ends[-1], 3)
        for kind, count in enumerate(counts):
            total[kind] = torch.bincount(node, count.double(), minlength=ends[-1])
            for k, seen in enumerate((count == 1, count == 2, count > 2)):
                different[kind, :, k] = torch.bincount(node[seen], minlength=ends[-1])
        return cls(contexts, grams, counts.float(), node, level[node], level, total, different)


def taken_from(discounts: Tensor, level: Tensor, counts: Tensor) -> Tensor:
    """The discount of each n-gram from discounts [L, 3], by its level and its count."""
    return discounts[level, (counts.long() - 1).clamp(0, 2)]
