"""The report of a run folder: complete, self-contained, escaped, and possible from whatever is there."""

from __future__ import annotations

import base64
import io
import json
import re
from collections import Counter
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from genloom.core.errors import GenloomError, InputError
from genloom.evaluate.evaluation import KINDS, Evaluation, Figure, Passage
from genloom.evaluate.report import CEILING_AT, FLOOR_AT, bar, duration, moment, number, write_report

VOID = {"meta", "img", "br", "hr", "link", "input"}
HOSTILE = "<script>alert('猫')</script>\"&"


class Page(HTMLParser):
    """Checks that tags nest and collects elements and the text outside style."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute twice in {tag}"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> does not close what is open"

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data

    def count(self, tag: str) -> int:
        return Counter(name for name, _ in self.elements)[tag]


def figure(name: str, value: float | None, **other: Any) -> Figure:
    kind = KINDS[name]
    known = {
        "interval": None if value is None else (value * 0.9, value * 1.1),
        "ceiling": 1.0,
        "floor": 100.0,
        "note": "",
    }
    rest = {"n": 500, "reference_n": 600, "features": "f", "direction": kind.direction, "unit": kind.unit}
    return Figure(name=name, value=value, title=kind.title, meaning=kind.meaning, **{**known, **rest, **other})


def picture(path: Path, size: tuple[int, int] = (60, 40)) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with everything in it, names and notices hostile."""
    folder = tmp_path / "我的 <run> & co"
    (folder / "samples").mkdir(parents=True)
    config = {
        "model": "unheard-of",
        "kind": "nothing-known",
        "recipe": HOSTILE,
        "seed": 7,
        "data": {"path": HOSTILE, "test": 0.05},
        "modality": {"size": None},
        "family": {"width": 48, "deep": {"er": [1, 2]}},
        "train": {"batch": 64, "ema": 0.998},
    }
    manifest = {
        "data": {
            "name": HOSTILE,
            "digest": "ab" * 32,
            "train": 57000,
            "validation": 3000,
            "test": 10000,
            "classes": ["0", HOSTILE],
            "counts": [30000, 27000],
            "notices": [HOSTILE],
            "quarantined": [{"origin": f"{HOSTILE}{i}.jpg", "reason": "truncated"} for i in range(60)],
        },
        "parameters": {"generator": 630123, HOSTILE: 5},
        "device": "cpu",
        "precision": "fp32",
        "versions": {"torch": "2.13"},
        "steps": 4321,
        "seconds": 598.3,
        "examples_per_second": 640.2,
        "data_wait": 0.0042,
        "skipped": 0,
        "started": "2026-01-31T10:00:05+00:00",
    }
    figures = (figure("frechet", 5.0), figure("kernel", None, note="10 examples are too few"))
    evaluation = Evaluation(
        figures,
        {"name": HOSTILE, "digest": "x"},
        {"name": "classifier " + HOSTILE, "width": 128},
        {"n": 500, "seed": 0},
        {"splits": ["test"], "n": 600},
        "noise",
        (HOSTILE,),
        3.0,
    )
    records = [
        {
            "step": 10 * i,
            "rate": {"generator": 1 - i / 30},
            "losses": {"generator": 2.0**-i, HOSTILE: 0.7},
            "logs": {"r1": 0.1 * i},
            "examples_per_second": 600.0 + i,
        }
        for i in range(30)
    ]
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    (folder / "evaluation.json").write_text(json.dumps(evaluation.to_json()), "utf-8")
    (folder / "history.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records) + '{"step": 31, "los', "utf-8")
    for name in ("final", "step-00000008", "step-00001024", "step-00000128"):
        picture(folder / "samples" / f"{name}.png")
    return folder


def page(folder: Path) -> tuple[str, Page]:
    html = write_report(folder).read_text("utf-8")
    return html, Page(html)


def test_it_is_one_file_that_asks_for_nothing(run: Path) -> None:
    html, found = page(run)
    assert html.startswith("<!DOCTYPE html>")
    policies = [a["content"] for t, a in found.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    assert not {"script", "link", "iframe", "object", "form", "base"} & {t for t, _ in found.elements}
    for tag, attributes in found.elements:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        assert "href" not in attributes and "srcset" not in attributes
        assert (attributes.get("src") or "data:image/").startswith("data:image/")
    assert not re.search(r"url\(|@import|https?://", html)
    ids = [a["id"] for _, a in found.elements if "id" in a]
    assert len(ids) == len(set(ids))


def test_everything_of_the_run_is_shown_and_escaped(run: Path) -> None:
    html, found = page(run)
    assert "<script" not in html
    assert found.text.count(HOSTILE) >= 8
    for part in (
        "我的 <run> & co",
        "9 min 58 s",
        "4,321",
        "630,123",
        "0.42%",
        "57,000",
        "2026-01-31 10:00 UTC",
        "torch",
        "5.000",
        "10 examples are too few",
        "family",
        "deep.er",
        "1, 2",
    ):
        assert part in found.text, part
    assert found.count("svg") == 5  # two losses, one log, the rates, the speed
    assert "and 10 more, in manifest.json" in found.text


def test_pictures_are_embedded_in_the_order_of_the_steps(run: Path) -> None:
    _, found = page(run)
    images = [a for t, a in found.elements if t == "img"]
    assert [i["alt"] for i in images] == [
        "Samples: the finished model, fixed seeds",
        "Samples at step 8",
        "Samples at step 128",
        "Samples at step 1,024",
    ]
    original = (run / "samples" / "final.png").read_bytes()
    assert base64.b64decode(str(images[0]["src"]).split(",")[1]) == original
    assert (images[0]["width"], images[0]["height"]) == ("60", "40")


def test_large_pictures_are_made_smaller_and_broken_ones_left_out(run: Path) -> None:
    picture(run / "samples" / "final.png", (2000, 300))
    broken = run / "samples" / "step-00000008.png"
    broken.write_bytes(broken.read_bytes()[:200])
    (run / "samples" / "step-x.png").write_bytes(b"no picture")
    _, found = page(run)
    images = [a for t, a in found.elements if t == "img"]
    assert len(images) == 3
    with Image.open(io.BytesIO(base64.b64decode(str(images[0]["src"]).split(",")[1]))) as image:
        assert image.format == "WEBP" and image.size == (1600, 240)


def test_a_bare_run_has_a_report_too(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    _, found = page(tmp_path)
    assert "Not judged yet" in found.text and found.count("img") == 0 and found.count("svg") == 0


def test_damaged_files_are_passed_over_and_said(run: Path) -> None:
    (run / "manifest.json").write_text("{")
    (run / "history.jsonl").write_bytes(b"\xff\xfe\x00")
    (run / "evaluation.json").write_text(json.dumps({"schema": "genloom.evaluation/9"}))
    _, found = page(run)
    assert "The figures cannot be shown: the evaluation has the schema 'genloom.evaluation/9'" in found.text
    (run / "config.json").write_text("[")
    with pytest.raises(InputError, match=r"config\.json"):
        write_report(run)
    with pytest.raises(InputError, match="there is no run"):
        write_report(run / "nowhere")


def test_a_report_that_cannot_be_written_leaves_the_old_one(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = write_report(run).read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    (run / "samples" / "final.png").unlink()
    with pytest.raises(GenloomError, match="disk is full"):
        write_report(run)
    assert (run / "report.html").read_bytes() == before and not list(run.glob(".*.tmp"))


def test_settings_of_a_known_model_stand_beside_their_defaults(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    config |= {"train": {"batch": 64, "ema": 0.998}}
    (run / "config.json").write_text(json.dumps(config))
    html, _ = page(run)
    rows = re.findall(r'<tr( class="changed")?><th scope="row">([\w.]+)</th>', html)
    changed = {name: bool(mark) for mark, name in rows}
    assert changed["batch"] and not changed["ema"] and changed["path"] and not changed["width"]
    assert "Examples in one optimiser step." in html


def test_a_bar_runs_from_no_skill_to_real_data() -> None:
    places = [bar(figure("frechet", v, interval=None)).value for v in (100, 30, 10, 3, 1)]  # type: ignore[union-attr]
    assert places[0] == FLOOR_AT and places[-1] == CEILING_AT and places == sorted(places)
    assert places[2] > 35  # logarithmic: 10 of 100 is no longer near the start
    linear = bar(figure("recall", 0.5, ceiling=1.0, floor=0.0, interval=(0.4, 0.6)))
    assert (
        linear is not None and linear.value == (FLOOR_AT + CEILING_AT) / 2 and linear.low < linear.value < linear.high
    )
    beyond = bar(figure("density", 9.0, ceiling=1.0, floor=0.0, interval=None))
    assert beyond is not None and beyond.value == 100


def test_no_bar_where_it_would_mislead() -> None:
    assert bar(figure("frechet", None)) is None
    assert bar(figure("frechet", 2.0, ceiling=None)) is None
    assert bar(figure("precision", 0.9, ceiling=0.9, floor=0.95)) is None
    negative = bar(figure("kernel", -1e-5, ceiling=-2e-5, floor=3.0, interval=(-1e-4, 1e-4)))
    assert negative is not None and negative.value > 90


def test_words_and_numbers() -> None:
    assert [number(v) for v in (None, float("nan"), 0.00156, 0.5, 5.629, 206.1, 12345.6)] == [
        "–",
        "–",
        "0.00156",
        "0.500",
        "5.629",
        "206",
        "12,346",
    ]
    assert [duration(s) for s in (None, 9.25, 598.3, 3720)] == ["", "9.2 s", "9 min 58 s", "1 h 2 min"]
    assert moment("yesterday") == "yesterday" and moment(None) == ""


@pytest.fixture
def story(run: Path) -> Path:
    """The same run, of text: samples as text, passages that repeat the training data."""
    for file in (run / "samples").iterdir():
        file.unlink()
    (run / "samples" / "final.txt").write_text("床前明月光，\n  疑是地上霜。 " + HOSTILE, "utf-8")
    (run / "samples" / "step-00000128.txt").write_bytes(b"later \x00\x1b[31m \xff end")
    (run / "samples" / "step-00000008.txt").write_text("earlier", "utf-8")
    document = json.loads((run / "evaluation.json").read_text("utf-8"))
    passage = Passage("明月" + HOSTILE, 21, "characters", "床前", "光", "举头望", "，低头思故乡")
    document["passages"] = [asdict(passage)]
    document["reference"] |= {"what": "held-out pieces of 9 tokens", "real": "held-out data"}
    document["figures"] = [asdict(figure("bleu_2", 0.5, ceiling=0.8, floor=0.1, interval=(0.4, 0.6)))]
    (run / "evaluation.json").write_text(json.dumps(document), "utf-8")
    return run


def test_text_is_shown_as_text(story: Path) -> None:
    html, found = page(story)
    assert "床前明月光，\n  疑是地上霜。 " + HOSTILE in found.text
    assert html.count('<div class="text">') == 5 and re.search(r"\.text \{[^}]*white-space: pre-wrap", html)
    assert found.count("img") == 0 and "<script" not in html
    # control characters and broken bytes are replaced, not passed on
    assert "later \ufffd\ufffd[31m \ufffd end" in found.text and not re.search(r"[\x00-\x08\x0b-\x1f]", html)
    assert found.text.index("earlier") < found.text.index("later")


def test_passages_stand_beside_the_training_text(story: Path) -> None:
    html, found = page(story)
    assert found.count("mark") == 2 and "21 characters shared" in found.text
    assert re.search(r'<div class="text">床前<mark>明月&lt;script.*?</mark>光</div>', html)
    assert re.search(r'<div class="text">举头望<mark>明月&lt;script.*?</mark>，低头思故乡</div>', html)
    assert "held-out pieces of 9 tokens" in found.text and "right mark: held-out data" in found.text


def test_a_figure_that_should_be_as_in_real_data_has_a_bar_on_either_side() -> None:
    above = bar(figure("distinct_2", 0.9, ceiling=0.8, floor=1.0, interval=None))
    below = bar(figure("self_bleu", 0.4, ceiling=0.6, floor=0.2, interval=None))
    assert above is not None and below is not None
    assert above.value == pytest.approx((FLOOR_AT + CEILING_AT) / 2) == below.value
    assert bar(figure("repetition", 0.1, ceiling=0.1, floor=0.1)) is None
