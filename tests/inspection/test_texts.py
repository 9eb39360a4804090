"""Planted faults in texts are found, and nothing is in sound ones."""

import json
import random
import unicodedata
from pathlib import Path

import pytest

from genloom.metrics import writing
from genloom.metrics.scripts import NAMES, garbled, language, scripts
from genloom.metrics.writing import Repeats
from looked import codes, finding, looked
from texts import put

WORDS = ["river", "stone", "winter", "garden", "letter", "window", "mountain", "silver", "candle", "harbour", "forest"]


def sentences(n: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return [f"The {' '.join(rng.choices(WORDS, k=9))} number {seed}{k} was there." for k in range(n)]


def test_nothing_is_wrong_with_sound_text() -> None:
    found = looked(sentences(150))
    assert found.findings == []
    facts = {f.name: f.value for f in found.facts}
    assert facts["characters"] == sum(map(len, sentences(150)))
    assert facts["scripts"] == {"Latin": sum(c.isalpha() for s in sentences(150) for c in s)}


@pytest.mark.parametrize(
    ("planted", "code", "quote"),
    [
        ("Write to jane.doe@mail.org today.", "personal-email", "j…@m….org"),
        ("Paid with 4111 1111 1111 1111 yesterday.", "personal-card", "411…11"),
        ("他的身份证号是11010519491231002X。", "personal-cn-id", "110…2X"),
        ("Call +86 138 0013 8000 at noon.", "personal-phone", "+86…00"),
        ("Send it to DE89 3704 0044 0532 0130 00 soon.", "personal-iban", "DE8…00"),
        ("From 203.0.113.77 at night.", "personal-ip", "203…77"),
        ("Her number is 123-45-6789 there.", "personal-ssn", "123…89"),
        ("A letter was lost \ufffd in this one.", "replaced", "lost \ufffd in"),
        ("The cafÃ© was closed at this hour.", "garbled", "cafÃ©"),
        ("A bell \x07 rang in the morning.", "control", "U+0007"),
    ],
)
def test_what_is_planted_is_found_once_with_its_place(planted: str, code: str, quote: str) -> None:
    found = looked([*sentences(120), planted])
    one = finding(found, code)
    assert (one.severity, one.count) == ("warning", 1)
    assert quote in one.groups[0].quote
    assert one.groups[0].origins == ("texts[120]",)
    assert one.groups[0].examples == (planted,)
    assert "1 text holds" in one.what


def test_a_wrong_check_digit_is_not_reported() -> None:
    wrong = [
        "Paid with 4111 1111 1111 1112 yesterday.",
        "号码是110105194912310021。",
        "To DE89 3704 0044 0532 0130 01 soon.",
    ]
    assert not {c for c in codes(looked([*sentences(120), *wrong])) if c.startswith("personal")}


def test_equal_and_nearly_equal_texts_and_a_leak(tmp_path: Path) -> None:
    train, test = sentences(100), sentences(30, seed=5)
    changed = train[3].replace("was there", "is there")
    for name, texts in (("train", [*train, train[0]]), ("test", [*test, train[1], changed])):
        put(tmp_path / f"{name}.jsonl", "".join(json.dumps({"text": t}) + "\n" for t in texts))
    found = looked(tmp_path)
    assert found.splits == {"train": 101, "test": 32}
    assert finding(found, "exact-duplicates").count == 2
    assert finding(found, "near-duplicates").count == 1
    leak, near = finding(found, "leak"), finding(found, "near-leak")
    assert leak.groups[0].examples == (train[1], train[1])
    assert near.groups[0].examples == (changed, train[3])


def test_boilerplate_long_documents_other_scripts_and_line_ends(tmp_path: Path) -> None:
    footer = "Copyright by the publisher, all rights reserved everywhere."
    for k in range(40):
        put(tmp_path / "docs" / f"{k:02}.txt", "\n".join([*sentences(4, seed=k), footer]) + "\n")
    put(tmp_path / "docs" / "long.txt", "\n".join(sentences(400, seed=77)))
    put(tmp_path / "docs" / "greek.txt", "Η γλώσσα είναι ένα σύστημα επικοινωνίας.\r\n" * 3)
    found = looked(tmp_path / "docs")
    again = finding(found, "repeated-lines")
    assert again.count == 1
    assert again.groups[0].quote == f"40 times: {footer}"
    assert [Path(g.origins[0]).name for g in finding(found, "long").groups] == ["long.txt"]
    other = finding(found, "other-script")
    assert (other.groups[0].quote, Path(other.groups[0].origins[0]).name) == ("Greek", "greek.txt")
    assert finding(found, "line-ends").count == 3
    assert {f.name: f.value for f in found.facts}["encodings"] == {"utf-8": 42}


def test_encodings_of_files_of_lines_and_empty_documents(tmp_path: Path) -> None:
    lines = ["".join(random.Random(k).choices("春眠不覺曉處處聞啼鳥夜來風雨聲花落知多少", k=20)) for k in range(120)]
    put(tmp_path / "a.txt", "\n".join(lines), "gb18030")
    found = looked(tmp_path / "a.txt")
    facts = {f.name: f.value for f in found.facts}
    assert facts["encodings"] == {"gb18030": 1}
    assert facts["languages (guessed)"].keys() == {"Chinese"}
    for k in range(30):
        put(tmp_path / "docs" / f"{k}.txt", "\n".join(sentences(3, seed=k)))
    put(tmp_path / "docs" / "none.txt", " \n")
    assert "it is empty (1)" in finding(looked(tmp_path / "docs"), "unreadable").what


def test_a_stream_is_looked_through_without_comparing_its_pieces(tmp_path: Path) -> None:
    prose = "".join(f"{s}\n\n" for k in range(60) for s in sentences(30, seed=k)) + "Reach me at jane@mail.org.\n"
    found = looked(put(tmp_path / "book.txt", prose))
    assert codes(found) == {"personal-email"}
    assert finding(found, "personal-email").what.startswith("1 piece of the text holds")


def test_scripts_and_languages_by_unicodes_own_names() -> None:
    letters = [c for p in range(0x20, 0xFFFF) if unicodedata.category(c := chr(p)) in ("Lo", "Ll", "Lu")]
    for script in ("Latin", "Greek", "Cyrillic", "Hebrew", "Arabic", "Thai", "Hangul", "Devanagari", "Chinese", "kana"):
        prefix = {"Chinese": "CJK UNIFIED", "kana": "HIRAGANA"}.get(script, script.upper())
        signs = [c for c in letters if unicodedata.name(c, "").startswith(f"{prefix} ")]
        found = dict(zip(NAMES, scripts("".join(signs)).tolist(), strict=True))
        assert found[script] > 0.95 * len(signs), (script, found)
    assert language("これは日本語の文章です。") == "Japanese"
    assert language("We walked along the river in the morning, and there was nobody else to be seen.") == "English"
    assert language("1234 5678") == "unknown"
    german = "Die Katze sitzt auf der Matte und schläft, weil sie müde ist und nichts zu tun hat."
    assert language(german) == "German"


@pytest.mark.parametrize("text", ["naïve café, Ångström", "«Élan» – déjà vu", "Ã alone", "日本語", "plain"])
def test_right_text_is_not_called_garbled(text: str) -> None:
    assert garbled(text) is None
    if not text.isascii() and "Ã" not in text:
        assert garbled(text.encode().decode("cp1252", "replace")) is not None or "日" in text


def test_repeated_lines_are_counted_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "TABLE", 50)
    repeats = Repeats()
    for k in range(2000):
        repeats.add(f"a line that comes only once, it is number {k}\nthis is the line that comes again and again")
    line, n = repeats.most()[0]
    assert line == "this is the line that comes again and again"
    assert 2000 - 4000 // 50 <= n <= 2000
    assert len(repeats.most()) <= 50
