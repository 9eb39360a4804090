"""Tables of which a step uses few rows: by sparse gradients only those move, by dense ones all do."""

import torch
from torch import nn

from genloom.core.optim import Optimiser, OptimiserConfig, lazy

CONFIG = OptimiserConfig(lr=0.01, table_lr=0.1)


def table() -> nn.Embedding:
    torch.manual_seed(0)
    return lazy(nn.Embedding(6, 3))


def step(rows: nn.Embedding, optimiser: Optimiser, *ids: int) -> torch.Tensor:
    """How far each row went."""
    before = rows.weight.detach().clone()
    rows(torch.tensor(ids)).pow(2).sum().backward()
    optimiser.step(1.0)
    optimiser.zero_grad()
    return (rows.weight.detach() - before).abs().sum(1)


def test_a_lazy_table_moves_the_rows_that_are_used() -> None:
    rows = table()
    optimiser = Optimiser(rows, CONFIG)
    assert (step(rows, optimiser, 1, 4) > 0).tolist() == [False, True, False, False, True, False]
    # What was used before has no momentum.
    assert (step(rows, optimiser, 2) > 0).tolist() == [
        False,
        False,
        True,
        False,
        False,
        False,
    ]
    assert torch.allclose(step(rows, optimiser, 5), torch.tensor([0, 0, 0, 0, 0, 0.3]), atol=0.2)


def test_a_table_that_is_not_sparse_for_a_while_moves_as_by_adamw() -> None:
    rows, reference = table(), nn.Embedding(6, 3)
    reference.load_state_dict(rows.state_dict())
    optimiser = Optimiser(rows, CONFIG)
    other = torch.optim.AdamW(reference.parameters(), 0.01, (CONFIG.beta1, CONFIG.beta2), weight_decay=0.0)
    step(rows, optimiser, 0)  # sparse: leaves no trace in the dense moments
    reference.load_state_dict(rows.state_dict())
    rows.sparse = False
    for ids in ([1, 4], [2], [2, 2, 5]):
        step(rows, optimiser, *ids)
        reference(torch.tensor(ids)).pow(2).sum().backward()
        other.step()
        other.zero_grad()
    assert torch.allclose(rows.weight, reference.weight, atol=1e-7)


def test_both_ways_go_on_from_their_saved_state() -> None:
    rows, again = table(), table()
    first, second = Optimiser(rows, CONFIG), Optimiser(again, CONFIG)
    for sparse, ids in ((True, [1, 4]), (False, [2, 5])):
        rows.sparse = sparse
        step(rows, first, *ids)
    again.load_state_dict(rows.state_dict())
    second.load_tensors({name: t.clone() for name, t in first.tensors().items()})
    for sparse, ids in ((False, [3]), (True, [4])):
        rows.sparse = again.sparse = sparse
        step(rows, first, *ids)
        step(again, second, *ids)
    assert torch.equal(rows.weight, again.weight)
