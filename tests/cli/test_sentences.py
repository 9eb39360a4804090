"""Models of sentences from the command line: ways between texts, reconstructions, a GAN's start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]
WORDS = [f"{a}{b}{c}" for a in ("al", "ber", "山", "dor") for b in "aeiou" for c in ("n", "ne", "lia", "水")]


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("词") / "words.txt"
    path.write_text("\n".join(WORDS), "utf-8")
    return path


@pytest.fixture(scope="module")
def vae(cli: Cli, words: Path) -> Path:
    sets = ["--set", "family.latent=4", "--set", "family.sentences.hidden=32", "--set", "train.batch=16"]
    folder = words.parent / "vae"
    done = cli("train", words, "--model", "vae", "--steps", 40, "--out", folder, *sets, "--set", "train.grids=1")
    assert done.code == 0, done.err
    return folder


def test_ways_between_samples_are_printed(cli: Cli, vae: Path) -> None:
    done = cli("interpolate", vae, "-n", 5, "--rows", 2)
    assert done.code == 0, done.err
    assert len(done.out.split("\n\n")) == 2
    found = cli("interpolate", vae, "-n", 5, "--rows", 2, "--json").document
    assert [len(way) for way in found["texts"]] == [5, 5] and found["schema"] == "genloom.interpolate/1"


def test_ways_between_the_lines_of_a_file(cli: Cli, vae: Path, tmp_path: Path) -> None:
    (tmp_path / "two.txt").write_text("alan\n山o水\n", "utf-8")
    assert len(cli("interpolate", vae, "-n", 4, "--between", tmp_path / "two.txt", "--json").document["texts"]) == 1
    (tmp_path / "one.txt").write_text("alan", "utf-8")
    done = cli("interpolate", vae, "--between", tmp_path / "one.txt")
    assert done.code == 2 and "pairs of examples; got 1" in done.err
    written = cli("interpolate", vae, "--between", tmp_path / "two.txt", "-o", tmp_path / "out")
    assert written.code == 0 and (tmp_path / "out" / "interpolation-0.txt").read_text("utf-8").strip()


def test_lines_are_reconstructed(cli: Cli, vae: Path, tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("alan\n\nberane\n", "utf-8")
    found = cli("reconstruct", vae, tmp_path / "lines.txt", "--json").document
    assert [t["text"] for t in found["texts"]] == ["alan", "berane"]
    assert cli("reconstruct", vae, tmp_path / "lines.txt").out.startswith("alan\n  ")
    done = cli("reconstruct", vae, tmp_path / "lines.txt", "-o", tmp_path / "out")
    assert done.code == 0 and len(list((tmp_path / "out").glob("*.txt"))) == 2


def test_a_sequence_gan_samples_itself_and_its_start(cli: Cli, words: Path) -> None:
    folder = words.parent / "gan"
    sets = ["family.hidden=32", "family.width=16", "train.batch=16", "family.warmup=0.5", "family.rate=1"]
    flat = [w for s in sets for w in ("--set", s)]
    done = cli(
        "train", words, "--model", "sequence_gan", "--steps", 20, "--out", folder, *flat, "--set", "train.grids=1"
    )
    assert done.code == 0, done.err
    for more in ((), ("--set", "start=true"), ("--stream", "-n", 1)):
        done = cli("sample", folder, *more)
        assert done.code == 0 and done.out, done.err
    done = cli("sample", folder, "--prompt", "al")
    assert done.code == 2
    done = cli("interpolate", folder)
    assert done.code == 2 and "no latent space" in done.err


def test_settings_that_do_not_fit(cli: Cli, words: Path, tmp_path: Path) -> None:
    for model, wrong, said in (
        ("sequence_gan", "family.warmup=0.97", "no time to play"),
        ("vae", "family.ladder=8", "ladder is for grids"),
        ("sequence_gan", "family.discriminator.net=rnn", "family.discriminator.net"),
    ):
        done = cli("train", words, "--model", model, "--steps", 1, "--out", tmp_path / model, "--set", wrong)
        assert done.code == 2 and said in done.err, done.err
    done = cli("train", "digits", "--model", "sequence_gan", "--steps", 1, "--out", tmp_path / "x")
    assert done.code == 2 and "sequence_gan" in done.err
