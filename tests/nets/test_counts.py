"""Kneser-Ney counts: equal to dictionaries, sums of 1, borders of documents, tiny Shakespeare's known figure."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch

from genloom.nets import counts as module
from genloom.nets.counts import KneserNey

DISCOUNTS = (0.5, 0.6, 0.7, 0.8)
TEXT = Path(os.environ.get("GENLOOM_DATA", "/nowhere")) / "tinyshakespeare" / "input.txt"


class Dictionaries:
    """The same model written down plainly: a dictionary of dictionaries for each order."""

    def __init__(self, documents: list[list[int]], vocab: int, discounts: tuple[float, ...]) -> None:
        self.vocab, self.discounts, order = vocab, discounts, len(discounts)
        self.plain = [defaultdict(lambda: defaultdict(int)) for _ in range(order)]
        self.before = [defaultdict(lambda: defaultdict(set)) for _ in range(order)]
        for d in documents:
            for i in range(1, len(d)):
                for k in range(min(order, i + 1)):
                    self.plain[k][tuple(d[i - k : i])][d[i]] += 1
                    if k + 1 < order and i > k:
                        self.before[k][tuple(d[i - k : i])][d[i]].add(d[i - k - 1])

    def probability(self, context: list[int], token: int) -> float:
        context = context[-(len(self.discounts) - 1) :] if len(self.discounts) > 1 else []
        p = 1 / self.vocab
        for k in range(len(context) + 1):
            key = tuple(context[len(context) - k :])
            if k == len(context):
                table = dict(self.plain[k].get(key, {}))
            else:
                table = {w: len(v) for w, v in self.before[k].get(key, {}).items()}
            if table:
                d, total = self.discounts[k], sum(table.values())
                p = (max(table.get(token, 0) - d, 0) + d * len(table) * p) / total
        return p


def random_text(n: int, vocab: int, seed: int = 0) -> np.ndarray:
    """Tokens with repetitions: each depends on the one before."""
    draw = np.random.default_rng(seed)
    text = [0]
    for _ in range(n - 1):
        text.append(int((text[-1] * 3 + draw.integers(0, 3)) % vocab))
    return np.array(text)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_a_stream_equals_dictionaries(order: int) -> None:
    text, rows = random_text(400, 11), torch.from_numpy(random_text(60, 11, 1)).view(5, 12)
    model, plain = KneserNey(11, order), Dictionaries([text.tolist()], 11, DISCOUNTS[:order])
    model.fit(text, DISCOUNTS[:order])
    found = model.surprise(rows)
    for b, row in enumerate(rows.tolist()):
        for t in range(1, 12):
            assert float(found[b, t - 1]) == pytest.approx(-math.log(plain.probability(row[:t], row[t])), rel=1e-5)
    for width in (0, 1, 2, 3, 9):
        p = model.probabilities(rows[:, :width])
        wanted = [[plain.probability(row[:width], w) for w in range(11)] for row in rows.tolist()]
        assert p.numpy() == pytest.approx(np.array(wanted), rel=1e-4, abs=1e-7)


def test_documents_do_not_reach_into_each_other() -> None:
    draw = np.random.default_rng(0)
    documents = [[2, *(3 + draw.integers(0, 5, draw.integers(0, 9))).tolist(), 1] for _ in range(80)]
    model, plain = KneserNey(8, 4, eos=1, pad=0), Dictionaries(documents, 8, DISCOUNTS)
    model.fit(np.concatenate(documents), DISCOUNTS)
    rows = torch.zeros(20, 14, dtype=torch.int64)
    for b in range(20):
        rows[b, : len(documents[b])] = torch.tensor(documents[b])
    found = model.surprise(rows)
    for b, row in enumerate(documents[:20]):
        for t in range(1, len(row)):
            assert float(found[b, t - 1]) == pytest.approx(-math.log(plain.probability(row[:t], row[t])), rel=1e-5)
        assert float(found[b, len(row) - 1 :].abs().sum()) == 0
    # after an eos nothing is known of the document before it
    after = torch.tensor([[2, 3, 4, 1, 2, 5]])
    assert torch.equal(model.probabilities(after), model.probabilities(after[:, 4:]))
    assert torch.equal(model.probabilities(after[:, :4]), model.probabilities(after[:, :0]))


def test_probabilities_add_up_and_agree_with_surprise() -> None:
    text = random_text(5000, 20)
    model = KneserNey(20)
    rows = torch.from_numpy(random_text(640, 20, 3)).view(64, 10)
    assert model.probabilities(rows).numpy() == pytest.approx(1 / 20)
    model.fit(text)
    for width in range(10):
        p = model.probabilities(rows[:, :width])
        assert p.sum(1).numpy() == pytest.approx(1, abs=1e-5) and float(p.min()) > 0
        if width:
            picked = -p[torch.arange(64), rows[:, width]].log()
            assert picked.numpy() == pytest.approx(model.surprise(rows)[:, width - 1].numpy(), abs=1e-4)


def test_chosen_discounts_predict_better_than_the_usual_ones() -> None:
    text = random_text(12_000, 12)
    rows = torch.from_numpy(random_text(3000, 12, 9)).view(-1, 50)
    chosen, usual = KneserNey(12), KneserNey(12)
    chosen.fit(text)
    usual.fit(text, module.USUAL)
    assert float(chosen.surprise(rows).mean()) < float(usual.surprise(rows).mean()) - 0.01


def test_tables_of_any_size_are_loaded() -> None:
    model, empty = KneserNey(11), KneserNey(11)
    model.fit(random_text(700, 11))
    rows = torch.from_numpy(random_text(60, 11, 1)).view(3, 20)
    holder = torch.nn.ModuleDict({"counts": empty})
    holder.load_state_dict({f"counts.{k}": v for k, v in model.state_dict().items()})
    assert torch.equal(empty.surprise(rows), model.surprise(rows))
    holder.load_state_dict({f"counts.{k}": v for k, v in KneserNey(11).state_dict().items()})
    assert float(empty.surprise(rows)[0, 0]) == pytest.approx(math.log(11))


def test_orders_that_hold_too_much_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    text = random_text(3000, 30)
    whole, short = KneserNey(30, 3), KneserNey(30, 7)
    whole.fit(text, DISCOUNTS[:3])
    monkeypatch.setattr(module, "MOST_GRAMS", len(whole.grams))
    short.fit(text, (*DISCOUNTS, 0.8, 0.8, 0.8))
    assert int(short.orders) == 3
    assert torch.equal(short.surprise(torch.from_numpy(text)[None]), whole.surprise(torch.from_numpy(text)[None]))


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_hardly_any_text_is_no_error(n: int) -> None:
    model = KneserNey(9)
    model.fit(np.arange(n))
    x = torch.tensor([[4, 3, 2]])
    assert bool(torch.isfinite(model.surprise(x)).all()) and model.surprise(x[:, :1]).shape == (1, 0)
    assert float(model.probabilities(x).sum()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("bad", [np.array([3, 9]), np.array([-1]), np.zeros((2, 2), dtype=np.int64)])
def test_wrong_tokens_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="tokens must be"):
        KneserNey(9).fit(bad)


@pytest.mark.skipif(not TEXT.is_file(), reason="needs tiny Shakespeare in GENLOOM_DATA")
def test_tiny_shakespeare_in_windows_of_64() -> None:
    text = np.frombuffer(TEXT.read_bytes(), np.uint8)
    known, text = np.unique(text, return_inverse=True)
    train, held_out = np.split(text, [int(0.9 * len(text))])
    k = (len(held_out) - 1) // 64
    rows = torch.stack([torch.from_numpy(held_out[i * 64 : i * 64 + 65]) for i in range(k)])
    model = KneserNey(len(known))
    model.fit(train, module.USUAL)
    assert float(model.surprise(rows).double().mean()) == pytest.approx(1.549, abs=0.001)  # an independent script's
    model.fit(train)
    assert float(model.surprise(rows).double().mean()) < 1.547
