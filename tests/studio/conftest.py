"""One tiny run of each kind that is served, trained once, and servers of them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

import genloom
from genloom.studio import server
from genloom.studio.chat import Template
from genloom.studio.limits import Limits
from genloom.studio.security import Safety

HERE = "http://127.0.0.1:8000"
PROSE = "".join(f"Chapter {i}\n\nIt was the {i}th day, and the rain had not stopped.\n\n" for i in range(60))
NAMES = [f"{a}{b}{c}" for a in ("Al", "Ber", "Car", "Dor", "Ed") for b in ("a", "o", "i") for c in ("n", "ne", "lia")]
TEMPLATE = "{% for m in messages %}{{ m.content }}\n{% endfor %}"


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """prose: a stream of characters. names: lines. digits: a flow with classes."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "prose.txt").write_text(PROSE, "utf-8")
    (folder / "names.txt").write_text("\n".join(NAMES), "utf-8")
    small = {"family": {"cell": "transformer", "width": 16, "depth": 2, "heads": 2, "context": 32, "ngram_rows": 64}}
    tiny = {"family": {"width": 8}, "train": {"batch": 32}}
    genloom.train(folder / "prose.txt", model="autoregressive", steps=30, out=folder / "prose", settings=small)
    genloom.train(folder / "names.txt", model="autoregressive", steps=30, out=folder / "names", settings=small)
    genloom.train("digits", model="flow", steps=4, out=folder / "digits", settings=tiny)
    return folder


@pytest.fixture(scope="session")
def serve(runs: Path) -> Callable[..., contextlib.AbstractContextManager[TestClient]]:
    """A client of a server of some of the runs."""

    @contextlib.contextmanager
    def made(
        *names: str,
        rules: Safety = Safety(),  # noqa: B008 (frozen)
        limits: Limits = Limits(),  # noqa: B008 (frozen)
        template: str | None = None,
    ) -> Iterator[TestClient]:
        file = runs / "template.jinja"
        file.write_text(template or "", "utf-8")
        app = server.server_app(
            [runs / n for n in names], rules, limits, Template(file) if template is not None else None
        )
        with TestClient(app, base_url=HERE, raise_server_exceptions=False) as client:
            yield client

    return made


@pytest.fixture(scope="session")
def client(serve: Callable[..., contextlib.AbstractContextManager[TestClient]]) -> Iterator[TestClient]:
    with serve("prose", "names", "digits", template=TEMPLATE) as c:
        yield c


@pytest.fixture(scope="session")
def live(runs: Path) -> Iterator[str]:
    """The address of a server at a real port, for clients that need one."""
    import uvicorn

    file = runs / "live.jinja"
    file.write_text(TEMPLATE, "utf-8")
    app = server.server_app([runs / n for n in ("prose", "names", "digits")], Safety(), template=Template(file))
    sock = server.listen("127.0.0.1", 0)
    running = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on", ws="none"))
    thread = threading.Thread(target=running.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    running.should_exit = True
    thread.join()
