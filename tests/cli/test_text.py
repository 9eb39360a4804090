"""Text from the command line: training, prompts, streaming, and what goes wrong."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]

SMALL = [
    word
    for name, value in {
        "family.cell": "transformer", "family.width": 16, "family.heads": 2, "family.depth": 1,
        "family.context": 32, "family.ngram_rows": 256,
        "train.batch": 8, "train.grids": 2, "train.precision": "fp32",
    }.items()
    for word in ("--set", f"{name}={value}")
]  # fmt: skip


def play(lines: int = 400) -> str:
    """A text like a play: speakers, lines, blank lines; some of it Chinese."""
    draw = random.Random(0)
    words = "the night is long and moon upon my lord the sea shall sing of 月 光 山 水 love and war again".split()  # noqa: SIM905
    speeches = [
        f"{draw.choice(['ROMEO', 'NURSE', 'KENT'])}:\n"
        + "\n".join(" ".join(draw.choices(words, k=draw.randint(4, 9))) for _ in range(draw.randint(1, 4)))
        for _ in range(lines // 3)
    ]
    return "\n\n".join(speeches) + "\n"


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("文本") / "play.txt"
    path.write_text(play(), "utf-8")
    return path


@pytest.fixture(scope="session")
def run(cli: Cli, runs: Path, text: Path) -> Path:
    """A transformer trained on the play for thirty steps."""
    folder = runs / "play"
    done = cli("train", text, "--steps", 30, "--out", folder, *SMALL)
    assert done.code == 0, done.err
    assert "shakespeare-char" in done.err  # the recipe that suits a stream of characters
    return folder


@pytest.fixture(scope="session")
def names_run(cli: Cli, runs: Path) -> Path:
    """An LSTM trained on names in class folders for thirty steps."""
    data = runs / "names-data"
    for label, names in {
        "海": ["moray", "squid", "whale", "shark"],
        "陆": ["tiger", "horse", "camel", "llama"],
    }.items():
        (data / label).mkdir(parents=True)
        for i, name in enumerate(names * 4):
            (data / label / f"{i}.txt").write_text(f"{name}{'s' * (i // 4)}", "utf-8")
    sets = [*SMALL, "--set", "family.cell=lstm", "--set", "family.hidden=32", "--set", "family.infill=0.5"]
    done = cli("train", data, "--model", "autoregressive", "--steps", 30, "--out", runs / "names", *sets)
    assert done.code == 0, done.err
    return runs / "names"


def test_a_text_file_trains_without_another_word(run: Path) -> None:
    config = json.loads((run / "config.json").read_text("utf-8"))
    assert (config["model"], config["kind"], config["recipe"]) == ("autoregressive", "text", "shakespeare-char")
    assert config["family"]["width"] == 16  # what was asked for wins over the recipe
    assert (run / "samples" / "final.txt").read_text("utf-8").strip()
    history = [json.loads(line) for line in (run / "history.jsonl").read_text("utf-8").splitlines()]
    assert any("validation" in record["logs"] for record in history)


def test_samples_are_printed_and_depend_on_the_seed_alone(cli: Cli, run: Path) -> None:
    ask = ("sample", run, "-n", 3, "--prompt", "ROMEO:", "--max-tokens", 30, "--json")
    first = cli(*ask)
    assert first.code == 0, first.err
    texts = first.document["texts"]
    assert len(texts) == 3 and all(t.startswith("ROMEO:") and len(t) == 36 for t in texts)
    assert cli(*ask).document["texts"] == texts
    assert (
        cli("sample", run, "-n", 1, "--prompt", "ROMEO:", "--max-tokens", 30, "--json").document["texts"] == texts[:1]
    )
    assert cli(*ask, "--seed", 5).document["texts"] != texts
    assert cli("sample", run, "-n", 1, "--prompt", "ROMEO:", "--max-tokens", 30).out.strip().startswith("ROMEO:")


def test_a_stream_prints_what_sample_gives(cli: Cli, run: Path) -> None:
    options = ("--prompt", "月光", "--max-tokens", 40, "--temperature", 0.8, "--top-p", 0.9, "--top-k", 20)
    whole = cli("sample", run, "-n", 1, *options, "--json").document["texts"][0]
    assert cli("sample", run, "-n", 1, *options, "--stream").out == whole + "\n"
    assert whole.startswith("月光")


def test_a_stop_ends_the_text_before_it(cli: Cli, run: Path) -> None:
    free = cli("sample", run, "-n", 4, "--max-tokens", 80, "--json").document["texts"]
    cut = cli("sample", run, "-n", 4, "--max-tokens", 80, "--stop", "\\n", "--stop", "q", "--json").document["texts"]
    assert [t.split("\n")[0] for t in free] == cut


def test_files_and_one_text_of_all(cli: Cli, run: Path, tmp_path: Path) -> None:
    done = cli("sample", run, "-n", 2, "--max-tokens", 20, "-o", tmp_path / "out", "--json")
    files = [Path(f) for f in done.document["files"]]
    assert [f.suffix for f in files] == [".txt", ".txt"] and all(len(f.read_text("utf-8")) == 20 for f in files)
    grid = Path(
        cli("sample", run, "-n", 2, "--max-tokens", 20, "--grid", "-o", tmp_path, "--json").document["files"][0]
    )
    assert grid.suffix == ".txt" and len(grid.read_text("utf-8")) > 40


def test_classes_and_gaps(cli: Cli, names_run: Path) -> None:
    done = cli("sample", names_run, "-n", 2, "--label", "海", "--json")
    assert done.code == 0, done.err
    assert all(isinstance(t, str) for t in done.document["texts"])
    filled = cli("sample", names_run, "-n", 3, "--prompt", "t", "--suffix", "r", "--max-tokens", 6, "--json")
    assert filled.code == 0, filled.err
    assert all(t.startswith("t") and t.endswith("r") for t in filled.document["texts"])
    unknown = cli("sample", names_run, "--label", "天")
    assert unknown.code == 2 and "天" in unknown.err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--top-p", 0), "top_p"),
        (("--top-p", 2), "top_p"),
        (("--top-k", 0), "top_k"),
        (("--temperature", -1), "temperature"),
        (("--max-tokens", 0), "max_tokens"),
        (("--set", "temprature=1"), "temperature"),
        (("--prompt", "ROMEO ☃"), "☃"),
        (("--suffix", "end"), "infill"),
        (("--label", "x"), "label"),
        (("--stream", "--json"), "--stream"),
        (("--stream", "--set", "beams=4"), "beam"),
    ],
)
def test_what_cannot_be_asked_for_is_one_sentence(cli: Cli, run: Path, options: tuple[object, ...], says: str) -> None:
    done = cli("sample", run, *options)
    assert done.code == 2, done.err
    assert says in done.err and done.err.count("\n") == 1


def test_a_prompt_longer_than_the_context_is_told(cli: Cli, run: Path) -> None:
    done = cli("sample", run, "-n", 1, "--prompt", "the night " * 8, "--max-tokens", 5, "--json")
    assert done.code == 0, done.err
    assert "80 tokens" in done.err and "32" in done.err
    assert done.document["texts"][0].startswith("the night " * 8)


def test_a_dry_run_of_text_tells_its_settings(cli: Cli, text: Path, tmp_path: Path) -> None:
    done = cli("train", text, "--dry-run", "--steps", 10, "--out", tmp_path / "run", "--json")
    assert done.code == 0, done.err
    plan = done.document["plan"]
    assert plan["config"]["recipe"] == "shakespeare-char" and plan["steps"] == 10 and plan["seconds_per_step"] > 0
    assert not (tmp_path / "run").exists()


def test_images_have_no_prompts(cli: Cli, flow: Path) -> None:
    for options in (("--prompt", "a"), ("--stream",), ("--temperature", 0.5)):
        done = cli("sample", flow, *options)
        assert done.code == 2 and done.err.count("\n") == 1, done.err


@pytest.mark.parametrize(
    ("content", "says"), [(b"", "empty"), (b"\x00\x01\x02\xff\xfe" * 50, "binary"), (b"one line only", "at least 100")]
)
def test_files_that_cannot_be_learnt_from(cli: Cli, tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "data.txt"
    path.write_bytes(content)
    done = cli("train", path, "--steps", 1, "--out", tmp_path / "run")
    assert done.code == 2, done.err
    assert says in done.err and len(done.err.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_vocabulary_that_does_not_match_the_weights_is_refused(cli: Cli, run: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(run, damaged)
    state = json.loads((damaged / "modality.json").read_text("utf-8"))
    state["spec"]["vocab"] += 1
    (damaged / "modality.json").write_text(json.dumps(state), "utf-8")
    done = cli("sample", damaged)
    assert done.code == 2 and "do not fit" in done.err


def test_settings_of_one_cell_are_not_mixed_with_another(cli: Cli, text: Path, tmp_path: Path) -> None:
    for sets, says in (
        (("family.cell=lstm", "family.tied=true"), "family.tied"),
        (("family.cell=transformer", "family.width=20", "family.heads=3"), "family.width"),
        (("family.cell=rnn",), "transformer"),
    ):
        words = [w for s in sets for w in ("--set", s)]
        done = cli("train", text, "--steps", 1, "--out", tmp_path / "run", *words)
        assert done.code == 2 and says in done.err, done.err


def test_texts_are_vouched_for_by_their_record_and_made_again(cli: Cli, run: Path, tmp_path: Path) -> None:
    asked = ("--max-tokens", 20, "--prompt", "the ", "--stop", "q", "--temperature", 0.7, "-o", tmp_path, "--json")
    files = cli("sample", run, "-n", 3, "--seed", 5, *asked).document["files"]
    assert cli("verify", *files).code == 0
    done = cli("reproduce", *files, "--run", run, "-o", tmp_path / "again", "--json")
    assert done.code == 0, done.err
    for path in map(Path, files):
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()
    Path(files[0]).write_text("something else", "utf-8")
    assert cli("verify", files[0]).code == 1
