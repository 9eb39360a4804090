"""Sequences with gaps, rearranged and put back."""

from __future__ import annotations

import pytest
import torch

from genloom.core.batch import Condition
from genloom.core.errors import InputError
from genloom.core.spec import Tokens
from genloom.nets import infilling

DOCUMENTS, STREAM = Tokens(12, 30, 0, 2, 1), Tokens(12, 30, 0, 3, 1, stream=True)
HOLE, FILL = 30, 31


def rearranged(
    x: list[list[int]], cuts: list[tuple[float, float]], spec: Tokens, chosen: bool = True
) -> list[list[int]]:
    rows = torch.tensor(x)
    keep = torch.full((len(x),), chosen)
    return infilling.rearrange(rows, keep, torch.tensor(cuts), spec, HOLE, FILL).tolist()


def test_a_document_becomes_prefix_suffix_middle() -> None:
    x = [2, 10, 11, 12, 13, 14, 1, 0, 0, 0]  # cuts fall before contents 1 and 3 of 5
    assert rearranged([x], [(0.2, 0.5)], DOCUMENTS) == [[2, 10, HOLE, 13, 14, FILL, 11, 12, 1, 0]]
    assert rearranged([x], [(0.5, 0.2)], DOCUMENTS) == [[2, 10, HOLE, 13, 14, FILL, 11, 12, 1, 0]]
    assert rearranged([x], [(0.2, 0.5)], DOCUMENTS, chosen=False) == [x]


def test_the_longest_document_of_a_window_is_taken_and_what_does_not_fit_is_lost() -> None:
    x = [7, 1, 2, 10, 11, 12, 13, 1, 2, 5]
    out = rearranged([x], [(0.25, 0.7)], DOCUMENTS)[0]
    assert out == [7, 1, 2, 10, HOLE, 13, FILL, 11, 12, 1]


def test_streams_have_no_end() -> None:
    assert rearranged([[5, 6, 7, 8]], [(0.2, 0.5)], STREAM) == [[5, HOLE, 7, 8]]
    assert rearranged([[5, 6, 7, 8, 0, 0]], [(0.3, 0.5)], STREAM) == [[5, HOLE, 7, 8, FILL, 6]]


def test_every_content_of_a_document_stays() -> None:
    torch.manual_seed(0)
    x = torch.zeros(200, 20, dtype=torch.long)
    for row in x:
        n = int(torch.randint(0, 14, ()))
        row[: n + 2] = torch.tensor([2, *torch.randint(3, 30, (n,)).tolist(), 1])
    out = infilling.rearrange(x, torch.ones(200, dtype=torch.bool), torch.rand(200, 2), DOCUMENTS, HOLE, FILL)
    for before, after in zip(x.tolist(), out.tolist(), strict=True):
        hole, fill = after.index(HOLE), after.index(FILL)
        prefix, suffix = after[:hole], after[hole + 1 : fill]
        middle = after[fill + 1 : after.index(1)]
        assert prefix + middle + suffix == before[: before.index(1)]


def test_prefixes_and_gaps() -> None:
    t, f = True, False
    assert infilling.is_prefix(torch.tensor([[t, t, f], [t, f, f], [t, t, t]]))
    assert not infilling.is_prefix(torch.tensor([[t, t, f], [t, f, t]]))
    assert infilling.gap(torch.tensor([t, f, f, t])) == (1, 3)
    assert infilling.gap(torch.tensor([t, t])) == (2, 2)
    with pytest.raises(InputError, match="one gap"):
        infilling.gap(torch.tensor([t, f, t, f]))


def test_prompts_with_gaps_and_back() -> None:
    known = torch.tensor([[10, 0, 0, 13, 14], [10, 11, 0, 0, 14]])
    mask = known > 0
    prompt, given = infilling.with_gap(known, mask, HOLE, FILL, 0)
    assert prompt.tolist() == [[10, HOLE, 13, 14, FILL], [10, 11, HOLE, 14, FILL]]
    assert bool(given.all())
    drawn = torch.tensor([[21, 22, 23, 1], [24, 1, 0, 0]])  # one too many, and one too few
    condition = Condition(known=known, mask=mask)
    tokens = torch.cat([prompt, drawn], 1)
    exactly = infilling.closed(tokens, condition, DOCUMENTS, HOLE, FILL, True)
    assert exactly.tolist() == [[10, 21, 22, 13, 14], [10, 11, 24, 0, 14]]
    assert torch.equal(exactly[mask], known[mask])
    most = infilling.closed(tokens, condition, DOCUMENTS, HOLE, FILL, False)
    assert most.tolist() == [[10, 21, 22, 13, 14], [10, 11, 24, 14, 0]]
