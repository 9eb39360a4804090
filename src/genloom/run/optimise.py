"""Optimising samples for a score: a policy gradient with experience replay.

REINVENT (Olivecrona et al. 2017): the loss of a sample is (log p(x) + sigma * score(x) - log q(x))^2, in which p is the
model as it was trained and q the one that moves. Replay (Blaschke et al. 2020): the best samples so far are learnt from
again at every step. Batches as in the benchmark of Gao et al. 2022. Or, for sequences that are no rare finds but
shall be better on average, REINFORCE (Williams 1992): advantage * -log q(x), the advantage being the score less
beta * (log q(x) - log p(x)) and less the mean of the other samples (leave-one-out, Kool et al. 2019).

Shapes: `B` samples of a step, `T` tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from genloom.core.batch import Condition
from genloom.core.device import device_of
from genloom.core.errors import GenloomError, InputError
from genloom.core.family import Family, HasPolicy
from genloom.core.modality import HasScores, Modality
from genloom.core.optim import Optimiser, OptimiserConfig
from genloom.core.rng import Rng, derive
from genloom.core.spec import Tokens
from genloom.run.goals import Goal

BEST = 100  # different examples over which the result is told
WILDER = 1.0  # by which the temperature grows when all samples of a step had been scored before
STALE = 60  # steps without a new valid example after which nothing more is expected


@dataclass(frozen=True)
class Pace:
    """How fast a model is moved. sigma: nats that a score of 1 is worth. batch, replay: new and remembered samples of a
    step. memory: remembered in all. calls: examples scored at most. loss: as the module says; beta: what a nat away
    from the model as it was trained costs, with reinforce."""

    calls: int = 10_000
    sigma: float = 120.0
    batch: int = 64
    replay: int = 24
    memory: int = 100
    lr: float = 5e-4
    loss: Literal["regression", "reinforce"] = "regression"
    beta: float = 0.02


@dataclass(frozen=True)
class Call:
    """One example that was scored. number: of the call, from 1. kept: whether every bound holds."""

    number: int
    example: Any
    identity: str
    score: float
    numbers: dict[str, float]
    kept: bool
    tokens: Tensor = field(repr=False)


@dataclass
class Optimised:
    """Every oracle call, in order, and how many samples were not valid or had been scored before."""

    calls: list[Call] = field(default_factory=list)
    invalid: int = 0
    again: int = 0
    steps: int = 0

    def best(self, n: int = BEST) -> list[Call]:
        """The n best different examples: those that keep the bounds first."""
        return sorted(self.calls, key=lambda c: (-c.kept, -c.score, c.number))[:n]


def optimise(
    family: Family,
    modality: Modality[Any],
    goal: Goal,
    pace: Pace,
    seed: int = 0,
    notify: Callable[[str], None] = lambda _: None,
    progress: Callable[[Optimised], None] = lambda _: None,
) -> Optimised:
    """Move a copy of `family` towards the goal; `family` stays as it is.

    Raises InputError for families and modalities that cannot, GenloomError when nothing valid comes.
    """
    if not isinstance(family, HasPolicy) or not isinstance(family.spec, Tokens):
        raise InputError("only models of sequences that generate token by token can be optimised (autoregressive)")
    if not isinstance(modality, HasScores):
        raise InputError("this kind of data has no scores to optimise")
    agent: Any = _twin(family)
    movers = [Optimiser(m, OptimiserConfig(lr=pace.lr, beta2=0.999)) for m in agent.players().values()]
    condition, spec, rng = Condition(), family.spec, Rng(derive(seed, "optimise"))
    device = device_of(family)
    out, known = Optimised(), dict[str, Call]()
    memory: list[Call] = []
    stale, repeated = 0, 0.0
    while len(out.calls) < pace.calls and stale < STALE:
        with torch.no_grad():
            x = agent.sample(pace.batch, condition, rng.at(out.steps), _wilder(agent, repeated), None).cpu()
        out.steps += 1
        again = out.again
        fresh, fails = _scored(x, modality, goal, out, known, pace.calls)
        repeated = (out.again - again) / len(x)
        stale = 0 if fresh else stale + 1
        memory = sorted({c.identity: c for c in [*memory, *fresh]}.values(), key=lambda c: -c.score)[: pace.memory]
        if pace.loss == "reinforce":  # on the model's own samples as they come, known ones too
            lessons = _rewarded(x, modality, known)
        else:
            recalled = _remembered(memory, pace.replay, seed, out.steps)
            lessons = [*fails, *((c.tokens, c.score) for c in (*fresh, *recalled))]
        if not lessons:
            continue
        rows, rewards = [row for row, _ in lessons], [score for _, score in lessons]
        _move(agent, family, movers, _padded(rows, spec).to(device), torch.tensor(rewards, device=device), pace)
        progress(out)
    if not out.calls:
        raise GenloomError(
            f"none of {out.invalid:,} samples was valid, so nothing could be scored; train the model longer first"
        )
    if stale >= STALE:
        notify(f"stopped after {len(out.calls):,} calls: the model repeats what was scored already")
    return out


def _wilder(agent: Family, repeated: float) -> Any:
    """Options of the next samples: the wilder, the more than half of the last ones had been scored before; nothing is
    left out."""
    fields = agent.Options.model_fields
    asked = {"temperature": 1 + WILDER * max(0.0, 2 * repeated - 1), "min_p": 0.0}
    return agent.Options(**{name: value for name, value in asked.items() if name in fields})


def _twin(family: Family) -> Family:
    """A copy to move. Made anew: the marks that optimisers look for on parameters do not survive a deep copy."""
    made: Any = type(family)
    twin: Family = made(family.spec, family.config, family.condition)
    twin.load_state_dict(family.state_dict())
    return twin.to(device_of(family)).eval()


def _scored(
    x: Tensor, modality: Any, goal: Goal, out: Optimised, known: dict[str, Call], most: int
) -> tuple[list[Call], list[tuple[Tensor, float]]]:
    """Score the samples [B, T] that are valid and new. Returns their calls, and the invalid ones with a score of 0;
    what was scored before teaches nothing, and would draw the model to it."""
    new: list[tuple[str, Any, Tensor]] = []
    fails: list[tuple[Tensor, float]] = []
    for row in x:
        example = modality.decode(row)
        identity = modality.identity(example)
        if identity is None:
            out.invalid += 1
            fails.append((row, 0.0))
        elif identity in known or any(identity == i for i, _, _ in new):
            out.again += 1
        elif len(out.calls) + len(new) < most:
            new.append((identity, example, row))
    numbers = [goal.measure(identity) for identity, _, _ in new]
    if not goal.scale and numbers:
        goal.fit(numbers)
    calls = [
        Call(len(out.calls) + k, example, identity, goal.score(found), found, goal.kept(found), row)
        for k, ((identity, example, row), found) in enumerate(zip(new, numbers, strict=True), 1)
    ]
    known.update({c.identity: c for c in calls})
    out.calls += calls
    return calls, fails


def _rewarded(x: Tensor, modality: Any, known: dict[str, Call]) -> list[tuple[Tensor, float]]:
    """Every sample [B, T] with its score; 0 where it is not valid or was not scored any more."""
    found = [modality.identity(modality.decode(row)) for row in x]
    return [(row, known[i].score if i in known else 0.0) for row, i in zip(x, found, strict=True)]


def _remembered(memory: list[Call], n: int, seed: int, step: int) -> list[Call]:
    """n of the best so far, in proportion to their scores."""
    weights = np.array([c.score for c in memory])
    n = min(n, int((weights > 0).sum()))
    if not n:
        return []
    draw = np.random.Generator(np.random.PCG64(derive(seed, "replay", step)))
    return [memory[i] for i in draw.choice(len(memory), n, replace=False, p=weights / weights.sum())]


def _padded(rows: list[Tensor], spec: Tokens) -> Tensor:
    """[B, T] rows without columns that are padding in all of them."""
    longest = max(int((r != spec.pad).sum()) for r in rows)
    return torch.stack([pad(r[:longest], (0, max(0, longest - len(r))), value=spec.pad) for r in rows])


def _move(agent: Family, prior: Family, movers: list[Optimiser], x: Tensor, scores: Tensor, pace: Pace) -> None:
    """One step of all players. x [B, T], scores [B]."""
    assert isinstance(agent, HasPolicy) and isinstance(prior, HasPolicy)
    nats = agent.nats(x).sum(1)
    with torch.no_grad():
        before = prior.nats(x).sum(1)
    if pace.loss == "reinforce":
        loss = (advantage(scores - pace.beta * (before - nats.detach())) * nats).mean()
    else:
        loss = (pace.sigma * scores - before + nats).square().mean()
    if not math.isfinite(float(loss.detach())):
        raise GenloomError("the model's likelihood is not finite: its weights are damaged")
    for mover in movers:
        mover.zero_grad()
    loss.backward()
    for mover in movers:
        mover.step(1.0)


def advantage(rewards: Tensor) -> Tensor:
    """[B] rewards less the mean of the others, which are a baseline that does not depend on the sample itself."""
    n = len(rewards)
    return torch.zeros_like(rewards) if n < 2 else (rewards - rewards.mean()) * n / (n - 1)
