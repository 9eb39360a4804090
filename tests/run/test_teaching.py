"""Learning from a teacher: the divergence against the formula, and a student that comes nearer to its teacher."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import genloom
from genloom.core.errors import InputError
from genloom.nets.rows import divergence
from genloom.run import Run
from texts import SMALL_TRANSFORMER, THREE_COLOURS


def test_the_divergence_is_that_of_the_formula() -> None:
    torch.manual_seed(0)
    logits, wanted = torch.randn(2, 3, 7, requires_grad=True), torch.randn(2, 3, 7).log_softmax(-1)
    counted = torch.tensor([[True, True, False], [True, False, False]])
    for t in (1.0, 2.0):
        own, q = (logits[counted] / t).log_softmax(-1), (wanted[counted] / t).log_softmax(-1)
        due = t**2 * F.kl_div(own, q, reduction="sum", log_target=True)
        torch.testing.assert_close(divergence(logits, wanted, counted, t), due)
    # A teacher that knows fewer tokens, and one that excludes some.
    few = divergence(logits, wanted[..., :5], counted, 1.0)
    q = wanted[..., :5][counted].log_softmax(-1)
    torch.testing.assert_close(few, (q.exp() * (q - logits[counted].log_softmax(-1)[:, :5])).sum())
    none = wanted.masked_fill(torch.arange(7) == 2, -torch.inf)
    found = divergence(logits, none, counted, 1.0)
    (grad,) = torch.autograd.grad(found, logits)
    assert bool(torch.isfinite(found)) and bool(torch.isfinite(grad).all())


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return genloom.train(
        THREE_COLOURS,
        model="autoregressive",
        steps=80,
        settings=SMALL_TRANSFORMER,
        out=tmp_path_factory.mktemp("t") / "r",
    )


def apart(a: Run, b: Run) -> float:
    """Mean divergence of b from a over the lines."""
    x = torch.nn.utils.rnn.pad_sequence([a.modality.encode(t) for t in THREE_COLOURS[:16]], batch_first=True)
    p, q = (r.family.predictions(x)[..., 3:] for r in (a, b))  # type: ignore[operator]
    return float((p.exp() * (p - q)).sum(-1).mean())


def test_a_student_comes_nearer_to_its_teacher(teacher: Run, tmp_path: Path) -> None:
    settings = {**SMALL_TRANSFORMER, "family.ngrams": 1}
    alone = genloom.train(THREE_COLOURS, model="autoregressive", steps=30, settings=settings, out=tmp_path / "a")
    taught = {**settings, "family.teacher.run": str(teacher.path), "family.teacher.share": 0.9}
    student = genloom.train(THREE_COLOURS[:20], model="autoregressive", steps=30, settings=taught, out=tmp_path / "s")
    assert apart(teacher, student) < apart(teacher, alone)
    assert student.modality.state()["vocabulary"] == teacher.modality.state()["vocabulary"]
    assert "divergence" in student.folder.history.read_text("utf-8")
    assert not any("teacher" in n for n in student.family.state_dict())
    again = Run.open(tmp_path / "s")  # whole without its teacher
    assert again.sample(2, seed=1) == student.sample(2, seed=1)


def test_a_teacher_that_reads_sources_teaches_a_student_that_reads_them(tmp_path: Path) -> None:
    pairs = [(line, " ".join(reversed(line.split()))) for line in THREE_COLOURS]
    settings = {
        "family.width": 32, "family.heads": 2, "family.depth": 1, "family.encoder_depth": 1, "family.ngrams": 1,
        "family.dropout": 0.0, "train.batch": 16, "train.tokens": 256, "train.grids": 0, "train.warmup": 2,
        "train.validate_times": 0, "train.log_every": 0.001, "modality.tokenizer": "char", "train.precision": "fp32",
    }  # fmt: skip
    big = genloom.train(pairs, task="translate", steps=60, settings=settings, out=tmp_path / "t")
    asked = {**settings, "family.width": 16, "family.teacher.run": str(big.path), "family.teacher.share": 1.0}
    student = genloom.train(pairs, task="translate", steps=40, settings=asked, out=tmp_path / "s")
    seen = [json.loads(line) for line in student.folder.history.read_text("utf-8").splitlines()]
    told = [r["logs"]["divergence"] for r in seen if "divergence" in r.get("logs", {})]
    assert told[-1] < 0.8 * told[0]
    assert student.modality.state()["vocabulary"] == big.modality.state()["vocabulary"]
    assert len(Run.open(tmp_path / "s").translate(["red green blue", "grey"])) == 2


def test_what_cannot_teach_is_one_sentence(teacher: Run, tmp_path: Path) -> None:
    asked = {**SMALL_TRANSFORMER, "family.teacher.run": str(tmp_path / "none")}
    with pytest.raises(InputError, match="none"):
        genloom.train(THREE_COLOURS, model="autoregressive", steps=1, settings=asked, out=tmp_path / "x")
    asked = {**SMALL_TRANSFORMER, "family.teacher.run": str(teacher.path), "modality.unit": "stream"}
    with pytest.raises(InputError, match="same kind, documents or one long text"):
        genloom.train("\n".join(THREE_COLOURS), model="autoregressive", steps=1, settings=asked, out=tmp_path / "y")
    pairs = [(a, a) for a in THREE_COLOURS]
    with pytest.raises(InputError, match="both follow from sources, or both not"):
        genloom.train(
            pairs, task="translate", steps=1, out=tmp_path / "z",
            settings={"family.teacher.run": str(teacher.path), "modality.tokenizer": "char"},
        )  # fmt: skip
