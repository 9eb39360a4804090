import numpy as np
import pytest
import torch

from genloom.core.rng import Joined, Rng, derive


def test_a_micro_batch_draws_its_rows_of_the_full_batch() -> None:
    rng = Rng(3, step=7)
    full = rng.normal("noise", 8, 2, 3)
    part = rng.rows(4, 8).normal("noise", 4, 2, 3)
    assert torch.equal(full[4:], part)
    assert torch.equal(rng.stratified("t", 8)[2:4], rng.rows(2, 8).stratified("t", 2))


def test_streams_differ_by_name_step_and_seed_and_not_by_what_was_drawn_before() -> None:
    rng = Rng(0)
    a = rng.normal("a", 1000)
    others = [
        rng.normal("b", 1000),
        rng.at(1).normal("a", 1000),
        Rng(1).normal("a", 1000),
        rng.fork("x").normal("a", 1000),
    ]
    for other in others:
        assert abs(float((a * other).mean())) < 0.15
    assert torch.equal(a, rng.normal("a", 1000))


def test_stratified_puts_one_draw_in_each_stratum() -> None:
    u = Rng(5).stratified("t", 100)
    assert torch.equal((u * 100).floor().clamp(max=99), torch.arange(100.0))


def test_rows_of_normal_each_keep_their_identity() -> None:
    whole = Rng(9).normal_each("z", 10, 4)
    assert torch.equal(whole[6:8], Rng(9, offset=6).normal_each("z", 2, 4))
    assert abs(float(Rng(9).normal_each("z", 500, 8).std()) - 1) < 0.05


def test_derived_seeds_are_the_same_everywhere() -> None:
    assert derive(0, "train", 1) == 4314656094532500422
    assert derive(0, "ab", "c") != derive(0, "a", "bc")


def test_uniform_rows_of_joined_requests_are_those_of_each_alone() -> None:
    parts = [(Rng(3), 4), (Rng(9, offset=2), 5)]
    joined = Joined.of(parts).fork("row").at(2)
    alone = [rng.fork("row").at(2).uniform_rows("span 1", n) for rng, n in parts]
    np.testing.assert_array_equal(joined.uniform_rows("span 1", 9), np.concatenate(alone))
    with pytest.raises(ValueError, match="rows are drawn of"):
        joined.uniform_rows("span 1", 8)
