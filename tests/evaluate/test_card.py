"""The model card and what the report says of copying, groups and cost: complete, escaped, possible from what is
there."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evaluate.test_report import HOSTILE, page, picture, run
from genloom.evaluate.audit import not_tested
from genloom.evaluate.card import plain, write_card
from genloom.evaluate.cost import cost_of
from genloom.evaluate.evaluation import Evaluation

__all__ = ["run"]  # the fixture

AUDIT = {
    **not_tested(""),
    "verdict": "some",
    "sentence": f"Some copying: 2.0% {HOSTILE}.",
    "rate": 0.02,
    "interval": [0.01, 0.04],
    "p_value": 0.001,
    "compared": {"samples": 500, "training": 60000, "held_out": 600, "what": "distances"},
    "exact": {"count": 3, "share": 0.006, "interval": [0.002, 0.017]},
    "membership": {"auc": 0.61, "interval": [0.56, 0.66], "training": 256, "held_out": 256},
    "measures": [
        {"space": "values", "flagged": 12, "expected": 0.001, "rate": 0.02, "interval": [0.01, 0.04], "p_value": 0.001}
    ],
    "pairs": [
        {"sample": 4, "training": 77, "origin": HOSTILE, "space": "values", "distance": 0.0, "relative": 0.0}
        | {"exact": True, "picture": "samples/copies/00.png"},
        {"sample": 5, "training": 78, "origin": "", "space": "features", "distance": 1.5, "relative": 0.25}
        | {"exact": False, "picture": "samples/copies/gone.png"},
        {"sample": 6, "training": 79, "space": "values", "distance": 1.5, "relative": 0.25, "picture": "../secret.png"},
    ],
}
GROUP = {"samples_interval": [0.0, 0.01], "data_interval": [0.2, 0.3]}
GROUPS = {
    "kind": "classes",
    "what": "as the classifier sees them",
    "groups": [
        {"name": HOSTILE, "samples": 0.0, "data": 0.25, "ratio": 0.0, "state": "lost", **GROUP},
        {"name": "乙", "samples": 1.0, "data": 0.75, "ratio": 1.3, "state": "more", **GROUP},
    ],
    "rarest": {},
    "warnings": [f"{HOSTILE} is lost: 0.0% of the samples, 25.0% of the data"],
}


def metadata(card: str) -> list[str]:
    assert card.startswith("---\n")
    return card.split("---\n")[1].splitlines()


def judged(folder: Path, **parts: Any) -> None:
    known = Evaluation.from_json(json.loads((folder / "evaluation.json").read_text("utf-8")))
    (folder / "evaluation.json").write_text(json.dumps(replace(known, **parts).to_json()), "utf-8")


def test_the_card_has_every_section_and_what_the_hub_reads(run: Path) -> None:
    judged(run, copying=AUDIT, groups=GROUPS, cost=cost_of({}, {}, {"n": 500, "per_second": 51.5}))
    card = write_card(run).read_text("utf-8")
    assert write_card(run) == run / "README.md"
    titles = ["Data", "How to use", "Figures", "Copying", "Groups", "Cost", "Limits", "Marking"]
    assert re.findall(r"^## (.*)$", card, re.MULTILINE) == titles
    lines = metadata(card)
    assert lines[0] == "library_name: genloom" and "- genloom" in lines and '- "frechet"' in lines
    assert "      value: 5.0" in lines and '- "kernel"' not in lines
    for line in lines:  # every text is a JSON string, which YAML reads as it is
        if '"' in line:
            assert isinstance(json.loads(line[line.index('"') :]), str), line
    assert "Some copying: 2.0%" in card and "samples that equal a training example: 3" in card
    assert "0.610 (0.560 to 0.660)" in card and "| 5.000 |" in card and "| 乙 | 100.0% | 75.0% | more |" in card
    assert "training time: 9 min 58 s" in card and "samples per second: 51.5" in card


def test_nothing_in_a_card_is_markup_of_others(run: Path) -> None:
    judged(run, copying=AUDIT, groups=GROUPS)
    card = write_card(run).read_text("utf-8")
    assert "<script" not in card.split("---\n", 2)[2]
    assert plain("a|b\n# c [x](y) `z` <i>") == "a\\|b \\# c \\[x\\](y) \\`z\\` &lt;i&gt;"
    assert plain("\ud800\x00猫") == "\ufffd\ufffd猫"


def test_yaml_reads_the_metadata(run: Path) -> None:
    yaml = pytest.importorskip("yaml")
    found = yaml.safe_load("\n".join(metadata(write_card(run).read_text("utf-8"))))
    assert found["library_name"] == "genloom" and "unheard-of" in found["tags"]
    assert found["model-index"][0]["name"] == "我的 <run> & co"
    assert found["model-index"][0]["results"][0]["metrics"] == [
        {"type": "frechet", "name": "Frechet distance", "value": 5.0}
    ]


@pytest.mark.parametrize("missing", ["evaluation.json", "manifest.json"])
def test_before_an_evaluation_nothing_is_tested(run: Path, missing: str) -> None:
    (run / "evaluation.json").unlink()
    (run / missing).unlink(missing_ok=True)
    card = write_card(run).read_text("utf-8")
    assert "verdict: not tested" in card and "Not judged yet" in card and "metrics:" not in metadata(card)
    assert "not tested" in page(run)[1].text


def test_data_without_held_out_examples_is_told(run: Path) -> None:
    (run / "evaluation.json").unlink()
    manifest = json.loads((run / "manifest.json").read_text("utf-8"))
    manifest["data"] |= {"validation": 0, "test": 0}
    (run / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    told = "Copying was not tested: the data has no held-out examples."
    assert told in write_card(run).read_text("utf-8") and told in page(run)[1].text


def test_the_report_shows_the_verdict_the_pairs_the_groups_and_the_cost(run: Path) -> None:
    (run / "samples" / "copies").mkdir()
    picture(run / "samples" / "copies" / "00.png")
    before = page(run)[1].count("img")
    judged(run, copying=AUDIT, groups=GROUPS, cost=cost_of({}, {}, {"n": 500, "per_second": 51.5}))
    html, found = page(run)
    verdicts = [a["class"] for t, a in found.elements if t == "p" and "verdict" in (a.get("class") or "")]
    assert verdicts == ["verdict some"]
    assert html.index('class="verdict') < html.index("<h2>")
    for part in (
        "Some copying: 2.0%",
        f"Lost groups: {HOSTILE}",
        "1.0% to 4.0%",
        "0.610",
        "sample 4",
        ": equal",
        "51.5",
    ):
        assert part in found.text, part
    assert found.count("img") == before + 1
    assert found.text.count("its picture is not in the run folder") == 2  # one is gone, one lies outside
    assert "<script" not in html


def test_an_older_evaluation_is_shown_as_far_as_it_goes(run: Path) -> None:
    document = json.loads((run / "evaluation.json").read_text("utf-8"))
    old = {k: v for k, v in document.items() if k not in ("copying", "groups", "cost")}
    (run / "evaluation.json").write_text(json.dumps(old), "utf-8")
    assert "the run was judged before" in page(run)[1].text
    assert "5.000" in write_card(run).read_text("utf-8")
