"""The autoregressive family on tokens: its loss by hand, its likelihood, its samples."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor

from examples import WORDS, words
from genloom.core.batch import Batch, Condition, ConditionSpec
from genloom.core.config import TrainConfig
from genloom.core.errors import InputError
from genloom.core.family import Clock, HasLikelihood, HasSteps, HasSurprise
from genloom.core.guide import Step
from genloom.core.loop import Loop
from genloom.core.rng import Rng
from genloom.core.spec import Tokens, check_batch
from genloom.families.autoregressive import Autoregressive, longest_ngram
from genloom.run import generate

CELLS = ("transformer", "lstm", "gru")
CLOCK = Clock(0, 0.0)
SMALL = {"width": 16, "hidden": 24, "depth": 2, "heads": 2, "context": 16, "ngram_rows": 64}


def make(stream: bool = False, *, random: bool = True, **settings: Any) -> Autoregressive:
    """A small family over `words()`, every weight at random."""
    _, spec, condition = words(stream)
    torch.manual_seed(0)
    family = Autoregressive(spec, Autoregressive.Config(**{**SMALL, **settings}), condition)
    if random:
        with torch.no_grad():
            for p in family.parameters():
                p.add_(0.3 * torch.randn(p.shape))
    return family.eval()


def loss(family: Autoregressive, batch: Batch, rng: Rng = Rng(0)) -> Tensor:  # noqa: B008
    (update,) = family.updates(batch, CLOCK, rng)
    return update.loss


def text_of(family: Autoregressive, n: int, seed: int = 0, **options: Any) -> Tensor:
    labels = torch.arange(n) % 2 if family.classes else None
    return generate(family, n, labels, seed, family.Options(**options))


def settings(**values: Any) -> TrainConfig:
    given = {**Autoregressive.train_defaults, "batch": 8, "warmup": 2, "precision": "fp32", "grids": 0, **values}
    return TrainConfig(**given)


# -- training ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", CELLS)
def test_the_loss_is_the_cross_entropy_of_the_next_token(cell: str) -> None:
    """Of each document by itself: neither padding nor the step from one document to the next counts."""
    family = make(cell=cell, drop_label=0.0, ngram_dropout=0.0)
    data, _, _ = words()
    x = torch.cat([data.documents[3], data.documents[11], torch.zeros(2, dtype=torch.long)])[None]
    label = torch.tensor([[0] * 5 + [1] * 7])
    by_hand = 0.0
    for i, k in ((3, 0), (11, 1)):
        document = data.documents[i][None]
        logits = family.model(document[:, :-1], Condition(label=torch.tensor([k])))
        by_hand += float(F.cross_entropy(logits[0], document[0, 1:], reduction="sum"))
    batch = Batch(x, Condition(label=label), torch.zeros(1, dtype=torch.long))
    if cell == "transformer":  # documents do not see each other; the others carry on across
        assert float(loss(family, batch)) == pytest.approx(by_hand / 11, rel=1e-4)
    logits = family.model(
        x[:, :-1], Condition(label=label[:, :-1]), None if cell != "transformer" else torch.tensor([[0] * 5 + [1] * 6])
    )
    counted = [t for t in range(11) if t not in (4, 9, 10)]
    nats = F.cross_entropy(logits[0], x[0, 1:], reduction="none")
    assert float(loss(family, batch)) == pytest.approx(float(nats[counted].sum()) / 11, rel=1e-5)
    (update,) = family.updates(batch, CLOCK, Rng(0))
    assert float(update.logs["nats"]) == pytest.approx(float(nats[counted].mean()), rel=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_micro_batches_add_up_to_the_full_batch_with_states_carried(cell: str) -> None:
    data, _, _ = words(stream=True)
    rows = [data.windows([0, 100, 200, 300], 17), data.windows([16, 116, 216, 500], 17)]
    whole, parts = (make(True, cell=cell, dropout=0.0, ngram_dropout=0.0) for _ in range(2))
    for step, batch in enumerate(rows):
        rng = Rng(0, step)
        full = float(loss(whole, batch, rng))
        split = [float(loss(parts, batch[i : i + 2], rng.rows(i, 4))) for i in (0, 2)]
        assert sum(split) / 2 == pytest.approx(full, rel=1e-5)
    for name, t in whole.carried().items():
        torch.testing.assert_close(parts.carried()[name], t, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_state_is_carried_to_the_row_that_goes_on(cell: str) -> None:
    data, _, _ = words(stream=True)
    family = make(True, cell=cell, dropout=0.0, ngram_dropout=0.0, forget=0.0)
    first, second = data.windows([0, 100], 17), data.windows([16, 300], 17)
    loss(family, first)
    fresh = make(True, cell=cell, dropout=0.0, ngram_dropout=0.0, forget=0.0)
    both = data.windows([0, 300], 33)
    with torch.no_grad():
        logits = fresh.model(both.x[:1, :32])[:, 16:]
        expected = F.cross_entropy(logits[0], both.x[0, 17:33], reduction="sum")
        expected = expected + F.cross_entropy(fresh.model(second.x[1:, :-1])[0], second.x[1, 1:], reduction="sum")
    assert float(loss(family, second)) == pytest.approx(float(expected) / 32, rel=1e-5)
    always = make(True, cell=cell, dropout=0.0, ngram_dropout=0.0, forget=1.0)
    loss(always, first)
    assert float(loss(always, second)) == pytest.approx(float(loss(fresh, second)), rel=1e-5)


class Stop(Exception):
    pass


class StopAt(Loop):
    def _one(self, fraction: float) -> None:
        if self.progress.step == 3:
            self._save()
        if self.progress.step == 5:
            raise Stop
        super()._one(fraction)


@pytest.mark.parametrize("cell", CELLS)
def test_resuming_with_a_carried_state_equals_never_having_stopped(cell: str, tmp_path: Path) -> None:
    data, _, _ = words(stream=True)
    whole = make(True, cell=cell, random=False)
    Loop(whole, data, settings(steps=7), 0).run()
    with pytest.raises(Stop):
        StopAt(make(True, cell=cell, random=False), data, settings(steps=7), 0, checkpoints=tmp_path).run()
    resumed = make(True, cell=cell)
    loop = Loop(resumed, data, settings(steps=7), 0, checkpoints=tmp_path)
    assert loop.load() == 3
    loop.run()
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key
    for key, value in whole.carried().items():
        assert torch.equal(value, resumed.carried()[key]), key


@pytest.mark.parametrize("cell", CELLS)
def test_it_learns_the_words_and_their_labels(cell: str) -> None:
    data, spec, condition = words()
    more = {"counts": 0.0, "drop_label": 0.1, "context": 32, "ngram_epochs": 0.0}
    family = Autoregressive(spec, Autoregressive.Config(**{**SMALL, **more, "cell": cell, "dropout": 0.0}), condition)
    Loop(family, data, settings(steps=250, batch=8, patience=0), 0).run()
    family.eval()
    x = data.batch(range(20))
    assert float(family.nll(x, Rng(0)).mean()) < math.log(10) + 1.2  # ten words of each label, if it knew them
    wrong = Batch(x.x, Condition(label=1 - x.condition.label))
    assert float(family.nll(wrong, Rng(0)).mean()) > float(family.nll(x, Rng(0)).mean()) + 1
    letters = " abcdefghijklmnopqrstuvwxyz"
    drawn = text_of(family, 40)
    made = ["".join(letters[t - 3] for t in row if t > 2) for row in drawn.tolist()]
    assert sum(w in WORDS for w in made) > 20
    assert sum((w[:1] > "f") == bool(i % 2) for i, w in enumerate(made)) > 30


# -- likelihood -------------------------------------------------------------------------------------------------------


def test_it_is_what_the_contracts_ask_for() -> None:
    family = make()
    assert isinstance(family, HasLikelihood) and isinstance(family, HasSurprise) and isinstance(family, HasSteps)
    assert family.exact and family.context == 16 and family.stride == 8 and make(cell="gru").stride == 0


def test_surprise_of_long_rows_equals_a_window_moved_by_hand() -> None:
    family, context, stride = make(True), 16, 8
    for length in (10, 17, 18, 40, 47):
        x = torch.randint(3, 30, (2, length), generator=torch.Generator().manual_seed(length))
        got = family.surprise(x)
        assert got.shape == (2, length - 1)
        for row in range(2):
            starts = sorted({min(s, max(0, length - 1 - context)) for s in range(0, length, stride)})
            expected: list[float | None] = [None] * (length - 1)
            for start in starts:
                window = x[row : row + 1, start : start + context]
                with torch.no_grad():
                    logp = torch.log_softmax(family.model(window), 2)[0]
                for i in range(window.shape[1]):
                    target = start + i
                    if target < length - 1 and expected[target] is None:
                        expected[target] = -float(logp[i, x[row, target + 1]])
            torch.testing.assert_close(got[row], torch.tensor(expected), atol=1e-4, rtol=1e-4)


def test_every_token_beyond_the_context_sees_at_least_half_of_it() -> None:
    family = make(True)
    x = torch.randint(3, 30, (1, 60), generator=torch.Generator().manual_seed(0))
    before = family.surprise(x)
    for back in range(1, 8):  # change what is `back` tokens before a target
        changed = x.clone()
        changed[0, 40 - back] = (x[0, 40 - back] - 3 + 1) % 27 + 3
        assert not torch.isclose(family.surprise(changed)[0, 39], before[0, 39], atol=1e-7)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_long_rows_of_recurrent_models_are_scored_with_the_state_carried(cell: str) -> None:
    family = make(True, cell=cell)
    x = torch.randint(3, 30, (2, 90), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = F.cross_entropy(family.model(x[:, :-1]).flatten(0, 1), x[:, 1:].flatten(), reduction="none")
    torch.testing.assert_close(family.surprise(x), whole.view(2, -1), atol=1e-5, rtol=1e-5)


def test_padding_and_what_follows_eos_is_no_surprise() -> None:
    family = make()
    x = torch.tensor([[2, 5, 6, 1, 0, 0], [2, 5, 6, 7, 8, 1]])
    nats = family.surprise(x, Condition(label=torch.tensor([0, 1])))
    assert (nats > 0).tolist() == [[True] * 3 + [False] * 2, [True] * 5]
    nll = family.nll(Batch(x, Condition(label=torch.tensor([0, 1]))), Rng(0))
    torch.testing.assert_close(nll, nats.sum(1))
    assert not torch.allclose(nats, family.surprise(x, Condition(label=torch.tensor([1, 0]))))


@pytest.mark.parametrize("stream", [False, True])
def test_probabilities_sum_to_one_over_all_next_tokens(stream: bool) -> None:
    family = make(stream)
    x = torch.tensor([[family.tokens.bos, 5, 6]]).repeat(30, 1)
    x = torch.cat([x, torch.arange(30)[:, None]], 1)
    p = torch.exp(-family.surprise(x)[:, -1])
    p[family.tokens.pad] = 0  # said to be no surprise, but it is not predicted
    own = torch.softmax(family.model(x[:1, :3])[0, -1], 0)
    torch.testing.assert_close(p[1:], own[1:].detach(), atol=1e-5, rtol=1e-4)


# -- samples ----------------------------------------------------------------------------------------------------------


def forced(family: Autoregressive, steps: list[Step], label: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Log-probabilities as the steps told them and as the finished rows are scored."""
    tokens = torch.stack([s.tokens for s in steps], 1)
    x = torch.cat([torch.full((len(tokens), 1), family.tokens.bos), tokens], 1)
    return torch.stack([s.logp for s in steps], 1), -family.surprise(x, Condition(label=label))


@pytest.mark.parametrize("counts", [0.0, 0.3])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_steps_tell_the_probability_that_the_finished_row_has(cell: str, stream: bool, counts: float) -> None:
    family = make(stream, cell=cell, counts=counts)
    if family.counts is not None:
        family.counts.fit(words(stream)[0].tokens.numpy())
    label = torch.tensor([0, 1, 0, 1, 1]) if family.classes else None
    options = family.Options(max_tokens=16, temperature=0.8, top_p=0.95, repetition=1.2)
    told, scored = forced(family, list(family.steps(5, Condition(label=label), Rng(0), options)), label)
    torch.testing.assert_close(told, scored, atol=1e-4, rtol=0)
    assert float(told.sum()) < -10


def test_counts_are_mixed_in_as_the_formula_says() -> None:
    family, plain = make(counts=0.25), make()
    plain.model.load_state_dict(family.model.state_dict())
    data, _, _ = words()
    family.enter(family.stages()[0], data.batches(8))
    assert family.counts is not None
    batch = data.batch(range(20))
    counted = torch.exp(-family.counts.surprise(batch.x))
    own = torch.exp(-plain.surprise(batch.x, batch.condition))
    scored = batch.x[:, 1:] != 0
    expected = -torch.log(0.75 * own + 0.25 * counted)
    torch.testing.assert_close(
        family.surprise(batch.x, batch.condition)[scored], expected[scored], atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("stream", [False, True])
def test_streams_of_steps_are_the_sample(cell: str, stream: bool) -> None:
    family = make(stream, cell=cell)
    label = torch.tensor([0, 1, 1]) if family.classes else None
    options = family.Options(max_tokens=30)
    x = family.sample(3, Condition(label=label), Rng(0), options)
    check_batch(family.spec, x)
    steps = list(family.steps(3, Condition(label=label), Rng(0), options))
    tokens = torch.stack([s.tokens for s in steps], 1)
    assert torch.equal(tokens, x if stream else x[:, 1:])
    assert not bool(((tokens == 0) & (torch.stack([s.logp for s in steps], 1) < 0)).any())
    if stream:
        assert x.shape == (3, 30) and not bool((x < 2).any())
    else:
        assert bool((x[:, 0] == 2).all()) and not bool((x[:, 1:] == 2).any())


@pytest.mark.parametrize("cell", CELLS)
def test_the_seed_fixes_a_sample_whatever_the_batch(cell: str) -> None:
    family = make(cell=cell)
    many = text_of(family, 64, max_tokens=9)
    for n in (1, 3):
        few = text_of(family, n, max_tokens=9)
        assert torch.equal(few, many[:n, : few.shape[1]]) and not bool(many[:n, few.shape[1] :].any())
    assert not torch.equal(text_of(family, 64, seed=1, max_tokens=9)[:, :4], many[:, :4])


def test_the_label_changes_the_distribution() -> None:
    family = make()
    one, two = (
        next(iter(family.steps(1, Condition(label=torch.tensor([k])), Rng(0), family.Options(temperature=0)))).logp
        for k in (0, 1)
    )
    assert not torch.allclose(one, two)
    assert torch.isfinite(family.sample(2, Condition(), Rng(0), family.Options()).float()).all()


@pytest.mark.parametrize("stream", [False, True])
def test_prompts_stay_where_they_are(stream: bool) -> None:
    family = make(stream)
    start = [] if stream else [2]
    known = torch.tensor([[*start, 5, 6, 7]]).expand(4, -1)
    x = family.sample(4, Condition(known=known, mask=known > 0), Rng(0), family.Options(max_tokens=6))
    assert torch.equal(x[:, : known.shape[1]], known) and x.shape[1] <= known.shape[1] + 6
    assert len({tuple(r) for r in x.tolist()}) > 1


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("fill", ["exactly", "at most"])
def test_gaps_are_filled(cell: str, fill: str) -> None:
    family = make(cell=cell, infill=0.5)
    known = torch.tensor([[2, 10, 0, 0, 0, 14, 15]]).expand(20, -1)
    x = family.sample(20, Condition(known=known, mask=known > 0), Rng(0), family.Options(fill=fill))
    check_batch(family.spec, x)
    lengths = set()
    for row in x.tolist():
        middle = [t for t in row if t > 0][1:-2]  # without what was given: one before, two after
        if fill == "exactly":
            assert row[:1] == [10] or row[:2] == [2, 10]
            assert row[-2:] == [14, 15]
        lengths.add(len(middle))
        assert not {2, 30, 31} & set(row[1:])
    assert max(lengths) <= 5


def test_what_cannot_be_done_is_said_in_a_sentence() -> None:
    gap = Condition(known=torch.tensor([[2, 5, 0, 6]]), mask=torch.tensor([[True, True, False, True]]))
    with pytest.raises(InputError, match=r"family\.infill"):
        make().sample(1, gap, Rng(0), Autoregressive.Options())
    with pytest.raises(InputError, match="temperature 0"):
        make(True).sample(1, Condition(), Rng(0), Autoregressive.Options(beams=4))
    with pytest.raises(InputError, match=r"family\.heads"):
        make(width=18, heads=2)
    with pytest.raises(InputError, match=r"family\.tied"):
        make(cell="gru", tied=True)


@pytest.mark.parametrize("cell", CELLS)
def test_known_tokens_stay_in_their_places_and_each_row_is_its_own(cell: str) -> None:
    family = make(cell=cell, context=6)  # fewer than are drawn: the state is read anew on the way
    known, mask = torch.full((5, 9), 4), torch.zeros(5, 9, dtype=torch.bool)
    known[:, 0], mask[:, [0, 4, 5, 8]] = family.tokens.bos, True
    options = Autoregressive.Options(fill="in place", particles=6)
    rows = family.sample(5, Condition(known=known, mask=mask), Rng(3), options)
    assert torch.equal(rows[:, [0, 4, 5, 8]], known[:, [0, 4, 5, 8]]) and len({tuple(r) for r in rows.tolist()}) > 2
    one = family.sample(1, Condition(known=known[3:4], mask=mask[3:4]), Rng(3, offset=3), options)
    assert torch.equal(one[0], rows[3])
    assert not family.gradual(Condition(known=known, mask=mask), options)
    assert family.gradual(Condition(known=known, mask=mask.cummin(1).values), options)


def test_what_training_says_of_improbable_tokens_holds_where_nobody_says() -> None:
    draws = {}
    for least in (0.0, 0.5):
        family = make(min_p=least)
        for asked in (None, 0.0, 0.5):
            options = Autoregressive.Options(max_tokens=12, min_p=asked)
            draws[least, asked] = family.sample(6, Condition(), Rng(0), options)
    assert torch.equal(draws[0.0, None], draws[0.0, 0.0]) and torch.equal(draws[0.5, None], draws[0.5, 0.5])
    assert torch.equal(draws[0.5, 0.0], draws[0.0, 0.0]) and not torch.equal(draws[0.0, 0.0], draws[0.5, 0.5])


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("top_p", 0),
        ("top_p", 2),
        ("top_k", 0),
        ("min_p", -0.1),
        ("min_p", 1.1),
        ("temperature", -1),
        ("repetition", 0.5),
        ("beams", 0),
        ("beams", 65),
        ("length_penalty", -1),
        ("max_tokens", 0),
        ("fill", "some"),
        ("particles", 0),
    ],
)
def test_options_out_of_their_limits_are_refused_by_name(name: str, bad: Any) -> None:
    with pytest.raises(ValidationError, match=name):
        Autoregressive.Options(**{name: bad})


def test_beam_search_finds_at_least_what_greedy_decoding_does() -> None:
    family = make(cell="gru")
    label = torch.tensor([0, 1])
    scores = []
    for options in (
        family.Options(temperature=0, max_tokens=8),
        family.Options(beams=8, length_penalty=0, max_tokens=8),
    ):
        x = family.sample(2, Condition(label=label), Rng(0), options)
        scores.append(family.surprise(x, Condition(label=label)).sum(1))
    finished = x.shape[1] <= 9
    assert finished and bool((scores[1] <= scores[0] + 1e-4).all())


def test_data_without_labels_and_one_long_document() -> None:
    spec = Tokens(300, 30, 0, 2, 1)
    family = Autoregressive(spec, Autoregressive.Config(**SMALL), ConditionSpec()).eval()
    x = family.sample(2, Condition(), Rng(0), family.Options(max_tokens=40))  # beyond the context of 16
    assert x.shape[1] <= 41
    assert family.honours() == {"known"}


def test_the_longer_a_training_the_shorter_the_ngrams_it_uses() -> None:
    def longest(epochs: float, step: int = 1000, most: float = 20.0) -> int:
        """Half-way through a training of so many epochs."""
        return longest_ngram(epochs / 2, Clock(step, 0.5), most)

    assert [longest(e) for e in (1, 4, 6, 9, 11, 19, 21)] == [22, 7, 5, 4, 3, 3, 2]
    assert longest(1, step=3) == 2 and longest(100, most=0.0) == 99
