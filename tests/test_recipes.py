"""Every recipe found can be started from, and data finds the one that suits it."""

from __future__ import annotations

from pathlib import Path

import pytest

from genloom.core.config import DataConfig, resolve
from genloom.core.errors import InputError
from genloom.data.prepare import prepare
from genloom.families import find_family
from genloom.modalities import find_modality
from genloom.recipes import find_recipe, recipe_module, recipe_names, suited_recipe


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_valid_and_says_what_to_expect(name: str) -> None:
    values = find_recipe(name)()
    config = resolve([values], find_modality(values["kind"]).Config, find_family(values["model"]).Config)
    assert config.train.budget and config.train.steps is None
    module = recipe_module(name)
    assert module.__doc__ and {"data", "time"} <= set(module.EXPECT)


def test_a_wrong_name_names_the_nearest() -> None:
    with pytest.raises(InputError, match="'tang-poems'"):
        find_recipe("tang-poem")


PLAY = "\n\n".join(f"KING {i}:\nWhat news, what news from the north? Speak, good {i % 7}!" for i in range(400))
VERSE = [
    f"明月{a}{b}夜，清風{c}{a}山。" for a in "江河湖海天地人心" for b in "春夏秋冬東西南北" for c in "松竹梅蘭花鳥雲雪"
]


@pytest.mark.parametrize(
    ("text", "recipe"),
    [
        (PLAY, "shakespeare-char"),
        (
            "\n".join(f"{a}{b}{c}" for a in ("Ar", "Bel", "Cor") for b in "aeiou" for c in ("dor", "rin", "wen")),
            "names",
        ),
    ],
    ids=["one long text", "a list of names"],
)
def test_text_finds_the_recipe_that_suits_it(text: str, recipe: str, tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text(text, "utf-8")
    assert suited_recipe("autoregressive", prepare(tmp_path / "data.txt", "text", {}, DataConfig())) == recipe


def test_byte_pairs_and_other_models_find_theirs() -> None:
    prepared = prepare(VERSE, "text", {"tokenizer": "bpe"}, DataConfig())
    assert suited_recipe("autoregressive", prepared) == "text-bpe"
    assert suited_recipe("flow", prepared) is None
