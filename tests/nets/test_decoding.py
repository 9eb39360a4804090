"""Decoding against formulas, teacher forcing and exhaustive search."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor, nn

import joined
from genloom.core.batch import Condition, ConditionSpec, SourceSpec
from genloom.core.errors import GenloomError, InputError
from genloom.core.guide import Step
from genloom.core.spec import Tokens
from genloom.nets.architecture import Architecture, build
from genloom.nets.beams import beam_search
from genloom.nets.decoding import Decoding, Filters, Start, draw, generate
from genloom.nets.recurrent import Recurrent
from genloom.nets.sequence import Inputs, SequenceModel
from genloom.nets.stepping import Embedder, Stepper
from genloom.nets.transformer import Transformer

PAD, EOS, BOS, VOCAB = 0, 1, 2, 11
CELLS = ("transformer", "lstm", "gru")


def model(cell: str = "transformer", *, vocab: int = VOCAB, classes: int = 0, context: int = 12, **more: Any) -> Any:
    """A small model with every weight at random."""
    torch.manual_seed(0)
    given = {"ngrams": 4, "rows": 64, "boundary": BOS, **more}
    softcap = given.pop("softcap", 0.0)
    inputs = Inputs(vocab, 16, classes=classes, **given)
    body = Transformer(16, 2, 2, context) if cell == "transformer" else Recurrent(cell, 16, 24, 2)  # type: ignore[arg-type]
    out = SequenceModel(inputs, body, softcap=softcap, tied=False)
    for p in out.parameters():
        nn.init.normal_(p, std=0.4)
    return out.eval()


def start(rows: int, label: Tensor | None = None) -> Start:
    return Start(torch.full((rows, 1), BOS), torch.ones(rows, 1, dtype=torch.bool), Condition(label=label))


def numbers(rows: int, most: int, seed: int = 0) -> Tensor:
    """[rows, most] of which row i is the same whatever rows is."""
    return torch.stack([torch.rand(most, generator=torch.Generator().manual_seed(100 * seed + i)) for i in range(rows)])


NO_ENDS = Filters(forbidden=torch.tensor([PAD, BOS, EOS]))


def run(net: SequenceModel, begin: Start, u: Tensor, filters: Filters = NO_ENDS, **more: Any) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        steps = list(generate(Decoding(net, begin, u, filters, **{"eos": EOS, "pad": PAD, **more})))
    return torch.stack([s.tokens for s in steps], 1), torch.stack([s.logp for s in steps], 1)


# -- filters ----------------------------------------------------------------------------------------------------------


def by_hand(logits: list[float], tokens: list[int], f: Filters, allowed: list[bool]) -> np.ndarray:
    """The filters one token at a time, in the order that the docstring says."""
    z = np.array(logits, np.float64)
    for i in range(len(z)):
        if i in f.forbidden.tolist() or not allowed[i]:
            z[i] = -np.inf
    for i in set(tokens):
        z[i] = z[i] / f.repetition if z[i] > 0 else z[i] * f.repetition
    if f.temperature == 0:
        return np.eye(len(z))[int(np.argmax(z))]
    p = np.exp(z / f.temperature)
    p /= p.sum()
    order = sorted(range(len(p)), key=lambda i: -p[i])
    if f.top_k is not None:
        for i in order[f.top_k :]:
            p[i] = 0
    if f.top_p < 1:
        whole, sofar = p.sum(), 0.0
        for i in order:
            if sofar >= f.top_p * whole:
                p[i] = 0
            sofar += p[i]
    p[p < f.min_p * p.max()] = 0
    return p / p.sum()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"temperature": 0.0},
        {"temperature": 0.3},
        {"temperature": 2.5},
        {"top_k": 1},
        {"top_k": 4},
        {"top_k": 1000},
        {"top_p": 0.05},
        {"top_p": 0.6},
        {"min_p": 0.3},
        {"min_p": 1.0},
        {"repetition": 3.0},
        {"repetition": 1.7, "temperature": 0.7, "top_k": 6, "top_p": 0.8, "min_p": 0.1},
        {"repetition": 1.7, "temperature": 0.0},
    ],
)
def test_filters_equal_the_formulas(settings: dict[str, Any]) -> None:
    generator = torch.Generator().manual_seed(1)
    for trial in range(20):
        logits = 2 * torch.randn(3, 12, generator=generator)
        tokens = torch.randint(0, 12, (3, 5), generator=generator)
        allowed = torch.rand(3, 12, generator=generator) < 0.8
        allowed[:, 5] = True
        f = Filters(**settings, forbidden=torch.tensor([0, 2] if trial % 2 else [], dtype=torch.long))
        p = f(logits, tokens, allowed)
        p = p / p.sum(1, keepdim=True)
        for i in range(3):
            expected = by_hand(logits[i].tolist(), tokens[i].tolist(), f, allowed[i].tolist())
            np.testing.assert_allclose(p[i].numpy(), expected, atol=1e-6)


def test_a_temperature_near_zero_is_the_most_probable_token_and_no_nan() -> None:
    p = Filters(temperature=1e-4)(torch.tensor([[-90.0, -80.0, -85.0]]), torch.zeros(1, 1, dtype=torch.long), None)
    assert p.tolist() == [[0.0, 1.0, 0.0]]


def test_a_grammar_that_allows_nothing_is_an_error() -> None:
    f = Filters(forbidden=torch.tensor([1]))
    with pytest.raises(GenloomError, match="grammar"):
        f(torch.zeros(1, 3), torch.zeros(1, 1, dtype=torch.long), torch.tensor([[False, True, False]]))


# -- draws ------------------------------------------------------------------------------------------------------------


def test_draws_have_the_distribution_given() -> None:
    p = torch.tensor([0.0, 0.2, 0.0, 0.05, 0.5, 0.25, 0.0]) * 3
    n = 20_000
    u = (torch.arange(n) + 0.5) / n
    counts = torch.bincount(draw(p.expand(n, -1), u), minlength=7).double()
    torch.testing.assert_close(counts / n, (p / p.sum()).double(), atol=2 / n, rtol=0)
    random = torch.bincount(draw(p.expand(n, -1), torch.rand(n, generator=torch.Generator().manual_seed(0))))
    keep = p[: len(random)] > 0
    assert int(random[~keep].sum()) == 0
    assert chisquare(random[keep].numpy(), (n * p / p.sum())[: len(random)][keep].double().numpy()).pvalue > 1e-3


def test_a_draw_never_has_probability_zero() -> None:
    most = float(np.nextafter(np.float32(1), np.float32(0)))
    for p in ([0.0, 1.0, 0.0], [0.0, 0.3, 0.0, 1e-30, 0.0], [0.1] * 9 + [0.0]):
        row = torch.tensor([p])
        for u in (0.0, 0.5, most):
            token = int(draw(row, torch.tensor([u]).double())[0])
            assert p[token] > 0, (p, u)


# -- generating -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("softcap", [0.0, 3.0])
def test_the_sampled_distribution_is_the_models_checked_by_teacher_forcing(
    cell: str, classes: int, softcap: float
) -> None:
    net = model(cell, classes=classes, softcap=softcap)
    label = torch.tensor([0, 1, 2, 3]) if classes else None  # 3: no class
    tokens, logp = run(net, start(4, label), numbers(4, 11))
    whole = torch.cat([torch.full((4, 1), BOS), tokens], 1)
    with torch.no_grad():
        forced = torch.log_softmax(net(whole[:, :-1], Condition(label=label)), 2).gather(2, whole[:, 1:, None])[..., 0]
    torch.testing.assert_close(logp, forced, atol=1e-5, rtol=0)
    assert len({tuple(t) for t in tokens.tolist()}) == 4


@pytest.mark.parametrize("cell", CELLS)
def test_drawn_tokens_follow_the_models_probabilities(cell: str) -> None:
    net, n = model(cell), 4000
    tokens, _ = run(net, start(n), numbers(n, 2), Filters())
    with torch.no_grad():
        p = torch.softmax(net(torch.full((1, 1), BOS))[0, 0].double(), 0)
    assert chisquare(torch.bincount(tokens[:, 0], minlength=VOCAB).numpy(), (n * p).numpy()).pvalue > 1e-3


def test_n_grams_of_one_token_equal_those_of_a_window() -> None:
    for vocab, ngrams, rows in ((11, 6, 64), (3000, 6, 200), (5, 4, 10_000)):
        torch.manual_seed(0)
        inputs = Inputs(
            vocab,
            4,
            ngrams=ngrams,
            rows=rows,
            classes=2,
            boundary=2,
            neighbours=(2, 5),
            positions=40,
            parts=torch.rand(vocab, 3),
        )
        net = SequenceModel(inputs, Recurrent("gru", 4, 4, 1), softcap=0.0, tied=False).eval()
        x = torch.randint(3, vocab, (3, 30))
        x[torch.rand(3, 30) < 0.1] = 2
        label = torch.tensor([0, 1, 2])
        with torch.no_grad():
            state = net.begin(3, 0)
            state.given = inputs.given(Condition(label=label))
            whole = inputs(x, state.past, state.given)
            quick = Embedder(inputs, state)
            steps = torch.stack([quick(t, i) for i, t in enumerate(x.unbind(1))], 1)
        torch.testing.assert_close(steps, whole, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_prompts_of_different_lengths_equal_each_alone(cell: str) -> None:
    net, u = model(cell), numbers(3, 10)
    prompts = [[BOS, 5], [BOS, 7, 8, 4, 9], [BOS, 6, 6]]
    tokens, given = torch.full((3, 5), PAD), torch.zeros(3, 5, dtype=torch.bool)
    for i, p in enumerate(prompts):
        tokens[i, : len(p)], given[i, : len(p)] = torch.tensor(p), True
    together, logp = run(net, Start(tokens, given), u)
    for i, p in enumerate(prompts):
        assert together[i, : len(p) - 1].tolist() == p[1:]
        one = Start(torch.tensor([p]), torch.ones(1, len(p), dtype=torch.bool))
        alone, own = run(net, one, u[i : i + 1])
        assert torch.equal(alone[0], together[i])
        drawn = len(p) - 1
        torch.testing.assert_close(own[0, drawn:], logp[i, drawn:], atol=1e-5, rtol=0)


@pytest.mark.parametrize("cell", CELLS)
def test_the_numbers_fix_a_row_whatever_the_batch(cell: str) -> None:
    net = model(cell)
    all_rows, _ = run(net, start(64), numbers(64, 10))
    for n in (1, 3):
        assert torch.equal(run(net, start(n), numbers(n, 10))[0], all_rows[:n])
    assert not torch.equal(run(net, start(64), numbers(64, 10, seed=1))[0], all_rows)


def test_past_the_context_the_model_goes_on_from_the_second_half() -> None:
    """By a loop that runs a fresh model over the tail at every token."""
    net, context, most = model(context=6), 6, 20
    u = numbers(2, most)
    tokens, logp = run(net, start(2), u)
    for row in range(2):
        text, begin = [BOS], 0
        for place in range(most):
            if len(text) - begin > context:
                begin = len(text) - context // 2
            with torch.no_grad():
                z = net(torch.tensor([text[begin:]]))[0, -1]
            p = NO_ENDS(z[None], torch.tensor([text]), None)
            text.append(int(draw(p, u[row : row + 1, place])[0]))
            assert float(torch.log_softmax(z, 0)[text[-1]]) == pytest.approx(float(logp[row, place]), abs=1e-5)
        assert text[1:] == tokens[row].tolist()


def test_a_prompt_longer_than_the_context_is_read_at_its_end() -> None:
    net = model(context=6)
    long = torch.tensor([[BOS, *[3, 4, 5, 6, 7, 8, 9, 10] * 2]])
    tokens, logp = run(net, Start(long, torch.ones_like(long, dtype=torch.bool)), numbers(1, 17))
    with torch.no_grad():
        expected = torch.log_softmax(net(long[:, -6:])[0, -1], 0)
    assert float(logp[0, 16]) == pytest.approx(float(expected[tokens[0, 16]]), abs=1e-5)


def test_rows_end_at_eos_and_are_padded() -> None:
    net = model("gru")
    tokens, logp = run(net, start(200), numbers(200, 40), Filters(forbidden=torch.tensor([PAD, BOS])))
    ended = 0
    for row, own in zip(tokens.tolist(), logp.tolist(), strict=True):
        if EOS in row:
            after = row.index(EOS) + 1
            assert row[after:] == [PAD] * (len(row) - after) and own[after:] == [0.0] * (len(row) - after)
            ended += 1
        assert PAD not in row[: row.index(EOS)] if EOS in row else PAD not in row
    assert ended > 20


def test_generation_ends_when_all_rows_have() -> None:
    net = model()
    only = Filters(forbidden=torch.tensor([t for t in range(VOCAB) if t != EOS]))
    assert run(net, start(5), numbers(5, 40), only)[0].tolist() == [[EOS]] * 5


class Even:
    """Only even contents; stops a row at its third token of 4."""

    def allowed(self, tokens: Tensor) -> Tensor | None:
        mask = torch.arange(VOCAB) % 2 == 0
        mask[:3] = False
        return mask.expand(len(tokens), -1)

    def finished(self, tokens: Tensor) -> Tensor | None:
        return (tokens == 4).sum(1) >= 3


OPEN, CLOSE = 3, 4


class Brackets:
    """Balanced brackets of depth at most 5 that close by 30 tokens; eos when balanced."""

    def allowed(self, tokens: Tensor) -> Tensor | None:
        mask = torch.zeros(len(tokens), VOCAB, dtype=torch.bool)
        for i, row in enumerate(tokens.tolist()):
            if EOS in row:
                continue  # has ended: nothing needs to be allowed
            depth = row.count(OPEN) - row.count(CLOSE)
            mask[i, EOS] = depth == 0 and len(row) > 1
            mask[i, CLOSE] = depth > 0
            mask[i, OPEN] = depth < 5 and len(row) + depth < 28
        return mask

    def finished(self, tokens: Tensor) -> Tensor | None:
        return None


def test_a_grammar_keeps_every_sample_valid() -> None:
    net = model("lstm")
    tokens, _ = run(net, start(100), numbers(100, 40), Filters(forbidden=torch.tensor([PAD, BOS])), guide=Brackets())
    for row in tokens.tolist():
        text, depth = row[: row.index(EOS)], 0
        for t in text:
            depth += {OPEN: 1, CLOSE: -1}[t]
            assert depth >= 0
        assert depth == 0 and text
    assert len({tuple(t) for t in tokens.tolist()}) > 4


def test_a_guide_stops_rows_each_by_itself() -> None:
    tokens, _ = run(model(), start(50), numbers(50, 60), guide=Even())
    stopped = 0
    for row in tokens.tolist():
        contents = [t for t in row if t != PAD]
        assert all(t % 2 == 0 for t in contents) and contents.count(4) <= 3
        if contents.count(4) == 3:
            stopped += 1
            assert contents[-1] == 4 and row[len(contents) :] == [PAD] * (len(row) - len(contents))
    assert stopped > 10


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_output_that_is_not_finite_is_one_error(value: float) -> None:
    net = model()
    with torch.no_grad():
        net.weight[5, 3] = value
    with pytest.raises(GenloomError, match="not finite"):
        run(net, start(2), numbers(2, 5))


@pytest.mark.parametrize("cell", CELLS)
def test_closing_the_iterator_stops_the_work(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    step = Stepper.step

    def counted(self: Any, tokens: Tensor) -> Tensor:
        calls.append(1)
        return step(self, tokens)

    monkeypatch.setattr(Stepper, "step", counted)
    steps: Iterator[Step] = generate(Decoding(model(cell), start(2), numbers(2, 1000), NO_ENDS, eos=EOS, pad=PAD))
    with torch.no_grad():
        for _ in range(5):
            next(steps)
        assert len(calls) == 4  # never ahead of what was asked for
        steps.close()  # type: ignore[attr-defined]
        assert next(steps, None) is None and len(calls) == 4


def test_mixed_probabilities_are_drawn_from_and_told() -> None:
    p = torch.full((VOCAB,), 0.01)
    p[7] = 0.9
    tokens, logp = run(model(), start(3), numbers(3, 6), mix=lambda own, sofar: p.log().expand_as(own))
    torch.testing.assert_close(logp, p.log()[tokens])
    assert int((tokens == 7).sum()) > 10


# -- beam search ------------------------------------------------------------------------------------------------------


def every(net: SequenceModel, vocab: int, most: int, label: int | None = None) -> dict[tuple[int, ...], float]:
    """Log-probability of every sequence of contents that ends within `most` tokens."""
    out = {}
    for length in range(most):
        for text in itertools.product(range(3, vocab), repeat=length):
            x = torch.tensor([[BOS, *text, EOS]])
            given = Condition(label=None if label is None else torch.tensor([label]))
            with torch.no_grad():
                logp = torch.log_softmax(net(x[:, :-1], given), 2).gather(2, x[:, 1:, None])
            out[(*text, EOS)] = float(logp.sum())
    return out


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0])
def test_wide_beams_equal_exhaustive_search(cell: str, penalty: float) -> None:
    vocab, most, net = 6, 4, model(cell, vocab=6, classes=2)
    label = torch.tensor([0, 1])
    with torch.no_grad():
        found, score = beam_search(
            net, start(2, label), beams=64, most=most, eos=EOS, pad=PAD, penalty=penalty,
            forbidden=torch.tensor([PAD, BOS]),
        )  # fmt: skip
    for row in range(2):
        scores = {text: p / len(text) ** penalty for text, p in every(net, vocab, most, row).items()}
        best = max(scores, key=lambda text: scores[text])
        assert [t for t in found[row, 1:].tolist() if t != PAD] == list(best)
        assert float(score[row]) == pytest.approx(scores[best], abs=1e-4)


def test_a_length_penalty_favours_longer_sequences() -> None:
    lengths = []
    for penalty in (0.0, 1.0, 3.0):
        with torch.no_grad():
            found, _ = beam_search(
                model("gru"), start(1), beams=8, most=8, eos=EOS, pad=PAD, penalty=penalty,
                forbidden=torch.tensor([PAD, BOS]),
            )  # fmt: skip
        lengths.append(int((found != PAD).sum()))
    assert lengths == sorted(lengths) and lengths[0] < lengths[-1]


@pytest.mark.parametrize("cell", CELLS)
def test_one_beam_is_greedy(cell: str) -> None:
    net, most = model(cell), 6
    greedy = Filters(temperature=0, forbidden=torch.tensor([PAD, BOS, EOS]))
    tokens, logp = run(net, start(1), numbers(1, most), greedy)
    with torch.no_grad():
        found, score = beam_search(
            net, start(1), beams=1, most=most, eos=EOS, pad=PAD, penalty=0.0, forbidden=greedy.forbidden
        )
    assert found[0, 1:].tolist() == tokens[0].tolist()  # nothing may end: the unfinished hypothesis is given
    assert float(score[0]) == pytest.approx(float(logp.sum()), abs=1e-4)


def test_beams_keep_to_a_grammar_and_refuse_what_they_cannot() -> None:
    more = {"beams": 4, "eos": EOS, "pad": PAD, "penalty": 1.0, "forbidden": torch.tensor([PAD, BOS])}
    with torch.no_grad():
        found, _ = beam_search(model("gru"), start(1), most=30, guide=Brackets(), **more)
        row = [t for t in found[0, 1:].tolist() if t != PAD]
        assert row[-1] == EOS and row.count(OPEN) == row.count(CLOSE) > 0 and len(row) == 2 * row.count(OPEN) + 1
        mixed = Start(torch.tensor([[BOS, 5], [BOS, 0]]), torch.tensor([[True, True], [True, False]]))
        with pytest.raises(InputError, match="equal length"):
            beam_search(model(), mixed, most=5, **more)
        long = torch.full((1, 12), 5)
        with pytest.raises(InputError, match="context of 12"):
            beam_search(model(), Start(long, long > 0), most=5, **more)


@pytest.mark.parametrize("cell", ["transformer", "lstm"])
@pytest.mark.parametrize("enough", [None, 3])
def test_sources_decoded_together_are_decoded_as_alone(cell: str, enough: int | None) -> None:
    torch.manual_seed(0)
    tokens, source = Tokens(12, VOCAB, PAD, BOS, EOS), SourceSpec(6, VOCAB, PAD, EOS)
    config = Architecture(cell=cell, width=16, heads=2, hidden=24, depth=2, ngrams=2, ngram_rows=64)  # type: ignore[arg-type]
    net = build(config, tokens, 12, ConditionSpec(source=source)).eval()
    for p in net.parameters():
        nn.init.normal_(p, std=0.4)
    sources = torch.tensor([[4, 5, 6, EOS], [7, EOS, PAD, PAD], [8, 3, 9, EOS], [EOS, PAD, PAD, PAD]])
    asked = {
        "beams": 3, "most": 9, "eos": EOS, "pad": PAD, "penalty": 1.0, "forbidden": torch.tensor([PAD, BOS]),
        "enough": enough,
    }  # fmt: skip

    def search(x: Tensor) -> tuple[Tensor, Tensor]:
        begin = Start(torch.full((len(x), 1), BOS), torch.ones(len(x), 1, dtype=torch.bool), Condition(source=x))
        with torch.no_grad():
            return beam_search(net, begin, **asked)

    found, score = search(sources)
    assert len({tuple(r) for r in found.tolist()}) > 1
    for i, row in enumerate(sources):
        alone, own = search(row[None])
        assert found[i].tolist() == alone[0].tolist() and float(score[i]) == pytest.approx(float(own[0]), abs=1e-4)
        ids = [t for t in found[i, 1:].tolist() if t != PAD]
        x = torch.tensor([[BOS, *ids]])
        with torch.no_grad():
            logp = torch.log_softmax(net(x[:, :-1], Condition(source=row[None])), 2).gather(2, x[:, 1:, None]).sum()
        assert float(logp) / len(ids) == pytest.approx(float(score[i]), abs=1e-4)


def test_the_smallest_temperature_is_that_of_the_most_probable() -> None:
    logits = torch.randn(3, VOCAB)
    p = Filters(temperature=5e-324)(logits, torch.empty(3, 0, dtype=torch.long), None)
    assert torch.equal(p.argmax(1), logits.argmax(1)) and bool((p.sum(1) == 1).all())


@pytest.mark.parametrize("cell", CELLS)
def test_decoded_together_is_decoded_alone(cell: str) -> None:
    net = model(cell)

    def make(rows: int, most: int, seed: int, filters: Filters = NO_ENDS, **more: Any) -> Decoding:
        begin = Start(
            torch.tensor([[BOS, 3 + seed % 3, 5][: 1 + seed % 3]] * rows), torch.ones(rows, 1 + seed % 3).bool()
        )
        return Decoding(net, begin, numbers(rows, most, seed), filters, eos=EOS, pad=PAD, **more)

    joined.check(make, lambda **f: Filters(forbidden=torch.tensor([PAD, BOS]), **f))
