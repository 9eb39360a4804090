"""What a training of the data would take: sizes, time, and what tested recipes reached."""

from __future__ import annotations

from typing import Any

from genloom.core.config import RunConfig
from genloom.core.family import Family
from genloom.data.prepare import Prepared
from genloom.data.sequences import Sequences
from genloom.recipes import recipe_module, recipe_names


def estimated(
    prepared: Prepared, family: Family, config: RunConfig, seconds_per_step: float, steps: int, seconds: float
) -> dict[str, Any]:
    """JSON of the training that `config` describes.

    steps: 0 of a family that is fitted in one go. rounds: how often it sees every training example. recipe: what it
    starts from, with what that took and reached; tested: those that were tested on this named set.
    """
    window = family.window()
    train = prepared.train
    tokens = train.total if isinstance(train, Sequences) else None
    rows = len(train) if window is None or tokens is None else max(1.0, tokens / window.length)
    held = train.tokens.nbytes if isinstance(train, Sequences) else train.x.stored.nbytes
    return {
        "model": config.model, "recipe": _recipe(config.recipe) if config.recipe else None,
        "tested": [r for r in map(_recipe, recipe_names()) if r["data"] == prepared.name],
        "parameters": sum(p.numel() for player in family.players().values() for p in player.parameters()),
        "train": len(train), "validation": len(prepared.validation), "test": len(prepared.test), "tokens": tokens,
        "bytes": held, "batch": config.train.batch, "seconds_per_step": round(seconds_per_step, 5), "steps": steps,
        "seconds": round(seconds, 1), "rounds": round(steps * config.train.batch / rows, 2) if steps else 1.0,
    }  # fmt: skip


def _recipe(name: str) -> dict[str, Any]:
    return {"name": name, "data": "", "time": "", "score": "", **getattr(recipe_module(name), "EXPECT", {})}
