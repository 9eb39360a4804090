"""Batching across requests: joining, leaving, limits. Workers are driven in this thread where time must not matter."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import genloom
from genloom.core.errors import GenloomError, InputError
from genloom.run import Run
from genloom.run.requests import Request, examples_of, ready
from genloom.studio.errors import Refused
from genloom.studio.jobs import Done, Drawn, Event, Job
from genloom.studio.limits import Limits
from genloom.studio.worker import Worker


class Driven:
    """A worker without its thread: each `turn` is one of its steps."""

    def __init__(self, run: Run, limits: Limits = Limits()) -> None:  # noqa: B008 (frozen)
        self.told: list[tuple[Job, Event]] = []
        self.batches: list[tuple[int, int]] = []
        self.worker = Worker(run, limits, self.told.extend, lambda *sizes: self.batches.append(sizes))
        self.run = run

    def ask(self, told: bool = False, seconds: float = 60, **request: Any) -> Job:
        job = Job(ready(self.run, Request(**request)), time.monotonic() + seconds, told)
        self.worker.submit(job)
        return job

    def turn(self) -> None:
        with torch.no_grad():
            events: list[tuple[Job, Event]] = []
            if self.worker.stepwise:
                self.worker._admit(events)
                self.worker._step(events)
            else:
                self.worker._sample(events)
            self.told += events

    def finish(self) -> None:
        while not self.worker.idle:
            self.turn()

    def of(self, job: Job) -> list[Event]:
        return [event for one, event in self.told if one is job]

    def examples(self, job: Job) -> list[Any]:
        done = self.of(job)[-1]
        assert isinstance(done, Done), done
        return examples_of(self.run, job.ready, done.x)


@pytest.fixture(scope="module")
def prose(runs: Path) -> Run:
    return genloom.load(runs / "prose")


@pytest.fixture(scope="module")
def digits(runs: Path) -> Run:
    return genloom.load(runs / "digits")


def test_what_joins_in_the_middle_has_the_text_of_its_seed(prose: Run) -> None:
    driven = Driven(prose)
    first = driven.ask(n=2, seed=1, prompt="It was", options={"max_tokens": 40})
    for _ in range(7):
        driven.turn()
    second = driven.ask(n=1, seed=2, prompt="Chapter 1", options={"max_tokens": 20, "temperature": 0.5})
    third = driven.ask(n=1, seed=3, options={"max_tokens": 5, "repetition": 1.3})
    driven.turn()
    assert driven.batches[6:8] == [(1, 2), (3, 4)]  # at the next token
    driven.finish()
    for job in (first, second, third):
        r = job.ready.request
        assert driven.examples(job) == prose.sample(r.n, prompt=r.prompt, seed=r.seed, options=r.options)


def test_a_client_that_goes_away_frees_its_slot_within_one_step(prose: Run) -> None:
    driven = Driven(prose, Limits(rows=2))
    one = driven.ask(options={"max_tokens": 100})
    two = driven.ask(options={"max_tokens": 100}, seed=1)
    waiting = driven.ask(options={"max_tokens": 3}, seed=2)
    driven.turn()
    assert driven.batches[-1] == (2, 2) and not driven.of(waiting)
    one.leave()
    driven.turn()
    assert driven.batches[-1] == (1, 1)  # its row is computed no more
    driven.turn()
    assert driven.batches[-1] == (2, 2)  # and its place is taken
    driven.finish()
    assert not driven.of(one) and driven.examples(waiting) and driven.examples(two)


def test_flows_with_equal_options_are_computed_together(digits: Run) -> None:
    driven = Driven(digits)
    jobs = [driven.ask(n=2, seed=s, label="7", options={"steps": 4}) for s in (1, 2)]
    other = driven.ask(n=1, seed=3, options={"steps": 2})
    driven.finish()
    assert driven.batches == [(2, 4), (1, 1)]
    for job in [*jobs, other]:
        r = job.ready.request
        done = driven.of(job)[-1]
        assert isinstance(done, Done)
        expected, _ = digits.sample_tensor(r.n, label=r.label, seed=r.seed, options=r.options)
        torch.testing.assert_close(done.x, expected, atol=1e-4, rtol=0)


def test_a_flow_that_nobody_waits_for_ends_within_a_step_of_the_model(digits: Run, monkeypatch: Any) -> None:
    driven = Driven(digits)
    job = driven.ask(n=1, options={"steps": 200})
    calls = 0
    net: Any = digits.family.net
    hook = net.register_forward_pre_hook(lambda *_: None)

    def leave(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            job.leave()

    hook.remove()
    hook = net.register_forward_hook(leave)
    driven.turn()
    hook.remove()
    assert calls == 3 and not driven.of(job) and driven.worker.idle


def test_time_that_is_up_is_told(prose: Run) -> None:
    driven = Driven(prose)
    late = driven.ask(seconds=-1)
    slow = driven.ask(options={"max_tokens": 50}, told=True)
    driven.turn()
    slow.due = 0
    driven.turn()
    assert [e.status for e in driven.of(late) if isinstance(e, Refused)] == [504]
    assert isinstance(driven.of(slow)[0], Drawn) and isinstance(driven.of(slow)[-1], Refused)
    assert driven.worker.idle


def test_too_many_wait(prose: Run) -> None:
    driven = Driven(prose, Limits(waiting=2))
    for seed in range(2):
        driven.ask(seed=seed)
    with pytest.raises(Refused) as refused:
        driven.ask()
    assert refused.value.status == 429 and (refused.value.retry_after or 0) >= 1


@pytest.fixture
def broken(runs: Path) -> Iterator[Run]:
    run = genloom.load(runs / "prose")
    with torch.no_grad():
        next(run.family.parameters()).fill_(float("nan"))
    yield run


def test_a_failure_is_told_and_the_worker_goes_on(broken: Run) -> None:
    told: list[tuple[Job, Event]] = []
    worker = Worker(broken, Limits(), told.extend)
    worker.start()
    jobs = [Job(ready(broken, Request(seed=s)), time.monotonic() + 60) for s in range(2)]
    for k, job in enumerate(jobs, 1):
        worker.submit(job)
        while len(told) < k:
            time.sleep(0.001)
    worker.close()
    assert all(isinstance(e, GenloomError) and "not finite" in str(e) for _, e in told) and len(told) == 2


def test_what_is_under_way_is_told_when_the_worker_closes(prose: Run) -> None:
    told: list[tuple[Job, Event]] = []
    worker = Worker(prose, Limits(rows=1), told.extend)
    worker.start()
    for seed in range(3):
        worker.submit(Job(ready(prose, Request(seed=seed, options={"max_tokens": 4000})), time.monotonic() + 60))
    worker.close()
    assert [e.status for _, e in told if isinstance(e, Refused)] == [503] * 3
    with pytest.raises(Refused):
        worker.submit(Job(ready(prose, Request()), time.monotonic() + 60))


def test_requests_that_make_no_sense(prose: Run, digits: Run) -> None:
    for run, wrong in (
        (prose, {"label": "7"}), (prose, {"n": 0}), (prose, {"properties": {"length": 3.0}}), (digits, {"label": "x"}),
        (digits, {"prompt": "x"}), (prose, {"source": "x"}), (digits, {"known": b"x", "keep": "1"}),
    ):  # fmt: skip
        with pytest.raises(InputError):
            ready(run, Request(**wrong))  # type: ignore[arg-type]
