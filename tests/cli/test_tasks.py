"""Training on pairs and conversations from the command line, and what such runs do."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]

TINY = [
    word
    for name, value in {
        "modality.vocab": 320, "family.width": 32, "family.heads": 2, "family.depth": 1, "family.encoder_depth": 1,
        "family.dropout": 0.0, "family.smoothing": 0.0, "train.tokens": 768, "train.warmup": 5, "train.grids": 1,
        "train.validate_times": 0, "train.precision": "fp32",
    }.items()
    for word in ("--set", f"{name}={value}")
]  # fmt: skip
NOUNS = {"dog": "Hund", "cat": "Kater", "man": "Mann", "bird": "Vogel", "bear": "Bär", "boy": "Bub", "fox": "Fuchs"}
VERBS = {"runs": "rennt", "eats": "isst", "sings": "singt", "sleeps": "schläft", "waits": "wartet", "reads": "liest"}
PLACES = {"here": "hier", "there": "dort", "alone": "allein", "now": "jetzt"}
PAIRS = [
    (f"the {n} {v} {p}", f"der {m} {w} {q}")
    for n, m in NOUNS.items() for v, w in VERBS.items() for p, q in PLACES.items()
]  # fmt: skip


@pytest.fixture(scope="session")
def translator(cli: Cli, runs: Path) -> Path:
    data = runs / "pairs.tsv"
    data.write_text("".join(f"{a}\t{b}\n" for a, b in PAIRS) + "the dog\t\n", "utf-8")
    done = cli("train", data, "--task", "translate", "--steps", 250, "--out", runs / "translator", *TINY)
    assert done.code == 0 and "the side 2 is empty" in done.err, done.err
    return runs / "translator"


def test_sentences_are_translated(cli: Cli, translator: Path, tmp_path: Path) -> None:
    done = cli("translate", translator, "the dog runs here", "the bear sings alone")
    assert done.out == "der Hund rennt hier\nder Bär singt allein\n"
    (tmp_path / "in.txt").write_text("the cat eats there\n\nthe man sleeps here\n", "utf-8")
    wanted = ["der Kater isst dort", "", "der Mann schläft hier"]
    document = cli("translate", translator, "-f", tmp_path / "in.txt", "--beams", 2, "--json").document
    assert document["schema"] == "genloom.translate/1" and document["texts"] == wanted
    done = cli("translate", translator, "-f", tmp_path / "in.txt", "-o", tmp_path / "out" / "de.txt")
    assert (tmp_path / "out" / "de.txt").read_text("utf-8").splitlines() == wanted and done.code == 0
    done = cli("translate", translator, "-f", tmp_path / "in.txt", "--pairs", "-o", tmp_path / "back.tsv")
    assert done.code == 0, done.err
    back = (tmp_path / "back.tsv").read_text("utf-8")
    assert back == f"{wanted[0]}\tthe cat eats there\n{wanted[2]}\tthe man sleeps here\n"
    assert "--pairs needs the file" in cli("translate", translator, "a", "--pairs").err
    assert any("de.txt" in p.read_text("utf-8") for p in (tmp_path / "out").glob("*.json"))  # the record beside it


def test_standard_input_is_translated(cli: Cli, translator: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("the bird sleeps there\n"))
    assert cli("translate", translator).out == "der Vogel schläft dort\n"


def test_bad_sources_are_told(cli: Cli, translator: Path, tmp_path: Path) -> None:
    done = cli("translate", translator, "你好")
    assert done.code == 2 and "has never seen '你', '好', nor any other letter of '你好'" in done.err
    done = cli("translate", translator, "the dog runs here " * 9)
    assert done.code == 0 and "the model reads" in done.err and "it sees the beginning only" in done.err
    assert "either sentences or --file" in cli("translate", translator, "a", "-f", tmp_path / "x").err
    assert "cannot be read" in cli("translate", translator, "-f", tmp_path / "x").err
    done = cli("chat", translator, "-m", "hi")
    assert done.code == 2 and "was trained with --task translate; to chat with it" in done.err


def test_translations_are_judged(cli: Cli, translator: Path) -> None:
    document = cli("evaluate", translator, "-n", 8, "--json").document
    figures = {f["name"]: f for f in document["figures"]}
    assert figures["bleu"]["value"] > 20 > figures["bleu"]["floor"] and figures["bleu"]["unit"] == "of 100"
    assert {"chrf", "ter", "rouge_1", "rouge_2", "rouge_l", "perplexity"} <= set(figures)
    assert document["task"]["name"] == "translate" and document["copying"] is not None
    assert "tok:13a" in document["task"]["signatures"]["bleu"]
    assert {"source", "reference", "output"} < set(document["task"]["worst"][0])
    page = (translator / "report.html").read_text("utf-8")
    assert "Furthest from the reference" in page and "tok:13a" in page
    assert "tok:13a" in cli("evaluate", translator, "-n", 8).out


def test_misnamed_columns_list_those_found(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b,c\n" + "".join(f"{a},{b},x y\n" for a, b in PAIRS), "utf-8")
    done = cli("train", path, "--task", "translate", "--steps", 1, "--out", tmp_path / "run")
    assert done.code == 2 and "a.csv has the columns a, b, c; say which is the source" in done.err
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="session")
def talker(cli: Cli, runs: Path) -> Path:
    data = runs / "talks.jsonl"
    turn = {"role": "user", "content": "hi"}
    talks = [
        [{"role": "user", "content": f"are you {a}?"}, {"role": "assistant", "content": f"yes, {a}."},
         {"role": "user", "content": "why?"}, {"role": "assistant", "content": f"because {a} is good"}]
        for a in ("red", "blue", "old", "new", "big", "odd", "wise", "kind")
    ]  # fmt: skip
    data.write_text("".join(json.dumps({"messages": t}) + "\n" for t in [*talks, [turn, turn]]), "utf-8")
    settings = ("--set", "data.validation=0", "--set", "data.test=0", "--steps", 150, "--out", runs / "talker")
    done = cli("train", data, "--task", "chat", *settings, *TINY)
    assert done.code == 0 and "roles out of order: turns 1 and 2 are both the user's" in done.err, done.err
    return runs / "talker"


def test_conversations_go_on(cli: Cli, talker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = cli("chat", talker, "-m", "are you blue?", "-m", "why?", "--temperature", 0)
    assert done.out == "yes, blue.\nbecause blue is good\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO("are you old?\nwhy?\n"))
    document = cli("chat", talker, "--temperature", 0, "--json").document
    assert document["schema"] == "genloom.chat/1"
    assert [m["content"] for m in document["messages"]][1::2] == ["yes, old.", "because old is good"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    assert "nothing is said" in cli("chat", talker).err
