"""What a server tells Prometheus of itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
SAMPLES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
Numbers = Callable[[], dict[str, int]]  # by model


class Metrics:
    """A registry of its own, so that several servers can live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "genloom_requests", "Requests by route and status.", ["route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "genloom_request_seconds", "From the first to the last byte.", ["route"], buckets=SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self.first = Histogram(
            "genloom_first_token_seconds", "From a request to its first token, of streams.", ["model"], buckets=SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self.tokens = Counter("genloom_tokens", "Tokens drawn.", ["model"], registry=self.registry)
        self.samples = Counter("genloom_samples", "Samples drawn.", ["model"], registry=self.registry)
        self.batch = Histogram(
            "genloom_batch_samples", "Samples computed together in a step.", ["model"], buckets=SAMPLES,
            registry=self.registry,
        )  # fmt: skip

    def observer(self, model: str) -> Callable[[int, int], None]:
        """To be called at each step of a model with its requests and samples."""
        batch = self.batch.labels(model)
        return lambda requests, rows: batch.observe(rows)

    def watch(self, rows: Numbers, waiting: Numbers, memory: Numbers) -> None:
        """Gauges that are read when they are asked for."""
        self.registry.register(_Gauges(rows, waiting, memory))

    def text(self) -> bytes:
        return generate_latest(self.registry)


class Counted:
    """The layer of an application that counts its requests."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begin, status = time.perf_counter(), 499  # the client went away

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, counted)
        finally:
            route = getattr(scope.get("route"), "path", "other")  # a path that there is: those of strangers are endless
            self.metrics.requests.labels(route, str(status)).inc()
            self.metrics.seconds.labels(route).observe(time.perf_counter() - begin)


class _Gauges:
    def __init__(self, rows: Numbers, waiting: Numbers, memory: Numbers) -> None:
        self.gauges = (
            ("genloom_samples_under_way", "Samples computed now.", rows),
            ("genloom_requests_waiting", "Requests that wait for a model.", waiting),
            ("genloom_model_bytes", "Weights in memory.", memory),
        )

    def collect(self) -> Iterable[Metric]:
        for name, meaning, numbers in self.gauges:
            gauge = GaugeMetricFamily(name, meaning, labels=["model"])
            for model, value in numbers().items():
                gauge.add_metric([model], value)
            yield gauge
