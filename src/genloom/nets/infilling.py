"""Filling gaps with a model that only goes forward: prefix, gap mark, suffix, fill mark, middle.

Bavarian et al. 2022, "Efficient training of language models to fill in the middle" (order prefix-suffix-middle).

Shapes: `B` rows, `T` tokens.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from genloom.core.batch import Condition
from genloom.core.errors import InputError
from genloom.core.spec import Tokens


def rearrange(x: Tensor, chosen: Tensor, cuts: Tensor, spec: Tokens, hole: int, fill: int) -> Tensor:
    """Windows x [B, T] with the longest document of the rows `chosen` [B] bool rearranged; cuts [B, 2] in [0, 1) say
    where. What is pushed out at the end of the window is lost."""
    out = x.clone()
    for row in chosen.nonzero()[:, 0].tolist():
        begin, end = _longest(x[row], spec)
        closed = not spec.stream and end > begin and int(x[row, end - 1]) == spec.eos
        contents = x[row, begin : end - closed]
        a, b = sorted((cuts[row] * (len(contents) + 1)).long().tolist())
        mark = lambda token: x.new_tensor([token])  # noqa: E731
        parts = [contents[:a], mark(hole), contents[b:], mark(fill), contents[a:b], x[row, end - closed :]]
        out[row, begin:] = torch.cat(parts)[: x.shape[1] - begin]
    return out


def _longest(row: Tensor, spec: Tokens) -> tuple[int, int]:
    """[begin, end) of the longest document's contents and eos in a window."""
    length = int((row != spec.pad).sum())
    if spec.stream:
        return 0, length
    edges = [0, *((row[:length] == spec.bos).nonzero()[:, 0] + 1).tolist(), length + 1]
    begin, end = max(pairwise(edges), key=lambda e: e[1] - e[0])
    return begin, min(end - 1, length)


def is_prefix(mask: Tensor) -> bool:
    """Whether what is given [B, T] comes before what is not, in every row."""
    return bool((mask.int().diff(dim=1) <= 0).all())


def gap(mask: Tensor) -> tuple[int, int]:
    """[begin, end) of the one gap in mask [T]. Raises InputError when there are several."""
    missing = (~mask).nonzero()[:, 0]
    begin, end = (int(missing[0]), int(missing[-1]) + 1) if len(missing) else (len(mask), len(mask))
    if bool(mask[begin:end].any()):
        raise InputError("one gap can be filled in a sequence, several were given; fill them one after another")
    return begin, end


def with_gap(known: Tensor, mask: Tensor, hole: int, fill: int, pad: int) -> tuple[Tensor, Tensor]:
    """known, mask [B, T] as the rearranged prompt [B, T'] and where it is given."""
    rows = []
    for x, given in zip(known, mask, strict=True):
        begin, end = gap(given)
        rows.append([*x[:begin].tolist(), hole, *x[end:].tolist(), fill])
    longest = max(map(len, rows))
    tokens = known.new_full((len(rows), longest), pad)
    given = torch.zeros_like(tokens, dtype=torch.bool)
    for i, row in enumerate(rows):
        tokens[i, : len(row)] = torch.tensor(row)
        given[i, : len(row)] = True
    return tokens, given


def closed(tokens: Tensor, condition: Condition, spec: Tokens, hole: int, fill: int, exactly: bool) -> Tensor:
    """Generated rearranged columns tokens [B, T'] as sequences with their gaps filled. exactly: the middle is cut or
    padded to the gap's length, so that what was given stays where it was."""
    assert condition.known is not None and condition.mask is not None
    rows = []
    for row, known, mask in zip(tokens, condition.known, condition.mask, strict=True):
        begin, end = gap(mask)
        at = int((row == fill).nonzero()[0, 0]) + 1
        middle = row[at:]
        stop = (middle == spec.eos).nonzero()
        middle = middle[: int(stop[0, 0])] if len(stop) and not spec.stream else middle
        middle = middle[: end - begin]
        if exactly and len(middle) < end - begin:
            middle = torch.cat([middle, middle.new_full((end - begin - len(middle),), spec.pad)])
        rows.append(torch.cat([known[:begin], middle, known[end:]]))
    out = tokens.new_full((len(rows), max(map(len, rows))), spec.pad)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return out
