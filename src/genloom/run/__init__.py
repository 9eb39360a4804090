"""A trained run and what it can do."""

from genloom.run.generate import draw_grid, generate, save_shown, spread_labels, state_of
from genloom.run.reproduce import Reproduction, reproduce
from genloom.run.trained import Run
from genloom.run.watching import audits_for

__all__ = [
    "Reproduction",
    "Run",
    "audits_for",
    "draw_grid",
    "generate",
    "reproduce",
    "save_shown",
    "spread_labels",
    "state_of",
]
