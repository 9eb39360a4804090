"""Properties and sources of tables: chosen when clear, standardised on the training split, or put aside."""

import json
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from genloom.core.batch import ConditionSpec
from genloom.core.config import DataConfig
from genloom.core.errors import InputError
from genloom.data.prepare import Prepared
from texts import put, ready, rows

POEMS = [{"title": f"t{i % 7}", "text": f"line {i}\nend", "likes": i} for i in range(40)]


def jsonl(path: Path, objects: list[dict[str, object]]) -> Path:
    return put(path, "\n".join(map(json.dumps, objects)))


def pairs(p: Prepared) -> dict[str, str]:
    """Text -> source of every example."""
    assert p.source is not None
    batches = [b for s in (p.train, p.validation, p.test) for b in s.batches(3)]
    return {
        p.modality.decode(x): p.source.decode(s) for b in batches for x, s in zip(b.x, b.condition.source, strict=True)
    }


def test_a_title_is_taken_when_asked_for(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", POEMS)
    p = ready(path)
    assert p.condition.source is None and any("its title is left out (data.source=title" in n for n in p.notices)
    assert not any("title" in n for n in ready(path, DataConfig(source="none")).notices)
    p = ready(path, DataConfig(source="title"))
    assert not any("title" in n for n in p.notices)
    assert pairs(p) == {str(r["text"]): str(r["title"]) for r in POEMS}
    assert p.condition.source is not None and p.condition.source.shared and p.condition.source.length == 3
    own = ready(path, DataConfig(source="title"), source_tokenizer="own")
    assert own.condition.source is not None and own.condition.source.vocab != own.modality.spec.vocab
    assert pairs(own) == pairs(p)


def test_questions_are_answered_and_lists_of_dictionaries_are_tables() -> None:
    asked = [{"question": f"was {i}?", "answer": f"ja {i}"} for i in range(20)]
    p = ready(asked)
    assert pairs(p) == {f"ja {i}": f"was {i}?" for i in range(20)}
    assert any("each answer follows from its question" in n and "data.source=none" in n for n in p.notices)
    assert ready(asked, DataConfig(source="none")).condition.source is None
    unclear = ready([{**row, "title": "Titel"} for row in asked])
    assert unclear.condition.source is None and any("question or title is left out" in n for n in unclear.notices)


def test_properties_are_standardised_on_the_training_split(tmp_path: Path) -> None:
    objects: list[dict[str, object]] = [*POEMS, {"text": "x", "likes": "many"}, {"text": "y"}]
    p = ready(jsonl(tmp_path / "a.jsonl", objects), DataConfig(properties=("Likes",)), properties=["characters"])
    assert [q.name for q in p.condition.properties] == ["likes", "characters"]
    values = torch.cat([b.condition.properties for b in p.train.batches(5)])
    torch.testing.assert_close(values.mean(0), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(values.std(0, unbiased=False), torch.ones(2), atol=1e-5, rtol=0)
    likes, length = p.condition.properties
    batch = p.test.batch(np.arange(len(p.test)))
    for x, v in zip(batch.x, batch.condition.properties, strict=True):
        text = p.modality.decode(x)
        told = [float(text.split()[1]), float(len(text))]
        assert told == pytest.approx([float(v[0]) * likes.std + likes.mean, float(v[1]) * length.std + length.mean])
    window = p.train.windows(np.array([0]), 12)
    assert window.condition.properties.shape == (1, 12, 2)
    reasons = sorted(b.reason for b in p.quarantined)
    assert reasons == ["there is 'many' instead of a number in likes", "there is nothing instead of a number in likes"]


def test_long_sources_are_cut_with_a_count(tmp_path: Path) -> None:
    long = [{"title": "abc" * (9 if i == 0 else 1) + str(i), "text": f"t{i}"} for i in range(30)]
    p = ready(jsonl(tmp_path / "a.jsonl", long), DataConfig(source="title", source_length=8))
    assert any("1 source of 30 has more than 8 tokens" in n for n in p.notices)
    assert pairs(p)["t0"] == "abcabca" and pairs(p)["t1"] == "abc1"


def test_the_first_line_is_a_title(tmp_path: Path) -> None:
    for i in range(20):
        put(tmp_path / "poems" / f"{i}.txt", f"Titel {i}\r\n\r\nVers {i}\nEnde")
    put(tmp_path / "poems" / "x.txt", "nur ein Titel")
    p = ready(tmp_path / "poems", unit="document", title="first line", tokenizer="byte")
    assert pairs(p) == {f"Vers {i}\nEnde": f"Titel {i}" for i in range(20)}
    assert [b.reason for b in p.quarantined] == ["it has one line only: nothing follows the title"]


def test_what_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    path = rows(tmp_path / "a.csv", ["text", "likes"], [[f"a{i}", i] for i in range(20)])
    with pytest.raises(InputError, match="there is no column 'lieks'; did you mean 'likes'"):
        ready(path, DataConfig(properties=("lieks",)))
    with pytest.raises(InputError, match="no property of text 'character'; did you mean 'characters'"):
        ready(path, properties=["character"])
    with pytest.raises(InputError, match="for tables"):
        ready(put(tmp_path / "b.txt", "eins\nzwei\n"), DataConfig(source="title"))


def test_typical_properties_are_those_of_training_examples(tmp_path: Path) -> None:
    labelled = [{**row, "label": "ab"[int(row["likes"]) % 2]} for row in POEMS]  # type: ignore[call-overload]
    p = ready(jsonl(tmp_path / "a.jsonl", [*labelled, {"text": "y", "label": "a"}]), DataConfig(properties=("likes",)))
    (likes,) = p.condition.properties
    known = {int(label): set() for label in range(2)}
    for batch in p.train.batches(7):
        for label, value in zip(batch.condition.label.tolist(), batch.condition.properties[:, 0].tolist(), strict=True):
            known[label].add(None if math.isnan(value) else round(value, 4))
    assert {label: {v for own, (v,) in p.condition.typical if own == label} for label in (0, 1)} == known
    assert len(p.condition.typical) == len(p.train) and likes.std > 1
    again = ConditionSpec.from_json(json.loads(json.dumps(asdict(p.condition))))
    assert again == p.condition and ready(POEMS).condition.typical == ()
