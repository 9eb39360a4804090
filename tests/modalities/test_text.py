"""Text: round trips of anything, vocabularies by their definition, and what people are told."""

import itertools
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from genloom.core.config import DataConfig, validate
from genloom.core.errors import InputError, Unreadable
from genloom.core.spec import Tokens
from genloom.data import vocabulary
from genloom.data.prepare import prepare
from genloom.modalities import text as module
from genloom.modalities.text import Text, TextConfig

ODD = [
    "春眠不覺曉",
    "👩\u200d🚀🇨🇳",
    "e\u0301 й नमस्ते",
    "a\rb",
    "nul\0in",
    "\r\n\n",
    "⟨pad⟩⟨eos⟩",
    "<s>",
    "\ufeffx",
    "\U0010ffff",
]
PLAIN = ["the cat sat on the mat\n", "the dog sat on the log\n", "a cat and a dog\n", "你好，世界\n"]


def fit(texts: list[str], **config: object) -> Text:
    return Text.fit(TextConfig(**config), texts)  # type: ignore[arg-type]


BPE = fit(PLAIN * 5, tokenizer="bpe", vocab=300)
BPE_STREAM = fit(PLAIN * 5, tokenizer="bpe", vocab=300, unit="stream")


@pytest.mark.parametrize("kind", ["char", "byte", "bpe"])
@pytest.mark.parametrize("unit", ["document", "stream"])
def test_the_odd_comes_back(kind: str, unit: str) -> None:
    modality = fit(ODD, tokenizer=kind, unit=unit)
    for text in ODD:
        assert modality.decode(modality.encode(text)) == text
        assert modality.decode(torch.tensor(modality.prompt(text))) == text


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
@example("\0")
@example("\r")
@example("\n\n ")
@example("Ġ ĠĊ")
def test_any_text_comes_back_from_training_characters_bytes_and_byte_pairs(text: str) -> None:
    for modality in (
        fit([text], tokenizer="char"), fit([text], tokenizer="char", unit="stream"),
        fit(["other"], tokenizer="byte"), fit(["other"], tokenizer="byte", unit="stream"), BPE, BPE_STREAM,
    ):  # fmt: skip
        x = modality.encode(text)
        assert x.dtype == torch.int64 and int(x.min()) >= 0 and int(x.max()) < modality.spec.vocab
        assert modality.decode(x) == text
        contents = x.tolist() if modality.spec.stream else x[1:-1].tolist()
        assert not set(contents) & {0, 1} and modality.prompt(text) == contents


def test_characters_are_numbered_in_their_order() -> None:
    modality = fit(["banana", "cab"], tokenizer="char")
    assert modality.encode("cab").tolist() == [2, 6, 4, 5, 1]  # bos, c, a, b, eos; 3 is the unknown
    assert modality.spec == Tokens(length=8, vocab=8, pad=0, bos=2, eos=1)
    stream = fit(["ba\nna"], tokenizer="char", unit="stream")
    assert stream.encode("\nab").tolist() == [3, 4, 5]  # 2 is the unknown
    assert stream.spec == Tokens(length=1024, vocab=7, pad=0, bos=3, eos=1, stream=True)


def test_bytes_are_their_values() -> None:
    modality = fit(["aé"], tokenizer="byte")
    assert modality.encode("aé").tolist() == [2, 3 + 0x61, 3 + 0xC3, 3 + 0xA9, 1]
    assert modality.spec.vocab == 259 and modality.spec.length == 5
    assert modality.decode(torch.tensor([3 + 0xC3, 3 + 0x61])) == "\ufffda"


def test_byte_pairs_are_merged_by_how_often_they_occur() -> None:
    words = ["low"] * 5 + ["lower"] * 2 + ["newest"] * 6 + ["widest"] * 3  # the example of Sennrich et al.
    modality = fit([" ".join(words)], tokenizer="bpe", vocab=300)
    merges = modality.state()["vocabulary"]["state"]["model"]["merges"]
    assert list(map(tuple, merges)) == brute_force([*words[:1], *(" " + w for w in words[1:])], len(merges))


def brute_force(words: list[str], n: int) -> list[tuple[str, str]]:
    """The first n merges, ties by the order of the ids of the pair."""
    split = Counter(tuple(w.replace(" ", "Ġ")) for w in words)
    ids = {c: i for i, c in enumerate(sorted(alphabet()))}
    out = []
    for _ in range(n):
        pairs: Counter[tuple[str, str]] = Counter()
        for word, k in split.items():
            for pair in itertools.pairwise(word):
                pairs[pair] += k
        best = min(pairs, key=lambda p: (-pairs[p], ids[p[0]], ids[p[1]]))
        out.append(best)
        ids["".join(best)] = len(ids)
        split = Counter({merged(word, best): k for word, k in split.items()})
    return out


def alphabet() -> list[str]:
    """The signs of the 256 bytes as GPT-2 has them: printable ones are themselves, the others come after 255."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(b) for b in printable] + [chr(256 + k) for k in range(256 - len(printable))]


def merged(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    out: list[str] = []
    k = 0
    while k < len(word):
        if word[k : k + 2] == pair:
            out.append(word[k] + word[k + 1])
            k += 2
        else:
            out.append(word[k])
            k += 1
    return tuple(out)


def test_byte_pairs_are_the_same_every_time_and_open_in_their_own_package(tmp_path: Path) -> None:
    import tokenizers

    assert fit(PLAIN * 5, tokenizer="bpe", vocab=300).state() == BPE.state()
    assert 262 < BPE.spec.vocab <= 300 == BPE.config.vocab
    path = BPE.write_tokenizer(tmp_path / "tokenizer.json")
    assert path is not None
    theirs = tokenizers.Tokenizer.from_file(str(path))
    for text in [*PLAIN, *ODD]:
        assert theirs.encode(text).ids == BPE.encode(text)[1:-1].tolist()
    assert theirs.get_vocab_size() == BPE.spec.vocab
    assert fit(PLAIN, tokenizer="char").write_tokenizer(tmp_path / "none.json") is None
    assert BPE.spec.length == max(len(BPE.encode(t)) for t in PLAIN)


@pytest.mark.parametrize("kind", ["char", "byte", "bpe"])
@pytest.mark.parametrize("unit", ["line", "document", "stream"])
def test_state_gives_an_equal_modality(kind: str, unit: str) -> None:
    modality = fit(PLAIN, tokenizer=kind, unit=unit)
    twin = Text.from_state(json.loads(json.dumps(modality.state())))
    assert twin.state() == modality.state() and twin.spec == modality.spec and twin.config == modality.config
    assert all(torch.equal(twin.encode(t), modality.encode(t)) for t in PLAIN)
    assert (twin.config.unit, twin.config.tokenizer) == (unit, kind)


def test_a_sample_ends_at_eos() -> None:
    modality = fit(["abc"], tokenizer="char")
    a, b = modality.prompt("ab")
    assert modality.decode(torch.tensor([2, a, b, 1, a, a])) == "ab"
    assert modality.decode(torch.tensor([a, 0, b, 0, 0])) == "ab"
    assert modality.decode(torch.tensor([2, 1])) == modality.decode(torch.tensor([], dtype=torch.int64)) == ""
    assert modality.decode(torch.tensor([a, 3, b])) == "a\ufffdb"
    stream = fit(["abc\n"], tokenizer="char", unit="stream")
    assert stream.decode(torch.tensor([stream.spec.bos, *stream.prompt("ab"), 0])) == "\nab"


def test_the_beginning_of_a_stream_is_a_newline_where_there_is_one() -> None:
    for kind in ("char", "byte", "bpe"):
        modality = fit(PLAIN, tokenizer=kind, unit="stream")
        assert modality.decode(torch.tensor([modality.spec.bos])) == "\n"
    assert fit(["abc"], tokenizer="char", unit="stream").spec.bos == 3


def test_unknown_characters_are_marked_and_named() -> None:
    modality = fit(["abc"], tokenizer="char")
    assert modality.encode("axb").tolist() == [2, 4, 3, 5, 1] and modality.unknown == 3
    assert modality.decode(modality.encode("axb")) == "a\ufffdb"
    assert modality.encode("\U0010ffff").tolist() == [2, 3, 1]
    with pytest.raises(InputError, match="does not know 'x', '春': the text it was trained on"):
        modality.prompt("axb春x")
    with pytest.raises(InputError, match="character 1 of the prompt is no character"):
        modality.prompt("a\ud800")
    assert fit(["abc"], tokenizer="byte").unknown is None and modality.prompt("") == []


def test_unknown_characters_of_held_out_text_are_counted() -> None:
    notices: list[str] = []
    text = "plain text\n" * 200
    p = prepare(
        text + "東東 西\n" * 20, "text", {"unit": "stream"}, DataConfig(validation=0, test=0.05), notices.append
    )
    lost = sum(c in "東西" for c in (text + "東東 西\n" * 20)[p.train.total :])
    assert lost and any(n.startswith(f"{lost} characters of the held-out examples") for n in notices)
    unk = p.modality.unknown
    assert int((p.test.windows([0], p.test.total).x == unk).sum()) == lost


# -- choosing --------------------------------------------------------------------------------------------------


def test_the_tokenizer_is_chosen_by_size_and_script(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fit(PLAIN).config.tokenizer == "char"
    monkeypatch.setattr(module, "SMALL", 100)
    monkeypatch.setattr(module, "VOCABS", ((10_000, 300),))
    assert fit(PLAIN).config.tokenizer == "char" and fit(PLAIN * 2).config.tokenizer == "bpe"
    assert fit(PLAIN * 2).spec.vocab <= 300 and "byte pairs" in fit(PLAIN * 2).notices[0]
    assert fit(["秦 川 雄 帝 宅 ， 函 谷 壮 皇 居 。"] * 50).config.tokenizer == "char"
    monkeypatch.setattr(module, "SMALL", 10**6)
    monkeypatch.setattr(module, "DISTINCT", 9)
    assert fit(PLAIN).config.tokenizer == "bpe"
    assert fit(PLAIN, tokenizer="byte").notices == ()


def test_examples_may_come_one_by_one() -> None:
    def once() -> Iterator[str]:
        yield from PLAIN

    assert Text.fit(TextConfig(), once()).state() == fit(PLAIN).state()
    with pytest.raises(InputError, match="no text to learn a vocabulary from"):
        fit([])


def test_the_longest_of_much_text_is_counted_in_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"number {i} " * (1 + i % 7) for i in range(50)]
    exact = fit(texts, tokenizer="bpe", vocab=300).spec.length
    monkeypatch.setattr(module, "LEARNT", 100_000)
    assert fit(texts, tokenizer="bpe", vocab=300).spec.length == exact
    monkeypatch.setattr(module, "LEARNT", 400)
    few = fit(texts, tokenizer="bpe", vocab=300)
    assert few.spec.length == max(len(few.encode(t)) for t in texts)


# -- reading and showing ---------------------------------------------------------------------------------------


def test_what_is_no_text() -> None:
    for raw in (b"", b" \n", "", " \u3000", b"\0" * 50, b"\x89PNG\r\n\x1a\n", 5, "a\ud800", None):
        with pytest.raises(Unreadable) as e:
            Text.read(raw, TextConfig())
        assert "\n" not in str(e.value)
    assert Text.read(" \n", TextConfig(unit="stream")) == " \n"
    assert Text.read("\ufeffabc\r\n".encode(), TextConfig()) == "abc\r\n"


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("Hello, it's 3.5 o’clock!", ["Hello", ",", "it's", "3", ".", "5", "o’clock", "!"]),
        ("你好，world 日本語カナ", ["你", "好", "，", "world", "日", "本", "語", "カ", "ナ"]),
        ("안녕하세요 세계", ["안녕하세요", "세계"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("cafe\u0301 naïve", ["cafe\u0301", "naïve"]),
        ("ไทย", ["ไ", "ท", "ย"]),
        ("👩\u200d🚀 ok_1", ["👩\u200d🚀", "ok_1"]),
        (" \n\t", []),
    ],
)
def test_units_are_words_signs_and_characters_of_unspaced_scripts(text: str, units: list[str]) -> None:
    assert fit(PLAIN).units(text) == units


@settings(deadline=None)
@given(st.text())
def test_units_leave_out_white_space_alone(text: str) -> None:
    assert "".join("".join(BPE.units(text)).split()) == "".join(text.split())


def test_sizes_are_characters_and_bytes() -> None:
    assert fit(PLAIN).sizes("aé春👩") == {"character": 4, "byte": 1 + 2 + 3 + 4}


def test_shown_texts_can_be_told_apart() -> None:
    modality = fit(PLAIN)
    assert modality.show(["one", "two\n"]) == "one\ntwo\n"
    assert modality.show(["a\nb\n", "c"]) == "──── 1 ────\na\nb\n\n──── 2 ────\nc\n"
    with pytest.raises(InputError, match="no text to show"):
        modality.show([])


def test_files_hold_exactly_the_text(tmp_path: Path) -> None:
    modality = fit(PLAIN)
    paths = modality.write(ODD, tmp_path / "out", [str(i) for i in range(len(ODD))])
    assert [p.read_bytes() for p in paths] == [t.encode() for t in ODD]


# -- what is missing -------------------------------------------------------------------------------------------


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    state = BPE.state()
    for name in ("tokenizers", "charset_normalizer", "pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, name, None)
    for broken in (lambda: fit(PLAIN, tokenizer="bpe"), lambda: Text.from_state(state)):
        with pytest.raises(InputError, match=r"need: pip install 'genloom\[text\]'"):
            broken()
    with pytest.raises(InputError, match=r"need.*: pip install 'genloom\[text\]'"):
        Text.read("Größe".encode("cp1252"), TextConfig())
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"parquet files need: pip install 'genloom\[text\]'"):
        prepare(tmp_path / "a.parquet", "text", {}, DataConfig())
    assert fit(PLAIN, tokenizer="byte") and Text.read(b"plain", TextConfig()) == "plain"


def test_settings_are_checked() -> None:
    for bad in ({"vocab": 100}, {"tokenizer": "word"}, {"unit": "page"}):
        with pytest.raises(InputError, match=f"modality.{next(iter(bad))} must be"):
            validate(TextConfig, bad, "modality")


def test_special_names_are_no_tokens_of_text() -> None:
    names = list(BPE.state()["vocabulary"]["state"]["model"]["vocab"])[:3]
    assert names == list(vocabulary._NAMES)
    assert 2 not in BPE.encode("⟨bos⟩")[1:-1].tolist()


def test_regulated_verse_is_told_from_other_text() -> None:
    quatrain = "床前明月光，疑是地上霜。\n舉頭望明月，低頭思故鄉。"
    text = Text.fit(Text.Config(unit="document"), [quatrain, "空山不見人，但聞人語響。"])
    assert list(text.traits()) == ["regular_verse"]
    assert text.shows_trait("regular_verse", quatrain)
    assert not text.shows_trait("regular_verse", "床前明月光，疑是霜。")
    assert not text.shows_trait("regular_verse", "，。")
    assert Text.fit(Text.Config(unit="document"), ["Shall I compare thee", "to a summer's day"]).traits() == {}
    assert Text.fit(Text.Config(unit="stream"), [quatrain * 20]).traits() == {}
