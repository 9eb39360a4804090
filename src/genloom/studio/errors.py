"""Errors over HTTP, in the form that clients of OpenAI's API know: {"error": {"message", "type", "param", "code"}}."""

from __future__ import annotations

import json
from typing import Any

TYPES = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
    405: "invalid_request_error", 413: "invalid_request_error", 415: "invalid_request_error",
    422: "invalid_request_error", 429: "rate_limit_error", 503: "overloaded_error", 504: "timeout_error",
}  # fmt: skip


class Refused(Exception):
    """A request that is not answered as asked. status: of HTTP. param: the field that is at fault. retry_after: seconds
    after which it may be tried again."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code, self.retry_after = status, message, param, code, retry_after


def document(status: int, message: str, *, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """What the body of an error says."""
    return {"error": {"message": message, "type": TYPES.get(status, "server_error"), "param": param, "code": code}}


def body_of(status: int, message: str, *, param: str | None = None, code: str | None = None) -> bytes:
    return json.dumps(document(status, message, param=param, code=code), ensure_ascii=False).encode("utf-8", "replace")
