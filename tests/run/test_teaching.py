"""Learning from a teacher: the divergence against the formula, and a student that comes nearer to its teacher."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import genloom
from genloom.core.errors import InputError
from genloom.nets.rows import divergence
from genloom.run import Run

WORDS = ["red", "green", "blue", "grey"]
LINES = [f"{a} {b} {c}" for a in WORDS for b in WORDS for c in WORDS]
SMALL = {
    "family.width": 16, "family.heads": 2, "family.depth": 1, "family.context": 16, "family.ngram_rows": 64,
    "family.dropout": 0.0, "train.batch": 8, "train.grids": 0, "train.precision": "fp32", "modality.unit": "line",
    "train.validate_times": 0, "train.warmup": 2,
}  # fmt: skip


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
        LINES, model="autoregressive", steps=80, settings=SMALL, out=tmp_path_factory.mktemp("t") / "r"
    )


def apart(a: Run, b: Run) -> float:
    """Mean divergence of b from a over the lines."""
    x = torch.nn.utils.rnn.pad_sequence([a.modality.encode(t) for t in LINES[:16]], batch_first=True)
    p, q = (r.family.predictions(x)[..., 3:] for r in (a, b))  # type: ignore[operator]
    return float((p.exp() * (p - q)).sum(-1).mean())


def test_a_student_comes_nearer_to_its_teacher(teacher: Run, tmp_path: Path) -> None:
    settings = {**SMALL, "family.ngrams": 1}
    alone = genloom.train(LINES, model="autoregressive", steps=30, settings=settings, out=tmp_path / "a")
    taught = {**settings, "family.teacher.run": str(teacher.path), "family.teacher.share": 0.9}
    student = genloom.train(LINES[:20], model="autoregressive", steps=30, settings=taught, out=tmp_path / "s")
    assert apart(teacher, student) < apart(teacher, alone)
    assert student.modality.state()["vocabulary"] == teacher.modality.state()["vocabulary"]
    assert "divergence" in student.folder.history.read_text("utf-8")
    assert not any("teacher" in n for n in student.family.state_dict())
    again = Run.open(tmp_path / "s")  # whole without its teacher
    assert again.sample(2, seed=1) == student.sample(2, seed=1)


def test_what_cannot_teach_is_one_sentence(teacher: Run, tmp_path: Path) -> None:
    asked = {**SMALL, "family.teacher.run": str(tmp_path / "none")}
    with pytest.raises(InputError, match="none"):
        genloom.train(LINES, model="autoregressive", steps=1, settings=asked, out=tmp_path / "x")
    asked = {**SMALL, "family.teacher.run": str(teacher.path), "modality.unit": "stream"}
    with pytest.raises(InputError, match="same kind, documents or one long text"):
        genloom.train("\n".join(LINES), model="autoregressive", steps=1, settings=asked, out=tmp_path / "y")
    pairs = [(a, a) for a in LINES]
    with pytest.raises(InputError, match="both follow from sources, or both not"):
        genloom.train(
            pairs, task="translate", steps=1, out=tmp_path / "z",
            settings={"family.teacher.run": str(teacher.path), "modality.tokenizer": "char"},
        )  # fmt: skip
