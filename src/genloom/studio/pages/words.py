"""The studio's words in English and Simplified Chinese, from one catalogue: words.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

LANGUAGES = {"en": "English", "zh": "简体中文"}  # as they call themselves
TAGS = {"en": "en", "zh": "zh-Hans"}  # as HTML calls them


@cache
def catalogue() -> Mapping[str, Mapping[str, str]]:
    """Each key, "section.name", in each language."""
    sections: dict[str, dict[str, list[str]]] = tomllib.loads(
        files("genloom.studio").joinpath("words.toml").read_text("utf-8")
    )
    return {
        f"{section}.{name}": dict(zip(LANGUAGES, words, strict=True))
        for section, entries in sections.items()
        for name, words in entries.items()
    }


class Words:
    """The words of one language."""

    def __init__(self, language: str) -> None:
        self.language = language if language in LANGUAGES else "en"

    def __call__(self, key: str, **values: Any) -> str:
        """The words called `key` with values put in. Raises KeyError for a key that is not in the catalogue."""
        return catalogue()[key][self.language].format(**values)

    def find(self, key: str, otherwise: str = "") -> str:
        """The words called `key` where the catalogue has them: names of plug-ins are not in it, and some are "-"."""
        told = catalogue().get(key, {}).get(self.language, "-")
        return otherwise if told == "-" else told

    def section(self, name: str) -> dict[str, str]:
        """All words of a section by their names in it, for scripts."""
        prefix = f"{name}."
        return {k.removeprefix(prefix): v[self.language] for k, v in catalogue().items() if k.startswith(prefix)}


def preferred(accept: str) -> str:
    """The language of an Accept-Language header: of those there are the one with the highest weight, English else."""
    best, language = 0.0, "en"
    for part in accept.split(","):
        tag, _, weight = part.strip().partition(";q=")
        code = tag.strip().lower().split("-")[0]
        try:
            value = float(weight) if weight else 1.0
        except ValueError:
            value = 0.0
        if code in LANGUAGES and value > best:
            best, language = value, code
    return language
