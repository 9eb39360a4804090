"""One chain from settings to checkpoint: defaults < family < recipe < TOML file < --set, validated into frozen
objects."""

from __future__ import annotations

import difflib
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, ValidationError, model_validator

from genloom.core.errors import InputError

FORMAT = 1


class Settings(BaseModel):
    """Base of every settings object: frozen, unknown keys refused, every field with a meaning and a unit.

    A nested object of which only some values are given keeps the others of its owner's default.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _keep_defaults(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        nested = {n: f.default for n, f in cls.model_fields.items() if isinstance(f.default, Settings)}
        partial = {n: merge(d.model_dump(), values[n]) for n, d in nested.items() if isinstance(values.get(n), Mapping)}
        return {**values, **partial}


def setting(default: Any, meaning: str, *, unit: str = "", form: str | None = None, **limits: Any) -> Any:
    """A config field. `meaning` is one sentence; `unit` as printed after a value; `form` the only one of data (grid,
    tokens, row) for which it says something; limits as in pydantic (ge, le, gt, lt)."""
    extra: dict[str, Any] = {"unit": unit} | ({} if form is None else {"form": form})
    return Field(default, description=meaning, json_schema_extra=extra, **limits)


class DataConfig(Settings):
    """Where the examples come from and how they are divided."""

    path: str = setting("", "Folder, archive, file or catalog name the examples come from.")
    column: str | None = setting(None, "Column or field that holds the examples; None finds it by name or content.")
    label: str | None = setting(None, "Column or field of the labels; None finds it by name, 'none' takes no labels.")
    properties: tuple[str, ...] = setting((), "Columns of numbers that samples can be asked for, as in [likes,length].")
    source: str | None = setting(
        None,
        "Column or field of the text that examples follow from; None finds that of answers, 'none' takes none.",
    )
    source_length: int = setting(
        512, "Tokens of a source; of longer ones the beginning is read, of conversations the end.", unit="tokens", ge=2
    )
    task: Literal["translate", "summarise", "chat"] | None = setting(
        None, "What texts are to their sources: translations, summaries, or replies in a conversation (--task)."
    )
    validation: float = setting(0.05, "Share held out for validation, by content hash.", unit="share", ge=0, lt=0.5)
    test: float = setting(0.05, "Share held out for testing, by content hash.", unit="share", ge=0, lt=0.5)
    near_duplicates: bool = setting(True, "Keep near duplicates on one side of the split.")
    max_broken: float = setting(
        0.5, "Stop when more than this share of the files cannot be read.", unit="share", ge=0, le=1
    )


class TrainConfig(Settings):
    """How long and how a family is trained."""

    steps: int | None = setting(None, "Number of optimiser steps; excludes a budget.", unit="steps", ge=1)
    budget: float | None = setting(
        None, "Training time, from the first step to the saved weights.", unit="seconds", gt=0
    )
    batch: int = setting(128, "Examples in one optimiser step.", unit="examples", ge=1)
    tokens: int | None = setting(
        None,
        "Tokens in one optimiser step, in place of a number of examples: whole sequences of like length, sources and "
        "padding counted.",
        unit="tokens", ge=16,
    )  # fmt: skip
    accumulate: int = setting(1, "Micro-batches that one step is divided into, to save memory.", ge=1)
    warmup: int = setting(100, "Steps over which the learning rate rises from 0.", unit="steps", ge=0)
    decay: float = setting(
        0.7, "Last share of the training over which the learning rate falls to 0.", unit="share", ge=0, le=1
    )
    clip: float = setting(0.0, "Largest gradient norm of a player's step; 0 does not clip.", ge=0)
    ema: float = setting(0.998, "Decay of the averaged weights per step; 0 keeps no average.", ge=0, lt=1)
    precision: Literal["auto", "fp32", "bf16"] = setting("auto", "Number format of the forward pass.")
    layout: Literal["auto", "contiguous", "channels_last"] = setting(
        "auto", "Memory layout of images and convolutions."
    )
    compile: bool = setting(False, "Compile the networks with torch.compile (tens of seconds at the start).")
    device: str = setting("auto", "cpu, cuda, cuda:1, mps, or auto.")
    log_every: float = setting(
        2.0, "Time between two lines of history.jsonl (counted in steps when steps are given).", unit="seconds", gt=0
    )
    checkpoint_every: float = setting(60.0, "Time between two checkpoints.", unit="seconds", gt=0)
    grids: int = setting(8, "Sample grids written during training, at doubling intervals.", ge=0)
    marks: bool = setting(True, "Whether sample grids carry the mark of generated content.")
    validate_times: int = setting(
        0, "Measurements of the likelihood of held-out examples during training (families that have one).", ge=0
    )
    patience: int = setting(
        0, "Measurements without a lower loss after which training stops and the best weights are kept; 0: never.", ge=0
    )
    audit_times: int | None = setting(
        None,
        "Looks for copies of training examples during training; if none, as many as validate_times (or 8) with "
        "stop_on_copying, else 0.",
        ge=0,
    )
    audit_share: float = setting(
        0.05,
        "Most of the training that these audits take: of the time with a budget, of the work (estimated from the "
        "number of samples) with steps.",
        unit="share", gt=0, le=1,
    )  # fmt: skip
    stop_on_copying: bool = setting(
        False, "Stop when an audit finds that the model copies; the weights of the last audit before it are kept."
    )
    epsilon: float | None = setting(
        None, "Train with differential privacy (DP-SGD) of this epsilon, where the family can promise it.", gt=0
    )
    delta: float | None = setting(
        None, "Its delta; if none, a tenth of one over the number of examples, 1e-5 at most.", gt=0, lt=1
    )
    clip_each: float = setting(1.0, "Norm that each example's gradient is clipped to with differential privacy.", gt=0)
    max_skips: int = setting(
        10, "Non-finite steps in a row before going back to the last checkpoint.", unit="steps", ge=1
    )
    watts: float = setting(
        10.0, "Power of a CPU core at work, which the estimate of the energy assumes.", unit="watts", ge=0
    )
    max_rollbacks: int = setting(3, "Times the training goes back before it gives up.", ge=0)


class RunConfig(Settings):
    """Everything that decides a run. Saved, resolved, as config.json."""

    format: int = FORMAT
    model: str = setting(..., "Name of the family.")
    kind: str = setting("image", "Name of the modality.")
    recipe: str | None = setting(None, "Recipe the settings started from.")
    start: str | None = setting(None, "Run or pretrained model that the weights started from (--from).")
    seed: int = setting(0, "Seed of every random stream.", ge=0)
    data: DataConfig = DataConfig()
    modality: SerializeAsAny[Settings]
    family: SerializeAsAny[Settings]
    train: TrainConfig = TrainConfig()

    @property
    def follows(self) -> bool:
        """Whether the data was prepared on the ground of another run: of its start, or of its teacher."""
        return bool(self.start or getattr(getattr(self.family, "teacher", None), "run", None))


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Nested dictionaries laid over each other, later ones winning."""
    out: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            old = out.get(key)
            out[key] = (
                merge(old, value)
                if isinstance(old, dict) and isinstance(value, Mapping)
                else (merge(value) if isinstance(value, Mapping) else value)
            )
    return out


def parse_sets(pairs: Iterable[str]) -> dict[str, Any]:
    """`["family.latent=32", "train.batch=64"]` as nested dictionaries; values are read as TOML, else as text."""
    out: dict[str, Any] = {}
    for pair in pairs:
        key, eq, text = pair.partition("=")
        if not eq or not key.strip():
            raise InputError(f"--set takes section.name=value, as in family.latent=32; got {pair!r}")
        try:
            value: Any = tomllib.loads(f"v = {text}")["v"]
        except tomllib.TOMLDecodeError:
            value = {"none": None, "True": True, "False": False}.get(text, _words(text))
        node: dict[str, Any] = value
        for part in reversed(key.strip().split(".")):
            node = {part: node}
        out = merge(out, node)
    return out


def _words(text: str) -> str | list[str]:
    """A list without its quotes, which shells take away: [likes, year]; any other text as it is."""
    inside = text.strip()
    if not (inside.startswith("[") and inside.endswith("]")):
        return text
    return [word.strip().strip("\"'") for word in inside[1:-1].split(",") if word.strip()]


def read_toml(path: str | Path) -> dict[str, Any]:
    """The settings in a TOML file with the sections data, modality, family and train."""
    try:
        return tomllib.loads(Path(path).read_text("utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"no config file {path}; give a TOML file with sections such as [family] and [train]"
        ) from None
    except (OSError, UnicodeDecodeError) as e:
        raise InputError(f"cannot read the config file {path}: {e}") from None
    except tomllib.TOMLDecodeError as e:
        raise InputError(f"the config file {path} is not TOML: {e}") from None


def _nested(annotation: Any) -> type[Settings] | None:
    """The Settings class in an annotation such as `Settings | None`."""
    options = (
        typing.get_args(annotation)
        if typing.get_origin(annotation) in (typing.Union, types.UnionType)
        else (annotation,)
    )
    return next((o for o in options if isinstance(o, type) and issubclass(o, Settings)), None)


def settings(config: type[Settings], prefix: str = "", defaults: Settings | None = None) -> list[dict[str, Any]]:
    """Every setting of a config class, nested ones dotted: name, type, default, unit, meaning and limits. defaults: an
    object of the class whose values are the defaults, as where another class nests it."""
    out: list[dict[str, Any]] = []
    for name, field in config.model_fields.items():
        default = field.get_default(call_default_factory=True) if defaults is None else getattr(defaults, name)
        nested = _nested(field.annotation)
        if nested is not None and nested is not Settings:
            out += settings(nested, f"{prefix}{name}.", default if isinstance(default, nested) else None)
            continue
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        kind = (
            str(field.annotation).replace("typing.", "")
            if typing.get_origin(field.annotation)
            else getattr(field.annotation, "__name__", str(field.annotation))
        )
        limits = [
            f"{n} {getattr(m, a)}"
            for m in field.metadata
            for n, a in _LIMITS.items()
            if getattr(m, a, None) is not None
        ]
        out.append(
            {
                "name": prefix + name,
                "type": kind,
                "default": default,
                "unit": extra.get("unit", ""),
                "limits": limits,
                "meaning": field.description or "",
            }
        )
    return out


_LIMITS = {"at least": "ge", "more than": "gt", "at most": "le", "less than": "lt"}


C = TypeVar("C", bound=Settings)


def validate(config: type[C], values: Mapping[str, Any], section: str) -> C:
    """`config(**values)`, with an InputError that names the setting, what is wrong and the nearest known name."""
    try:
        return config(**values)
    except ValidationError as e:
        raise InputError(_explain(config, e, section)) from None


def _explain(config: type[Settings], error: ValidationError, section: str) -> str:
    first = error.errors()[0]
    where = (
        ".".join([section, *(str(p) for p in first["loc"] if isinstance(p, str))])
        if section
        else ".".join(map(str, first["loc"]))
    )
    if first["type"] == "extra_forbidden":
        known = [f"{section}.{s['name']}" if section else s["name"] for s in settings(config)]
        return unknown(where, known, "setting")
    message = (
        first["msg"]
        .replace("Input should be", "must be")
        .replace("Value error, ", "")
        .replace("a valid tuple", "a list, as in [a,b]")
    )
    return f"{where} {message}, got {first['input']!r}"


def unknown(name: str, known: Iterable[str], what: str) -> str:
    """One sentence for a name that is not known, with the nearest one or all of them."""
    names = list(known)
    near = difflib.get_close_matches(name, names, 1, 0.6)
    if not near:  # a right name in the wrong section is the likeliest slip
        near = [n for n in names if n.rsplit(".", 1)[-1] == name.rsplit(".", 1)[-1]][:1]
    if near:
        return f"there is no {what} {name!r}; did you mean {near[0]!r}?"
    return f"there is no {what} {name!r}; there are: {', '.join(sorted(names)) or 'none'}"


def resolve(layers: Iterable[Mapping[str, Any]], modality: type[Settings], family: type[Settings]) -> RunConfig:
    """The one settings object from layers in rising priority. Raises InputError on an unknown key or a bad value."""
    values = merge(*layers)
    sections: dict[str, type[Settings]] = {
        "data": DataConfig,
        "modality": modality,
        "family": family,
        "train": TrainConfig,
    }
    for key in values:
        if key not in RunConfig.model_fields:
            known = [f"{s}.{f['name']}" for s, c in sections.items() for f in settings(c)] + list(
                RunConfig.model_fields
            )
            raise InputError(unknown(key, known, "setting"))
    for name, cls in sections.items():
        part = values.get(name, {})
        if not isinstance(part, Mapping):
            raise InputError(
                f"{name} is a section of settings, as in {name}.{next(iter(cls.model_fields))}=...; got {part!r}"
            )
        values[name] = validate(cls, part, name)
    return validate(RunConfig, values, "")
