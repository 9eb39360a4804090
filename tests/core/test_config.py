from pathlib import Path

import pytest

from genloom.core.config import (
    Settings,
    TrainConfig,
    merge,
    parse_sets,
    read_toml,
    resolve,
    setting,
    settings,
    validate,
)
from genloom.core.errors import InputError


class Inner(Settings):
    lr: float = setting(1e-3, "Learning rate.", gt=0)


class Family(Settings):
    latent: int = setting(32, "Width of the code.", unit="values", ge=1)
    name: str = setting("x", "A name.")
    inner: Inner = Inner()


class Modality(Settings):
    size: int | None = setting(None, "Size.", unit="pixels")


def resolved(*pairs: str):  # type: ignore[no-untyped-def]
    return resolve([{"model": "m"}, parse_sets(pairs)], Modality, Family)


def test_later_layers_win_and_values_keep_their_types() -> None:
    config = resolve(
        [{"model": "m", "family": {"latent": 8, "inner": {"lr": 0.5}}}, parse_sets(["family.latent=16"])],
        Modality,
        Family,
    )
    assert config.family.latent == 16 and config.family.inner.lr == 0.5
    assert config.model_dump(mode="json")["family"]["inner"] == {"lr": 0.5}
    assert resolved("modality.size=none").modality.size is None
    assert resolved("family.name=日本").family.name == "日本"
    assert resolved("train.compile=true").train.compile is True
    for text in ("[likes, 年]", '["likes", "年"]', "['likes',年]"):  # as shells leave it
        assert resolved(f"data.properties={text}").data.properties == ("likes", "年")
    with pytest.raises(InputError, match=r"data.properties must be a list, as in \[a,b\], got 'likes'"):
        resolved("data.properties=likes")


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ("family.latnet=3", "family.latent"),
        ("train.batc=3", "train.batch"),
        ("trian.batch=3", "train"),
        ("batch=3", "train.batch"),
        ("family.inner.rl=3", "family.inner.lr"),
        ("family.latent=-3", "family.latent .* -3"),
        ("family.latent=many", "family.latent .* integer.*'many'"),
        ("train.precision=fp8", "fp32.*bf16.*fp8"),
        ("family.latent", "section.name=value"),
        ("train=3", "section"),
    ],
)
def test_a_bad_setting_is_one_sentence_with_the_name_meant(pair: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as e:
        resolved(pair)
    assert "\n" not in str(e.value) and "pydantic" not in str(e.value)


def test_toml_files(tmp_path: Path) -> None:
    path = tmp_path / "设置.toml"
    path.write_text("[family]\nlatent = 5\n[train]\nbatch = 7\n", "utf-8")
    assert resolve([{"model": "m"}, read_toml(path)], Modality, Family).train.batch == 7
    path.write_text("family = [", "utf-8")
    with pytest.raises(InputError, match="not TOML"):
        read_toml(path)
    with pytest.raises(InputError, match="no config file"):
        read_toml(tmp_path / "none.toml")


def test_every_setting_is_described() -> None:
    rows = settings(Family)
    assert [r["name"] for r in rows] == ["latent", "name", "inner.lr"]
    assert rows[0] == {
        "name": "latent",
        "type": "int",
        "default": 32,
        "unit": "values",
        "limits": ["at least 1"],
        "meaning": "Width of the code.",
    }
    assert all(r["meaning"].endswith(".") for r in settings(TrainConfig))


def test_merge_does_not_change_its_arguments() -> None:
    a = {"x": {"y": 1}}
    assert merge(a, {"x": {"z": 2}}) == {"x": {"y": 1, "z": 2}} and a == {"x": {"y": 1}}


def test_configs_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        validate(Family, {}, "family").latent = 3


class Speeds(Settings):
    lr: float = setting(1e-3, "Learning rate.", gt=0)
    momentum: float = setting(0.9, "Momentum.", ge=0)


class Outer(Settings):
    inner: Speeds = Speeds(lr=0.5)


def test_partly_given_nested_settings_keep_their_owners_defaults() -> None:
    inner = validate(Outer, {"inner": {"momentum": 0.5}}, "family").inner
    assert (inner.lr, inner.momentum) == (0.5, 0.5)
    assert validate(Outer, {"inner": {"lr": 0.25}}, "family").inner == Speeds(lr=0.25)
    assert {r["name"]: r["default"] for r in settings(Outer)}["inner.lr"] == 0.5
    with pytest.raises(InputError, match=r"inner\.rl"):
        validate(Outer, {"inner": {"rl": 1}}, "family")
