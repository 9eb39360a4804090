"""The one training loop: an optimiser step after every update a family yields.

A family's `updates` is a generator. The loop resumes it after the step, so a generator's loss sees the critic already
updated, and differentiates each loss with respect to that player's parameters alone.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from genloom.core import checkpoint as checkpoints
from genloom.core.audits import Audited, Audits
from genloom.core.batch import Batch
from genloom.core.checkpoint import Checkpoint, prefixed, unprefixed
from genloom.core.config import TrainConfig
from genloom.core.device import Precision, autocast, choose_device, choose_precision, place
from genloom.core.errors import GenloomError, InputError, Interrupted
from genloom.core.family import Clock, Family, HasLikelihood, Stage
from genloom.core.feed import Examples, Feed
from genloom.core.holdout import Holdout, Verdicts
from genloom.core.observe import Observer
from genloom.core.optim import Average, Optimiser
from genloom.core.private import Private
from genloom.core.rng import Rng, derive
from genloom.core.signals import StopSignals
from genloom.core.standing import Meter, Progress

if TYPE_CHECKING:
    from genloom.core.modality import Shown

SETTLE_BATCH, QUICK_SETTLE = 250, 2000  # examples a batch, examples in all, when fitting for a sample grid


class Loop:
    """Trains `family` on `examples`; construct, then `run()`.

    checkpoints: folder to keep them in, or None. augment: changes a batch before it is trained on. draw: makes and
    writes the sample grid called by its third argument from the averaged family; None draws no grids. held_out:
    examples whose likelihood is watched, for families that have one. audits: looks for copies of the examples.
    """

    def __init__(
        self,
        family: Family,
        examples: Examples,
        config: TrainConfig,
        seed: int,
        *,
        checkpoints: Path | None = None,
        observers: Sequence[Observer] = (),
        augment: Callable[[Batch, Rng], Batch] | None = None,
        draw: Callable[[Family, int, str], tuple[Shown, Path]] | None = None,
        held_out: Examples | None = None,
        audits: Audits | None = None,
    ) -> None:
        if config.steps is None and config.budget is None:
            raise InputError("say how long to train: train.steps or train.budget")
        self.config, self.seed, self.folder = config, seed, checkpoints
        self.observers, self.draw, self.examples = observers, draw, examples
        self.device = choose_device(config.device)
        self.family = family
        place(family, config, self.device)
        self.feed = Feed(examples, seed, augment, family.window(), config.tokens, family.balanced())
        watched = held_out is not None and len(held_out) and config.validate_times and isinstance(family, HasLikelihood)
        self.holdout = Holdout(held_out, config.validate_times, config.patience) if watched and held_out else None
        self.audits = audits
        self.stages = family.stages()
        self.progress = Progress()
        self.players = family.players()
        self.private = self._private() if config.epsilon is not None else None
        optimisers = family.optimisers()
        self.optimisers = {n: Optimiser(m, optimisers[n]) for n, m in self.players.items()}
        names = {id(p): n for n, p in family.named_parameters()}
        self.parameters = {n: [names[id(p)] for p in m.parameters()] for n, m in self.players.items()}
        self.average = Average(family, config.ema)
        self.player_steps = dict.fromkeys(self.players, 0)
        self.meter, self._bad, self._saved_at = Meter(), 0, 0.0
        self.precision = self._precision(self.stages[0])
        if config.compile:
            for module in self.players.values():
                module.compile()

    def _private(self) -> Private:
        """Raises InputError where nothing can be promised. Nothing else may look at the data then."""
        why = self.family.unpromised()
        if why:
            raise InputError(
                f"the model {type(self.family).__name__} cannot promise differential privacy: {why}; any_order can"
            )
        assert len(self.players) == len(self.stages) == 1 and self.stages[0].batch is None
        if self.audits is not None:
            raise InputError("audits for copies look at the training data: leave --stop-on-copying out")
        self.draw, self.holdout = None, None
        return Private(next(iter(self.players.values())), self.config, self.examples)

    # -- time ---------------------------------------------------------------------------------------------------------

    def fraction(self) -> float:
        """Share of the training done. With a budget it follows the clock, so the decay ends when the time does.

        A family's `reserve` is the share of the budget kept for what it fits after the last step.
        """
        if self.config.budget is not None:
            return self.seconds() / (self.config.budget * (1 - self.family.reserve))
        return self.progress.step / (self.config.steps or 1)

    def seconds(self) -> float:
        return self._before + time.perf_counter() - self._begin

    def rate(self, stage: Stage, fraction: float) -> float:
        """Learning-rate multiplier: linear warm-up from the stage's first step, linear decay to 0 at its end."""
        index = self.stages.index(stage)
        start = self.stages[index - 1].until if index else 0.0
        left = (stage.until - fraction) / (stage.until - start)
        warm = (self.progress.step - self.progress.stage_step + 1) / max(1, self.config.warmup)
        return max(0.0, min(1.0, warm, left / self.config.decay if self.config.decay else 1.0))

    # -- the loop -----------------------------------------------------------------------------------------------------

    def load(self) -> int:
        """Take up the newest checkpoint; `run` then goes on from there. Returns its step. Raises InputError when there
        is none."""
        self._restore()
        return self.progress.step

    def time_steps(self, n: int) -> list[float]:
        """Seconds of each of the first n rounds, none for a family without. Changes the weights: for a scratch copy."""
        times: list[float] = []
        self._before, self._begin = 0.0, time.perf_counter()
        with closing(self.feed):
            for _ in range(n if self.players else 0):
                begin = time.perf_counter()
                self._one(0.0)
                times.append(time.perf_counter() - begin)
        return times

    def run(self) -> dict[str, Any]:
        """Train to the end. Returns the summary: steps, seconds, examples_per_second, data_wait, skipped.

        On return `self.family` holds the averaged, settled weights. Raises Interrupted after a signal, GenloomError
        when training diverges.
        """
        self._before, self._begin = self.progress.seconds, time.perf_counter()
        with closing(self.feed), StopSignals() as stop:
            if self.progress.step == 0:
                self._save()
            while self.players and (fraction := self.fraction()) < 1 and not self._enough():
                self._one(fraction)
                if stop.number:
                    self._save()
                    raise Interrupted(f"stopped after step {self.progress.step}; nothing is lost", stop.number)
            self._save()
            if self.meter.losses:
                self._record()
            self._freeze_averages(tuple(self.players))
            self._keep_best()
            self.family.eval()
            promise = {} if self.private is None else {"privacy": self.private.promise(self.progress.step)}
            self._settle(self.family, None)
        return {
            **promise,
            **({"audits": self.audits.summary()} if self.audits else {}),
            "steps": self.progress.step,
            "seconds": round(self.seconds(), 3),
            "skipped": self.progress.skipped,
            "examples_per_second": round(self.progress.position / max(self.seconds(), 1e-9), 1),
            "data_wait": round(self.feed.wait / max(self.seconds(), 1e-9), 5),
            "rollbacks": self.progress.attempt,
        }

    def _one(self, fraction: float) -> None:
        """One round: stage change if due, a batch, the family's updates, records, grid and checkpoint if due."""
        p = self.progress
        index = next(i for i, s in enumerate(self.stages) if fraction < s.until or i == len(self.stages) - 1)
        if index != p.stage:
            self._enter(index)
        stage = self.stages[index]
        size = stage.batch or self.config.batch
        batch = self.private.batch() if self.private is not None else self.feed.take(p.position, size)
        batch = batch.to(self.device)
        rate = self.rate(stage, fraction)
        if self._round(batch, Clock(p.step, min(fraction, 1.0), p.position / self.feed.rows), rate, stage.rates):
            self._bad = 0
        else:
            self._skip()
        p.step, p.position = p.step + 1, p.position + len(batch)
        self.meter.examples += len(batch)
        p.seconds = self.seconds()
        if (
            self.draw
            and self.fraction() < 1
            and fraction >= 2.0 ** (p.grids + 1 - self.config.grids)
            and p.grids < self.config.grids - 1
        ):
            self._grid(fraction)
        if self.holdout is not None and self.holdout.due(fraction):
            self._watch()
        last = index == len(self.stages) - 1  # samples of half a model would tell nothing
        if last and self.audits is not None and self.audits.due(fraction, p.position, self.seconds()):
            self._audit(fraction)
        if time.perf_counter() - self.meter.begin >= self.config.log_every:
            self._record(fraction, rate)
        if p.seconds - self._saved_at >= self.config.checkpoint_every:
            self._save_or_warn()

    def _round(self, batch: Batch, clock: Clock, rate: float, rates: Mapping[str, float]) -> bool:
        """Run the family's updates on micro-batches in lockstep. False when a non-finite gradient made the loop
        skip. rates: each player's share of the learning rate."""
        total, micro = len(batch), math.ceil(len(batch) / self.config.accumulate)
        seed = self.seed if self.private is None else self.private.seed
        rng = Rng(derive(seed, "train", self.progress.attempt), clock.step, device=self.device)
        parts = [batch[slice(i, i + micro)] for i in range(0, total, micro)]
        self.family.train()
        rounds = [self.family.updates(b, clock, rng.rows(i * micro, total)) for i, b in enumerate(parts)]
        torch.manual_seed(derive(seed, "global", self.progress.attempt, clock.step))  # dropout
        while player := self._accumulate(rounds, [len(b) / total for b in parts]):
            if self.private is not None:
                self.private.privatise()
            if not self._finite(player):
                for optimiser in self.optimisers.values():
                    optimiser.zero_grad()
                return False
            self.optimisers[player].step(rate * rates.get(player, 1.0))
            self.optimisers[player].zero_grad()
            self.average.update(self.parameters[player], self.player_steps[player])
            self.player_steps[player] += 1
        return True

    def _accumulate(self, rounds: list[Iterator[Any]], shares: list[float]) -> str | None:
        """Advance every micro-batch to its next update and add up that player's gradients. None at the end of the
        round."""
        player: str | None = None
        for updates, share in zip(rounds, shares, strict=True):
            with autocast(self.device, self.precision):
                update = next(updates, None)
            if update is None:
                continue
            player = update.player
            (update.loss * share).backward(inputs=self.optimisers[player].params)
            self.meter.losses.setdefault(player, []).append(update.loss.detach())
            for name, value in update.logs.items():
                self.meter.logs.setdefault(name, []).append(value.detach().float())
        return player

    def _finite(self, player: str) -> bool:
        """Whether the player's gradients are finite; clips them if configured."""
        grads = []
        for p in self.optimisers[player].params:
            if p.grad is not None and p.grad.is_sparse:
                p.grad = p.grad.coalesce()
            if p.grad is not None:
                grads.append(p.grad.values() if p.grad.is_sparse else p.grad)
        norm = torch.nn.utils.get_total_norm(grads)
        if not torch.isfinite(norm):
            return False
        if self.config.clip and norm > self.config.clip:
            torch._foreach_mul_(grads, self.config.clip / float(norm))
        return True

    def _skip(self) -> None:
        """Count a skipped step; after too many in a row go back to the last checkpoint, at last give up."""
        self._bad += 1
        self.progress.skipped += 1
        if self._bad < self.config.max_skips:
            return
        attempt, skipped = self.progress.attempt + 1, self.progress.skipped
        if self.folder is None or attempt > self.config.max_rollbacks:
            raise GenloomError(
                f"the loss was not finite {self._bad} times in a row near step {self.progress.step} even after "
                f"{attempt - 1} returns to an earlier checkpoint; lower the learning rate or use train.precision=fp32"
            )
        self._notice(f"{self._bad} non-finite steps in a row: going back to the last checkpoint")
        seconds = self.seconds()
        self._restore()
        self._before, self._begin = seconds, time.perf_counter()
        self.progress.attempt, self.progress.skipped, self._bad = attempt, skipped, 0

    # -- stages -------------------------------------------------------------------------------------------------------

    def _enter(self, index: int) -> None:
        p = self.progress
        if p.stage >= 0:
            self._freeze_averages(self.stages[p.stage].players)
        p.stage, p.stage_step = index, p.step
        self.precision = self._precision(self.stages[index])
        self.family.enter(self.stages[index], self._data(None))

    def _precision(self, stage: Stage) -> Precision:
        """That of the networks which the stage trains; gradients of single examples are taken in full precision."""
        if self.private is not None:
            return "fp32"
        return choose_precision(self.config, self.device, [self.players[n] for n in stage.players] or [self.family])

    def _freeze_averages(self, players: Sequence[str]) -> None:
        for player in players:
            if self.config.ema:
                self.average.copy_to(self.family, self.parameters[player])

    def _data(self, limit: int | None) -> Iterator[Batch]:
        return (b.to(self.device) for b in self.examples.batches(SETTLE_BATCH, limit))

    def _settle(self, family: Family, limit: int | None) -> None:
        with torch.no_grad(), autocast(self.device, self.precision):
            family.settle(self._data(limit), Rng(derive(self.seed, "settle"), device=self.device))

    # -- what is seen -------------------------------------------------------------------------------------------------

    def _record(self, fraction: float = 1.0, rate: float = 0.0) -> None:
        p = self.progress
        record = {
            "step": p.step,
            "fraction": round(fraction, 6),
            "seconds": round(self.seconds(), 3),
            "rate": dict.fromkeys(self.meter.losses, round(rate, 6)),
            **self.meter.record(self.feed.wait),
        }
        self.meter = Meter(wait=self.feed.wait)
        for observer in self.observers:
            observer.step(record)
        for warning in self.family.warnings():
            self._notice(warning)

    def _watch(self) -> None:
        """Measure the averaged weights on the held-out examples."""
        assert self.holdout is not None
        twin = self.average.averaged() if self.config.ema else self.family
        assert isinstance(twin, Family)
        twin.eval()
        with autocast(self.device, self.precision):
            loss = self.holdout.measure(twin, self.device)
        self.meter.logs["validation"] = [torch.tensor(loss)]
        if self.holdout.enough:
            self._notice(
                f"the loss on held-out examples has not fallen for {self.holdout.verdicts.worse} measurements: stopped "
                f"at step {self.progress.step}, the best weights are kept"
            )

    def _audit(self, fraction: float) -> None:
        """Look for copies among samples of the averaged weights. Never touches the weights that train."""
        assert self.audits is not None
        begin = time.perf_counter()
        twin = self.average.averaged() if self.config.ema else copy.deepcopy(self.family)
        assert isinstance(twin, Family)
        twin.eval()
        self._settle(twin, QUICK_SETTLE)
        found = self.audits.measure(twin, self.progress.step, fraction)
        self.audits.state.seconds += time.perf_counter() - begin
        if found.rate is not None:
            self.meter.logs["copies"] = [torch.tensor(found.rate)]

    def _enough(self) -> bool:
        """Whether a watch on the training has ended it."""
        return bool((self.holdout and self.holdout.enough) or (self.audits and self.audits.stopped))

    def _keep_best(self) -> None:
        """Put the best weights in place where the last ones did worse on the held-out examples, or copy."""
        best = self.holdout is not None and self.holdout.keep_best(self.family)
        if self.audits is not None and (ending := self.audits.keep_clean(self.family, best)):
            self._notice(ending)

    def _grid(self, fraction: float) -> None:
        """A sample grid from the averaged weights, always with the same seeds."""
        p = self.progress
        while fraction >= 2.0 ** (p.grids + 1 - self.config.grids):
            p.grids += 1
        twin = self.average.averaged() if self.config.ema else self.family
        assert self.draw and isinstance(twin, Family)
        twin.eval()
        self._settle(twin, QUICK_SETTLE)
        shown, path = self.draw(twin, p.step, f"step-{p.step:08d}")
        for observer in self.observers:
            observer.samples(p.step, shown, path)

    def _notice(self, text: str) -> None:
        for observer in self.observers:
            observer.notice(text)

    # -- checkpoints --------------------------------------------------------------------------------------------------

    def _save(self) -> None:
        if self.folder is None:
            return
        self.progress.seconds = self._saved_at = self.seconds()
        tensors = prefixed("family", {n: t.detach() for n, t in self.family.state_dict().items()})
        tensors |= prefixed("average", self.average.params) | prefixed("carried", self.family.carried())
        if self.holdout is not None:
            tensors |= prefixed("best", self.holdout.weights)
        if self.audits is not None:
            tensors |= prefixed("clean", self.audits.weights)
        for player, optimiser in self.optimisers.items():
            tensors |= prefixed(f"optimiser/{player}", optimiser.tensors())
        state = {"progress": asdict(self.progress), "player_steps": self.player_steps, "precision": self.precision}
        if self.holdout is not None:
            state["holdout"] = asdict(self.holdout.verdicts)
        if self.audits is not None:
            state["audits"] = asdict(self.audits.state)
        checkpoints.save(self.folder, Checkpoint(self.progress.step, tensors, state))

    def _save_or_warn(self) -> None:
        """A checkpoint that cannot be written does not end the training: the older one still loads."""
        try:
            self._save()
        except GenloomError as e:
            self._saved_at = self.seconds()
            self._notice(f"no checkpoint at step {self.progress.step}: {e}")

    def _restore(self) -> None:
        assert self.folder is not None
        saved = checkpoints.newest(self.folder, self._notice)
        try:
            self.family.load_state_dict(unprefixed("family", saved.tensors))
        except RuntimeError as e:
            raise InputError(
                f"the checkpoint in {self.folder} does not fit these settings ({str(e).splitlines()[-1].strip()})"
            ) from None
        for name, tensor in unprefixed("average", saved.tensors).items():
            self.average.params[name].copy_(tensor)
        for player, optimiser in self.optimisers.items():
            optimiser.load_tensors(unprefixed(f"optimiser/{player}", saved.tensors))
        self.progress = Progress(**saved.state["progress"])
        self.player_steps, self.precision = saved.state["player_steps"], saved.state["precision"]
        self._before, self._begin = self.progress.seconds, time.perf_counter()
        self._saved_at = self.progress.seconds
        self.family.carry_on({n: t.to(self.device) for n, t in unprefixed("carried", saved.tensors).items()})
        if self.holdout is not None and "holdout" in saved.state:
            self.holdout.verdicts = Verdicts(**saved.state["holdout"])
            self.holdout.weights = {n: t.to(self.device) for n, t in unprefixed("best", saved.tensors).items()}
        if self.audits is not None and "audits" in saved.state:
            self.audits.state = Audited(**saved.state["audits"])
            self.audits.weights = {n: t.to(self.device) for n, t in unprefixed("clean", saved.tensors).items()}
        if self.progress.stage >= 0:
            self.family.enter(self.stages[self.progress.stage], self._data(None))
