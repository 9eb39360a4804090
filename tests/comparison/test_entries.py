"""What is asked for: contenders, seeds, settings, the plan of a folder."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from genloom.comparison.entries import (
    Contender,
    Entry,
    Plan,
    as_sets,
    claim,
    contenders,
    entries,
    listed,
    numbers,
    settings_of_data,
)
from genloom.core.config import parse_sets
from genloom.core.errors import InputError

PLAN = Plan("digits", "image", ("steps", 5.0), ("train.batch=8",))


def test_models_and_recipes_become_contenders() -> None:
    found = contenders(["vae", "flow:digits-flow"], ["mnist-gan"], "image")
    assert [c.label for c in found] == ["vae", "flow:digits-flow", "gan:mnist-gan"]
    assert [Entry(c, 3).name for c in found] == ["vae-seed3", "flow-digits-flow-seed3", "gan-mnist-gan-seed3"]


def test_without_names_all_families_that_take_the_data() -> None:
    assert {"autoencoder", "vae", "gan", "flow"} <= {c.model for c in contenders([], [], "image")}
    assert {"autoregressive", "sequence_gan", "vae"} == {c.model for c in contenders([], [], "text")}


@pytest.mark.parametrize(
    ("models", "recipes", "part"),
    [
        (["vea"], [], "did you mean 'vae'"),
        (["vae:mnist-vea"], [], "did you mean 'mnist-vae'"),
        (["vae:mnist-gan"], [], "is for the model gan, not vae"),
        (["vae", "gan", "vae"], [], "vae is named twice"),
        (["gan:mnist-gan"], ["mnist-gan"], "named twice"),
    ],
)
def test_wrong_names_are_one_sentence(models: list[str], recipes: list[str], part: str) -> None:
    with pytest.raises(InputError, match=part):
        contenders(models, recipes, "image")


def test_each_model_is_trained_once_before_any_a_second_time() -> None:
    names = [e.name for e in entries([Contender("vae"), Contender("gan")], [1, 0])]
    assert names == ["vae-seed1", "gan-seed1", "vae-seed0", "gan-seed0"]


@pytest.mark.parametrize("seeds", [[], [0, 0], [-1]])
def test_seeds_are_different_numbers_from_0(seeds: list[int]) -> None:
    with pytest.raises(InputError, match="seeds are different"):
        entries([Contender("vae"), Contender("gan")], seeds)


def test_one_model_alone_is_no_comparison_but_its_seeds_are() -> None:
    with pytest.raises(InputError, match="vae alone is no comparison"):
        entries([Contender("vae")], [0])
    assert len(entries([Contender("vae")], [0, 1])) == 2


def test_lists_of_names_and_seeds() -> None:
    assert listed("vae, gan,", "--models") == ["vae", "gan"] == listed(["vae,gan"], "--models")
    assert numbers("0,1, 2") == [0, 1, 2]
    with pytest.raises(InputError, match="--models takes names"):
        listed(" , ", "--models")
    with pytest.raises(InputError, match="whole numbers"):
        numbers("0,x")


def test_recipes_that_prepare_the_data_in_different_ways_are_refused() -> None:
    chosen = contenders([], ["text-char", "text-bpe"], "text")
    with pytest.raises(InputError, match=r"text-char.* and .*text-bpe prepare the data in different ways \(modality\."):
        settings_of_data(chosen, "text", {})


def test_a_recipe_for_other_data_is_refused() -> None:
    with pytest.raises(InputError, match="the recipe mnist-gan is for image, but the data is text"):
        settings_of_data([Contender("gan", "mnist-gan")], "text", {})


def test_settings_survive_the_command_line() -> None:
    given = {"family": {"latent": 32, "name": '猫 = "x"'}, "train": {"ema": 0.5, "marks": False, "steps": None}}
    assert parse_sets(as_sets(given)) == given


def test_the_command_that_goes_on_names_everything() -> None:
    words = shlex.split(PLAN.command([Contender("vae"), Contender("flow", "digits-flow")], [0, 1], 50, Path("a b")))
    assert words == [
        *("genloom", "compare", "digits", "--models", "vae,flow:digits-flow", "--steps", "5"),
        *("--set", "train.batch=8", "--seeds", "0,1", "-n", "50", "--out", "a b"),
    ]


@pytest.mark.parametrize(
    ("length", "words"),
    [
        (("steps", 1e6), ["--steps", "1000000"]),
        (("budget", 40.0), ["--budget", "40"]),
        (("budget", 0.5), ["--budget", "0.5"]),
    ],
)
def test_lengths_are_written_as_the_command_line_reads_them(length: tuple[str, float], words: list[str]) -> None:
    assert Plan("digits", "image", length, ()).option == words


def test_a_folder_keeps_its_plan(tmp_path: Path) -> None:
    folder = tmp_path / "对比"
    claim(folder, PLAN)
    claim(folder, PLAN)
    with pytest.raises(InputError, match="was begun with 5 steps, now it is no number of steps"):
        claim(folder, Plan("digits", "image", ("budget", 60.0), PLAN.sets))
    with pytest.raises(InputError, match=r"was begun with --set train\.batch=8, now it is no --set"):
        claim(folder, Plan("digits", "image", PLAN.length, ()))
    (folder / "plan.json").write_text("{}")
    with pytest.raises(InputError, match="is damaged"):
        claim(folder, PLAN)


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="holds no comparison"):
        claim(tmp_path, PLAN)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]
