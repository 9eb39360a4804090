"""What a look at a table finds, each planted once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pd = pytest.importorskip("pandas")
pytest.importorskip("lightgbm")
from genloom import api  # noqa: E402
from genloom.core.config import DataConfig  # noqa: E402
from genloom.data.frames import Reading  # noqa: E402
from genloom.data.kinds import find_kind  # noqa: E402
from genloom.data.table_looks import looked  # noqa: E402
from genloom.inspection.survey import survey  # noqa: E402

N = 600


def orders() -> list[list[str]]:
    """Rows of a shop's table: two ages that are words, two ways to write a level and a date, a stand-in, a formula."""
    draw, out = np.random.default_rng(0), []
    for i in range(N):
        region = "north" if draw.random() < 0.5 else str(draw.choice(["south", "South ", "west"]))
        country = "Moon" if i < 3 else str(draw.choice(["DE", "FR", "IT"]))
        age = "unknown" if i in (4, 77) else str(draw.integers(18, 90))
        spent = "0" if draw.random() < 0.7 else f"{draw.gamma(2, 900):.2f}"
        day = f"{1 + i % 28:02d}.03.2024" if i % 40 else f"2024-03-{1 + i % 28:02d}"
        out.append([
            f"C-{i:05d}", region, country, "", "EUR", age, spent, "99999" if i % 50 == 7 else str(draw.integers(1, 60)),
            day, f"Customer {i} said that the delivery was late by {i} days", "=cmd" if i == 9 else "ab"[i % 2],
            str(draw.choice([*map(str, range(7)), "n/k", "big", "small", "x", "y", "z"])),
            "" if draw.random() < 0.6 else str(draw.integers(0, 50)),
        ])  # fmt: skip
    return out


NAMES = [
    "customer",
    "region",
    "country",
    "fax",
    "currency",
    "age",
    "spent",
    "visits",
    "day",
    "remark",
    "tag",
    "size",
    "score",
]


def found() -> dict[str, Any]:
    frame = pd.DataFrame(orders(), columns=NAMES, dtype="str")
    facts, findings = looked(Reading(frame, False, "shop.csv"), {})
    return {"facts": {f.name: f.value for f in facts}} | {f"{f.code} {f.what}": f for f in findings}


def test_every_planted_fault_is_found_with_its_rows() -> None:
    all_of = found()
    facts = all_of.pop("facts")
    assert facts["columns"] == {"category": 6, "number": 4, "identifier": 1, "date": 1, "text": 1}
    assert facts["spent"].startswith("number · 0 to ") and "missing" in facts["score"]
    assert facts["day"] == "date · 2024-03-01 to 2024-03-28"
    quotes = {code: [q for f in all_of.values() if f.code == code for q in f.quotes] for code in
              {f.code for f in all_of.values()}}  # fmt: skip
    assert quotes["missing-everywhere"] == ["fax"] and quotes["constant"] == ["currency: 'EUR' in every row"]
    assert quotes["mixed-types"][0] == "age, numbers with 2 other cells: 'unknown' in row 5, 'unknown' in row 78"
    assert quotes["mixed-types"][1].startswith("size: 54% of its 13 values are numbers, as ")
    assert quotes["identifiers"] == ["customer"] and quotes["free-text"] == ["remark"]
    assert quotes["level-spelling"] == ["region: 'south' / 'South '"]
    assert quotes["rare-levels"] == ["country, 1 of 4 levels: Moon 3", "tag, 1 of 3 levels: =cmd 1"]
    assert quotes["stand-in"] == ["visits: 99,999 in 12 rows, the others 1 to 59"]
    assert quotes["spikes"][0].startswith("spent: 0 in 7") and quotes["gaps"][0].startswith("score: 6")
    assert quotes["formulas"] == ["tag: '=cmd' in row 10"]
    dates = [f.what for f in all_of.values() if f.code == "date-formats"]
    assert dates[0].startswith("15 dates of day are written as %Y-%m-%d ('2024-03-01' in row 1, ")
    severities = {f.code: f.severity for f in all_of.values()}
    assert severities["mixed-types"] == "warning" and severities["spikes"] == "note"


def test_a_clean_table_has_no_findings() -> None:
    draw = np.random.default_rng(1)
    frame = pd.DataFrame({"x": draw.normal(size=500), "kind": draw.choice(["a", "b", "c"], size=500)})
    facts, findings = looked(Reading(frame, True, "t"), {})
    assert not findings and [f.name for f in facts] == ["columns", "x", "kind"]


def test_a_file_is_looked_at_whole(tmp_path: Path) -> None:
    """Ragged rows and repeated ones; a remark among many columns does not make the table a text."""
    rows = orders()
    lines = [",".join(row) for row in [NAMES, *rows[:300], ["too", "short"], *rows[300:], rows[5]]]
    path = tmp_path / "shop.csv"
    path.write_text("\n".join(lines))
    assert find_kind(path) == "table"
    seen = survey(path, "table", {}, DataConfig(), lambda _: None)
    assert len(seen.usable) == N + 1 and [b.origin for b in seen.broken] == ["shop.csv:302"]
    assert (seen.exact != np.arange(N + 1)).sum() == 1
    inspected = api.inspect(path)
    assert inspected.usable and inspected.noun == "rows"
    codes = [f.code for f in inspected.findings]
    assert {"unreadable", "exact-duplicates", "mixed-types", "date-formats"} <= set(codes)
    assert inspected.estimate["steps"] == 0 and inspected.estimate["seconds"] > 0 and inspected.estimate["train"] > 400
    assert api.plan(path).to_json()["seconds"] > 0
    page = inspected.write_page(tmp_path / "page.html").read_text("utf-8")
    assert "&#39;unknown&#39; in row 5" in page and "C-00005" in page
    assert "1 of 602 cannot be read" in next(f.what for f in inspected.findings if f.code == "unreadable")


def test_a_table_that_cannot_be_trained_says_why(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b,a\n1,x,2\n3,y,4\n")
    inspected = api.inspect(path)
    assert not inspected.usable and "columns 1 and 3 of t.csv are both called 'a'" in inspected.findings[0].what
