"""The studio as a person uses it, in a real browser."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from browser import Server, Watched, chromium
from genloom.studio.pages.jobs import Job
from genloom.studio.pages.workspace import Workspace
from played import train


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as b:
        yield b


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("studio"))


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures of the pages go: $GENLOOM_SHOTS keeps them."""
    folder = Path(os.environ.get("GENLOOM_SHOTS") or tmp_path_factory.mktemp("shots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def servers(space: Workspace) -> Iterator[list[Server]]:
    started = [Server(space.root)]
    yield started
    for server in started:
        if server.process.poll() is None:
            server.kill()


def test_from_a_first_visit_to_a_finished_run_with_a_killed_server_in_between(
    browser: Any, space: Workspace, servers: list[Server], shots: Path
) -> None:
    seen = Watched(browser, servers[0], shots)
    page = seen.open("/")
    seen.check("empty")
    page.get_by_role("link", name="Try it with digits").click()
    page.locator("#length").fill("0.35")
    page.locator("#name").fill("my <b>digits</b>")
    page.get_by_text("Model: size and method").click()
    page.locator("#f-family-width").fill("8")
    seen.check("new")
    page.get_by_role("button", name="Start training").click()
    page.wait_for_url("**/runs/my-b-digits-b*")
    name = next(p.name for p in (space.own / "train").iterdir())
    job = Job(space.own / "train" / name)
    page.locator("#state.running").wait_for()
    page.locator(".uplot canvas").first.wait_for()
    page.reload()
    page.locator("#state.running").wait_for()
    second = browser.new_page()  # a second browser sees the same
    second.goto(page.url)
    second.locator("#state.running").wait_for()
    second.close()
    servers[0].kill()
    assert job.alive  # the training goes on without its server
    servers.append(Server(space.root, servers[0].port))
    # The open page finds the new server by itself.
    page.locator("#state.finished").wait_for(timeout=120_000)
    page.locator("#sheet").wait_for()
    page.wait_for_timeout(500)
    told = [json.loads(line)["step"] for line in (space.runs / name / "history.jsonl").read_text().splitlines()]
    drawn = page.request.get(f"{servers[-1].address}/runs/{name}/curves.json").json()["steps"]
    assert drawn == told and told == sorted(set(told))
    assert json.loads((space.runs / name / "config.json").read_text())["family"]["width"] == 8
    slider = page.get_by_label("Time of the training")
    slider.focus()
    page.keyboard.press("Home")
    assert page.locator("#when").inner_text() != "finished model"
    seen.check("run")
    page.get_by_label("Compare with the run")  # nothing to compare with yet, but it is there
    seen.open("/")
    assert page.get_by_role("link", name=name).count() >= 1
    seen.check("home")
    page.get_by_role("button", name="简体中文").click()
    page.get_by_role("heading", name="训练").wait_for()
    page.get_by_role("button", name="自动").click()
    assert page.locator("html").get_attribute("data-theme") == "dark"
    seen.check("home-zh-dark")


def test_a_stopped_training_goes_on(browser: Any, space: Workspace, servers: list[Server], shots: Path) -> None:
    seen = Watched(browser, servers[0], shots)
    page = seen.open("/new?data=named:digits&model=vae&length=3&name=long")
    page.get_by_role("button", name="Start training").click()
    page.locator("#state.running").wait_for()
    page.get_by_role("button", name="Stop").click()
    page.locator("#state.stopped").wait_for()
    page.get_by_label("Minutes in all").fill("0.05")
    page.get_by_role("button", name="Go on").click()
    page.locator("#state.finished").wait_for()
    assert (space.runs / "long" / "model.safetensors").is_file()


def test_own_pictures_are_dropped_and_looked_at(
    browser: Any, space: Workspace, servers: list[Server], shots: Path, tmp_path: Path
) -> None:
    for kind, colour in (("red", 200), ("blue", 40)):
        (tmp_path / "pictures" / kind).mkdir(parents=True)
        for i in range(12):
            picture = Image.new("RGB", (16, 16), (colour, 9 * i, 255 - colour))
            picture.putpixel((i, i), (255, 255, 255))
            picture.save(tmp_path / "pictures" / kind / f"{i}.png")
    (tmp_path / "pictures" / "broken.png").write_bytes(b"\x89PNG nothing")
    seen = Watched(browser, servers[0], shots)
    page = seen.open("/data")
    page.locator("#folder").set_input_files(tmp_path / "pictures")
    assert page.get_by_label("Name of the data").input_value() == "pictures"
    seen.check("data")
    page.get_by_role("button", name="Add", exact=True).click()
    page.wait_for_url("**/data/own/pictures")
    page.get_by_role("heading", name="Examples", exact=True).wait_for()
    assert page.get_by_text("This data can be trained on").count() == 1
    seen.check("dataset")
    page.get_by_role("link", name="Train on it").click()
    page.get_by_role("button", name="What will it take?").click()
    page.get_by_text("memory", exact=True).wait_for()
    seen.check("plan")


def test_a_page_of_another_site_changes_nothing(servers: list[Server], browser: Any, space: Workspace) -> None:
    page = browser.new_page()
    page.route("http://evil.example/**", lambda r: r.fulfill(body="<h1>evil</h1>", content_type="text/html"))
    page.goto("http://evil.example/")
    before = sorted(space.own.rglob("*"))
    page.evaluate(
        "a => fetch(a, {method: 'POST', mode: 'no-cors'}).catch(() => 0)", f"{servers[0].address}/data/incoming"
    )
    time.sleep(0.3)
    assert sorted(space.own.rglob("*")) == before
    page.close()


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    space = Workspace(tmp_path_factory.mktemp("played"))
    train(space.runs)
    return space


def test_what_is_done_before_a_script_has_loaded_is_not_lost(
    browser: Any, played: Workspace, shots: Path, tmp_path: Path
) -> None:
    server = Server(played.root)
    try:
        page = Watched(browser, server, shots).page
        held: list[Any] = []
        holding = True
        page.route("**/static/*.js", lambda r: held.append(r) if holding else r.continue_())

        def late(path: str) -> None:
            nonlocal holding
            holding = True
            page.goto(server.address + path, wait_until="commit")

        def script() -> None:
            """What the page waits for comes, and all that it then asks for."""
            nonlocal holding
            holding = False
            while held:
                held.pop().continue_()

        late("/runs/digits/play")
        page.locator("#n").fill("3")
        page.locator("#n").press("Enter")
        able = page.locator("#play button:visible:enabled").evaluate_all("all => all.map(b => b.outerHTML)")
        assert not able
        assert page.url == f"{server.address}/runs/digits/play"
        script()
        assert page.locator("#n").input_value() == "3"
        page.get_by_role("button", name="Draw", exact=True).click()
        page.locator("#batches h3", has_text="Samples: 3").wait_for()

        late("/new")
        page.locator("#data").select_option("named:digits")
        script()
        page.locator("input[name=model]").first.wait_for()  # what belongs to the choice

        late("/data")
        (tmp_path / "words.txt").write_text("one\ntwo\n")
        page.locator("#files").set_input_files(tmp_path / "words.txt")
        script()
        page.get_by_label("Name of the data").wait_for()
        assert page.get_by_label("Name of the data").input_value() == "words"
    finally:
        server.kill()


def test_the_playground_of_each_kind(browser: Any, played: Workspace, shots: Path) -> None:
    server = Server(played.root)
    try:
        seen = Watched(browser, server, shots)
        for name, shows in (
            ("digits", "img.sheet"),
            ("names", ".batch .text"),
            ("molecules", "canvas.solid, .mono"),
            ("music", "audio"),
            ("people", ".made table"),
            ("ruins", "img.sheet"),
        ):
            page = seen.open(f"/runs/{name}/play")
            page.locator("#n").fill("2")
            page.get_by_role("button", name="Draw", exact=True).click()
            page.locator(f"#batches {shows}").first.wait_for()
            if name == "digits":
                page.get_by_label("Class").select_option("3")
                page.get_by_role("button", name="Show the sliders").click()
                page.locator(".sliders input").first.wait_for()
                page.locator("#moved[src]").wait_for()
                before = page.locator("#moved").get_attribute("src")
                page.locator(".sliders input").first.focus()
                for _ in range(8):
                    page.keyboard.press("ArrowRight")
                page.locator(f"#moved:not([src='{before}'])").wait_for()
                page.get_by_role("button", name="Go between samples").click()
                page.get_by_role("heading", name="Ways between samples").wait_for()
            if name == "names":
                page.get_by_label("Begin with").fill("an")
                page.get_by_role("button", name="Write word by word").click()
                page.locator("#flowing b", has_text="an").wait_for()
                page.locator("#batches .batch").nth(1).wait_for()
            with page.expect_download() as download:
                page.get_by_role("link", name="Save all").first.click()
            assert download.value.suggested_filename.endswith(".zip")
            seen.check(f"play-{name}")
            made = page.locator("#batches .batch").count()
            page.reload()  # what was made is still there
            page.locator("#batches .batch").nth(made - 1).wait_for()
        page = seen.open("/compare")
        page.locator("#chart .uplot").wait_for()
        page.get_by_label("Filter").fill("molec")
        page.locator("#count", has_text="1 of 7").wait_for()
        page.get_by_label("Filter").fill("")
        page.get_by_role("button", name="last loss").click()
        losses = page.locator("#table tbody tr").evaluate_all(
            "rows => rows.map(r => r.cells[9].innerText).filter(Boolean).map(Number)"
        )
        assert losses == sorted(losses)
        page.get_by_role("button", name="Tick none").click()
        page.get_by_label("Curve of music").check()
        page.locator("#legend li", has_text="music").wait_for()
        page.get_by_role("button", name="Tick all of these").click()
        page.locator("#legend li").nth(5).wait_for()
        seen.check("compare")
    finally:
        server.kill()
