"""Laws that every family of table rows must keep."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from examples import Memory, table
from genloom.core.batch import Condition
from genloom.core.config import TrainConfig
from genloom.core.errors import InputError
from genloom.core.family import Family, HasLikelihood, HasPrice
from genloom.core.loop import Loop
from genloom.core.rng import Rng
from genloom.core.spec import Row, check_batch
from genloom.families import family_names, find_family
from genloom.run import generate

ROWS = [name for name in family_names() if Row in find_family(name).accepts]
STEPS = 400
_trained: dict[str, Family] = {}


def made(name: str, seed: int = 0) -> Family:
    torch.manual_seed(seed)
    _, spec, condition = table()
    family = find_family(name)
    return family(spec, family.Config(**family.defaults("row", False).get("family", {})), condition)


def settings_for(name: str, steps: int) -> TrainConfig:
    usual = find_family(name).defaults("row", False)["train"]
    return TrainConfig(**{**usual, "batch": 128, "warmup": 10, "precision": "fp32", "grids": 0, "steps": steps})


def trained(name: str) -> Family:
    if name not in _trained:
        family = made(name)
        Loop(family, table()[0], settings_for(name, STEPS), 0).run()
        _trained[name] = family.eval()
    return _trained[name]


def drawn(family: Family, n: int, seed: int = 0, given: Condition | None = None) -> torch.Tensor:
    return generate(family, n, None, seed, family.Options(), given)


@pytest.mark.parametrize("name", ROWS)
def test_samples_have_the_spec_and_a_row_depends_on_the_seed_and_its_number(name: str) -> None:
    family = trained(name)
    x = drawn(family, 50)
    check_batch(family.spec, x)
    assert torch.isfinite(x).all() and torch.equal(x[x[:, 1] == 1, 2], torch.zeros(int((x[:, 1] == 1).sum())))
    torch.testing.assert_close(drawn(family, 7), x[:7], rtol=1e-4, atol=1e-4)
    later = generate(family, 20, None, 0, family.Options(), first=30)
    torch.testing.assert_close(later, x[30:], rtol=1e-4, atol=1e-4)
    assert not torch.equal(drawn(family, 50, seed=1), x)


@pytest.mark.parametrize("name", ROWS)
def test_weights_read_back_give_the_same_rows(name: str) -> None:
    twin = made(name, seed=7)
    twin.load_state_dict(trained(name).state_dict())
    assert torch.equal(drawn(twin.eval(), 40), drawn(trained(name), 40))


@pytest.mark.parametrize("name", ROWS)
def test_what_columns_have_to_do_with_each_other_is_learnt(name: str) -> None:
    real, x = table(4000)[0].x.numpy(), drawn(trained(name), 4000).numpy()
    for at in (0, 1, 4):
        shares = [np.bincount(v[:, at].astype(int), minlength=3) / len(v) for v in (real, x)]
        assert np.abs(shares[0] - shares[1]).max() < 0.1, at
    stands = x[:, 1] == 0
    means = [x[stands & (x[:, 0] == kind), 2].mean() for kind in range(3)]
    assert np.abs(np.array(means) - [1.5, -1.5, 0]).max() < 0.35
    assert ((x[:, 4] == 1) == (stands & (x[:, 2] > 0))).mean() > 0.9
    assert len(np.unique(x[:, 3])) > 20


@pytest.mark.parametrize("name", ROWS)
def test_what_is_known_is_kept_and_the_rest_follows_from_it(name: str) -> None:
    family = trained(name)
    known, mask = torch.zeros(300, 5), torch.zeros(300, 5, dtype=torch.bool)
    known[:, 4], mask[:, 4] = 1, True  # the target, which is drawn last otherwise
    known[150:, 0], mask[150:, 0] = 2, True
    given = Condition(known=known, mask=mask)
    if "known" not in family.honours():
        with pytest.raises(InputError, match="known"):
            drawn(family, 300, given=given)
        return
    x = drawn(family, 300, given=given)
    check_batch(family.spec, x)
    assert torch.equal(x[mask], known[mask])
    assert (x[:, 1] == 0).float().mean() > 0.9 and (x[:, 2] > 0).float().mean() > 0.8  # 1 of 3 when not asked for
    assert (x[:150, 0] == 0).float().mean() > 0.45  # 2 of 3 where the number is above 0, else 1 of 3


@pytest.mark.parametrize("name", ROWS)
def test_real_rows_are_more_likely_than_mixed_ones(name: str) -> None:
    family, data = trained(name), table(300)[0]
    if not isinstance(family, HasLikelihood):
        return
    mixed = torch.stack(
        [data.x[torch.randperm(300, generator=torch.Generator().manual_seed(i)), i] for i in range(5)], 1
    )
    mixed[mixed[:, 1] == 1, 2] = 0
    nats = [family.nll(Memory(x).batch(range(300)), Rng(0)) for x in (data.x, mixed)]
    assert nats[0].shape == (300,) and torch.isfinite(torch.stack(nats)).all()
    assert nats[0].mean() + 0.5 < nats[1].mean()


@pytest.mark.parametrize("name", [n for n in ROWS if made(n).players()])
def test_resuming_equals_never_having_stopped(name: str, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    class Dies(Loop):
        def _one(self, fraction: float) -> None:
            if self.progress.step == 2:
                self._save()
            if self.progress.step == 3:
                raise Stop
            super()._one(fraction)

    data = table()[0]
    whole = made(name)
    Loop(whole, data, settings_for(name, 4), 0).run()
    with pytest.raises(Stop):
        Dies(made(name), data, settings_for(name, 4), 0, checkpoints=tmp_path).run()
    resumed = made(name, seed=99)
    loop = Loop(resumed, data, settings_for(name, 4), 0, checkpoints=tmp_path)
    assert loop.load() == 2
    loop.run()
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key


@pytest.mark.parametrize("name", [name for name in ROWS if name != "forest"])  # whose work is no product of matrices
def test_a_family_says_what_given_parts_cost(name: str) -> None:
    """Its price against the multiplications that are counted, of a row with parts given and of one without."""
    family, n = made(name).eval(), 2048
    assert isinstance(family, HasPrice)
    x, mask = torch.zeros(n, family.spec.width), torch.zeros(n, family.spec.width, dtype=torch.bool)
    mask[:, 0] = True
    counts = []
    for given in (Condition(), Condition(known=x, mask=mask)):
        with FlopCounterMode(display=False) as counter:
            drawn(family, n, given=given)
        counts.append(counter.get_total_flops())
    price = family.price(mask[:1], family.Options())
    assert price / 2 <= counts[1] / counts[0] <= price * 2
