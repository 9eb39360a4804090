"""Copies of training examples looked for while a model trains: how often, at what cost, when to stop, what to keep.

What an audit compares with what is none of the loop's business: it is given as a callable.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genloom.core.config import TrainConfig
from genloom.core.family import Family

USUAL = 8  # audits of a training that shall stop on copying and does not say how many
RARELY = 4  # of a training counted in steps: a sample costs about as much as so many examples trained on


@dataclass(frozen=True)
class Finding:
    """What one audit says. verdict: "none", "some", "copying" or "not tested". rate: share of copies among the samples,
    None where it cannot be told. sentence: the same for a person."""

    verdict: str
    rate: float | None
    sentence: str


Audit = Callable[[Family, int], Finding]  # (a model ready to sample, number of the audit from 0)


@dataclass
class Audited:
    """What was found so far; saved in checkpoints. done: points of the schedule passed. made: audits made. seconds:
    time they took. clean: step of the last one that did not say "copying", -1 before there is one. copies: step of the
    one that did, -1 without."""

    done: int = 0
    made: int = 0
    seconds: float = 0.0
    rate: float | None = None
    verdict: str = ""
    sentence: str = ""
    clean: int = -1
    copies: int = -1


class Audits:
    """Audits of `samples` samples at even points of the training.

    They never take more than train.audit_share of it: of the time with a budget; with steps, where the result must not
    depend on the machine's speed, the samples drawn are at most a quarter of that share of the examples trained on. One
    that cannot be afforded yet waits. With train.stop_on_copying the weights of the last audit before copying are kept.
    """

    def __init__(self, audit: Audit, samples: int, config: TrainConfig) -> None:
        self.audit, self.samples, self.times = audit, samples, audit_times(config)
        self.share, self.stops, self.timed = config.audit_share, config.stop_on_copying, config.budget is not None
        self.state = Audited()
        self.weights: dict[str, Tensor] = {}
        self.kept = "last"

    def due(self, fraction: float, position: int, seconds: float) -> bool:
        """fraction: of the training. position: examples trained on. seconds: since it began."""
        if fraction * self.times < self.state.done + 1:
            return False
        if self.timed:  # as dear as those before; the first is the probe
            each = self.state.seconds / max(1, self.state.made)
            return self.state.seconds + each <= self.share * seconds
        return (self.state.made + 1) * self.samples <= self.share / RARELY * position

    @property
    def stopped(self) -> bool:
        return self.stops and self.state.copies >= 0

    @torch.no_grad()
    def measure(self, family: Family, step: int, fraction: float) -> Finding:
        """Audit a family that is ready to sample; remembers what was found and, unless it copies, the weights."""
        s = self.state
        found = self.audit(family, s.made)
        s.done, s.made = max(s.done + 1, int(fraction * self.times)), s.made + 1
        s.rate, s.verdict, s.sentence = found.rate, found.verdict, found.sentence
        if found.verdict == "copying":
            s.copies = step
        else:
            s.clean = step
            if self.stops:
                self.weights = {n: p.detach().clone() for n, p in family.named_parameters() if p.requires_grad}
        return found

    @torch.no_grad()
    def keep_clean(self, family: Family, best: bool) -> str:
        """Put the weights of the last audit before copying in place, if there is one. best: the family already holds
        its best ones on held-out examples. Returns how the training ended, for the person; an empty text where the
        audits did not end it."""
        s = self.state
        if not self.stopped:
            if self.stops and not s.made:
                return "copying was not audited: the training was too short for it; raise train.audit_share"
            return ""
        self.kept, words = ("best", "the best weights on held-out examples") if best else ("last", "the last weights")
        if self.weights:
            self.kept, words = f"step {s.clean}", f"the weights of step {s.clean}, the last audit before,"
            for name, p in family.named_parameters():
                if name in self.weights:
                    p.copy_(self.weights[name])
        return f"stopped at step {s.copies} because the model copies: {words} are kept. {s.sentence}"

    def summary(self) -> dict[str, Any]:
        """For the manifest. kept: whose weights the run has: "last", "best" on held-out examples, or "step N"."""
        s = self.state
        return {
            "made": s.made, "samples": self.samples, "seconds": round(s.seconds, 3), "verdict": s.verdict,
            "rate": s.rate, "stopped": self.stopped, "kept": self.kept,
        }  # fmt: skip


def audit_times(config: TrainConfig) -> int:
    """Audits of a training: as many as asked for, else as there are measurements of the likelihood where it shall stop
    on copying (or a few), else none."""
    if config.audit_times is not None:
        return config.audit_times
    return (config.validate_times or USUAL) if config.stop_on_copying else 0
