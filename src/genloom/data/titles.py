"""Texts whose first line is a title that the rest follows from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from genloom.core.errors import InputError, Unreadable
from genloom.data import encoding
from genloom.data.items import Items


def titled(items: Items, name: str) -> Items:
    """The same items without their first lines, which are their sources. Raises InputError for what has no documents,
    or has sources already."""
    if items.chosen.get("unit") != "document":
        raise InputError(
            f"modality.title=first line is for documents, and those of {name} are {items.chosen.get('unit')}s; "
            "see modality.unit"
        )
    if items.source is not None:
        raise InputError("modality.title and data.source both say what texts follow from; give one of them")
    last: list[tuple[int, tuple[str, str]]] = []

    def parts(i: int) -> tuple[str, str]:
        if not last or last[0][0] != i:
            last[:] = [(i, divided(items.read(i)))]
        return last[0][1]

    read: Callable[[int], Any] = lambda i: parts(i)[1]  # noqa: E731
    return replace(items, read=read, source=lambda i: parts(i)[0])


def divided(raw: Any) -> tuple[str, str]:
    """The first line that is not blank, and what comes after it without blank lines at its start. Raises Unreadable."""
    text = encoding.decode(raw) if isinstance(raw, bytes) else str(raw)
    first, _, rest = text.lstrip("\r\n").partition("\n")
    rest = rest.lstrip("\r\n")
    if not rest.strip():
        raise Unreadable("it has one line only: nothing follows the title")
    return first.strip(), rest
