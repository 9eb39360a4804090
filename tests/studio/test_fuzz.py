"""Schemathesis: requests made up from the OpenAPI document, well formed and not. Whatever comes, the answer is what the
document says or an error in one form, and never a fault of the server."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis.strategies as st
import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.core import NotSet
from schemathesis.generation import GenerationMode

from genloom.studio.limits import Limits

Serve = Callable[..., contextlib.AbstractContextManager[TestClient]]
# Small, so that what is well formed is drawn quickly.
LIMITS = Limits(n=4, tokens=64, steps=4, seconds=20)
BODIES = ("CompletionRequest", "ChatRequest", "ImageRequest", "GenerateRequest")
ROUTES = [
    ("POST", "/v1/completions"), ("POST", "/v1/chat/completions"), ("POST", "/v1/images/generations"),
    ("POST", "/v1/generate"), ("GET", "/v1/models/{model}"),
]  # fmt: skip


@pytest.fixture(scope="module")
def small(serve: Serve) -> Iterator[TestClient]:
    with serve("prose", "digits", limits=LIMITS, template="{% for m in messages %}{{ m.content }}{% endfor %}") as c:
        yield c


@pytest.mark.parametrize(
    ("method", "path", "mode"),
    [(*route, GenerationMode.POSITIVE) for route in ROUTES]
    + [(*route, GenerationMode.NEGATIVE) for route in ROUTES if route[0] == "POST"],
)
def test_made_up_requests(small: TestClient, method: str, path: str, mode: GenerationMode) -> None:
    document = small.get("/openapi.json").json()
    for name in BODIES:  # so that requests reach a model and do not end at its name
        document["components"]["schemas"][name]["properties"]["model"]["enum"] = ["prose", "digits"]
    operation = schemathesis.openapi.from_dict(document)[path][method]

    @given(data=st.data())
    @settings(
        max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), database=None, phases=(Phase.generate,)
    )
    def check(data: st.DataObject) -> None:
        case: Any = data.draw(operation.as_strategy(generation_mode=mode))
        body = {} if isinstance(case.body, NotSet) else {"json": case.body}
        if isinstance(case.body, bytes):
            body = {"content": case.body}
        answer = small.request(method, case.formatted_path, **body)
        assert answer.status_code < 500, (case.body, answer.text)
        if answer.status_code >= 400:
            error = answer.json()["error"]
            assert set(error) == {"message", "type", "param", "code"} and error["message"], answer.text
        elif mode is GenerationMode.NEGATIVE:
            assert method != "POST" or "json" not in body, (case.body, answer.text[:300])

    check()


def test_the_document_is_valid_and_complete(small: TestClient) -> None:
    document = small.get("/openapi.json").json()
    assert json.dumps(document) and document["openapi"].startswith("3.")
    for name in BODIES:
        assert document["components"]["schemas"][name]["additionalProperties"] is False
