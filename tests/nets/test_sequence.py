"""Embeddings of tokens and n-grams, and what holds for every body."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genloom.core.batch import Condition
from genloom.nets.recurrent import Recurrent
from genloom.nets.sequence import Inputs, SequenceModel
from genloom.nets.transformer import Transformer

CELLS = ("transformer", "lstm", "gru")


def inputs(vocab: int, **more: Any) -> Inputs:
    torch.manual_seed(0)
    given = {"ngrams": 3, "rows": 4096, "classes": 0, "boundary": None, **more}
    return Inputs(vocab, 8, **given).eval()


def model(cell: str, **more: Any) -> SequenceModel:
    body = Transformer(8, 2, 2, 32) if cell == "transformer" else Recurrent(cell, 8, 12, 2)  # type: ignore[arg-type]
    net = SequenceModel(inputs(9, **more), body, softcap=0.0, tied=False).eval()
    for p in net.parameters():
        nn.init.normal_(p, std=0.4)
    return net


def embed(net: Inputs, x: Tensor, label: Tensor | None = None) -> Tensor:
    with torch.no_grad():
        return net(x, x.new_zeros(len(x), net.reach), net.given(Condition(label=label)))


def test_n_grams_that_fit_have_a_row_each() -> None:
    net = inputs(5)
    x = torch.cartesian_prod(*[torch.arange(5)] * 3)
    with torch.no_grad():
        two, three = (t.weight for t in net.tables)  # type: ignore[union-attr]
        expected = net.token.weight[x[:, 2]] + two[5 * x[:, 2] + x[:, 1]] + three[25 * x[:, 2] + 5 * x[:, 1] + x[:, 0]]
    torch.testing.assert_close(embed(net, x)[:, 2], expected)
    assert [len(t.weight) for t in net.tables] == [26, 126]  # one more for those left out


def test_rarer_n_grams_share_rows_evenly() -> None:
    net = inputs(300, rows=64)
    x = torch.randint(0, 300, (2, 5000), generator=torch.Generator().manual_seed(0))
    used = torch.bincount(net._row(x[:, 1:] * 300 + x[:, :-1], 1, 64).flatten(), minlength=64)
    assert len(used) == 64 and int(used.min()) > 100 and int(used.max()) < 230  # 156 each on average


def test_n_grams_do_not_reach_past_the_token_that_begins_a_document() -> None:
    net, bos = inputs(9, boundary=2), 2
    a, b = torch.tensor([[5, 6, bos, 7, 8]]), torch.tensor([[3, 4, bos, 7, 8]])
    assert torch.equal(embed(net, a)[:, 2:], embed(net, b)[:, 2:])
    free = inputs(9)
    assert not torch.equal(embed(free, a)[:, 2:4], embed(free, b)[:, 2:4])


def test_left_out_n_grams_say_nothing_and_only_while_training() -> None:
    net = inputs(9)
    x = torch.randint(0, 9, (4, 6))
    whole = embed(net, x)
    net.left_out = 1.0
    assert torch.equal(embed(net, x), whole)
    with torch.no_grad():
        pairs = net.token.weight[x[:, 1:]] + net.tables[0].weight[9 * x[:, 1:] + x[:, :-1]]  # type: ignore[index,union-attr]
    net.train()
    torch.testing.assert_close(embed(net, x)[:, 1:], pairs)


def test_labels_of_rows_of_tokens_and_none() -> None:
    net = inputs(9, classes=3)
    x = torch.randint(0, 9, (2, 4))
    label = torch.tensor([1, 2])
    assert torch.equal(embed(net, x, label), embed(net, x, label[:, None].expand(2, 4)))
    assert torch.equal(embed(net, x), embed(net, x, torch.tensor([3, 3])))
    assert not torch.allclose(embed(net, x)[0], embed(net, x, label)[0])


@pytest.mark.parametrize("cell", CELLS)
def test_a_later_token_changes_nothing_earlier(cell: str) -> None:
    net = model(cell)
    x = torch.randint(0, 9, (1, 20), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = net(x)
        for place in (1, 7, 19):
            changed = x.clone()
            changed[0, place] = (x[0, place] + 1) % 9
            after = net(changed)
            torch.testing.assert_close(after[:, :place], before[:, :place], atol=1e-6, rtol=0)
            assert not torch.allclose(after[:, place], before[:, place])


@pytest.mark.parametrize("cell", CELLS)
def test_pieces_with_a_state_equal_the_whole(cell: str) -> None:
    net = model(cell, classes=2, boundary=2)
    x = torch.randint(0, 9, (3, 30), generator=torch.Generator().manual_seed(0))
    label = torch.tensor([0, 1, 2])
    with torch.no_grad():
        whole = net(x, Condition(label=label))
        state = net.begin(3, 30)
        parts = [net(part, Condition(label=label), None, state) for part in x.split([1, 1, 7, 13, 8], 1)]
        torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-5, rtol=1e-5)
        assert state.length == 30


@pytest.mark.parametrize("cell", CELLS)
def test_rows_of_a_state_go_on_as_their_own(cell: str) -> None:
    net = model(cell)
    x = torch.randint(0, 9, (3, 12), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = net(x)
        state = net.begin(3, 12)
        net(x[:, :8], None, None, state)
        which = torch.tensor([2, 0, 2])
        after = net(x[which, 8:], None, None, state.branch(which, None))
    torch.testing.assert_close(after, whole[which, 8:], atol=1e-5, rtol=1e-5)


def test_the_softcap_bounds_logits_smoothly_and_tied_weights_are_one() -> None:
    net = SequenceModel(inputs(9), Transformer(8, 1, 2, 16), softcap=2.0, tied=True).eval()
    nn.init.normal_(net.inputs.token.weight, std=5.0)
    assert net.weight is net.inputs.token.weight and net.head is None
    h = torch.randn(4, 8)
    with torch.no_grad():
        torch.testing.assert_close(net.logits(h), 2 * torch.tanh(h @ net.weight.T / 2))
    with pytest.raises(ValueError, match="as wide as"):
        SequenceModel(inputs(9), Recurrent("gru", 8, 12, 1), softcap=0.0, tied=True)
