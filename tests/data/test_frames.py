"""Tables as people have them: dialects, headers, ragged rows, sheets, databases."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pd = pytest.importorskip("pandas")
from genloom.core.config import DataConfig  # noqa: E402
from genloom.core.errors import InputError  # noqa: E402
from genloom.data import rows  # noqa: E402
from genloom.data.frames import open_frame  # noqa: E402
from genloom.data.kinds import find_kind  # noqa: E402
from genloom.data.prepare import prepare  # noqa: E402


def put(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def reading(data: Any, **how: Any) -> Any:
    return open_frame(data, DataConfig(), **how).load().frame


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ('a,b,c\n1,"x, y",2\n3,z,4\n', "utf-8"), ('a;b;c\n1;"x, y";2\n3;z;4\n', "utf-8-sig"),
        ("a\tb\tc\n1\tx, y\t2\n3\tz\t4\n", "utf-16"), ('a, b, c\n1, "x, y", 2\n3, z, 4\n', "utf-8"),
        ('a|b|c\r\n1|x, y|2\r\n3|z|4\r\n', "utf-8"),
    ],
    ids=["comma", "semicolon", "tab", "space after comma", "bar"],
)  # fmt: skip
def test_the_dialect_is_found(tmp_path: Path, text: str, encoding: str) -> None:
    found = reading(put(tmp_path / "t.csv", text, encoding))
    assert not found.typed and found.frame.to_dict("list") == {"a": ["1", "3"], "b": ["x, y", "z"], "c": ["2", "4"]}


def test_a_missing_header_gives_numbered_columns(tmp_path: Path) -> None:
    found = reading(put(tmp_path / "t.csv", "1,x\n2,y\n3,z\n"))
    assert list(found.frame.columns) == ["column 1", "column 2"] and len(found.frame) == 3
    assert "no header" in found.notices[0]


def test_a_doubled_header_and_doubled_names(tmp_path: Path) -> None:
    found = reading(put(tmp_path / "t.csv", "a,b\n1,x\na,b\n2,y\n"))
    assert found.frame["a"].tolist() == ["1", "2"] and "1 more time" in found.notices[0]
    with pytest.raises(InputError, match=r"columns 1 and 3 of u\.csv are both called 'a'"):
        reading(put(tmp_path / "u.csv", "a,b,a\n1,x,2\n"))


def test_ragged_rows_are_quarantined_with_their_lines(tmp_path: Path) -> None:
    lines = ["a,b", *(f"{i},{'xyz'[i % 3]}" for i in range(50)), "1,2,3", "only"]
    path = put(tmp_path / "t.csv", "\n".join(lines))
    assert [o for o, _ in reading(path).lost] == ["t.csv:52", "t.csv:53"]
    prepared = prepare(path, "table", {}, DataConfig())
    assert len(prepared.quarantined) == 2 and any("2 rows of 52 left out" in n for n in prepared.notices)
    half = put(tmp_path / "u.csv", "a,b\n" + "1,2\n" * 9 + "1\n" * 8)
    with pytest.raises(InputError, match=r"8 of the 17 rows of u\.csv do not fit"):
        prepare(half, "table", {}, DataConfig(max_broken=0.3))


@pytest.mark.parametrize(
    ("text", "match"),
    [("", "it is empty"), ("a,b\n", "0 rows"), ("a,b\n1,2\n", "1 row: a generator needs at least 2")],
    ids=["empty", "header alone", "one row"],
)
def test_too_little(tmp_path: Path, text: str, match: str) -> None:
    with pytest.raises(InputError, match=match):
        prepare(put(tmp_path / "t.csv", text), "table", {}, DataConfig())


def test_ten_thousand_columns_are_refused_in_one_sentence(tmp_path: Path) -> None:
    wide = pd.DataFrame(np.zeros((3, 10_000)))
    with pytest.raises(InputError, match=r"10,000 columns; at most 2,000"):
        prepare(wide, "table", {}, DataConfig())


def test_sheets_parquet_and_databases_are_read(tmp_path: Path) -> None:
    table = pd.DataFrame({"n": [1, 2, 3], "when": pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-03"])})
    table.to_excel(tmp_path / "t.xlsx", index=False)
    table.to_parquet(tmp_path / "t.parquet")
    with sqlite3.connect(tmp_path / "t.sqlite") as base:
        table.to_sql("own", base, index=False)
        table.assign(n=7).to_sql("other", base, index=False)
    for name in ("t.xlsx", "t.parquet"):
        found = reading(tmp_path / name)
        assert found.typed and found.frame["n"].tolist() == [1, 2, 3] and str(found.frame.dtypes["when"])[:4] == "date"
    base = tmp_path / "t.sqlite"
    assert reading(base, query="other").frame["n"].tolist() == [7, 7, 7]
    asked = reading(f"sqlite:///{base}", query="select n from own where n > 1").frame
    assert asked["n"].tolist() == [2, 3]
    with pytest.raises(InputError, match=r"holds 2 tables \(other, own\)"):
        reading(base)
    with pytest.raises(InputError, match="no table 'owm'"):
        reading(base, query="owm")
    with pytest.raises(InputError, match="cannot be queried"):
        reading(base, query="select nothing from nowhere")
    with pytest.raises(InputError, match="not a readable workbook"):
        reading(put(tmp_path / "bad.xlsx", "no sheet"))


def test_equal_rows_stay_on_one_side_and_the_split_is_of_contents(tmp_path: Path) -> None:
    table = pd.DataFrame({"a": np.repeat(np.arange(300), 2), "b": np.repeat(np.arange(300) % 7, 2)})
    prepared = prepare(table, "table", {"kinds": {"a": "number"}}, DataConfig(validation=0.1, test=0.2))
    sides = [{tuple(r) for r in s.batch(np.arange(len(s))).x.tolist()} for s in (prepared.train, prepared.test)]
    assert not sides[0] & sides[1] and 60 < len(prepared.test) < 190
    shuffled = table.sample(frac=1, random_state=0)
    again = prepare(shuffled, "table", {"kinds": {"a": "number"}}, DataConfig(validation=0.1, test=0.2))
    assert {tuple(r) for r in again.test.batch(np.arange(len(again.test))).x.tolist()} == sides[1]
    assert prepared.train.origins[0].startswith("the table:")


def test_what_is_a_table(tmp_path: Path) -> None:
    numbers = put(tmp_path / "a.csv", "age,income\n31,5\n20,7\n")
    words = put(tmp_path / "b.csv", "colour,size,shape\nred,big,round\nblue,small,flat\n")
    review = put(tmp_path / "c.csv", "review,stars\nI liked it,5\nnot so much,2\n")
    long = put(tmp_path / "d.csv", "stars,said\n5," + "a long story " * 9 + "\n3," + "another story " * 9 + "\n")
    assert [find_kind(p) for p in (numbers, words, review, long)] == ["table", "table", "text", "text"]
    assert find_kind(pd.DataFrame({"a": [1]})) == "table" and find_kind("sqlite:///x.db") == "table"


def test_named_tables_need_no_download_and_keep_their_split() -> None:
    wine = reading("wine")
    assert wine.frame.shape == (178, 14) and set(wine.frame["grower"]) == {"class_0", "class_1", "class_2"}
    assert find_kind("wine") == "table"
    given = np.repeat([0, 2], [150, 28]).astype(np.int8)
    source = open_frame("wine", DataConfig())
    builder = rows.RowBuilder(source, None, None, DataConfig(validation=0.0), print)  # type: ignore[arg-type]
    codes = builder._divided(rows.row_digests(wine.frame), given)
    assert (codes == given).all()
