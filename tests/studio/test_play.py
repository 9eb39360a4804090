"""The playground: what runs can be asked for, and the files that come of it."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from genloom import api
from genloom.data.midi import PITCH, QUARTER, TRACK, Piece, midi_bytes, read_midi
from genloom.provenance import mark, verify
from genloom.run import reproduce
from genloom.run.latents import CODED
from genloom.studio import security
from genloom.studio.app import new_app
from genloom.studio.pages import making
from genloom.studio.pages.router import pages
from genloom.studio.pages.workspace import Workspace
from played import train
from scores import chorale

HERE = "http://127.0.0.1:7777"


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    space = Workspace(tmp_path_factory.mktemp("studio"))
    train(space.runs)
    return space


@pytest.fixture(scope="module")
def client(space: Workspace) -> Iterator[TestClient]:
    app = new_app(security.safety("127.0.0.1"), [pages(space.root)])
    with TestClient(app, base_url=HERE, headers={"accept": "application/json"}) as c:
        yield c


def made(client: TestClient, run: str, **asked: Any) -> dict[str, Any]:
    answer = client.post(f"/runs/{run}/play/samples", json={"n": 2, "seed": 5, **asked})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize(
    ("run", "endings"),
    [
        ("digits", {"png"}), ("gan", {"png"}), ("names", {"txt"}), ("molecules", {"sdf", "smi"}),
        ("music", {"mid", "wav", "png"}), ("ruins", {"txt", "png", "tmx"}),
    ],
)  # fmt: skip
def test_each_kind_is_written_in_its_formats_with_marks(
    client: TestClient, space: Workspace, run: str, endings: set[str]
) -> None:
    assert client.get(f"/runs/{run}/play").status_code == 200
    batch = made(client, run)
    names = [f["name"] for f in batch["files"]]
    own = [n for n in names if n.startswith("0000")]
    assert {n.rpartition(".")[2] for n in own} <= endings and len({n.split(".")[0] for n in own}) == 2
    assert client.get(f"/runs/{run}/made/{batch['id']}").json() == batch
    place = f"/runs/{run}/made/{batch['id']}"
    for name in own:
        answer = client.get(f"{place}/{name}", params={"download": True})
        assert answer.headers["content-disposition"].startswith("attachment")
        facts = mark.find(answer.content, Path(name).suffix)
        assert name.endswith((".txt", ".tmx")) or (facts is not None and facts["run"] == run), name
        assert verify(space.own / "made" / run / batch["id"] / name).holds
    with zipfile.ZipFile(io.BytesIO(client.get(f"{place}/all.zip").content)) as z:
        assert set(z.namelist()) == set(names) and any(n.startswith("provenance-") for n in names)


@pytest.mark.parametrize(("run", "file"), [("digits", "000001-7.png"), ("names", "000001.txt"), ("digits", "all.png")])
def test_what_was_drawn_can_be_made_again(client: TestClient, space: Workspace, run: str, file: str) -> None:
    batch = made(client, run, label="7") if run == "digits" else made(client, run, prompt="an")
    again = reproduce(space.own / "made" / run / batch["id"] / file, space.runs / run)
    assert again.same and again.intact


def test_rows_of_a_table_meet_conditions_and_can_be_made_again(client: TestClient, space: Workspace) -> None:
    batch = made(client, "people", n=30, where="city=A,age>30")
    path = space.own / "made" / "people" / batch["id"] / "rows.csv"
    rows = [line.split(",") for line in path.read_text().splitlines()]
    assert len(rows) == 31 and all(r[1] == "A" and float(r[0]) > 30 for r in rows[1:])
    assert reproduce(path, space.runs / "people").same
    wrong = client.post("/runs/people/play/samples", json={"n": 1, "where": "town=A"})
    assert wrong.status_code == 400 and "there is no column 'town'" in wrong.json()["error"]["message"]


def test_levels_can_be_asked_to_be_playable(client: TestClient, space: Workspace) -> None:
    run = api.load(space.runs / "ruins")
    batch = made(client, "ruins", only="playable", repair=True)
    folder = space.own / "made" / "ruins" / batch["id"]
    for text in sorted(folder.glob("0*.txt")):
        assert run.modality.shows_trait("playable", text.read_text().rstrip("\n"))  # type: ignore[attr-defined]
    assert reproduce(folder / "000001.png", space.runs / "ruins").same


def sent(name: str, data: bytes) -> dict[str, str]:
    """A file as the page sends it."""
    return {"name": name, "data": base64.b64encode(data).decode()}


def test_a_given_voice_is_kept_and_the_others_are_written(client: TestClient, space: Workspace) -> None:
    tops = [steps[0] for steps in chorale(3)[::4]]  # a note a beat
    tune = [(QUARTER * k, QUARTER, pitch) for k, pitch in enumerate(tops)]
    given = Piece(np.array([(*note, 90, 0) for note in tune], np.int32))
    batch = made(client, "music", known=sent("tune.mid", midi_bytes(given)), keep="1")
    assert batch["task"] == "complete" and sum(f["name"].endswith(".wav") for f in batch["files"]) == 2
    others = set()
    for name in ("000000.mid", "000001.mid"):
        path = space.own / "made" / "music" / batch["id"] / name
        notes = read_midi(path.read_bytes()).notes
        assert verify(path).holds and set(notes[:, TRACK]) > {0}
        assert [tuple(n) for n in notes[notes[:, TRACK] == 0, : PITCH + 1].tolist()] == tune
        others.add(notes[notes[:, TRACK] > 0].tobytes())
    assert len(others) == 2


def test_gaps_of_a_table_are_filled_and_what_is_given_stays(client: TestClient, space: Workspace) -> None:
    holes = b"age,city,colour\n33,,red\n,B,\n41,A,blue\n"
    batch = made(client, "people", fill=sent("holes.csv", holes))
    path = space.own / "made" / "people" / batch["id"] / "rows.csv"
    rows = [line.split(",") for line in path.read_text().splitlines()][1:]
    assert [r[0] for r in rows][::2] == ["33", "41"] and [r[1] for r in rows][1:] == ["B", "A"]
    assert rows[0][2] == "red" and rows[1][2] in ("red", "blue") and rows[2] == ["41", "A", "blue"]
    assert rows[0][1] in ("A", "B") and 20 <= float(rows[1][0]) < 60 and verify(path).holds
    for asked, says in (
        ({"fill": sent("a.xlsx", holes)}, "is a .csv or .tsv file here"),
        ({"fill": sent("a.csv", holes), "where": "city=A"}, "leave the conditions out"),
        ({"fill": sent("a.csv", b"x\n" * 10_002)}, "10,000 rows can be filled at once"),
        ({"fill": sent("a.csv", b"age,city\n1,Z\n")}, "'Z'"),
        ({"fill": {"name": "a.csv", "data": "§"}}, "a file is sent as"),
    ):
        answer = client.post("/runs/people/play/samples", json={"n": 1, **asked})
        assert answer.status_code == 400 and says in answer.json()["error"]["message"], answer.text


@pytest.mark.parametrize(
    ("run", "known", "says"),
    [("music", b"MThd nothing", "cannot be read"), ("music", b"", "cannot be read")],
)
def test_a_piece_that_is_none_is_told(client: TestClient, run: str, known: bytes, says: str) -> None:
    answer = client.post(f"/runs/{run}/play/samples", json={"n": 1, "known": sent("a.mid", known)})
    assert answer.status_code == 400 and says in answer.json()["error"]["message"], answer.text


def test_samples_between_a_beginning_and_an_end(client: TestClient, space: Workspace) -> None:
    batch = made(client, "names", prompt="an", suffix="os")
    assert all(t.startswith("an") and t.endswith("os") for t in batch["texts"])
    assert reproduce(space.own / "made" / "names" / batch["id"] / "000001.txt", space.runs / "names").same
    answer = client.post("/runs/names/play/stream", json={"prompt": "an", "suffix": "os"})
    assert "cannot be led to a given end" in answer.text
    whole = made(client, "ruins", n=1)
    level = (space.own / "made" / "ruins" / whole["id"] / "000000.txt").read_text().rstrip("\n").split("\n")
    begun = made(client, "ruins", prompt="\r\n".join(line[:2] for line in level))
    for file in ("000000.txt", "000001.txt"):
        lines = (space.own / "made" / "ruins" / begun["id"] / file).read_text().rstrip("\n").split("\n")
        assert [line[:2] for line in lines] == [line[:2] for line in level]


def test_wishes_reach_the_model(client: TestClient, space: Workspace) -> None:
    run = api.load(space.runs / "names")
    expected = run.sample(2, seed=5, prompt="be", options={"temperature": 0.5, "max_tokens": 6})
    assert made(client, "names", prompt="be", options={"temperature": "0.5", "max_tokens": "6"})["texts"] == expected
    assert all(t.startswith("be") for t in expected)


def test_a_text_that_is_written_word_by_word_is_the_one_that_is_drawn(client: TestClient) -> None:
    answer = client.post("/runs/names/play/stream", json={"seed": 3, "prompt": "an"})
    told = [json.loads(line) for line in answer.text.splitlines()]
    batch = told[-1]["batch"]
    assert "an" + "".join(t["piece"] for t in told[:-1]) == batch["texts"][0]
    assert batch["texts"] == made(client, "names", n=1, seed=3, prompt="an")["texts"]


def test_ways_and_latents(client: TestClient, space: Workspace) -> None:
    ways = client.post("/runs/digits/play/ways", json={"seed": 1, "steps": 4, "rows": 2}).json()
    assert ways["sheet"] == "ways.png"
    assert reproduce(space.own / "made" / "digits" / ways["id"] / "ways.png", space.runs / "digits").same
    for run in ("digits", "gan"):
        asked: dict[str, Any] = {"seed": 1, "label": "4"}
        found = client.post(f"/runs/{run}/play/sliders", json=asked).json()
        assert 1 <= len(found) <= making.LATENTS and all(f["spread"] > 0 for f in found)
        spreads = {str(f["latent"]): f["spread"] for f in found}
        pictures = []
        for by in (0.0, 3.0, 0.0):
            moves = {str(found[0]["latent"]): by}
            seen = client.post(f"/runs/{run}/play/moved", json={**asked, "moves": moves, "spreads": spreads}).json()
            pictures.append(seen["picture"])
        assert pictures[0] == pictures[2] != pictures[1]
        kept = client.post(f"/runs/{run}/play/moved", json={**asked, "moves": {}, "spreads": {}, "keep": True}).json()
        png = space.own / "made" / run / kept["id"] / "000000.png"
        assert Image.open(png).size == (8, 8) and verify(png).holds
        moves = {str(found[0]["latent"]): 2.0}
        kept = client.post(
            f"/runs/{run}/play/moved", json={**asked, "moves": moves, "spreads": spreads, "keep": True}
        ).json()
        again = reproduce(space.own / "made" / run / kept["id"] / "000000.png", space.runs / run)
        assert again.same and again.intact  # a sample whose latents were moved, too


def test_ways_and_latents_of_rows(client: TestClient, space: Workspace) -> None:
    rows = pd.DataFrame({"age": [20 + i % 50 for i in range(120)], "city": list("ABC" * 40)})
    tiny = {"family": {"latent": 4, "rows": {"width": 16}}, "train": {"batch": 32, "grids": 0}}
    api.train(rows, model="vae", steps=3, out=space.runs / "coded", settings=tiny)
    ways = client.post("/runs/coded/play/ways", json={"seed": 1, "steps": 4, "rows": 2})
    assert ways.status_code == 200, ways.text
    path = space.own / "made" / "coded" / ways.json()["id"] / "rows.csv"
    lines = [line.split(",") for line in path.read_text().splitlines()]
    assert lines[0] == ["age", "city"] and len(lines) == 9 and {line[1] for line in lines[1:]} <= set("ABC")
    assert reproduce(path, space.runs / "coded").same
    found = client.post("/runs/coded/play/sliders", json={"seed": 1}).json()
    moves = {str(found[0]["latent"]): 2.0}
    moved = client.post("/runs/coded/play/moved", json={"seed": 1, "moves": moves, "spreads": {}})
    assert moved.status_code == 200 and "age" in moved.text, moved.text


def test_a_code_that_is_not_moved_decodes_to_the_reconstruction(client: TestClient, space: Workspace) -> None:
    run = api.load(space.runs / "digits")
    x, _ = run.sample_tensor(CODED, seed=9)
    kept = client.post("/runs/digits/play/moved", json={"seed": 9, "moves": {}, "spreads": {}, "keep": True}).json()
    shown = Image.open(space.own / "made" / "digits" / kept["id"] / "000000.png")
    again = run.reconstruct([run.modality.decode(x[0])])[0]  # of the sample in whole levels of grey
    assert np.abs(np.asarray(shown, float) - np.asarray(again, float)).max() <= 2


@pytest.mark.parametrize(
    ("run", "what", "asked", "says"),
    [
        ("digits", "samples", {"n": 0}, "the number of samples is a whole number from 1 to 64"),
        ("digits", "samples", {"n": 10**9}, "the number of samples is a whole number"),
        ("digits", "samples", {"label": "cat"}, "there is no label 'cat'"),
        ("digits", "samples", {"options": {"temperature": "hot"}}, "temperature takes a number"),
        ("digits", "samples", {"options": {"temperature": "-1"}}, "options.temperature must be"),
        ("digits", "samples", {"seed": "x"}, "the seed is a whole number"),
        ("names", "samples", {"prompt": "x" * 5000}, "at most 4,000 characters"),
        ("names", "samples", {"prompt": "§"}, "§"),
        ("names", "ways", {}, "has no latent space"),
        ("names", "sliders", {}, "has no latents"),
        ("digits", "stream", {}, "does not write piece by piece"),
        ("digits", "moved", {"moves": {"99999": 1}, "spreads": {}}, "a latent is a whole number"),
        ("digits", "moved", {"moves": {"1": "far"}, "spreads": {}}, "a move is a number"),
        ("nothing", "samples", {}, "there is no run 'nothing'"),
    ],
)
def test_wishes_that_cannot_be_met_are_told(
    client: TestClient, run: str, what: str, asked: dict[str, Any], says: str
) -> None:
    answer = client.post(f"/runs/{run}/play/{what}", json=asked)
    assert answer.status_code in (400, 404) and says in answer.json()["error"]["message"], answer.text


def test_no_prompt_names_a_file(client: TestClient, tmp_path: Path) -> None:
    """A prompt of music is the path of a file on the command line."""
    batch = made(client, "music", prompt=str(tmp_path / "secret.mid"), source=str(tmp_path / "secret.mid"))
    assert batch["asked"]["prompt"] == "" and batch["asked"]["source"] is None


def test_few_batches_are_kept(client: TestClient, space: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "KEPT", 2)
    ids = [made(client, "gan", n=1, seed=i)["id"] for i in range(3)]
    kept = making.Made(space.own / "made" / "gan")
    assert kept.names() == ids[:0:-1]
    assert client.get(f"/runs/gan/made/{ids[0]}").status_code == 404


def test_json_that_is_none_is_refused(client: TestClient) -> None:
    for body in (b"", b"[1]", b"{" * 100_000, b'"x"'):
        assert client.post("/runs/digits/play/samples", content=body).status_code == 400
