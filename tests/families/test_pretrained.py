"""Models of transformers: the same numbers as transformers itself, self-contained runs, LoRA as peft reads it, and what
is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import genloom
from genloom.core.batch import ConditionSpec
from genloom.core.errors import InputError
from genloom.core.spec import Tokens
from genloom.families.pretrained import Pretrained
from genloom.run import Run, adapters
from genloom.run.start import open_start
from huggingface import END, LINES, architecture, folder

QUIET = {"train.grids": 0, "data.validation": 0.1, "data.test": 0.0, "modality.unit": "line", "train.precision": "fp32"}
FIRST = 3


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder(tmp_path_factory.mktemp("hf") / request.param, request.param)


@pytest.fixture(scope="module")
def run(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("run") / "r"
    return genloom.train(LINES, start=model, steps=1, settings={**QUIET, "family.optimiser.lr": 1e-12}, out=out)


def test_likelihoods_are_those_of_transformers(model: Path, run: Run) -> None:
    """A text alone, and texts laid end to end in a window, each as if it stood alone."""
    words, reference = AutoTokenizer.from_pretrained(model), AutoModelForCausalLM.from_pretrained(model).eval()
    expected = []
    for text in LINES[:3]:
        ids = torch.tensor([[words.bos_token_id, *words(text, add_special_tokens=False).input_ids, words.eos_token_id]])
        with torch.no_grad():
            logp = torch.log_softmax(reference(ids).logits[0, :-1, : len(words)], 1)
        expected.append(-logp.gather(1, ids[0, 1:, None])[:, 0])
        torch.testing.assert_close(torch.from_numpy(run.surprise(text)), expected[-1], atol=2e-3, rtol=1e-3)
    row = torch.cat([run.modality.encode(t) for t in LINES[:3]])[None]
    assert isinstance(run.family, Pretrained)
    nats = run.family.surprise(row)[0]
    together = torch.cat([torch.nn.functional.pad(e, (0, 1)) for e in expected])[:-1]
    torch.testing.assert_close(nats, together, atol=2e-3, rtol=1e-3)


def test_the_most_probable_continuation_is_that_of_transformers(model: Path, run: Run) -> None:
    words, reference = AutoTokenizer.from_pretrained(model), AutoModelForCausalLM.from_pretrained(model).eval()
    prompt = [words.bos_token_id, *words("the old cat", add_special_tokens=False).input_ids]
    wanted = reference.generate(
        torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt)), max_new_tokens=12, do_sample=False,
        pad_token_id=0, suppress_tokens=[words.pad_token_id] if words.pad_token_id is not None else None,
    )[0, len(prompt) :].tolist()  # fmt: skip
    x, _ = run.sample_tensor(1, prompt="the old cat", options={"temperature": 0, "max_tokens": 12})
    got = [i - FIRST for i in x[0, len(prompt) :].tolist() if i >= FIRST]
    assert got == [i for i in wanted if i != words.eos_token_id][: len(got)] and got
    assert "".join(run.stream("the old cat", seed=3)) == run.sample(1, prompt="the old cat", seed=3)[0][11:]


def test_beams_and_long_samples_work(run: Run) -> None:
    """Beams reorder the cache; samples longer than the 64 places of the model go on."""
    best, _ = run.sample_tensor(1, options={"beams": 4, "max_tokens": 8, "length_penalty": 0.0})
    one, _ = run.sample_tensor(1, options={"temperature": 0, "max_tokens": 8})
    score = lambda x: float(run.family.surprise(x).sum())  # type: ignore[operator] # noqa: E731
    assert score(best) <= score(one) + 1e-3
    x, _ = run.sample_tensor(2, options={"max_tokens": 100})
    assert x.shape[1] > 64


def test_the_run_is_whole_without_the_folder_it_came_from(model: Path, tmp_path: Path) -> None:
    home = tmp_path / "model"
    shutil.copytree(model, home)
    first = genloom.train(LINES, start=home, steps=4, settings=QUIET, out=tmp_path / "r")
    written = first.sample(2, seed=5)
    shutil.rmtree(home)
    again = genloom.load(tmp_path / "r")
    assert again.sample(2, seed=5) == written
    path = again.write_samples(1, tmp_path / "out", seed=2)[0]
    from genloom.run import reproduce

    assert reproduce(path, tmp_path / "r").same
    assert (
        again.manifest["start"]["weights"]
        and again.manifest["start"]["copied"] == again.manifest["start"]["parameters"]
    )
    evaluation = again.evaluate(LINES, n=8)
    assert evaluation.to_json()


def test_fine_tuning_learns(model: Path, tmp_path: Path) -> None:
    settings = {**QUIET, "family.optimiser.lr": 1e-2, "train.warmup": 2}
    on = genloom.train(LINES, start=model, steps=40, settings=settings, out=tmp_path / "r")
    before, after = open_start(model), sum(float(on.surprise(t).sum()) for t in LINES)
    family = Pretrained(on.family.spec, on.config.family, ConditionSpec())  # type: ignore[arg-type]
    before.fill(family)
    assert after < 0.5 * sum(float(family.eval().surprise(on.modality.encode(t)[None]).sum()) for t in LINES)


def test_signs_in_a_text_stay_text(run: Run) -> None:
    text = f"a {END} b"
    x = run.modality.encode(text)
    assert run.modality.decode(x) == text and int((x == 1).sum()) == 1
    assert torch.isfinite(torch.from_numpy(run.surprise(text))).all() and float(run.surprise(text).max()) < 1e3


# -- LoRA -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def changed(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("lora") / "r"
    settings = {**QUIET, "family.optimiser.lr": 1e-2, "family.lora.rank": 4, "train.warmup": 1}
    return genloom.train(LINES, start=model, lora=True, steps=15, settings=settings, out=out)


def test_peft_reads_the_adapter_and_finds_the_same_likelihoods(model: Path, changed: Run) -> None:
    peft = pytest.importorskip("peft")
    words = AutoTokenizer.from_pretrained(model)
    reference = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model), changed.path / "adapter")
    ids = torch.tensor([[words.bos_token_id, *words(LINES[0], add_special_tokens=False).input_ids, words.eos_token_id]])
    with torch.no_grad():
        logp = torch.log_softmax(reference.eval()(ids).logits[0, :-1, : len(words)], 1)
    expected = -logp.gather(1, ids[0, 1:, None])[:, 0]
    got = torch.from_numpy(changed.surprise(LINES[0]))
    torch.testing.assert_close(got, expected, atol=2e-3, rtol=1e-3)
    base = AutoModelForCausalLM.from_pretrained(model)
    with torch.no_grad():
        plain = torch.log_softmax(base(ids).logits[0, :-1], 1)
    assert not torch.allclose(-plain.gather(1, ids[0, 1:, None])[:, 0], expected, atol=0.05)


def test_an_exported_model_is_read_by_transformers(changed: Run, tmp_path: Path) -> None:
    out = adapters.export(changed, tmp_path / "out")
    words, reference = AutoTokenizer.from_pretrained(out), AutoModelForCausalLM.from_pretrained(out).eval()
    ids = torch.tensor([[words.bos_token_id, *words(LINES[0], add_special_tokens=False).input_ids, words.eos_token_id]])
    with torch.no_grad():
        logp = torch.log_softmax(reference(ids).logits[0, :-1, : len(words)], 1)
    expected = -logp.gather(1, ids[0, 1:, None])[:, 0]
    torch.testing.assert_close(torch.from_numpy(changed.surprise(LINES[0])), expected, atol=2e-3, rtol=1e-3)
    assert open_start(out).settings["family"]["end"] == words.eos_token_id  # and can be gone on from
    with pytest.raises(InputError, match="not an empty folder"):
        adapters.export(changed, out)


def test_layers_that_are_not_there_are_named(model: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no linear layer is called nope; layers it could change: .*(c_attn|q_proj)"):
        genloom.train(LINES, start=model, lora=True, steps=1, settings={**QUIET, "family.lora.targets": ["nope"]})


# -- bad input --------------------------------------------------------------------------------------------------------


def refused(path: Path, match: str, **how: Any) -> None:
    with pytest.raises(InputError, match=match):
        genloom.train(LINES, start=path, steps=1, out=path / "never", **how)
    assert not (path / "never").exists()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return folder(tmp_path / "copy")


def test_folders_that_are_not_whole_or_not_safe_are_refused(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").unlink()
    refused(copy, "there are no weights in")
    (copy / "pytorch_model.bin").write_bytes(b"\x80\x04N.")
    refused(copy, r"pickled \(pytorch_model.bin\).*save_pretrained, which writes safetensors")
    (copy / "model.safetensors").write_bytes(weights[:200])
    refused(copy, "weights in .* cannot be read")
    (copy / "model.safetensors").write_bytes(weights)
    kept = (copy / "tokenizer.json").read_text()
    (copy / "tokenizer.json").unlink()
    refused(copy, "there is no tokenizer in")
    (copy / "tokenizer.json").write_text("{")
    refused(copy, "tokenizer in .* cannot be read")
    data = json.loads(kept)
    data["added_tokens"].append({**data["added_tokens"][0], "id": 5000, "content": "<far>"})
    (copy / "tokenizer.json").write_text(json.dumps(data))
    refused(copy, "the tokens do not fit the model")
    (copy / "tokenizer.json").write_text(kept)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModelForCausalLM": "evil.Model"}}))
    refused(copy, "needs code that comes with it.*never run")
    (copy / "config.json").write_text(json.dumps({**config, "model_type": "nothing"}))
    refused(copy, "cannot be read")
    (copy / "config.json").write_text(json.dumps(config))
    refused(copy, "family.context=99 is more than the 64", settings={"family.context": 99})
    refused(copy, "knows the tokens of modality.tokenizer=pretrained", settings={"modality.tokenizer": "char"})


def test_a_name_on_the_hub_without_network_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="openai/never-there is no folder here, and the hub cannot be reached"):
        open_start("openai/never-there")


def test_the_family_without_a_model_says_where_to_get_one() -> None:
    with pytest.raises(InputError, match="begins with a model: --from"):
        Pretrained(Tokens(8, 30, 0, 2, 1), Pretrained.Config(), ConditionSpec())
    values = architecture("t5", 29, 0, 1)
    values["is_encoder_decoder"] = True
    with pytest.raises(InputError, match="t5 reads a source and writes a target: train it on pairs"):
        Pretrained(Tokens(8, 30, 0, 2, 1), Pretrained.Config(architecture=values, end=1), ConditionSpec())
