"""What a server refuses. Each test is named after the attack."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import APIRouter, UploadFile
from fastapi.responses import HTMLResponse
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient
from pydantic import BaseModel, ConfigDict

from genloom.core.errors import InputError
from genloom.studio import security
from genloom.studio.app import BODY, new_app

TOKEN = "abcdefghijklmnop-0123"
HERE = "http://127.0.0.1:8000"


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")
    text: str


def router() -> APIRouter:
    routes = APIRouter()

    @routes.post("/act")
    async def act(body: Body) -> dict[str, str]:
        return {"did": body.text}

    @routes.get("/page")
    async def page() -> HTMLResponse:
        return HTMLResponse("<p>", headers={"content-security-policy": security.PAGE})

    @routes.get("/broken")
    async def broken() -> None:
        raise RuntimeError("secret")

    @routes.post("/upload", max_body_size=2 * BODY)
    async def upload(file: UploadFile) -> dict[str, int]:
        return {"bytes": len(await file.read())}

    return routes


def client(rules: security.Safety = security.Safety(), base: str = HERE) -> TestClient:  # noqa: B008 (frozen)
    return TestClient(new_app(rules, [router()]), base_url=base, raise_server_exceptions=False, follow_redirects=False)


@pytest.fixture
def here() -> Iterator[TestClient]:
    with client() as c:
        yield c


def message(response: object) -> str:
    return response.json()["error"]["message"]  # type: ignore[attr-defined]


def test_own_pages_and_programs_may_act(here: TestClient) -> None:
    assert here.post("/act", json={"text": "a"}).json() == {"did": "a"}
    own = {"origin": HERE, "sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}
    assert here.post("/act", json={"text": "a"}, headers=own).status_code == 200
    assert here.post("/act", json={"text": "a"}, headers={"host": "localhost:8000"}).status_code == 200
    assert here.get("/page", headers={"host": "[::1]:8000"}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "http://127.0.0.1.evil.example:8000"},
        {"origin": "http://localhost:8000"},
        {"origin": "file://127.0.0.1:8000"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "navigate"},
        {"origin": "https://evil.example", "content-type": "text/plain"},
    ],
)
def test_cross_site_post_to_localhost(here: TestClient, headers: dict[str, str]) -> None:
    refused = here.post("/act", content=b'{"text": "a"}', headers={"content-type": "application/json", **headers})
    assert refused.status_code == 403
    assert refused.json()["error"]["type"] == "permission_error"


def test_cross_site_form_without_origin_is_no_json(here: TestClient) -> None:
    sent = here.post("/act", content=b'{"text": "a"}', headers={"content-type": "text/plain"})
    assert sent.status_code == 400


def test_cross_site_pictures_and_frames_are_refused_but_links_open(here: TestClient) -> None:
    site = {"sec-fetch-site": "cross-site"}
    assert (
        here.get("/page", headers={**site, "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}).status_code == 403
    )
    assert (
        here.get("/page", headers={**site, "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}).status_code == 403
    )
    assert (
        here.get("/page", headers={**site, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}).status_code
        == 200
    )


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "127.0.0.1.nip.io:8000",
        "192.168.1.7:8000",
        "",
        "127.0.0.1:x",
        "a@127.0.0.1",
    ],
)
def test_dns_rebinding(here: TestClient, host: str) -> None:
    refused = here.get("/page", headers={"host": host})
    assert refused.status_code == 403
    assert "Host" in message(refused)


def test_dns_rebinding_with_a_matching_origin(here: TestClient) -> None:
    both = {"host": "evil.example:8000", "origin": "http://evil.example:8000"}
    assert here.post("/act", json={"text": "a"}, headers=both).status_code == 403


def test_null_origin(here: TestClient) -> None:
    assert here.post("/act", json={"text": "a"}, headers={"origin": "null"}).status_code == 403
    assert here.get("/page", headers={"origin": "null"}).status_code == 403


def test_two_host_headers() -> None:
    assert security.refusal("GET", {"host": ["127.0.0.1", "evil.example"]}, security.Safety()) is not None
    assert security.refusal("GET", {}, security.Safety()) is not None


def test_other_addresses_need_a_token() -> None:
    with pytest.raises(InputError, match="--token-file"):
        security.safety("0.0.0.0")
    with pytest.raises(InputError, match="--token-file"):
        security.safety("::")
    with pytest.raises(InputError, match="address in numbers"):
        security.safety("example.com", TOKEN)
    assert security.safety("127.0.0.5") == security.Safety()
    assert security.safety("0.0.0.0", TOKEN).knows("192.168.1.7:8000")
    assert not security.safety("0.0.0.0", TOKEN).knows("evil.example")
    assert security.safety("0.0.0.0", TOKEN, frozenset({"Box.lan"})).knows("box.LAN:8000")


def test_token_missing_on_any_route() -> None:
    app = new_app(security.safety("0.0.0.0", TOKEN), [router()])
    paths = {(m, r.path) for r in iter_route_contexts(app.routes) for m in r.methods or ()}
    assert ("POST", "/act") in paths
    with TestClient(app, base_url="http://10.0.0.1:8000") as c:
        for method, path in [*sorted(paths), ("GET", "/nothing"), ("PUT", "/act")]:
            for headers in ({}, {"authorization": f"Bearer {TOKEN}x"}, {"authorization": f"Basic {TOKEN}"}):
                status = c.request(method, path, headers=headers).status_code
                assert status == (200 if path == "/health" and method == "GET" else 401), (method, path)
        assert c.get("/page", params={"token": TOKEN}).status_code == 401  # without cookies no token in addresses
        assert c.get("/page", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_a_page_opened_with_the_token_gets_a_cookie_that_is_not_the_token() -> None:
    with client(security.safety("127.0.0.1", TOKEN, cookie="genloom-8000")) as c:
        assert c.get("/page").status_code == 401
        assert c.get("/page?token=wrong").status_code == 401
        assert c.post(f"/act?token={TOKEN}", json={"text": "a"}).status_code == 401
        opened = c.get(f"{HERE}//evil.example/page?a=1&token={TOKEN}")
        assert (opened.status_code, opened.headers["location"]) == (303, "/evil.example/page?a=1")
        assert TOKEN not in str(opened.headers)
        assert {"HttpOnly", "SameSite=Strict"} <= set(opened.headers["set-cookie"].split("; "))
        assert c.get("/page").status_code == 200
        assert c.post("/act", json={"text": "a"}, headers={"origin": "http://127.0.0.1:1"}).status_code == 403


def test_every_answer_carries_the_headers() -> None:
    with client() as c:
        for answer in (c.get("/page"), c.get("/nothing"), c.get("/broken"), c.get("/page", headers={"host": "x"})):
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert answer.headers["x-content-type-options"] == "nosniff"
        assert c.get("/page").headers["content-security-policy"] == security.PAGE
        broken = c.get("/broken")
        assert broken.status_code == 500
        assert "secret" not in broken.text


def test_bodies_are_limited_in_bytes(here: TestClient) -> None:
    large = b'{"text": "' + b"a" * BODY + b'"}'
    assert here.post("/act", content=large, headers={"content-type": "application/json"}).status_code == 413
    pieces = (large[i : i + 2**20] for i in range(0, len(large), 2**20))  # chunked: no length is told
    assert here.post("/act", content=pieces, headers={"content-type": "application/json"}).status_code == 413
    assert here.post("/upload", files={"file": b"a" * BODY}).json() == {"bytes": BODY}
    refused = here.post("/upload", files={"file": b"a" * (2 * BODY)})
    assert refused.status_code == 413
    assert refused.json()["error"]["type"] == "invalid_request_error"


def test_errors_have_the_form_of_openai(here: TestClient) -> None:
    unknown = here.post("/act", json={"text": "a", "extra": 1}).json()["error"]
    assert set(unknown) == {"message", "type", "param", "code"}
    assert (unknown["type"], unknown["param"]) == ("invalid_request_error", "extra")
    assert message(here.post("/act", content=b"{", headers={"content-type": "application/json"})).startswith("the body")
    assert "/openapi.json" in message(here.get("/docs"))  # no page that fetches scripts from elsewhere


@pytest.mark.parametrize("name", ["..", ".", "", "../x", "a/b", "a\\b", "/etc", "C:x", "a\0b", "link", "a\nb"])
def test_path_traversal_in_names(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    os.symlink(tmp_path, folder / "link")
    with pytest.raises(InputError, match="not the name"):
        security.inside(folder, name)


def test_a_plain_name_is_inside(tmp_path: Path) -> None:
    assert security.inside(tmp_path, "数字 1") == tmp_path / "数字 1"


def test_tokens_in_files(tmp_path: Path) -> None:
    file = tmp_path / "token"
    with pytest.raises(InputError, match="there is no file"):
        security.read_token(file)
    for bad in ("", "short", "with spaces in it all", "中文" * 10):
        file.write_text(bad, "utf-8")
        with pytest.raises(InputError, match="at least 16"):
            security.read_token(file)
    file.write_text(f"{TOKEN}\n", "utf-8")
    assert security.read_token(file) == TOKEN
    assert TOKEN not in repr(security.safety(token=TOKEN))


def test_names_in_downloads_are_quoted() -> None:
    value = security.attachment('a"\r\nset-cookie: x; 数.svg')["content-disposition"]
    assert "\r" not in value and '"' not in value and value.startswith("attachment; filename*=utf-8''a%22")
