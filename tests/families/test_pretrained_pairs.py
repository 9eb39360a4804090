"""Models of transformers that read a source: the numbers of transformers itself, training on pairs, LoRA, refusals."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

import genloom
from genloom.core.batch import Condition
from genloom.core.errors import InputError
from genloom.core.observe import read_history
from genloom.families.pretrained import Pretrained
from genloom.run import Run, adapters
from huggingface import LINES, folder

PAIRS = [(line, " ".join(reversed(line.split()))) for line in LINES]
QUIET = {"train.grids": 0, "data.validation": 0, "data.test": 0, "train.precision": "fp32", "train.validate_times": 0}


@pytest.fixture(scope="module", params=["t5", "bart"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder(tmp_path_factory.mktemp("hf") / request.param, request.param)


@pytest.fixture(scope="module")
def run(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("run") / "r"
    settings = {**QUIET, "family.optimiser.lr": 1e-12}
    return genloom.train(PAIRS, start=model, task="translate", steps=1, settings=settings, out=out)


def test_likelihoods_are_those_of_transformers(model: Path, run: Run) -> None:
    words, reference = AutoTokenizer.from_pretrained(model), AutoModelForSeq2SeqLM.from_pretrained(model).eval()
    rows, sources, expected = [], [], []
    for source, target in PAIRS[:3]:
        ids = [
            torch.tensor([[*words(t, add_special_tokens=False).input_ids, words.eos_token_id]])
            for t in (source, target)
        ]
        start = torch.full((1, 1), reference.generation_config.decoder_start_token_id)
        with torch.no_grad():
            logits = reference(input_ids=ids[0], decoder_input_ids=torch.cat([start, ids[1][:, :-1]], 1)).logits
        logp = torch.log_softmax(logits[0, :, : len(words)], 1)
        expected.append(-logp.gather(1, ids[1][0, :, None])[:, 0])
        rows.append(run.modality.encode(target))
        sources.append(torch.cat([ids[0][0, :-1] + 3, torch.tensor([1])]))
    assert isinstance(run.family, Pretrained)
    pad = torch.nn.utils.rnn.pad_sequence
    nats = run.family.surprise(pad(rows, batch_first=True), Condition(source=pad(sources, batch_first=True)))
    for row, due in zip(nats, expected, strict=True):
        torch.testing.assert_close(row[: len(due)], due, atol=2e-3, rtol=1e-3)
        assert float(row[len(due) :].abs().sum()) == 0


def test_training_on_pairs_learns_and_beams_agree_with_one_at_a_time(model: Path, tmp_path: Path) -> None:
    settings = {**QUIET, "family.optimiser.lr": 5e-3, "train.batch": 16, "train.log_every": 0.05}
    run = genloom.train(PAIRS, start=model, task="translate", steps=60, settings=settings, out=tmp_path / "r")
    losses = [r["losses"]["model"] for r in read_history(run.folder.history)]
    assert losses[-1] < 0.75 * losses[0]
    sources = [s for s, _ in PAIRS[:6]]
    together = run.translate(sources, options={"beams": 3})
    assert together == [run.translate(s, options={"beams": 3})[0] for s in sources]
    again = Run.open(run.path)  # whole without the folder it came from
    assert again.translate(sources, options={"beams": 3}) == together


def test_low_rank_changes_are_few_and_are_merged_and_exported(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "r"
    run = genloom.train(PAIRS, start=model, lora=True, task="translate", steps=4, settings=QUIET, out=out)
    trained = [n for n, p in run.family.named_parameters() if p.requires_grad]
    assert trained and all("lora" in n for n in trained)
    merged = adapters.merge(run, tmp_path / "merged")
    asked = {"options": {"beams": 2}}
    assert Run.open(merged).translate(LINES[:2], **asked) == run.translate(LINES[:2], **asked)
    exported = adapters.export(run, tmp_path / "hf")
    words, reference = AutoTokenizer.from_pretrained(exported), AutoModelForSeq2SeqLM.from_pretrained(exported).eval()
    ids = torch.tensor([[*words(LINES[0], add_special_tokens=False).input_ids, words.eos_token_id]])
    with torch.no_grad():
        logits = reference(input_ids=ids, decoder_input_ids=torch.zeros(1, 1, dtype=torch.long)).logits[0, 0]
    source = torch.cat([ids[0, :-1] + 3, torch.tensor([1])])[None]
    x = torch.tensor([[2, 1]])
    with torch.no_grad():
        own = run.family.model(x[:, :1], Condition(source=source))[0, 0]  # type: ignore[operator, union-attr]
    torch.testing.assert_close(own[4 : 3 + len(words) - 1], logits[1 : len(words) - 1], atol=2e-3, rtol=1e-3)


def test_what_does_not_go_together_is_one_sentence(model: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="reads a source and writes a target: train it on pairs"):
        genloom.train(LINES, start=model, steps=1, settings=QUIET, out=tmp_path / "a")
    with pytest.raises(InputError, match="gpt2 goes on with a text and reads no source"):
        genloom.train(PAIRS, start=folder(tmp_path / "gpt2"), task="translate", steps=1, out=tmp_path / "b")
    if model.name == "bart":
        long = [(" ".join([s] * 9), t) for s, t in PAIRS]
        with pytest.raises(InputError, match=r"model reads 64; set data.source_length=64"):
            genloom.train(long, start=model, task="translate", steps=1, settings=QUIET, out=tmp_path / "c")
