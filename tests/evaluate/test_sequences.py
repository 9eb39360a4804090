"""Judging token sequences: likelihoods by the formula, known samples, copies, the report's text."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch

from evaluate.languages import FIRST, Bigram, Generator, Letters, Prepared, documents, sentences, sequences, stream
from genloom.core.errors import InputError
from genloom.data.sequences import Sequences
from genloom.evaluate import figures as module
from genloom.evaluate import networks
from genloom.evaluate.copying import Training
from genloom.evaluate.evaluation import Evaluation
from genloom.evaluate.features import features_for, learn
from genloom.evaluate.figures import evaluate_samples, judge
from genloom.evaluate.kinds import SEQUENCE_KINDS
from genloom.evaluate.likelihoods import likelihoods, whole, windows
from genloom.evaluate.passages import from_rows, held_out, joined, pieces
from genloom.metrics.frechet import Gaussian, frechet_distance
from genloom.metrics.ngrams import bleu, numbered
from genloom.nets.counts import KneserNey

TEXT_KINDS = [n for n in SEQUENCE_KINDS if n not in ("nats_per_step", "nats_per_residue")]  # of music, proteins


@pytest.fixture(scope="module")
def lines() -> Prepared:
    return documents()


@pytest.fixture(scope="module")
def book() -> Prepared:
    return stream()


def quick(data: Prepared) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "LEAST_STEPS", 60)
        patch.setattr(networks, "MOST_EPOCHS", 1)
        return learn(data, data.modality.spec, "encoder", 0)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def line_space(lines: Prepared) -> Any:
    return quick(lines)


@pytest.fixture(scope="module")
def book_space(book: Prepared) -> Any:
    return quick(book)


def rows_of(data: Prepared, texts: list[str]) -> torch.Tensor:
    s = sequences(data.modality, texts)
    return s.batch(np.arange(len(s))).x


# -- likelihoods ------------------------------------------------------------------------------


def test_windows_are_those_of_the_usual_protocol(book: Prepared) -> None:
    held, names = held_out(book, book.modality.spec)  # type: ignore[arg-type]
    assert names == ("validation", "test")
    tokens = np.concatenate([book.validation.tokens, book.test.tokens])
    assert held.tokens.tolist() == tokens.tolist()
    k = (len(tokens) - 1) // 64
    rows = torch.cat([b.x for b, known in windows(held, book.modality).batches if not known])
    assert rows.tolist() == [tokens[64 * i : 64 * i + 65].tolist() for i in range(k)]
    model = Bigram(book)
    by_hand = -model.log_p.detach()[rows[:, :-1], rows[:, 1:]].mean()
    found = {f.name: f for f in likelihoods(model, book).figures}["nats_per_character_64"]  # type: ignore[arg-type]
    assert found.value == pytest.approx(float(by_hand), rel=1e-5) and found.n == 64 * k


def test_a_stream_is_scored_whole_and_every_token_once(book: Prepared) -> None:
    held, _ = held_out(book, book.modality.spec)  # type: ignore[arg-type]
    model = Bigram(book)
    plan = whole(held, model.context, book.modality)
    assert plan.sizes["token"].sum() == held.total - 1
    t = torch.from_numpy(held.tokens.astype(np.int64))
    by_hand = -model.log_p.detach()[t[:-1], t[1:]].double().sum()
    nats = plan.nats(model.surprise, torch.device("cpu"), frozenset())
    assert nats.sum() == pytest.approx(float(by_hand), rel=1e-6)
    # all but the beginning of the text has the context before it
    assert {known for _, known in plan.batches} == {0, model.context}
    assert max(b.x.shape[1] for b, _ in plan.batches) <= model.context + held.total // 20 + 1
    assert plan.sizes["character"].sum() == held.total - 1 and len(nats) >= 20


def test_likelihoods_follow_the_formula(lines: Prepared) -> None:
    held = joined([lines.validation, lines.test])
    model, counts = Bigram(lines), KneserNey(lines.modality.spec.vocab, eos=1, pad=0)
    counts.fit(lines.train.tokens)
    nats = known = tokens = characters = 0.0
    for i in range(len(held)):
        x = held.batch(np.array([i])).x
        nats, known = nats + float(model.surprise(x).detach().sum()), known + float(counts.surprise(x).sum())
        tokens, characters = tokens + x.shape[1] - 1, characters + x.shape[1] - 2
    found = {f.name: f for f in likelihoods(model, lines).figures}  # type: ignore[arg-type]
    assert found["nats_per_token"].value == pytest.approx(nats / tokens, rel=1e-5)
    assert found["nats_per_character"].value == pytest.approx(nats / characters, rel=1e-5)
    assert found["bits_per_byte"].value == pytest.approx(nats / characters / math.log(2), rel=1e-5)
    assert found["perplexity"].value == pytest.approx(math.exp(nats / tokens), rel=1e-5)
    assert found["nats_per_token"].floor == pytest.approx(known / tokens, rel=1e-5)
    for f in found.values():
        assert f.interval is not None and f.value is not None and f.interval[0] < f.value < f.interval[1], f.name
        assert f.ceiling is None and f.n == tokens
        assert f.reference_n == 300 or f.name.endswith("64")
    assert "window of 8 tokens that moves by 4" in found["nats_per_token"].features


def test_a_model_that_does_not_beat_counts_is_told_so(lines: Prepared) -> None:
    told = likelihoods(Bigram(lines), lines).notices  # type: ignore[arg-type]
    assert len(told) == 2 and all("no better than mere counts" in n for n in told)

    class Better(Bigram):
        def surprise(self, x: torch.Tensor, condition: Any = None) -> torch.Tensor:
            return super().surprise(x, condition) * 0.2

    assert likelihoods(Better(lines), lines).notices == ()  # type: ignore[arg-type]


def test_a_model_without_surprise_has_no_likelihood(lines: Prepared) -> None:
    model = Bigram(lines)
    model.surprise = None  # type: ignore[assignment]
    assert likelihoods(torch.nn.Linear(1, 1), lines).figures == ()  # type: ignore[arg-type]


# -- samples ------------------------------------------------------------------------------


def test_samples_end_at_their_first_eos() -> None:
    spec = Letters(False, 6).spec
    s = from_rows(torch.tensor([[2, 5, 1, 7, 0, 0], [2, 5, 6, 0, 0, 0], [2, 1, 1, 1, 1, 1]]), spec)
    assert [s.tokens[a:b].tolist() for a, b in zip(s.starts[:-1], s.starts[1:], strict=True)] == [
        [2, 5, 1],
        [2, 5, 6],
        [2, 1],
    ]


def test_pieces_of_streams_and_documents(book: Prepared, lines: Prepared) -> None:
    cut = pieces(book.train, 100)
    assert len(cut) == book.train.total // 100 and set(cut.lengths.tolist()) == {100}
    assert cut.tokens.tolist() == book.train.tokens[: len(cut) * 100].tolist()
    short = pieces(lines.train, 10)
    assert short.tokens.tolist() == lines.train.tokens.tolist() and short.lengths.max() == 10


def test_real_sentences_are_judged_as_their_ceiling(lines: Prepared, line_space: Any) -> None:
    found = judge(rows_of(lines, sentences(300, 9)), None, lines, line_space)  # type: ignore[arg-type]
    assert [f.name for f in found.figures] == TEXT_KINDS[5:]
    for f in found.figures:
        assert f.value is not None and f.ceiling is not None and f.floor is not None, f.name
        assert f.interval is None or f.interval[0] <= f.value <= f.interval[1], f.name
        if f.name not in ("longest_verbatim_most", "novel_words"):
            assert abs(f.value - f.ceiling) < 0.3 * abs(f.floor - f.ceiling) + 0.01, f.name
    assert found["novel_words"].value == 0 and found["novel_words"].floor > 0.3  # type: ignore[operator]


def test_figures_equal_the_functions_on_the_same_units(lines: Prepared, line_space: Any) -> None:
    texts = sentences(200, 9)
    found = judge(rows_of(lines, texts), None, lines, line_space)  # type: ignore[arg-type]
    held = joined([lines.validation, lines.test])
    references = [lines.modality.decode(held.batch(np.array([i])).x[0]) for i in range(len(held))]
    both = numbered(*([lines.modality.units(t) for t in part] for part in (texts, references)))
    assert found["bleu_3"].value == pytest.approx(bleu(*both).sentences(3).mean())


def test_copies_and_one_sentence_over_and_over_are_found_out(lines: Prepared, line_space: Any) -> None:
    copies = [lines.modality.decode(lines.train.batch(np.array([i])).x[0]) for i in range(200)]
    found = judge(rows_of(lines, copies), None, lines, line_space)  # type: ignore[arg-type]
    assert found["longest_verbatim"].value == np.median([len(c) for c in copies])
    assert found["longest_verbatim"].ceiling < 0.8 * found["longest_verbatim"].value  # type: ignore[operator]
    first = found.passages[0]
    assert len(found.passages) == 6 and first.length == max(map(len, copies)) == len(first.run)
    assert first.run in copies and first.sample_before == first.sample_after == first.training_before == ""
    same = judge(rows_of(lines, [copies[0]] * 200), None, lines, line_space)  # type: ignore[arg-type]
    assert same["self_bleu"].value == pytest.approx(1) and same["distinct_2"].value < 0.01  # type: ignore[operator]
    assert same["frechet"].value > 5 * found["frechet"].value and len(same.passages) == 1  # type: ignore[operator]


def test_examples_of_a_stream_follow_on_one_another(book: Prepared) -> None:
    half = book.train.total // 2 + 5
    parts = Sequences(book.modality.spec, book.train.tokens, np.array([0, half, book.train.total]), None, list)
    assert pieces(parts, 100).tokens.tolist() == pieces(book.train, 100).tokens.tolist()
    across = from_rows(torch.from_numpy(book.train.tokens[half - 30 : half + 30].astype(np.int64))[None], parts.spec)
    assert Training.of(parts, book.modality).longest(across).tolist() == [60]


def test_a_stream_is_judged_in_pieces(book: Prepared, book_space: Any) -> None:
    found = evaluate_with(Bigram(book), book, book_space, n=20)
    held = book.validation.total + book.test.total
    size = min(256, held // 20)
    assert found.reference["what"] == f"held-out pieces of {size:,} tokens" and found.reference["n"] == held // size
    assert "length_distance" not in [f.name for f in found.figures]
    assert found["novel_words"].value > 0.3 and found["novel_words"].ceiling < 0.01  # type: ignore[operator]
    assert found["bleu_4"].value < found["bleu_4"].ceiling  # type: ignore[operator]
    assert [f.name for f in found.figures][:5] == TEXT_KINDS[:5]
    copied = book.train.tokens[500:756]
    again = judge(torch.from_numpy(copied.astype(np.int64))[None], None, book, book_space)  # type: ignore[arg-type]
    assert again["longest_verbatim_most"].value == min(256, size)


def evaluate_with(model: Bigram, data: Prepared, space: Any, **asked: Any) -> Evaluation:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "features_for", lambda data, notify: space)
        return evaluate_samples(Generator(model), data, **asked)  # type: ignore[arg-type]


def test_an_evaluation_comes_back_from_json_and_repeats(lines: Prepared, line_space: Any) -> None:
    found = evaluate_with(Bigram(lines), lines, line_space, n=150, seed=3)
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert Evaluation.from_json(document) == found and document["passages"]
    assert [f.name for f in found.figures] == TEXT_KINDS
    again = evaluate_with(Bigram(lines), lines, line_space, n=150, seed=3)
    assert again.figures == found.figures and again.passages == found.passages
    assert found.samples["n"] == 150 and found.reference["n"] == 300


@pytest.mark.parametrize("n", [1, 2, 30])
def test_few_samples_are_no_error(n: int, lines: Prepared, line_space: Any) -> None:
    found = judge(rows_of(lines, sentences(n, 9)), None, lines, line_space)  # type: ignore[arg-type]
    assert found["frechet"].value is None and "too few" in found["frechet"].note
    assert found["bleu_2"].value is not None
    empty = judge(torch.full((n, 2), 1).index_fill(1, torch.tensor([0]), 2), None, lines, line_space)  # type: ignore[arg-type]
    assert empty["longest_verbatim"].value == 0 and empty["bleu_2"].value == 0


@pytest.mark.parametrize("x", [torch.zeros(3, 4), torch.zeros(0, 4, dtype=torch.int64), torch.full((2, 2), 999)])
def test_samples_that_cannot_be_judged(x: torch.Tensor, lines: Prepared, line_space: Any) -> None:
    with pytest.raises(InputError):
        judge(x, None, lines, line_space)  # type: ignore[arg-type]


# -- features ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["lines", "book"])
def test_distance_grows_with_what_is_wrong(kind: str, request: pytest.FixtureRequest) -> None:
    data, space = request.getfixturevalue(kind), request.getfixturevalue(kind.removesuffix("s") + "_space")
    held, _ = held_out(data, data.modality.spec)
    real, other = (pieces(s, 64) for s in (held, data.train))
    real, other = (s.batch(np.arange(len(s))).x for s in (real, other))
    reference, x = Gaussian.fit(space(real).numpy()), other
    generator = torch.Generator().manual_seed(0)
    shares, found = (0.0, 0.1, 0.5), []
    for share in shares:
        hit = (torch.rand(x.shape, generator=generator) < share) & (x >= FIRST)
        y = torch.where(hit, torch.randint(FIRST, data.modality.spec.vocab, x.shape, generator=generator), x)
        found.append(frechet_distance(Gaussian.fit(space(y).numpy()), reference))
    assert 1.1 * found[0] < found[1] < found[2] / 1.5


def test_padding_does_not_change_features(lines: Prepared, line_space: Any) -> None:
    x = rows_of(lines, sentences(20, 3))
    wide = torch.nn.functional.pad(x, (0, 13), value=0)
    assert torch.allclose(line_space(x), line_space(wide), atol=1e-5)


def test_features_of_sequences_are_kept(lines: Prepared, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "LEAST_STEPS", 4)
    monkeypatch.setattr(networks, "MOST_EPOCHS", 0)
    first = features_for(lines, cache=tmp_path)  # type: ignore[arg-type]
    monkeypatch.setattr("genloom.evaluate.features.learn", lambda *_: pytest.fail("learnt again although it was kept"))
    x = rows_of(lines, sentences(9, 5))
    assert torch.equal(features_for(lines, cache=tmp_path)(x), first(x))  # type: ignore[arg-type]
