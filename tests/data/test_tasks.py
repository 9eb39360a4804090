"""Pairs and conversations: which side is which, empty sides and roles out of order put aside and counted."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genloom.core.config import DataConfig
from genloom.core.errors import InputError, Unreadable
from genloom.data.dialogues import Turn, history, turns_of
from genloom.data.prepare import Prepared
from texts import put, ready, rows

NOUNS = {"dog": "Hund", "cat": "Kater", "man": "Mann", "bird": "Vogel"}
VERBS = {"runs": "rennt", "eats": "isst", "sings": "singt", "sleeps": "schläft"}
WORDS = [(f"the {a} {b}", f"{c} {d}") for a, c in NOUNS.items() for b, d in VERBS.items()]


def pairs(p: Prepared) -> dict[str, str]:
    """Source -> text of every example."""
    assert p.source is not None
    batches = [b for s in (p.train, p.validation, p.test) for b in s.batches(3)]
    return {
        p.source.decode(s): p.modality.decode(x) for b in batches for x, s in zip(b.x, b.condition.source, strict=True)
    }


def translate(data: Any, **config: Any) -> Prepared:
    return ready(data, DataConfig(task="translate", validation=0, test=0, **config))


def test_pairs_between_tabs_need_no_names(tmp_path: Path) -> None:
    path = put(tmp_path / "a.tsv", "".join(f"{a}\t{b}\n" for a, b in WORDS))
    p = translate(path)
    assert pairs(p) == dict(WORDS)
    assert p.condition.source is not None and p.condition.source.task == "translate"
    assert pairs(translate(put(tmp_path / "a.txt", path.read_text("utf-8")))) == dict(WORDS)
    assert pairs(translate(WORDS)) == dict(WORDS)


def test_a_quotation_mark_between_tabs_is_text_and_quoted_fields_are_opened(tmp_path: Path) -> None:
    lines = [
        '"Hi" he said\t"Hallo" sagte er',
        '"a ""b"" c"\tx y',
        '"don\'t\tder Hund"',
        *(f"{a}\t{b}" for a, b in WORDS),
    ]
    found = pairs(translate(put(tmp_path / "a.tsv", "\n".join(lines))))
    assert found['"Hi" he said'] == '"Hallo" sagte er' and found['a "b" c'] == "x y" and found["\"don't"] == 'der Hund"'


@pytest.mark.parametrize(
    "header", [["en", "de"], ["German", "English"], ["source", "target"], ["src_text", "tgt_text"]]
)
def test_names_in_the_first_row_are_found(tmp_path: Path, header: list[str]) -> None:
    for name, delimiter in (("a.tsv", "\t"), ("a.csv", ",")):
        p = translate(rows(tmp_path / name, header, [list(w) for w in WORDS], delimiter))
        assert pairs(p) == dict(WORDS)
        assert any(f"{header[0]} is translated into {header[1]}" in n for n in p.notices)


def test_sides_can_be_named_and_other_columns_stay_out(tmp_path: Path) -> None:
    objects = [{"id": i, "de": d, "en": e, "fr": f"{e}!"} for i, (e, d) in enumerate(WORDS)]
    path = put(tmp_path / "a.jsonl", "\n".join(map(json.dumps, objects)))
    with pytest.raises(InputError, match=r"a.jsonl has the columns id, de, en, fr; say which is the source"):
        translate(path)
    assert pairs(translate(path, source="en", column="de")) == dict(WORDS)
    with pytest.raises(InputError, match="no column 'english'"):
        translate(path, source="english", column="de")


def test_an_empty_side_is_put_aside_and_counted(tmp_path: Path) -> None:
    lines = [f"{a}\t{b}" for a, b in WORDS] + ["the dog waits\t", "\tder Hund wartet", "alone", "a\tb\tc"]
    p = translate(put(tmp_path / "a.tsv", "\n".join(lines)))
    assert pairs(p) == dict(WORDS)
    reasons = {b.reason for b in p.quarantined}
    assert {"the side 2 is empty", "the side 1 is empty", "3 columns where the first row has 2"} < reasons
    assert len(p.quarantined) == 4 and any(n.startswith("4 examples of 20 cannot be read") for n in p.notices)


def test_summaries_take_the_first_of_several_and_the_longer_side_is_the_document(tmp_path: Path) -> None:
    objects = [{"source": ["It rained.", f"Day {i}."], "target": [f"rain {i}", "other"]} for i in range(12)]
    path = put(tmp_path / "a.jsonl", "\n".join(map(json.dumps, objects)))
    p = ready(path, DataConfig(task="summarise", validation=0, test=0))
    assert pairs(p) == {f"It rained.\nDay {i}.": f"rain {i}" for i in range(12)}
    table = rows(tmp_path / "b.csv", ["x", "y"], [[f"rain {i}", f"It rained on day {i}, and on."] for i in range(12)])
    assert set(pairs(ready(table, DataConfig(task="summarise", validation=0, test=0))).values()) == {
        f"rain {i}" for i in range(12)
    }


def test_plain_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no table; the task chat needs conversations"):
        ready(put(tmp_path / "a.md", "one text\n" * 20), DataConfig(task="chat"))
    with pytest.raises(InputError, match="item 0 of the list is str, not a pair"):
        translate(["one", "two"])


# -- conversations ----------------------------------------------------------------------------------------------------

USER, BOT = "user", "assistant"


def messages(*turns: tuple[str, str]) -> list[dict[str, str]]:
    return [{"role": role, "content": text} for role, text in turns]


def talks(n: int) -> list[dict[str, Any]]:
    return [
        {
            "messages": messages(
                ("system", "be brief"), (USER, f"hi {i:04b}"), (BOT, "hello"), (USER, "bye\n< x"), (BOT, "so")
            )
        }
        for i in range(n)
    ]


def test_every_reply_is_an_example_that_follows_from_the_turns_before(tmp_path: Path) -> None:
    p = ready(talks(9), DataConfig(task="chat", validation=0.3, test=0.2))
    assert pairs(p) == {
        k: v
        for i in range(9)
        for k, v in {
            f"# be brief\n> hi {i:04b}": "hello", f"# be brief\n> hi {i:04b}\n< hello\n> bye < x": "so",
        }.items()
    }  # fmt: skip
    sides = [
        {p.source.decode(s).split("\n")[1] for b in split.batches(4) for s in b.condition.source}  # type: ignore
        for split in (p.train, p.validation, p.test)
    ]
    assert all(sides) and not sides[0] & sides[1] and not (sides[0] | sides[1]) & sides[2]  # conversations stay whole


def test_forms_of_conversations() -> None:
    turns = [Turn("user", "hi"), Turn("assistant", "hello"), Turn("user", "how?"), Turn("assistant", "so\nso")]
    assert turns_of(["hi", "hello", "how?", "so\nso"]) == turns
    assert turns_of([{"from": f, "value": t.text} for f, t in zip(["human", "gpt"] * 2, turns, strict=True)]) == turns
    assert turns_of("User 1: hi\nUser 2: hello\nUser 1: how?\nUser 2: so\nso") == turns
    assert turns_of("assistant: hi\nuser: hello")[0] == Turn("assistant", "hi")
    assert history(turns) == "> hi\n< hello\n> how?\n< so so"


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (messages((USER, "a"), (USER, "b"), (BOT, "c")), "turns 1 and 2 are both the user's"),
        (messages((USER, "a"), ("system", "b"), (BOT, "c")), "turn 2 is the system's"),
        (messages((USER, "a"), ("tool", "b")), "turn 2 has the role 'tool'; roles are system, user and assistant"),
        (messages((USER, "a"), (BOT, " ")), "turn 2 is empty"),
        (messages((USER, "a")), "no turn of the assistant"),
        (["a"], "no turn of the assistant"),
        ([{"role": "user"}], "turn 1 has no text"),
        ("nothing said", "no transcript"),
        (7, "no conversation"),
    ],
)
def test_roles_out_of_order_are_put_aside_with_the_reason(wrong: Any, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        turns_of(wrong)
    p = ready([*talks(4), {"messages": wrong}], DataConfig(task="chat"))
    assert len(p.quarantined) == 1 and reason in p.quarantined[0].reason and len(pairs(p)) == 8


def test_of_a_long_conversation_the_end_is_read() -> None:
    p = ready(talks(9), DataConfig(task="chat", source_length=11))
    assert p.source is not None and any("the end is read" in n for n in p.notices)
    assert {p.source.decode(s) for s in p.train.batch(np.arange(9)).condition.source} <= {  # type: ignore[union-attr]
        *(f"\n> hi {i:04b}" for i in range(9)), "\n> bye < x"
    }  # fmt: skip


def test_misnamed_conversations_list_the_columns(tmp_path: Path) -> None:
    path = put(tmp_path / "a.jsonl", "\n".join(json.dumps({"a": 1, "b": "text"}) for _ in range(5)))
    with pytest.raises(InputError, match=r"has the columns a, b, and none holds conversations"):
        ready(path, DataConfig(task="chat"))
