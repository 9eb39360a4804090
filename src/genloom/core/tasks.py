"""How texts of a task are decoded unless asked otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Translations and summaries are the most probable found, by beam search that ends as soon as as many hypotheses have;
# the most probable reply is nearly always the same dull one, so replies are drawn.
DECODING: Mapping[str, Mapping[str, Any]] = {
    "translate": {"beams": 5, "enough": 5, "length_penalty": 1.0},
    "summarise": {"beams": 4, "enough": 4, "length_penalty": 1.0},
    "chat": {"temperature": 0.7, "top_p": 0.9},
}
BY_BEAMS = ("beams", "enough", "length_penalty")
BY_DRAWING = ("temperature", "top_k", "top_p", "min_p")


def decoding(task: str, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The options of the sampler for a task, with those that were asked for: who asks for a temperature wants no beams,
    and a single beam is the most probable token."""
    given, chosen = dict(options or {}), dict(DECODING[task])
    if given.get("beams") == 1 and "beams" in chosen:
        chosen = {"temperature": 0.0}
    elif any(name in given for name in BY_DRAWING):
        chosen = {k: v for k, v in chosen.items() if k not in BY_BEAMS}
    elif "beams" in given:
        chosen |= {"enough": given["beams"]}
    return {**chosen, **given}
