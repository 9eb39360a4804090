"""The server as a whole: native samples, several runs in little memory, clients that go away, limits, safety."""

from __future__ import annotations

import base64
import contextlib
import gzip
import io
import json
import re
import socket
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import safetensors
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient
from PIL import Image

import genloom
from genloom.core.errors import GenloomError, InputError, Unreadable
from genloom.core.files import sha256_of
from genloom.core.run import WEIGHTS
from genloom.data.archive import members_of
from genloom.modalities.image import Image as Pictures
from genloom.provenance import load_identity, mark
from genloom.provenance.record import read_record
from genloom.provenance.verify import verify
from genloom.studio import server
from genloom.studio.limits import Limits
from genloom.studio.security import Safety, safety
from genloom.studio.shelf import entry_of
from pictures import huge_png

Serve = Callable[..., contextlib.AbstractContextManager[TestClient]]
TOKEN = "abcdefghijklmnop-0123"


def message(answer: httpx.Response) -> str:
    return str(answer.json()["error"]["message"])


# -- native samples -------------------------------------------------------------------------------------------------


def test_generate_gives_marked_files_and_their_record(client: TestClient, runs: Path, tmp_path: Path) -> None:
    answer = client.post("/v1/generate", json={"model": "digits", "n": 3, "label": ["7", "1"], "seed": 5})
    made = answer.json()
    assert (made["schema"], made["kind"], made["seed"]) == ("genloom.generate/1", "image", 5)
    assert [(o["label"], o["index"], o["media_type"]) for o in made["outputs"]] == [
        ("7", 0, "image/png"), ("1", 1, "image/png"), ("7", 2, "image/png"),
    ]  # fmt: skip
    expected = genloom.load(runs / "digits").sample(3, label=["7", "1"], seed=5)
    for output, picture in zip(made["outputs"], expected, strict=True):
        data = base64.b64decode(output["data"])
        with Image.open(io.BytesIO(data)) as shown:
            assert shown.tobytes() == picture.tobytes()
        assert (mark.find(data, ".png") or {})["run"] == "digits"
        (tmp_path / output["name"]).write_bytes(data)
    record = tmp_path / "provenance-0.json"
    record.write_text(json.dumps(made["provenance"]), "utf-8")
    assert read_record(record, load_identity()).own
    for output in made["outputs"]:
        assert verify(tmp_path / output["name"]).holds, output


def test_generate_gives_texts(client: TestClient, runs: Path) -> None:
    asked = {"model": "names", "n": 2, "seed": 4, "prompt": "Be", "stop": ["z"], "options": {"temperature": 0.7}}
    made = client.post("/v1/generate", json=asked).json()
    expected = genloom.load(runs / "names").sample(2, seed=4, prompt="Be", stop=["z"], options={"temperature": 0.7})
    assert [o["text"] for o in made["outputs"] if o["index"] is not None] == expected


def test_generate_gives_a_file_or_a_zip_to_download(client: TestClient) -> None:
    one = client.post("/v1/generate", json={"model": "digits", "n": 1, "format": "file", "seed": 1})
    assert one.headers["content-type"] == "image/png" and one.content.startswith(b"\x89PNG")
    several = client.post("/v1/generate", json={"model": "digits", "n": 2, "format": "file", "seed": 1})
    assert several.headers["content-disposition"] == "attachment; filename*=utf-8''digits-1.zip"
    with zipfile.ZipFile(io.BytesIO(several.content)) as archive:
        names = archive.namelist()
        assert sum(n.endswith(".png") for n in names) == 2 and "provenance-record.json" in names
        assert archive.read(next(n for n in names if n.endswith(".png"))).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"model": "digits", "label": "x"}, "there is no label 'x'"),
        ({"model": "digits", "properties": {"age": 3}}, "without properties"),
        ({"model": "digits", "prompt": "x"}, "only models of sequences"),
        ({"model": "digits", "prompt": {"data": "eA=="}}, "takes text"),
        ({"model": "digits", "known": {"data": "not base64"}}, "not base64"),
        ({"model": "digits", "known": {"data": "eA=="}}, "cannot fill in parts"),
        ({"model": "digits", "n": 1000}, "at most 64"),
        ({"model": "digits", "options": {"steps": 300}}, "at most 250"),
        ({"model": "digits", "options": {"stpes": 3}}, "did you mean"),
        ({"model": "digits", "colour": "red"}, "does not know it"),
        ({"model": "prose", "prompt": "a" * 5000}, "at most 4096"),
    ],
)
def test_what_a_model_cannot_honour_is_an_error(client: TestClient, body: dict[str, Any], words: str) -> None:
    answer = client.post("/v1/generate", json=body)
    assert answer.status_code == 400 and words in message(answer), answer.text


# -- several runs -----------------------------------------------------------------------------------------------------


def test_runs_are_loaded_on_demand_and_the_least_recently_used_unloaded(serve: Serve, runs: Path) -> None:
    sizes = {n: (runs / n / WEIGHTS).stat().st_size for n in ("prose", "names", "digits")}
    room = max(sizes.values()) + sorted(sizes.values())[1] + 1000
    assert room < sum(sizes.values())
    with serve("prose", "names", "digits", limits=Limits(memory=room)) as c:

        def ask(name: str) -> set[str]:
            body = {"model": name, "n": 1, "options": {"steps": 1} if name == "digits" else {"max_tokens": 2}}
            assert c.post("/v1/generate", json=body).status_code == 200
            return {n for n, state in c.get("/ready").json()["models"].items() if state == "loaded"}

        assert c.get("/ready").json()["models"] == dict.fromkeys(("prose", "names", "digits"), "on disk")
        assert ask("prose") == {"prose"}
        assert "names" in ask("names")
        last = ask("digits")
        assert "digits" in last and "prose" not in last  # the one that was used longest ago
        assert "prose" in ask("prose")


def test_runs_that_cannot_be_served(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="both called prose"):
        server.server_app([runs / "prose", runs / "prose"], Safety())
    with pytest.raises(InputError, match="--memory"):
        server.server_app([runs / "prose"], Safety(), Limits(memory=1000))
    with pytest.raises(InputError, match="not a run"):
        entry_of(tmp_path)


# -- under load -------------------------------------------------------------------------------------------------------


def test_a_full_queue_is_429_with_retry_after(serve: Serve) -> None:
    with serve("prose", limits=Limits(rows=1, waiting=1, tokens=100_000)) as c:
        body = {"model": "prose", "prompt": "It", "max_tokens": 300}
        c.post("/v1/completions", json={**body, "max_tokens": 1})
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: c.post("/v1/completions", json=body), range(8)))
        assert {a.status_code for a in answers} == {200, 429}
        refused = next(a for a in answers if a.status_code == 429)
        assert int(refused.headers["retry-after"]) >= 1 and refused.json()["error"]["type"] == "rate_limit_error"


def test_a_deadline_is_504(serve: Serve) -> None:
    with serve("prose", limits=Limits(seconds=0.05, tokens=100_000)) as c:
        answer = c.post("/v1/completions", json={"model": "prose", "max_tokens": 50_000})
        assert answer.status_code == 504
        stream = c.post("/v1/completions", json={"model": "prose", "max_tokens": 50_000, "stream": True})
        assert '"timeout_error"' in stream.text and "[DONE]" not in stream.text


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_hangs_up_is_noticed(live: str, stream: bool) -> None:
    host, port = live.removeprefix("http://").split(":")
    body = json.dumps({"model": "prose", "prompt": "It", "max_tokens": 4000, "stream": stream}).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
    with socket.create_connection((host, int(port))) as sock:
        sock.sendall(head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        wait(live, r'genloom_samples_under_way\{model="prose"\} 1.0')
    wait(live, r'genloom_samples_under_way\{model="prose"\} 0.0')
    # far sooner than 4,000 tokens take: they never were
    assert httpx.post(f"{live}/v1/completions", json={"model": "prose", "max_tokens": 1}).status_code == 200


def wait(live: str, pattern: str) -> None:
    for _ in range(2000):
        if re.search(pattern, httpx.get(f"{live}/metrics").text):
            return
        time.sleep(0.005)
    raise AssertionError(f"{pattern} never came")


def test_metrics_tell_what_happened(serve: Serve) -> None:
    with serve("prose") as c:
        c.post("/v1/completions", json={"model": "prose", "max_tokens": 5, "n": 2})
        c.post("/v1/completions", json={"model": "prose", "max_tokens": 5, "stream": True})
        c.post("/v1/completions", json={"model": "none"})
        text = c.get("/metrics").text
        assert 'genloom_tokens_total{model="prose"} 15.0' in text
        assert 'genloom_samples_total{model="prose"} 3.0' in text
        assert 'genloom_requests_total{route="/v1/completions",status="200"} 2.0' in text
        assert 'genloom_requests_total{route="/v1/completions",status="404"} 1.0' in text
        assert 'genloom_first_token_seconds_count{model="prose"} 1.0' in text
        assert 'genloom_model_bytes{model="prose"}' in text


# -- safety of the real routes ----------------------------------------------------------------------------------------


def test_token_missing_on_any_route(runs: Path) -> None:
    app = server.server_app([runs / "prose"], safety("0.0.0.0", TOKEN))
    routes = sorted((m, r.path) for r in iter_route_contexts(app.routes) for m in r.methods or ())
    assert {
        "/v1/models", "/v1/completions", "/v1/chat/completions", "/v1/images/generations", "/v1/generate", "/health",
        "/ready", "/metrics", "/openapi.json", "/v1/models/{model}", "/v1/audio/speech",
    } <= {p for _, p in routes}  # fmt: skip
    with TestClient(app, base_url="http://10.0.0.1:8000") as c:
        for method, path in routes:
            for headers in (
                {},
                {"authorization": "Bearer wrong"},
                {"authorization": TOKEN},
                {"cookie": f"token={TOKEN}"},
            ):
                status = c.request(method, path, headers=headers).status_code
                assert status == (200 if path == "/health" else 401), (method, path, headers)
        assert c.get("/v1/models", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
        assert c.get(f"/v1/models?token={TOKEN}").status_code == 401


@pytest.mark.parametrize("name", ["../prose", "..%2fprose", "%2e%2e/prose", "/etc/passwd", "prose/../../x", "a\x00b"])
def test_path_traversal_in_names_of_models(client: TestClient, name: str) -> None:
    assert client.get(f"/v1/models/{name}" if "\x00" not in name else "/v1/models/a%00b").status_code == 404
    answer = client.post("/v1/completions", json={"model": name, "prompt": ""})
    assert answer.status_code == 404 and "root:" not in answer.text


def test_a_prompt_is_never_a_path(client: TestClient) -> None:
    answer = client.post("/v1/generate", json={"model": "names", "prompt": "/etc/passwd"})
    assert answer.status_code == 400 and "does not know" in message(answer)


def test_oversized_tensor_header(runs: Path, tmp_path: Path) -> None:
    """A header that claims 2^62 bytes, or tensors that are not in the file, is refused before memory is taken."""
    with pytest.raises(safetensors.SafetensorError):
        safetensors.deserialize((2**62).to_bytes(8, "little") + b"{}")
    run = tmp_path / "run"
    run.mkdir()
    for file in ("config.json", "modality.json", "manifest.json"):
        (run / file).write_bytes((runs / "prose" / file).read_bytes())
    head = b'{"a":{"dtype":"F32","shape":[4294967296,1073741824],"data_offsets":[0,18446744073709551608]}}'
    (run / WEIGHTS).write_bytes(len(head).to_bytes(8, "little") + head)
    (run / "resume").mkdir()
    app = server.server_app([run], Safety())
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as c:
        answer = c.post("/v1/completions", json={"model": "run", "prompt": ""})
        assert answer.status_code in (400, 500) and "Traceback" not in answer.text
        assert c.get("/health").status_code == 200
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["files"][WEIGHTS] = sha256_of(run / WEIGHTS)
    (run / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(GenloomError, match="cannot be read"):
        genloom.load(run)


def test_decompression_bomb(client: TestClient) -> None:
    """A picture of a few hundred bytes that claims 3.6 billion pixels, and a compressed body, which is no JSON here."""
    with pytest.raises(Unreadable):
        Pictures.read(huge_png(), Pictures.Config())
    packed = gzip.compress(b" " * 2**24)
    answer = client.post(
        "/v1/generate", content=packed, headers={"content-encoding": "gzip", "content-type": "application/json"}
    )
    assert answer.status_code == 400


def test_path_traversal_in_archives(tmp_path: Path) -> None:
    for name in ("../evil.png", "/abs.png", "a/../../b.png", "C:\\x.png", "..\\x.png"):
        path = tmp_path / "a.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, b"x")
        with pytest.raises(InputError, match="outside the archive"):
            members_of(path)


def test_the_document_of_the_api_names_no_outside_script(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert {"/v1/completions", "/v1/generate", "/metrics"} <= set(document["paths"])
    assert client.get("/docs").status_code == client.get("/redoc").status_code == 404
