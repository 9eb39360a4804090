"""Text in tables: the right column, label and split, or one clear sentence."""

import gzip
import json
from pathlib import Path

import pytest

from genloom.core.config import DataConfig
from genloom.core.errors import InputError
from texts import PROSE, put, ready, rows, texts

REVIEWS = [[i, 'said "fine",\nand left ' + "x" * i, "good" if i % 3 else "bad"] for i in range(30)]


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "json", "parquet", "csv.gz"])
def test_tables_of_every_kind_agree(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"reviews.{ending}"
    if ending in ("csv", "tsv"):
        rows(path, ["id", "Review", "label"], REVIEWS, "\t" if ending == "tsv" else ",")
    elif ending == "csv.gz":
        path.write_bytes(gzip.compress(rows(tmp_path / "x.csv", ["id", "Review", "label"], REVIEWS).read_bytes()))
    elif ending == "parquet":
        pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        table = dict(zip(("id", "Review", "label"), map(list, zip(*REVIEWS, strict=True)), strict=True))
        parquet.write_table(pyarrow.table(table), path, row_group_size=7)
    else:
        objects = [dict(zip(("id", "Review", "label"), r, strict=True)) for r in REVIEWS]
        put(path, json.dumps(objects) if ending == "json" else "\n".join(map(json.dumps, objects)))
    p = ready(path, tokenizer="byte")
    assert texts(p) == sorted(str(r[1]) for r in REVIEWS) and p.condition.classes == ("bad", "good")
    expected = {str(r[1]): r[2] for r in REVIEWS}
    for batch in p.train.batches(1):
        text = p.modality.decode(batch.x[0])
        assert expected[text] == p.condition.classes[int(batch.condition.label[0])]
    assert any("Review" in n and "data.column" in n for n in p.notices)


def test_the_columns_can_be_asked_for(tmp_path: Path) -> None:
    path = rows(tmp_path / "a.csv", ["text", "answer", "kind"], [[f"q{i}", f"a{i}", "xyz"[i % 3]] for i in range(30)])
    assert texts(ready(path))[0] == "q0" and ready(path).condition.classes == ()
    p = ready(path, DataConfig(column="Answer", label="kind"))
    assert texts(p)[0] == "a0" and p.condition.classes == ("x", "y", "z")
    with pytest.raises(InputError, match="there is no column 'anwser'; did you mean 'answer'"):
        ready(path, DataConfig(column="anwser"))
    with pytest.raises(InputError, match="there is no column 'kidn'; did you mean 'kind'"):
        ready(path, DataConfig(label="kidn"))


def test_columns_of_plain_text_are_refused(tmp_path: Path) -> None:
    path = put(tmp_path / "a.txt", PROSE)
    for config in (DataConfig(column="text"), DataConfig(label="kind")):
        with pytest.raises(InputError, match=r"are for tables .* is plain text"):
            ready(path, config)
    assert ready(path, DataConfig(label="none")).train.total


def test_the_longest_column_of_words_is_the_text(tmp_path: Path) -> None:
    path = rows(
        tmp_path / "a.csv", ["n", "short", "long"], [[10**9 + i, f"s{i}", f"much longer {i}"] for i in range(20)]
    )
    assert texts(ready(path, kind="text"))[0].startswith("much longer")


def test_a_table_without_text_says_what_it_has(tmp_path: Path) -> None:
    path = rows(tmp_path / "a.csv", ["height", "weight"], [[i, 2 * i] for i in range(20)])
    with pytest.raises(InputError, match=r"has no column of text; it has height, weight: name one with data\.column"):
        ready(path, kind="text")


def test_a_column_of_many_values_is_no_label(tmp_path: Path) -> None:
    path = rows(tmp_path / "a.csv", ["text", "author"], [[f"text {i}", f"author {i}"] for i in range(20)])
    p = ready(path)
    assert p.condition.classes == () and any("author is not taken as the label: 20 values" in n for n in p.notices)
    some = rows(tmp_path / "b.csv", ["text", "label"], [[f"text {i}", "ab"[i % 2] if i else ""] for i in range(20)])
    assert any("label is not taken as the label: 1 row without" in n for n in ready(some).notices)
    asked = ready(some, DataConfig(label="label"))
    assert asked.condition.classes == ("a", "b") and asked.quarantined[0].reason == "there is no label in label"
    assert ready(some, DataConfig(label="none")).condition.classes == ()


def test_a_split_column_is_taken(tmp_path: Path) -> None:
    sides = ["train"] * 20 + ["dev"] * 4 + ["test"] * 3
    path = rows(tmp_path / "a.csv", ["text", "split"], [[f"text {i}", s] for i, s in enumerate(sides)])
    p = ready(path)
    assert [len(s) for s in (p.train, p.validation, p.test)] == [20, 4, 3]


def test_a_broken_line_is_put_aside_with_its_number(tmp_path: Path) -> None:
    lines = [json.dumps({"text": f"text {i}"}) for i in range(20)]
    lines[4], lines[9], lines[12] = '{"text": "cut', "[1, 2]", '{"text": 5}'
    p = ready(put(tmp_path / "a.jsonl", "\n".join(lines)))
    found = {b.origin.rsplit(":", 1)[1]: b.reason for b in p.quarantined}
    assert set(found) == {"5", "10", "13"} and found["5"].startswith("not JSON")
    assert "neither an object nor text" in found["10"] and "int instead of text" in found["13"]
    assert len(texts(p)) == 17 and any(n.startswith("3 examples of 20 cannot be read") for n in p.notices)


def test_a_poem_is_its_lines(tmp_path: Path) -> None:
    poems = [{"title": f"t{i}", "author": "x", "paragraphs": [f"line {i}", "second"]} for i in range(12)]
    p = ready(put(tmp_path / "a.json", json.dumps({"poems": poems})), tokenizer="byte")
    assert "line 3\nsecond" in texts(p) and len(texts(p)) == 12


def test_a_stream_of_rows_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path / "a.jsonl", '{"text": "a"}\n' * 9)
    with pytest.raises(InputError, match=r"rows of .* are examples of their own; modality\.unit=stream"):
        ready(path, unit="stream")


@pytest.mark.parametrize("content", ["{", "[]", "3", '{"a": 1}'])
def test_json_without_examples(tmp_path: Path, content: str) -> None:
    with pytest.raises(InputError, match=r"no table can be read; the first is .*a\.json"):
        ready(put(tmp_path / "a.json", content))
