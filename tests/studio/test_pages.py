"""The studio's pages without a browser: what they say, what they keep, and what they refuse."""

from __future__ import annotations

import io
import json
import re
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient

from genloom.core.config import DataConfig, TrainConfig, settings
from genloom.core.errors import InputError
from genloom.families import family_names, find_family
from genloom.modalities import find_modality
from genloom.studio import security
from genloom.studio.app import new_app
from genloom.studio.pages import data, words
from genloom.studio.pages.events import Place, news
from genloom.studio.pages.form import fields, given, toml
from genloom.studio.pages.jobs import Job
from genloom.studio.pages.router import pages
from genloom.studio.pages.standing import standing
from genloom.studio.pages.workspace import Missing, Workspace, free_name, new_name

HERE = "http://127.0.0.1:7777"
JSON = {"accept": "application/json"}
EVIL = "<script>alert(1)</script>"


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "work")


@pytest.fixture
def client(space: Workspace) -> Iterator[TestClient]:
    app = new_app(security.safety("127.0.0.1"), [pages(space.root)])
    with TestClient(app, base_url=HERE, follow_redirects=False) as c:
        yield c


def make_run(space: Workspace, name: str, **config: Any) -> Path:
    folder = space.runs / name
    (folder / "samples").mkdir(parents=True)
    (folder / "resume").mkdir()
    told = {"model": "flow", "kind": "image", "data": {"path": "digits"}, "train": {"steps": 5}, **config}
    (folder / "config.json").write_text(json.dumps(told))
    (folder / "manifest.json").write_text(json.dumps({"data": {"name": "digits"}, "finished": "2026-01-01T00:00:00Z"}))
    return folder


def record(step: int) -> str:
    return json.dumps({"step": step, "fraction": step / 10, "losses": {"flow": 1 / step}, "seconds": step}) + "\n"


# -- words ---------------------------------------------------------------------------------------


def test_every_key_that_is_used_is_in_the_catalogue() -> None:
    folder = Path(str(files("genloom.studio")))
    used = set()
    for template in folder.glob("templates/*.j2"):
        used |= set(re.findall(r"""\bt\(['"]([\w.]+)['"][,)]""", template.read_text("utf-8")))
    assert len(used) > 80
    assert used <= set(words.catalogue())
    live = {k.removeprefix("live.") for k in words.catalogue() if k.startswith("live.")}
    assert set(re.findall(r"words\.(\w+)", (folder / "static/run.js").read_text("utf-8"))) <= live


def test_both_languages_put_the_same_values_in() -> None:
    for key, told in words.catalogue().items():
        held = {language: set(re.findall(r"\{\w*\}", text)) for language, text in told.items()}
        assert held["en"] == held["zh"], key
        assert told["zh"].strip() and told["en"].strip(), key


def test_meanings_of_settings_are_those_of_settings_that_there_are() -> None:
    options = {f.key for n in family_names() for f in fields(find_family(n).Options, "")}
    known = set(options)
    for section, config in (("data", DataConfig), ("train", TrainConfig), ("modality", find_modality("image").Config)):
        known |= {f.key for f in fields(config, section)}
    assert options <= set(words.Words("zh").section("setting")) <= known
    assert options == set(words.Words("zh").section("option"))  # what the playground calls them
    assert words.Words("en").find("setting.train_batch", "own") == "own"
    assert words.Words("zh").find("setting.train_batch", "own") == "每步的样本数。"


@pytest.mark.parametrize(
    ("accept", "language"),
    [("", "en"), ("zh-CN,zh;q=0.9,en;q=0.8", "zh"), ("de,en;q=0.5,zh;q=0.4", "en"), ("fr", "en"), ("zh;q=x", "en")],
)
def test_the_language_is_that_of_the_browser(accept: str, language: str) -> None:
    assert words.preferred(accept) == language


def test_the_switch_of_languages_is_kept_and_leads_nowhere_else(client: TestClient) -> None:
    answer = client.post("/settings", data={"language": "zh", "back": "/data"})
    assert answer.status_code == 303 and answer.headers["location"] == "/data"
    assert '<html lang="zh-Hans"' in client.get("/").text
    for back in ("//evil.example", "https://evil.example", "/\\evil.example", "x"):
        assert client.post("/settings", data={"language": "en", "back": back}).headers["location"] == "/"


# -- safety --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["..", ".", "", ".studio", "a/b", "a\\b", "a\0b", "x" * 300, "/etc"])
def test_names_that_lead_elsewhere_are_refused(space: Workspace, name: str) -> None:
    with pytest.raises(Missing):
        space.child(space.runs, name)


def test_links_out_of_the_workspace_are_refused(space: Workspace, client: TestClient, tmp_path: Path) -> None:
    make_run(Workspace(tmp_path / "other"), "secret")
    (space.runs / "link").symlink_to(tmp_path / "other/runs/secret")
    (make_run(space, "own") / "samples" / "x.png").symlink_to(tmp_path / "other/runs/secret/config.json")
    assert client.get("/runs/link").status_code == 404
    assert client.get("/runs/own/samples/x.png").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/runs/..%2f..%2fetc", "/runs/own/samples/..%2fconfig.json", "/runs/own/samples/%2e%2e", "/static/..%2fapp.py",
        "/runs/own/samples/nothing.png", "/data/own/%2e%2e", "/data/own/..%2fruns",
        "/data/own/set/shown/..%2fresult.json",
        "/data/evil/x", "/new/plan/..%2f..", "/runs/.studio", "/runs/own/samples/%00",
    ],
)  # fmt: skip
def test_no_path_of_a_request_leaves_the_workspace(client: TestClient, space: Workspace, path: str) -> None:
    make_run(space, "own")
    assert client.get(path, headers=JSON).status_code in (400, 404)


@pytest.mark.parametrize(
    "path", ["../x.png", "a/../../x", "/etc/x", ".hidden", "a/.ssh/x", "a\0b", "", "a/" * 13 + "x", "C:\\x\\..\\..\\y"]
)
def test_no_upload_is_put_elsewhere(client: TestClient, space: Workspace, path: str) -> None:
    key = client.post("/data/incoming").json()["key"]
    before = sorted(space.root.rglob("*"))
    answer = client.put(f"/data/incoming/{key}", params={"path": path}, content=b"x")
    if answer.status_code == 200:  # a leading slash is taken away
        assert [p for p in sorted(space.root.rglob("*")) if p not in before and p.is_file()] == [
            space.own / "incoming" / key / "etc" / "x"
        ]
    else:
        assert answer.status_code == 400 and sorted(space.root.rglob("*")) == before


def test_a_script_in_a_name_or_a_sample_is_text(client: TestClient, space: Workspace) -> None:
    name = EVIL.replace("/", "∕")
    folder = make_run(space, name, recipe=EVIL, data={"path": EVIL})
    (folder / "samples" / "final.txt").write_text(EVIL)
    (folder / "samples" / "final.svg").write_text(f"<svg>{EVIL}</svg>")
    (folder / "evaluation.json").write_text(EVIL)
    for path in ("/", f"/runs/{name}", f"/new?from={name}"):
        answer = client.get(path)
        assert "<script>alert" not in answer.text.replace("∕", "/"), path
        assert "'unsafe-inline'" not in answer.headers["content-security-policy"]
    shown = client.get(f"/runs/{name}/samples/final.txt")
    assert (
        shown.headers["content-type"].startswith("text/plain") and shown.headers["x-content-type-options"] == "nosniff"
    )
    saved = client.get(f"/runs/{name}/samples/final.svg")
    assert saved.headers["content-disposition"].startswith("attachment")
    assert saved.headers["content-type"] == "application/octet-stream"


def test_a_large_upload_is_refused_and_leaves_nothing(
    client: TestClient, space: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "MOST_FILE", 1000)
    key = client.post("/data/incoming").json()["key"]
    answer = client.put(f"/data/incoming/{key}", params={"path": "a.txt"}, content=b"x" * 1001, headers=JSON)
    assert answer.status_code == 400 and "too large" in answer.json()["error"]["message"]
    assert not list((space.own / "incoming" / key).iterdir())
    monkeypatch.setattr(data, "MOST_FILES", 1)
    assert client.put(f"/data/incoming/{key}", params={"path": "a.txt"}, content=b"x").status_code == 200
    assert client.put(f"/data/incoming/{key}", params={"path": "a.txt"}, content=b"x").status_code == 400
    assert client.put(f"/data/incoming/{key}", params={"path": "b.txt"}, content=b"x").status_code == 400
    assert client.put("/data/incoming/deadbeef", params={"path": "b.txt"}, content=b"x").status_code == 404


# -- data ----------------------------------------------------------------------------------------


def finished(job: Job, limit: float = 60) -> None:
    begun = time.monotonic()
    while job.alive:
        assert time.monotonic() - begun < limit, job.log.read_text()
        time.sleep(0.05)


def test_dropped_files_become_data_that_is_looked_at(client: TestClient, space: Workspace) -> None:
    key = client.post("/data/incoming").json()["key"]
    lines = "\n".join(f"{a}{b}" for a in ("an", "ber", "cor", "dal", "el") for b in ("na", "ta", "wen", "mir", "os"))
    client.put(f"/data/incoming/{key}", params={"path": "names.txt"}, content=lines.encode())
    assert client.post(f"/data/incoming/{key}/end", json={"name": "Elfen /名字"}).json() == {"name": "Elfen-名字"}
    finished(Job(space.own / "look" / "own-Elfen-名字"))
    page = client.get("/data/own/Elfen-名字")
    assert "This data can be trained on" in page.text and "anna" in page.text
    assert space.dataset("Elfen-名字").path == space.data / "Elfen-名字" / "names.txt"  # one file alone is the data


def test_data_that_cannot_be_trained_on_says_why(client: TestClient, space: Workspace) -> None:
    (space.data / "broken").mkdir()
    (space.data / "broken" / "x.zip").write_bytes(b"PK\x03\x04 not a zip")
    client.post("/data/own/broken/look")
    finished(Job(space.own / "look" / "own-broken"))
    text = client.get("/data/own/broken").text
    assert 'role="alert"' in text or "cannot be trained on" in text


# -- forms ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["flow", "gan", "vae", "autoregressive", "autoencoder", "fsq", "sequence_gan"])
def test_a_form_has_every_setting_with_its_default(name: str) -> None:
    family = find_family(name)
    for config in (family.Config, family.Options):
        made = {f.name: f for f in fields(config, "family")}
        known = {f"family.{s['name']}": s for s in settings(config)}
        assert set(made) == set(known)
        for key, field in made.items():
            assert field.meaning == known[key]["meaning"] and field.unit == known[key]["unit"]
        assert given({n: f.default for n, f in made.items()}, list(made.values())) == {}


def test_a_filled_field_becomes_a_setting_of_its_type() -> None:
    known = fields(find_family("flow").Config, "family") + fields(find_modality("image").Config, "modality")
    form = {
        "family.width": "48", "family.levels": "none", "family.attention": "yes", "family.optimiser.lr": "0.1",
        "modality.size": "32", "modality.channels": "3", "family.dropout": "", "modality.background": "black",
    }  # fmt: skip
    assert given(form, known) == {
        "family": {"width": 48, "attention": True, "optimiser": {"lr": 0.1}},
        "modality": {"size": 32, "channels": 3, "background": "black"},
    }
    with pytest.raises(InputError, match=r"family\.width takes a whole number"):
        given({"family.width": "a"}, known)


@pytest.mark.parametrize("value", [None, True, 3, 0.5, 'a "b" \\ 名', [1, "x"], {"a": 1}])
def test_values_reach_the_command_line_unchanged(value: Any) -> None:
    from genloom.core.config import parse_sets

    assert parse_sets([f"a.b={toml(value)}"]) == {"a": {"b": value}}


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({"data": "named:digits", "model": "flow", "family.width": "x"}, "family.width takes a whole number"),
        ({"data": "named:digits", "model": "flow", "family.dropout": "7"}, "family.dropout must be less than"),
        ({"data": "named:digits", "model": "flow", "length": "soon"}, "the time in minutes is a number"),
        ({"data": "named:nothing", "model": "flow"}, "there is no data"),
        ({"data": "named:digits", "model": "flow", "name": "///"}, "the run needs a name"),
    ],
)
def test_a_slip_in_a_form_is_told_and_what_was_typed_stays(
    client: TestClient, space: Workspace, form: dict[str, str], says: str
) -> None:
    answer = client.post("/new", data={**form, "name": form.get("name", "my-own")})
    assert answer.status_code == 400 and says in answer.text
    assert not list(space.runs.iterdir()) and not (space.own / "train").exists()


def test_a_run_is_duplicated_with_its_own_settings(client: TestClient, space: Workspace) -> None:
    from genloom.studio.pages.new import asked, of_run

    folder = make_run(space, "first")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps({**config, "family": {"width": 40}, "train": {"steps": 5, "batch": 9}})
    )
    form = of_run(space, "first")
    assert form["family.width"] == "40" and form["train.batch"] == "9" and form["length"] == "5"
    again = asked(space, form)
    assert again.settings == {"family": {"width": 40}, "train": {"batch": 9}} and again.steps == 5
    assert again.name == "first-2" and 'value="40"' in client.get("/new?from=first").text


# -- jobs and events -----------------------------------------------------------------------------


def test_a_job_is_known_by_later_servers_and_not_taken_for_another(space: Workspace) -> None:
    job = Job(space.own / "train" / "x")
    job.start(
        ["-c", "import time; print('genloom: at work', flush=True); time.sleep(60)"], space.root, {"model": "flow"}
    )
    assert Job(job.folder).alive and job.asked["model"] == "flow"
    with pytest.raises(InputError, match="already at work"):
        job.start(["-c", ""], space.root, {})
    known = json.loads((job.folder / "process.json").read_text())
    (job.folder / "process.json").write_text(json.dumps({**known, "began": known["began"] - 100}))
    assert not job.alive  # a process with this number that began at another time
    (job.folder / "process.json").write_text(json.dumps(known))
    while not job.last_words():
        time.sleep(0.02)
    assert job.last_words() == "at work"
    Job(job.folder).stop()
    finished(job)
    assert job.stopped and standing(space, "x").state == "stopped"


def test_a_job_outlives_the_server_that_started_it(space: Workspace) -> None:
    start = (
        "import sys, os; from pathlib import Path; from genloom.studio.pages.jobs import Job; "
        "Job(Path(sys.argv[1])).start(['-c', 'import time; time.sleep(60)'], Path('.'), {}); os.kill(os.getpid(), 9)"
    )
    folder = space.own / "train" / "x"
    assert subprocess.run([sys.executable, "-c", start, str(folder)], check=False).returncode == -9
    assert Job(folder).alive
    Job(folder).stop()
    finished(Job(folder))


def test_a_page_that_was_cut_off_misses_nothing_and_hears_nothing_twice(space: Workspace) -> None:
    folder = make_run(space, "x")
    with open(folder / "history.jsonl", "w") as f:
        f.write(record(1) + record(2))
        f.flush()
        place, told = news(space, "x", Place())
        assert [r["step"] for r in dict(told)["history"]] == [1, 2] and {"samples", "state"} <= set(dict(told))
        assert news(space, "x", place) == (place, [])
        f.write(record(3) + record(4)[:10])
        f.flush()
        later, told = news(space, "x", Place.read(str(place)))  # another server, with the id alone
        assert [r["step"] for r in dict(told)["history"]] == [3]
        f.write(record(4)[10:])
    _, told = news(space, "x", later)
    assert [r["step"] for r in dict(told)["history"]] == [4]


def test_a_history_written_anew_or_very_long_is_fetched_as_a_curve(space: Workspace) -> None:
    folder = make_run(space, "x")
    (folder / "history.jsonl").write_text(record(1) + record(2))
    place, _ = news(space, "x", Place())
    (folder / "history.jsonl").write_text(record(1) + record(3) + record(4))
    again, told = news(space, "x", place)
    assert ("reset", {}) in told and news(space, "x", again)[1] == []
    (folder / "history.jsonl").write_text("".join(record(i) for i in range(1, 1000)) + '{"step": 10')
    end, told = news(space, "x", Place())
    assert ("reset", {}) in told
    with open(folder / "history.jsonl", "a") as f:
        f.write("00}\n")
    assert [r["step"] for r in dict(news(space, "x", end)[1])["history"]] == [1000]


@pytest.mark.parametrize("text", ["", "nonsense", "1.2.3", "9" * 40, "1.zz.1.1.1"])
def test_an_id_that_is_none_is_the_beginning(text: str) -> None:
    assert Place.read(text) == Place()


def test_names_are_made_fit_for_folders(tmp_path: Path) -> None:
    assert new_name("  my cats: 2/3  ", "run") == "my-cats-2-3" and new_name("猫", "run") == "猫"
    (tmp_path / "a").mkdir()
    assert free_name(tmp_path, "a") == "a-2"
    for bad in ("", "...", "/"):
        with pytest.raises(InputError, match="needs a name"):
            new_name(bad, "run")


# -- more that must be refused -----------------------------------------------------------------------


def test_without_the_token_no_route_answers(space: Workspace) -> None:
    rules = security.safety("0.0.0.0", "abcdefghijklmnop-0123", cookie="genloom_studio")
    app = new_app(rules, [pages(space.root)])
    routes = [(m, c.path) for c in iter_route_contexts(app.routes) for m in getattr(c, "methods", None) or ()]
    assert len(routes) > 30
    with TestClient(app, base_url="http://localhost:7777", follow_redirects=False) as c:
        for method, path in routes:
            answer = c.request(method, re.sub(r"{\w+}", "x", path), headers={"host": "localhost:7777"})
            assert answer.status_code == (200 if path == "/health" else 401), (method, path)
        assert c.get("/?token=abcdefghijklmnop-0123").status_code == 303  # and then the cookie is enough
        assert c.get("/").status_code == 200


def test_forms_of_the_pages_themselves_are_accepted_and_those_of_others_are_not(client: TestClient) -> None:
    answer = client.get("/")
    assert answer.headers["referrer-policy"] == "same-origin"  # else browsers would send the origin null
    for origin, status in ((HERE, 303), ("null", 403), ("http://evil.example", 403), ("http://127.0.0.1:8888", 403)):
        assert client.post("/settings", data={"theme": "dark"}, headers={"origin": origin}).status_code == status
    assert client.get("/", headers={"host": "evil.example"}).status_code == 403


def test_a_decompression_bomb_and_an_archive_that_points_elsewhere_are_refused(
    client: TestClient, space: Workspace
) -> None:
    def dropped(name: str, members: dict[str, bytes]) -> str:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as z:
            for member, content in members.items():
                z.writestr(member, content)
        key = client.post("/data/incoming").json()["key"]
        client.put(f"/data/incoming/{key}", params={"path": f"{name}.zip"}, content=packed.getvalue())
        client.post(f"/data/incoming/{key}/end", json={"name": name})
        finished(Job(space.own / "look" / f"own-{name}"))
        return client.get(f"/data/own/{name}").text

    assert "out of proportion" in dropped("bomb", {f"{i}.png": bytes(2**26) for i in range(5)})
    assert "points outside the archive" in dropped("slip", {"../../evil.png": b"x"})
    assert not (space.root.parent / "evil.png").exists() and not (space.root / "evil.png").exists()


def test_a_form_that_is_too_long_is_refused(client: TestClient) -> None:
    answer = client.post("/new", content=b"data=" + b"x" * 2_000_000, headers=JSON)
    assert answer.status_code in (400, 413) and "error" in answer.json()


# -- the command -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--host", "0.0.0.0"], "--token-file"),
        (["--host", "example.org"], "--host takes an address in numbers"),
        (["--token-file", "nothing"], "there is no file nothing"),
        (["--port", "99999"], "65535"),
        (["file"], "file is not a folder"),
    ],
)
def test_a_wrong_command_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    from genloom.cli import _run

    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert _run(["studio", *arguments]) == 2
    told = capsys.readouterr().err
    assert says in told and len(told.splitlines()) == 1


def test_a_port_that_is_taken_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from genloom.cli import _run

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert _run(["studio", str(tmp_path), "--port", str(port), "--no-browser"]) == 2
    assert "another studio may run there" in capsys.readouterr().err
