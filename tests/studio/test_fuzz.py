"""Schemathesis: requests made up from the OpenAPI document, well formed and not. Whatever comes, the answer is what the
document says or an error in one form, and never a fault of the server."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, settings

from genloom.studio import server
from genloom.studio.limits import Limits
from genloom.studio.security import Safety

Serve = Callable[..., contextlib.AbstractContextManager[TestClient]]
# Small, so that what is well formed is drawn quickly.
LIMITS = Limits(n=4, tokens=64, steps=4, seconds=20)


@pytest.fixture(scope="module")
def schema(runs: Any) -> Any:
    app = server.server_app([runs / "prose", runs / "digits"], Safety(), LIMITS)
    document = app.openapi()
    for name in ("CompletionRequest", "ChatRequest", "ImageRequest", "GenerateRequest"):
        # So that requests reach a model and do not end at its name.
        document["components"]["schemas"][name]["properties"]["model"]["enum"] = ["prose", "digits"]
    return schemathesis.openapi.from_asgi("/openapi.json", app)


fuzzed = schemathesis.pytest.from_fixture("schema")


@fuzzed.parametrize()
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_made_up_requests(case: Any, client: TestClient) -> None:
    answer = client.request(
        case.method, case.formatted_path, params=case.query or None, headers=plain(case.headers),
        **({"json": case.body} if isinstance(case.body, dict | list | str | int | float | bool) else {}),
    )  # fmt: skip
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"} and error["message"]
        assert "Traceback" not in answer.text
    if case.meta is not None and case.meta.generation.mode.is_negative and case.method == "POST":
        assert answer.status_code >= 400, (case.body, answer.text[:300])


def plain(headers: Any) -> dict[str, str]:
    return {k: v for k, v in dict(headers or {}).items() if v.isascii() and v.isprintable()}


def test_the_document_is_valid_and_complete(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert json.dumps(document) and document["openapi"].startswith("3.")
    for name in ("CompletionRequest", "ChatRequest", "ImageRequest", "GenerateRequest"):
        assert document["components"]["schemas"][name]["additionalProperties"] is False
