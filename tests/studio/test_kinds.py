"""Samples of every modality over HTTP: they are those of the run, whole files that can be verified and made again."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

import genloom
from genloom.provenance import verify
from genloom.run import reproduce
from genloom.studio import server
from genloom.studio.security import Safety
from played import train

KINDS = ("people", "music", "molecules", "ruins", "proteins", "chat")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kinds") / "runs"
    train(folder)
    cell = {"family.cell": "gru", "family.width": 16, "family.hidden": 32, "train.batch": 16, "train.grids": 0}
    genloom.train("toy-proteins", model="autoregressive", steps=6, settings=cell, out=folder / "proteins")
    talks = folder.parent / "talks.jsonl"
    lines = [
        {"messages": [{"role": "user", "content": f"Count to {i}"}, {"role": "assistant", "content": f"Done {i}."}]}
        for i in range(60)
    ]
    talks.write_text("\n".join(map(json.dumps, lines)))
    small = {"family.width": 16, "family.depth": 1, "family.heads": 2, "train.batch": 8, "train.grids": 0}
    genloom.train(talks, task="chat", steps=6, settings=small, out=folder / "chat")
    return folder


@pytest.fixture(scope="module")
def client(runs: Path) -> Iterator[TestClient]:
    app = server.server_app([runs / n for n in KINDS], Safety())
    with TestClient(app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False) as c:
        yield c


def asked(client: TestClient, **body: Any) -> dict[str, Any]:
    answer = client.post("/v1/generate", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def saved(made: dict[str, Any], folder: Path) -> list[Path]:
    """The outputs and their record in a folder, as a client would keep them."""
    folder.mkdir()
    (folder / "provenance-0.json").write_text(json.dumps(made["provenance"]), "utf-8")
    for output in made["outputs"]:
        (folder / output["name"]).write_bytes(base64.b64decode(output["data"]))
    return [folder / o["name"] for o in made["outputs"]]


@pytest.mark.parametrize(
    ("name", "endings"),
    [("music", {".mid", ".wav"}), ("molecules", {".smi"}), ("ruins", {".txt", ".png"}),
     ("proteins", {".fasta"})],
)  # fmt: skip
def test_files_of_every_kind_hold_and_can_be_made_again(
    client: TestClient, runs: Path, tmp_path: Path, name: str, endings: set[str]
) -> None:
    options = {"max_tokens": 40} if name in ("music", "proteins") else {}
    made = asked(client, model=name, n=2, seed=7, options=options)
    files = saved(made, tmp_path / "got")
    assert endings <= {f.suffix for f in files}, [f.name for f in files]
    for file in files:
        assert verify(file).holds, file.name
    for file in (f for f, o in zip(files, made["outputs"], strict=True) if o["index"] == 1):
        again = reproduce(file, runs / name)
        assert again.same and again.intact, file.name
    body = {"model": name, "n": 2, "seed": 7, "options": options, "format": "file"}
    packed = client.post("/v1/generate", json=body)
    assert packed.headers["content-disposition"].startswith("attachment")


def test_rows_of_a_table_are_those_of_the_run(client: TestClient, runs: Path, tmp_path: Path) -> None:
    run = genloom.load(runs / "people")
    made = asked(client, model="people", n=200, seed=5, where="city=A,age>30")
    expected = run.sample(200, seed=5, where="city=A,age>30")
    rows = list(csv.DictReader(io.StringIO(base64.b64decode(made["outputs"][0]["data"]).decode())))
    assert [int(r["age"]) for r in rows] == expected["age"].tolist() and {r["city"] for r in rows} == {"A"}
    assert made["rows"] == rows
    (file,) = saved(made, tmp_path / "got")
    assert file.name == "rows.csv" and verify(file).holds and reproduce(file, runs / "people").same
    # Another seed gives other rows, whatever else is computed.
    assert asked(client, model="people", n=200, seed=6)["rows"] != asked(client, model="people", n=200, seed=5)["rows"]
    whole = client.post("/v1/generate", json={"model": "people", "n": 3, "seed": 1, "format": "file"})
    assert whole.headers["content-type"].startswith("text/csv") and whole.text.count("\n") == 4


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"model": "people", "where": "city=Z"}, "no level of city 'Z'"),
        ({"model": "people", "where": "town=A"}, "there is no column 'town'"),
        ({"model": "people", "where": "age>900"}, "no row can have age>900"),
        ({"model": "people", "n": 10_001}, "at most 10000 rows"),
        ({"model": "people", "prompt": "x"}, "only models of sequences"),
        ({"model": "music", "where": "a=b"}, "is not a model of tables"),
        ({"model": "proteins", "prompt": "123"}, "is no residue"),
    ],
)
def test_what_cannot_be_met_is_told(client: TestClient, body: dict[str, Any], says: str) -> None:
    answer = client.post("/v1/generate", json=body)
    assert answer.status_code == 400 and says in answer.json()["error"]["message"], answer.text


def test_a_run_that_learnt_to_talk_answers(client: TestClient) -> None:
    talk = {"model": "chat", "messages": [{"role": "user", "content": "Count to 3"}], "max_tokens": 12, "seed": 4}
    answer = client.post("/v1/chat/completions", json=talk).json()
    assert answer["choices"][0]["message"]["role"] == "assistant" and answer["usage"]["completion_tokens"] <= 12
    again = client.post("/v1/chat/completions", json=talk).json()
    assert again["choices"][0]["message"] == answer["choices"][0]["message"]
    stream = client.post("/v1/chat/completions", json={**talk, "stream": True}).text
    told = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith("data: {")]
    said = "".join(t["choices"][0]["delta"].get("content") or "" for t in told if t["choices"])
    assert said == answer["choices"][0]["message"]["content"] and stream.rstrip().endswith("data: [DONE]")
