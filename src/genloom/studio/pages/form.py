"""Fields of a form from the JSON Schema of a settings class, and the settings that a filled form gives."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from genloom.core.config import Settings, merge
from genloom.core.errors import InputError

Widget = Literal["number", "choice", "switch", "text", "list"]


@dataclass(frozen=True)
class Field:
    """One setting. name: dotted, with its section. default: what it is when nothing is given, as people type it.
    choices: of a "choice". low, high: limits of a "number", both allowed; whole: it takes whole numbers alone. none:
    whether it may have no value, which is typed as "none". form: of the only data for which it means something."""

    name: str
    widget: Widget
    meaning: str
    unit: str
    default: str
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    whole: bool = False
    none: bool = False
    form: str = ""

    @property
    def short(self) -> str:
        """The name without its section."""
        return self.name.partition(".")[2]

    @property
    def key(self) -> str:
        """What the catalogue of words calls it."""
        return self.name.replace(".", "_")


def fields(config: type[Settings], section: str, values: Mapping[str, Any] | None = None) -> list[Field]:
    """Every field of a settings class, nested ones dotted. values: what the settings are when nothing is given, where
    that is not their default."""
    schema = config.model_json_schema()
    return list(_fields(schema, schema.get("$defs", {}), f"{section}." if section else "", values or {}))


def _fields(
    schema: Mapping[str, Any], known: Mapping[str, Any], prefix: str, values: Mapping[str, Any]
) -> Iterator[Field]:
    whole = schema.get("default")
    defaults: Mapping[str, Any] = whole if isinstance(whole, dict) else {}
    for name, own in schema.get("properties", {}).items():
        variants = [_resolved(v, known) for v in own.get("anyOf", [own])]
        none = any(v.get("type") == "null" for v in variants)
        kinds = [v for v in variants if v.get("type") != "null"]
        first = kinds[0] if kinds else {}
        default = values.get(name, own.get("default", defaults.get(name)))
        if first.get("properties") and len(kinds) == 1:
            inner = default if isinstance(default, dict) else {}
            yield from _fields(first, known, f"{prefix}{name}.", inner)
            continue
        yield _field(f"{prefix}{name}", own, kinds, none, default)


def _resolved(schema: Mapping[str, Any], known: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema, or the one that it refers to."""
    reference = schema.get("$ref") or next((s.get("$ref") for s in schema.get("allOf", ()) if "$ref" in s), None)
    return {**known.get(reference.rsplit("/", 1)[-1], {}), **schema} if reference else schema


def _field(name: str, own: Mapping[str, Any], kinds: list[Mapping[str, Any]], none: bool, default: Any) -> Field:
    first = kinds[0] if kinds else {}
    choices = tuple(str(c) for k in kinds for c in k.get("enum", [k["const"]] if "const" in k else ()))
    types = {k.get("type") for k in kinds}
    widget: Widget = "text"
    if choices and all("enum" in k or "const" in k for k in kinds):
        widget = "choice"
    elif types == {"boolean"}:
        widget = "switch"
    elif types and types <= {"integer", "number"}:
        widget = "number"
    elif types == {"array"}:
        widget = "list"
    limits = {k: v for s in kinds for k, v in s.items()}
    return Field(
        name, widget, str(own.get("description", first.get("description", ""))), str(own.get("unit", "")),
        typed(default), choices, limits.get("minimum", limits.get("exclusiveMinimum")),
        limits.get("maximum", limits.get("exclusiveMaximum")), types == {"integer"}, none, str(own.get("form", "")),
    )  # fmt: skip


def typed(value: Any) -> str:
    """A value as a person types it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(typed, value))
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    return f"{value:g}" if isinstance(value, float) else str(value)


def given(form: Mapping[str, str], known: list[Field]) -> dict[str, Any]:
    """The settings in a form, nested; fields left empty say nothing. Raises InputError for what is no number."""
    out: dict[str, Any] = {}
    for field in known:
        text = form.get(field.name, "").strip()
        if not text or text == field.default:
            continue
        node: Any = _value(field, text)
        for part in reversed(field.name.split(".")):
            node = {part: node}
        out = merge(out, node)
    return out


def _value(field: Field, text: str) -> Any:
    if field.none and text.lower() == "none":
        return None
    if field.widget == "switch":
        return text.lower() in ("yes", "true", "on", "1")
    if field.widget == "number":
        try:
            return int(text) if field.whole else float(text)
        except ValueError:
            raise InputError(f"{field.name} takes a {'whole ' * field.whole}number, got {text[:40]!r}") from None
    if field.widget == "list":
        return [_plain(part.strip()) for part in text.strip("[]").split(",") if part.strip()]
    if text.startswith(("{", "[")):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return _plain(text)


def _plain(text: str) -> Any:
    """A whole number where the text is one: some settings take a number or a word, as in 32 or 48x64."""
    return int(text) if text.isascii() and text.removeprefix("-").isdigit() and len(text) < 19 else text


def toml(value: Any) -> str:
    """A value as `--set` of the command line reads it."""
    if value is None:
        return "none"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value, ensure_ascii=True)  # text, numbers, true and false are the same in TOML
