"""Going on from a run: what is taken over, what has grown, what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import genloom
from genloom.core.batch import Condition
from genloom.core.errors import InputError, Interrupted
from genloom.core.loop import Loop
from genloom.core.run import RunFolder
from genloom.data.vocabulary import BOS, FIRST, Characters
from genloom.nets import lora
from genloom.run import Run, adapters
from genloom.run.start import open_start

OLD = [f"the {a} sees the {b}" for a in ("cat", "dog", "hen", "fox") for b in ("sun", "moon", "sea", "hill")]
NEW = [f"the {a} eats 飯 {b}!" for a in ("cat", "dog", "hen", "fox") for b in ("now", "then", "late", "soon")]
SIZE = {
    "family": {"width": 16, "depth": 1, "heads": 2, "context": 32, "ngrams": 3, "ngram_rows": 1024},
    "modality": {"tokenizer": "char", "unit": "line"}, "train": {"grids": 0, "batch": 4},
    "data": {"validation": 0.1, "test": 0.0},
}  # fmt: skip
QUIET = {"train.grids": 0, "data.validation": 0.1, "data.test": 0.0}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("start") / "base"
    return genloom.train(OLD, model="autoregressive", steps=30, settings=SIZE, out=out)


def going_on(base: Run, out: Path, data: Any = NEW, **how: Any) -> tuple[Run, list[str]]:
    said: list[str] = []
    settings = {**QUIET, **how.pop("settings", {})}
    how = {"steps": 3, "start": base.path, **how}
    return genloom.train(data, settings=settings, out=out, notify=said.append, **how), said


def test_weights_settings_and_vocabulary_are_taken_over_and_new_characters_added(base: Run, tmp_path: Path) -> None:
    tiny = {"family.optimiser.lr": 1e-12, "family.optimiser.table_lr": 1e-12}
    run, said = going_on(base, tmp_path / "on", settings=tiny)
    begun = run.family.state_dict()
    old, n = base.family.state_dict(), base.family.spec.vocab  # type: ignore[union-attr]
    known, more = base.modality.vocabulary.characters, run.modality.vocabulary.characters  # type: ignore[attr-defined]
    assert more.startswith(known) and set(more) - set(known) == set("".join(NEW)) - set(known)
    for name in ("model.body.layers.0.qkv.weight", "model.inputs.tables.0.weight", "model.inputs.tables.1.weight"):
        torch.testing.assert_close(begun[name], old[name], atol=1e-6, rtol=0)
    for name in ("model.inputs.token.weight", "model.head.weight"):
        torch.testing.assert_close(begun[name][:n], old[name], atol=1e-6, rtol=0)
        torch.testing.assert_close(begun[name][n:], old[name].mean(0).expand_as(begun[name][n:]), atol=1e-6, rtol=0)
    assert any("are new to the model" in s and "'飯'" in s for s in said)
    start = run.manifest["start"]
    assert (
        start["weights"] == base.manifest["files"]["model.safetensors"] and start["copied"] > 0.9 * start["parameters"]
    )
    assert run.config.family.width == 16 and run.config.start == str(base.path)  # type: ignore[attr-defined]
    # A text in the old characters is as likely as it was, but for what the new ones get.
    before, after = (r.surprise(OLD[0]).sum() for r in (base, run))
    assert before < after + 1e-3 and abs(after - before) < 0.2 * before


def test_without_new_characters_the_first_weights_are_exactly_the_old(base: Run) -> None:
    start = open_start(base.path)
    family = type(base.family)(base.family.spec, base.config.family, base.condition)  # type: ignore[call-arg]
    done = start.fill(family)
    assert done["copied"] == done["parameters"] and not done["fresh"]
    for name, value in base.family.state_dict().items():
        assert torch.equal(value, family.state_dict()[name]), name


@pytest.mark.parametrize("lora", [False, True])
def test_a_resumed_run_needs_its_start_no_more(
    base: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lora: bool
) -> None:
    data = tmp_path / "new.txt"
    data.write_text("\n".join(NEW), "utf-8")
    home = tmp_path / "base"
    shutil.copytree(base.path, home)
    whole, _ = going_on(base, tmp_path / "whole", data, steps=6, lora=lora)
    one = Loop._one

    def stopping(self: Loop, fraction: float) -> None:
        one(self, fraction)
        if self.progress.step == 3:
            self._save()
            raise Interrupted("stopped", 2)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_one", stopping)
        with pytest.raises(Interrupted):
            genloom.train(data, settings=QUIET, steps=6, start=home, lora=lora, out=tmp_path / "cut")
    shutil.rmtree(home)
    resumed = genloom.train(out=tmp_path / "cut", resume=True)
    for name, value in whole.family.state_dict().items():
        assert torch.equal(value, resumed.family.state_dict()[name]), name
    if not lora:
        resumed.evaluate(n=8)


def test_classes_are_matched_by_name(tmp_path: Path) -> None:
    texts = {c: [f"{c} {i} {c}" for i in range(8)] for c in ("ant", "bee", "cow", "dog")}
    first = (texts["ant"] + texts["cow"], ["ant"] * 8 + ["cow"] * 8)
    second = (texts["bee"] + texts["cow"], ["bee"] * 8 + ["cow"] * 8)
    base = genloom.train(first, model="autoregressive", steps=2, settings=SIZE, out=tmp_path / "a")
    family = type(base.family)
    other = genloom.train(second, model="autoregressive", steps=2, settings=SIZE, out=tmp_path / "b")
    made = family(base.family.spec, base.config.family, other.condition)  # type: ignore[call-arg]
    open_start(base.path).fill(made)
    old, new = (f.state_dict()["model.inputs.label.weight"] for f in (base.family, made))
    assert other.classes == ("bee", "cow")
    assert torch.equal(new[1], old[1]) and torch.equal(new[0], old[2]) and torch.equal(new[2], old[2])


def test_images_keep_their_size_and_all_weights(tmp_path: Path) -> None:
    settings = {"train.grids": 0, "modality.size": 12}
    base = genloom.train("digits", model="vae", steps=2, settings=settings, out=tmp_path / "a")
    run, said = going_on(base, tmp_path / "b", "digits", settings={"family.optimiser.lr": 1e-12})
    assert run.family.spec == base.family.spec and run.config.family == base.config.family.model_copy(  # type: ignore[attr-defined]
        update={"optimiser": run.config.family.optimiser}  # type: ignore[attr-defined]
    )
    assert run.manifest["start"]["copied"] == run.manifest["start"]["parameters"]
    assert any("(100.0%) are those of" in s for s in said)


def test_characters_keep_their_ids_when_they_grow() -> None:
    stream = Characters("abc", BOS)
    grown = stream.grown("cx", stream=False)  # documents need an unknown of their own
    assert grown.characters == "abcx�" and grown.encode("ab").tolist() == stream.encode("ab").tolist() == [3, 4]
    assert grown.encode("?").tolist() == [grown.unk] and grown.unk > FIRST
    assert grown.grown("a", stream=False).state() == grown.state() == Characters.from_state(grown.state()).state()
    assert stream.grown("x", stream=True).state() == {"characters": "abcx", "unk": BOS, "first": 3}


# -- LoRA -------------------------------------------------------------------------------------------------------------


def test_lora_trains_only_the_changes_and_merging_changes_nothing_else(base: Run, tmp_path: Path) -> None:
    run, _ = going_on(base, tmp_path / "lora", steps=20, lora=True)
    state, old = run.family.state_dict(), base.family.state_dict()
    assert torch.equal(state["model.body.layers.0.qkv.weight"], old["model.body.layers.0.qkv.weight"])
    assert torch.equal(state["model.inputs.tables.1.weight"], old["model.inputs.tables.1.weight"])
    assert state["model.body.layers.0.qkv.lora.b"].abs().max() > 1e-3
    assert run.manifest["trained"] == sum(v.numel() for n, v in state.items() if ".lora." in n)
    assert (run.path / "adapter" / "adapter_model.safetensors").is_file()
    merged = Run.open(adapters.merge(run, tmp_path / "merged"))
    a = state["model.body.layers.0.qkv.lora.a"]
    change = 2 * state["model.body.layers.0.qkv.lora.b"] @ a
    torch.testing.assert_close(
        merged.family.state_dict()["model.body.layers.0.qkv.weight"], old["model.body.layers.0.qkv.weight"] + change
    )
    torch.testing.assert_close(
        torch.tensor(merged.surprise(NEW[0])), torch.tensor(run.surprise(NEW[0])), atol=1e-3, rtol=0
    )
    assert merged.sample(3, seed=1) == run.sample(3, seed=1)
    with pytest.raises(InputError, match="was not trained with --lora"):
        adapters.merge(merged, tmp_path / "again")
    # A run with changes is a start too: they are put in first.
    assert torch.equal(open_start(run.path).weights["model.head.weight"], lora.merged(run.family)["model.head.weight"])


def test_samples_of_changed_weights_are_those_of_whole_rows(base: Run, tmp_path: Path) -> None:
    """The stepper reads weights itself: it must see the changes."""
    run, _ = going_on(base, tmp_path / "lora", steps=20, lora=True)
    network = run.family.players()["model"]
    x = torch.tensor([[2, 5, 6, 7, 8, 9]])
    with torch.no_grad():
        whole = network(x)
        stepper = network.stepper(x[:, :2], Condition(), 10)  # type: ignore[operator]
        for t in range(2, 6):
            logits = stepper.step(x[:, t])
        torch.testing.assert_close(logits, whole[:, -1], atol=1e-4, rtol=1e-4)


def test_targets_that_are_not_there_are_told_with_the_candidates(base: Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no linear layer is called q_proj.*qkv, out, up, down, head"):
        going_on(base, tmp_path / "x", lora=True, settings={"family.lora.targets": ["q_proj"]})
    assert not (tmp_path / "x").exists()


# -- bad input --------------------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_one_sentence(base: Run, tmp_path: Path) -> None:
    digits = genloom.train("digits", model="vae", steps=1, settings={"train.grids": 0}, out=tmp_path / "vae")
    with pytest.raises(InputError, match="is a model of image, but this data is text"):
        going_on(digits, tmp_path / "x")
    with pytest.raises(InputError, match="is a model vae, not flow; leave --model out"):
        genloom.train("digits", model="flow", start=digits.path, steps=1)
    with pytest.raises(InputError, match="the model vae has no LoRA"):
        genloom.train("digits", start=digits.path, lora=True, steps=1)
    with pytest.raises(InputError, match="say which by --from"):
        genloom.train(NEW, lora=True, steps=1)
    with pytest.raises(InputError, match=r"knows the tokens of modality.tokenizer=char, not of byte"):
        going_on(base, tmp_path / "x", settings={"modality.tokenizer": "byte"})
    with pytest.raises(InputError, match="is no folder; --from takes a run"):
        genloom.train(NEW, start=tmp_path / "not" / "there", steps=1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="neither a run nor a model of transformers"):
        genloom.train(NEW, start=tmp_path / "empty", steps=1)
    with pytest.raises(InputError, match="pretrained comes with a model"):
        genloom.train(NEW, settings={"modality.tokenizer": "pretrained"}, steps=1, out=tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_nothing_that_fits_is_refused(base: Run, tmp_path: Path) -> None:
    other = {"family": {"width": 24, "cell": "lstm", "hidden": 20, "ngrams": 1, "heads": 2, "depth": 1}}
    with pytest.raises(InputError, match=r"nothing of .* fits this model"):
        going_on(base, tmp_path / "x", settings=other)
    folder = RunFolder.open(base.path)
    config = folder.read_json("config.json")
    assert config["start"] is None
