"""The compiled step against the model's own forward, and how it is compiled, found and left out."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import joined
from genloom.core.batch import Condition
from genloom.core.errors import GenloomError
from genloom.nets import stepping
from genloom.nets.decoding import Decoding, Filters, Start, generate
from genloom.nets.native import library
from genloom.nets.native.stepping import NativeStepper, supports, together
from genloom.nets.recurrent import Recurrent
from genloom.nets.sequence import Inputs, SequenceModel
from genloom.nets.transformer import Transformer

PAD, EOS, BOS, CONTEXT = 0, 1, 2, 48
CELLS = ("transformer", "lstm", "gru")
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "labels and softcap": {"classes": 3, "softcap": 3.0},
    "properties": {"properties": 2},
    "labels and properties": {"classes": 3, "properties": 2},
    "large vocabulary, hashed 6-grams": {"vocab": 3000, "ngrams": 6, "rows": 200},
    "stream": {"boundary": None, "rows": 10_000},
    "codes of a grid": {"ngrams": 1, "neighbours": (2, 5), "positions": CONTEXT, "parts": True},
    "odd widths": {"width": 28, "hidden": 37, "vocab": 19},
    "wide": {"width": 1080, "hidden": 1100, "depth": 1},
}
LABELS = torch.tensor([0, 1, 2, 3, 3])
VALUES = torch.tensor([[0.5, -1], [2, torch.nan], [torch.nan, torch.nan], [-30, 0], [0.1, 0.2]])
CONDITIONS = {
    "labels and softcap": Condition(LABELS),
    "properties": Condition(properties=VALUES),
    "labels and properties": Condition(LABELS, VALUES),
}


@pytest.fixture(scope="module", autouse=True)
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ctypes.CDLL]:
    """The step, compiled once into a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENLOOM_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("GENLOOM_NATIVE", raising=False)
        if library.place() is None:
            pytest.skip("there is no C++ compiler here")
        library.build()
        library._found.cache_clear()
        found = library.library()
        assert found is not None
        yield found
    library._found.cache_clear()


def model(cell: str = "transformer", *, vocab: int = 11, width: int = 16, hidden: int = 24, **more: Any) -> Any:
    """A small model with every weight at random."""
    torch.manual_seed(0)
    given = {"ngrams": 4, "rows": 64, "boundary": BOS, "classes": 0, **more}
    softcap, depth, tied = given.pop("softcap", 0.0), given.pop("depth", 2), given.pop("tied", False)
    if given.get("parts"):
        given["parts"] = torch.rand(vocab, 3)
    inputs = Inputs(vocab, width, **given)
    body = Transformer(width, depth, 2, CONTEXT) if cell == "transformer" else Recurrent(cell, width, hidden, depth)  # type: ignore[arg-type]
    out = SequenceModel(inputs, body, softcap=softcap, tied=tied)
    for p in out.parameters():
        nn.init.normal_(p, std=0.4 * min(1.0, (16 / p.shape[-1]) ** 0.5))
    return out.eval()


def text(rows: int, vocab: int) -> Tensor:
    """Rows with documents that begin within them."""
    return torch.randint(BOS, vocab, (rows, CONTEXT), generator=torch.Generator().manual_seed(3))


def forced(net: SequenceModel, x: Tensor, given: Condition, first: int, lib: ctypes.CDLL) -> Tensor:
    """[B, T - first + 1, V] logits after x[:, :first] at once and then each further token."""
    steps = NativeStepper(lib, net, x[:, :first], given, CONTEXT)
    return torch.stack([steps.logits, *(steps.step(t) for t in x[:, first:].unbind(1))], 1)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_its_logits_are_the_models_whatever_is_read_at_once(cell: str, variant: str, compiled: ctypes.CDLL) -> None:
    net = model(cell, **VARIANTS[variant])
    x = text(5, net.inputs.base)
    given = CONDITIONS.get(variant, Condition())
    with torch.no_grad():
        expected = torch.log_softmax(net(x, given), 2)
        for first in (1, 7, CONTEXT):
            logp = torch.log_softmax(forced(net, x, given, first, compiled), 2)
            torch.testing.assert_close(logp, expected[:, first - 1 :], atol=2e-5, rtol=1e-5)


def test_tied_weights_and_no_label_given(compiled: ctypes.CDLL) -> None:
    net, x = model(tied=True, classes=2), text(3, 11)
    with torch.no_grad():
        torch.testing.assert_close(forced(net, x, Condition(), 4, compiled), net(x)[:, 3:], atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("variant", ["plain", "odd widths", "properties"])
def test_a_rows_numbers_are_equal_to_the_last_bit_whatever_is_computed_with_it(
    cell: str, variant: str, compiled: ctypes.CDLL
) -> None:
    net = model(cell, **VARIANTS[variant])
    x = text(70, net.inputs.base)
    with torch.no_grad():
        given = Condition(properties=torch.randn(70, 2) if variant == "properties" else None)
        whole = forced(net, x, given, 9, compiled)
        for rows in (slice(0, 1), slice(1, 3), slice(3, 6), slice(10, 23), slice(69, 70)):
            assert torch.equal(forced(net, x[rows], given[rows], 9, compiled), whole[rows])
        assert torch.equal(forced(net, x[4:5], given[4:5], 1, compiled)[:, 8:], whole[4:5])


def run(net: SequenceModel, begin: Start, u: Tensor) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        steps = list(
            generate(Decoding(net, begin, u, Filters(forbidden=torch.tensor([PAD, BOS, EOS])), eos=EOS, pad=PAD))
        )
    return torch.stack([s.tokens for s in steps], 1), torch.stack([s.logp for s in steps], 1)


@pytest.mark.parametrize("cell", CELLS)
def test_generating_past_the_context_equals_pytorchs_step(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net, most = model(cell), 3 * CONTEXT
    tokens = torch.tensor([[BOS, 5, 6], [BOS, 7, PAD]])
    start = Start(tokens, tokens != PAD)
    u = torch.rand(2, most, generator=torch.Generator().manual_seed(5))
    made: list[type] = []
    begin = stepping.begin

    def noted(*given: Any) -> Any:
        made.append(type(out := begin(*given)))
        return out

    monkeypatch.setattr(stepping, "begin", noted)
    fast, logp = run(net, start, u)
    with library.using("torch"):
        slow, other = run(net, start, u)
    assert set(made[: len(made) // 2]) == {NativeStepper} and set(made[len(made) // 2 :]) == {stepping.Stepper}
    assert torch.equal(fast, slow)
    torch.testing.assert_close(logp, other, atol=2e-5, rtol=0)
    for row in range(2):
        one, own = run(net, Start(tokens[row : row + 1], start.given[row : row + 1]), u[row : row + 1])
        assert torch.equal(one[0], fast[row])
        if row == 0:
            assert torch.equal(own[0, 2:], logp[row, 2:])


@pytest.mark.parametrize("where", ["head.weight", "body.layers.0.up.weight", "body.layers.1.qkv.weight"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_output_that_is_not_finite_is_one_error(where: str, value: float) -> None:
    net = model()
    with torch.no_grad():
        dict(net.named_parameters())[where][3] = value
    with pytest.raises(GenloomError, match="not finite"):
        run(net, Start(torch.full((2, 1), BOS), torch.ones(2, 1, dtype=torch.bool)), torch.rand(2, 5))


def test_tokens_labels_and_places_that_are_not_there_are_refused(compiled: ctypes.CDLL) -> None:
    net = model(classes=2)
    one = torch.ones(1, 1, dtype=torch.long)
    with pytest.raises(IndexError, match="vocabulary"):
        NativeStepper(compiled, net, 11 * one, Condition(), 4)
    with pytest.raises(IndexError):
        NativeStepper(compiled, net, one, Condition(torch.tensor([3])), 4)
    steps = NativeStepper(compiled, net, one, Condition(), 2)
    steps.step(one[0])
    with pytest.raises(IndexError, match="place"):
        steps.step(one[0])


def test_models_it_does_not_know_are_left_to_pytorch() -> None:
    assert all(supports(model(cell)) for cell in CELLS)
    net = model()
    net.body.layers[0].cross = nn.Linear(16, 16)
    assert not supports(net)
    assert not supports(model().double())
    with torch.autocast("cpu", torch.bfloat16):
        assert not supports(model())


# -- compiling --------------------------------------------------------------------------------------------------------


def ask(code: str = "from genloom.nets.native import library; print(library.kind())", **more: str) -> str:
    """Which step a fresh process uses."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **more}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    return done.stdout.strip()


@contextlib.contextmanager
def builds_aside() -> Iterator[list[Any]]:
    """What would be started."""
    started: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "Popen", lambda *a, **k: started.append(a))
        yield started


def test_the_switch_turns_it_off() -> None:
    assert ask() == "compiled" and ask(GENLOOM_NATIVE="0") == "torch"


def test_a_record_is_followed_to_the_step_it_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the compiled step that was used then is no longer there."""
    assert library.kind() == "compiled"
    with library.using("torch"):
        assert library.kind() == "torch" and isinstance(
            stepping.begin(model(), torch.full((1, 1), BOS), Condition(), 4), stepping.Stepper
        )
    monkeypatch.setenv("GENLOOM_CACHE", str(tmp_path))
    code = "from genloom.nets.native import library as l\nwith l.using('compiled'): print(l.kind())"
    assert ask() == "torch" and ask(code) == "compiled"


def compiler(folder: Path, body: str) -> str:
    """A compiler that runs this shell script."""
    path = folder / "cxx"
    path.write_text(f"#!/bin/sh\n{body}\n", "utf-8")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    "body", ["echo no room here >&2; exit 1", 'for last; do :; done; echo junk > "$last"', "exit 0"]
)
def test_a_build_that_fails_leaves_pytorchs_step_and_is_not_tried_again_at_once(
    body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENLOOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CXX", compiler(tmp_path, body))
    with pytest.raises(GenloomError):
        library.build()
    with builds_aside() as started:
        library.build_aside()
    assert not started and ask() == "torch"
    assert [p.suffix for p in (tmp_path / "cache" / "native").iterdir()] == [".failed"]


def test_a_damaged_library_leaves_pytorchs_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENLOOM_CACHE", str(tmp_path))
    path = library.place()
    assert path is not None
    path.parent.mkdir()
    path.write_bytes(b"\x7fELF but not")
    assert ask() == "torch"


def test_many_builds_at_once_leave_one_whole_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiled: ctypes.CDLL
) -> None:
    """With a compiler that copies what was compiled before, slowly."""
    slow = f'for last; do :; done; sleep 0.2; cp "{compiled._name}" "$last"'
    monkeypatch.setenv("CXX", compiler(tmp_path, slow))
    monkeypatch.setenv("GENLOOM_CACHE", str(tmp_path / "cache"))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    builds = [subprocess.Popen([sys.executable, "-m", library.__name__], env=env) for _ in range(4)]
    assert [b.wait(60) for b in builds] == [0] * 4
    assert [p.suffix for p in (tmp_path / "cache" / "native").iterdir()] == [".so"] and ask() == "compiled"


def test_long_sampling_has_it_compiled_for_the_next_process_and_does_not_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENLOOM_CACHE", str(tmp_path))
    library._found.cache_clear()
    x = torch.full((2, 1), BOS)
    with builds_aside() as started, contextlib.ExitStack() as stack:
        stack.callback(library._found.cache_clear)
        assert isinstance(stepping.begin(model(), x, Condition(), 10), stepping.Stepper) and not started
        assert isinstance(stepping.begin(model(), x, Condition(), 1000), stepping.Stepper) and len(started) == 1


@pytest.mark.parametrize("cell", CELLS)
def test_rows_at_different_places_are_read_together(cell: str, compiled: ctypes.CDLL) -> None:
    net, x = model(cell), text(6, 11)
    rows = [slice(0, 1), slice(1, 4), slice(4, 6)]
    with torch.no_grad():
        alone = [forced(net, x[r], Condition(), p, compiled) for r, p in zip(rows, (1, 5, 9), strict=True)]
        steps = [
            NativeStepper(compiled, net, x[r, :p], Condition(), CONTEXT) for r, p in zip(rows, (1, 5, 9), strict=True)
        ]
        for t in range(3):
            logits = together(steps, torch.cat([x[r, s.length] for r, s in zip(rows, steps, strict=True)])[:, None])
            assert torch.equal(logits, torch.cat([a[:, t + 1] for a in alone]))
        del steps[1]  # it leaves, the others go on
        logits = together(steps, torch.cat([x[rows[0], 4], x[rows[2], 12]])[:, None])
        assert torch.equal(logits, torch.cat([alone[0][:, 4], alone[2][:, 4]]))


@pytest.mark.parametrize("share", [8, 1])
@pytest.mark.parametrize("cell", CELLS)
def test_decoded_together_is_decoded_alone(
    cell: str, share: int, compiled: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genloom.nets.native.stepping.SHARE", share)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    net = model(cell)

    def make(rows: int, most: int, seed: int, filters: Filters = Filters(), **more: Any) -> Decoding:  # noqa: B008
        begin = Start(
            torch.tensor([[BOS, 3 + seed % 3, 5][: 1 + seed % 3]] * rows), torch.ones(rows, 1 + seed % 3).bool()
        )
        u = torch.rand(rows, most, generator=torch.Generator().manual_seed(seed))
        return Decoding(net, begin, u, filters, eos=EOS, pad=PAD, **more)

    joined.check(make, lambda **f: Filters(forbidden=torch.tensor([PAD, BOS]), **f))
    assert isinstance(net.stepper(torch.tensor([[BOS]]), Condition(), 4), NativeStepper)
