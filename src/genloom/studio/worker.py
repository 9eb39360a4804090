"""What computes a model's requests: one thread, which takes what waits and computes it together.

Models that are decoded token by token are batched continuously: a request joins before the next token and leaves after
its last; one whose client has gone leaves before the next token. Of other models the requests that ask for the same
options are computed together, at most `rows` samples at once; when nobody waits for any of them, the computation ends
within the present layer of the network.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import torch

from genloom.core.errors import GenloomError
from genloom.nets.decoding import Decoding, HasDecoding, advance
from genloom.run import Run
from genloom.run.requests import decoding_of, gradual, sample_together
from genloom.studio.errors import Refused
from genloom.studio.jobs import Done, Drawn, Event, Job, Tell
from genloom.studio.limits import Limits

Observe = Callable[[int, int], None]  # (requests, samples) of one step


class _Gone(Exception):
    """Nobody waits for what is being computed."""


class Worker:
    """Start it with `start`; `submit` may be called by any thread."""

    def __init__(self, run: Run, limits: Limits, tell: Tell, observe: Observe = lambda requests, rows: None) -> None:
        self.run, self.limits, self.tell, self.observe = run, limits, tell, observe
        self.stepwise = isinstance(run.family, HasDecoding)
        self.waiting: deque[Job] = deque()
        self.decoding: dict[int, tuple[Job, Decoding]] = {}  # by id of the job, in the order of their coming
        self.sampling: list[Job] = []
        self.change = threading.Condition()
        self.closing = False
        self.seconds = 1.0  # of a request, on average
        self.thread = threading.Thread(target=self._work, name=f"genloom {run.name}", daemon=True)
        for module in run.family.modules():
            module.register_forward_pre_hook(self._stop_if_gone)

    def start(self) -> None:
        self.thread.start()

    @property
    def rows(self) -> int:
        """Samples that are computed now."""
        return sum(job.rows for job, _ in list(self.decoding.values())) + sum(job.rows for job in self.sampling)

    @property
    def idle(self) -> bool:
        return not self.waiting and not self.decoding and not self.sampling

    def submit(self, job: Job) -> None:
        """Raises Refused when too many wait already."""
        with self.change:
            if self.closing:
                raise Refused(503, "the model is being unloaded; ask again", retry_after=1)
            if len(self.waiting) >= self.limits.waiting:
                ahead = sum(other.rows for other in self.waiting) / self.limits.rows
                raise Refused(
                    429, f"{len(self.waiting)} requests wait for this model already; ask again later",
                    retry_after=max(1, round(ahead * self.seconds)),
                )  # fmt: skip
            self.waiting.append(job)
            self.change.notify()

    def close(self) -> None:
        """Let no more requests in, end those that are there, and wait for the thread."""
        with self.change:
            self.closing = True
            self.change.notify()
        if self.thread.is_alive():
            self.thread.join()

    # -- the thread -------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        with torch.no_grad():
            while self._wait():
                events: list[tuple[Job, Event]] = []
                try:
                    if self.stepwise:
                        self._admit(events)
                        self._step(events)
                    else:
                        self._sample(events)
                except Exception as e:  # told to those who wait; the next requests find a working thread
                    under_way = [job for job, _ in self.decoding.values()]
                    self.decoding.clear()
                    events += [(job, e) for job in under_way]
                self._average(events)
                self.tell(events)
        left = [*self.waiting, *(job for job, _ in self.decoding.values())]
        self.waiting.clear()
        self.decoding.clear()
        self.tell([(job, Refused(503, "the server is going away; ask again", retry_after=5)) for job in left])

    def _wait(self) -> bool:
        """Until there is something to do; False when it is over."""
        with self.change:
            while not self.closing and self.idle:
                self.change.wait()
            return not self.closing

    def _take(self, events: list[tuple[Job, Event]], fits: Callable[[Job], bool]) -> Job | None:
        """The first that waits, if it fits; those that nobody waits for or whose time is up are passed over."""
        with self.change:
            while self.waiting:
                job = self.waiting[0]
                late = _late(job)
                if not job.gone and late is None and not fits(job):
                    return None
                self.waiting.popleft()
                if late is not None:
                    events.append((job, late))
                elif not job.gone:
                    return job
        return None

    def _average(self, events: list[tuple[Job, Event]]) -> None:
        for job, event in events:
            if isinstance(event, Done):
                self.seconds += 0.1 * (time.monotonic() - job.came - self.seconds)

    # -- token by token -----------------------------------------------------------------------------------------------

    def _admit(self, events: list[tuple[Job, Event]]) -> None:
        """Let in what has room; a request of more samples than there is room for comes alone."""
        while True:
            free = self.limits.rows - sum(job.rows for job, _ in self.decoding.values())
            alone = not self.decoding
            job = self._take(events, lambda j: alone or j.rows <= free)  # noqa: B023 (called at once)
            if job is None:
                return
            try:
                if not gradual(self.run, job.ready):
                    self._compute([job], events)
                else:
                    self.decoding[id(job)] = (job, decoding_of(self.run, job.ready))
            except GenloomError as e:
                events.append((job, e))

    def _step(self, events: list[tuple[Job, Event]]) -> None:
        for key, (job, _) in list(self.decoding.items()):
            late = _late(job)
            if job.gone or late is not None:
                del self.decoding[key]
                if late is not None:
                    events.append((job, late))
        under_way = [(job, d) for job, d in self.decoding.values() if not d.over]
        if under_way:
            self.observe(len(under_way), sum(job.rows for job, _ in under_way))
            ended = [None if d.ended is None else d.ended.tolist() for _, d in under_way]
            steps = advance([d for _, d in under_way])
            for (job, d), before, step in zip(under_way, ended, steps, strict=True):
                if job.told:
                    live = [True] * job.rows if before is None else [not e for e in before]
                    top = _top(d, job.tops) if job.tops else None
                    events.append((job, Drawn(step.tokens.tolist(), live, step.logp.tolist(), top)))
        for key, (job, d) in list(self.decoding.items()):
            if d.over:
                del self.decoding[key]
                events.append((job, self._finished(job, d)))

    def _finished(self, job: Job, d: Decoding) -> Done:
        family: Any = self.run.family
        ended = [False] * job.rows if d.ended is None else d.ended.tolist()
        x = family.finished(d.sofar[:, 1:], job.ready.condition, job.ready.options)
        return Done(x.cpu(), ["stop" if e else "length" for e in ended])

    # -- whole samples ------------------------------------------------------------------------------------------------

    def _sample(self, events: list[tuple[Job, Event]]) -> None:
        first = self._take(events, lambda job: True)
        if first is None:
            return
        together, rows = [first], first.rows
        while rows < self.limits.rows:
            free = self.limits.rows - rows
            job = self._take(
                events,
                lambda j: j.rows <= free and j.ready.alike() == first.ready.alike(),  # noqa: B023 (called at once)
            )
            if job is None:
                break
            together.append(job)
            rows += job.rows
        self._compute(together, events)

    def _compute(self, together: list[Job], events: list[tuple[Job, Event]]) -> None:
        """Whole samples of jobs that are alike; nothing more is told when nobody waits for them."""
        self.sampling = together
        self.observe(len(together), sum(job.rows for job in together))
        try:
            made = sample_together(self.run, [j.ready for j in together], self._check)
            for job, x in zip(together, made, strict=True):
                events.append((job, Done(x, ["stop"] * job.rows)))
        except _Gone:
            events += [(job, late) for job in together if (late := _late(job)) is not None]
        except Exception as e:
            events += [(job, e) for job in together]
        finally:
            self.sampling = []

    def _stop_if_gone(self, module: torch.nn.Module, given: object) -> None:
        """Before every layer."""
        self._check()

    def _check(self) -> None:
        """End the computation when nobody waits for it."""
        if self.sampling and all(job.gone or _late(job) is not None for job in self.sampling):
            raise _Gone


def _late(job: Job) -> Refused | None:
    if time.monotonic() < job.due:
        return None
    return Refused(504, "the time for this request is up; ask for fewer or shorter samples")


def _top(d: Decoding, count: int) -> list[list[tuple[int, float]]]:
    assert d.logp is not None
    values, ids = d.logp.topk(min(count, d.logp.shape[1]), 1)
    return [list(zip(i, v, strict=True)) for i, v in zip(ids.tolist(), values.tolist(), strict=True)]
