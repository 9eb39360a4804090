"""How much one request, one model and the server may take. Every limit is told when it is reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from genloom.run.requests import Ready
from genloom.studio.errors import Refused

BEAMS = 8  # a beam search holds up the others of its model until it ends
PARTICLES = 128  # of filling gaps, likewise


@dataclass(frozen=True)
class Limits:
    """n: samples of a request; of a table rows, `table`. tokens: of a sample, and of a prompt. steps: of a sampler.
    rows: samples that one model computes at once. waiting: requests of a model that wait. seconds: from a request's
    coming to its last byte. memory: bytes of weights held at once, 0 for no limit."""

    n: int = 64
    tokens: int = 4096
    steps: int = 250
    rows: int = 64
    waiting: int = 256
    seconds: float = 120.0
    memory: int = 0
    table: int = 10_000

    def check_number(self, n: int, rows: bool = False) -> None:
        """Raises Refused for more samples, or rows of a table, than a request may ask for."""
        most, what = (self.table, "rows") if rows else (self.n, "samples")
        if n > most:
            raise Refused(400, f"n: at most {most} {what} a request, got {n}", param="n")

    def check(self, ready: Ready) -> None:
        """Raises Refused for longer or costlier samples than a request may ask for."""
        asked: dict[str, Any] = ready.options.model_dump()
        most_of = {
            "max_tokens": self.tokens, "steps": self.steps, "resample": self.steps, "beams": BEAMS,
            "particles": PARTICLES,
        }  # fmt: skip
        for name, most in most_of.items():
            if (value := asked.get(name)) is not None and value > most:
                raise Refused(400, f"{name}: at most {most} here, got {value}", param=name)
        if ready.begin > self.tokens:
            raise Refused(400, f"the prompt has {ready.begin} tokens, at most {self.tokens} here", param="prompt")
