"""Text from whatever a person gives: the right unit, label and split, or one clear sentence."""

import gzip
import json
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from genloom.core.config import DataConfig
from genloom.core.errors import InputError, Unreadable
from genloom.data import encoding, passages
from genloom.data.blobs import file_blob
from genloom.data.kinds import find_kind
from genloom.data.prepare import prepare
from genloom.data.texts import is_list
from pictures import pixels, write
from texts import NAMES, POEMS, PROSE, flat, parts, put, ready, rows, texts

# -- the unit of an example ------------------------------------------------------------------------------------


def test_a_list_is_read_line_by_line(tmp_path: Path) -> None:
    p = ready(put(tmp_path / "names.txt", "\n".join(NAMES) + "\n"), tokenizer="byte")
    assert p.modality.config.unit == "line" and not p.modality.spec.stream and p.name == "names"
    assert texts(p) == sorted(NAMES) and all(map(len, (p.train, p.validation, p.test)))
    numbers = {p.modality.decode(b.x[0]): o for b, o in zip(p.train.batches(1), p.train.origins, strict=True)}
    assert all(o.endswith(f"names.txt:{NAMES.index(n) + 1}") for n, o in numbers.items())
    assert any("is a list" in n for n in p.notices)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_ends_of_lines_are_no_part_of_them_and_blank_ones_are_passed_over(tmp_path: Path, end: str) -> None:
    lines = [*NAMES[:20], "", "   ", "\u3000", "lone\rCR", " kept space "]
    p = ready(put(tmp_path / "a.txt", end.join(lines)), tokenizer="byte", unit="line")
    assert texts(p) == sorted([*NAMES[:20], "lone\rCR", " kept space "]) and p.quarantined == ()


def test_one_long_text_is_a_stream_held_out_at_its_end(tmp_path: Path) -> None:
    text = PROSE.replace("\n", "\r\n", 7)  # newlines stay as they are
    p = ready(put(tmp_path / "book.md", text), DataConfig(validation=0.1, test=0.07))
    first, second = int(0.83 * len(text) + 1e-6), int(0.93 * len(text) + 1e-6)
    assert ["".join(part) for part in parts(p)] == [text[:first], text[first:second], text[second:]]
    assert p.modality.spec.stream and p.modality.spec.length == 1024
    assert p.modality.decode(torch.tensor([p.modality.spec.bos])) == "\n"


def test_files_are_documents_with_the_labels_of_their_folders(tmp_path: Path) -> None:
    for i in range(12):
        put(tmp_path / "mail" / ("spam" if i % 2 else "ham") / "old" / f"{i}.txt", f"Mail {i}\n\nText.\n")
    put(tmp_path / "mail" / "SOURCE.txt", "no example")
    p = ready(tmp_path / "mail")
    assert p.modality.config.unit == "document" and p.condition.classes == ("ham", "spam") and len(texts(p)) == 12


def test_split_folders_and_split_names_are_taken(tmp_path: Path) -> None:
    for name, n in (("train", 30), ("valid", 5), ("test", 4)):
        put(tmp_path / "lists" / f"{name}.txt", "\n".join(f"{name} {i}" for i in range(n)))
        put(tmp_path / "rows" / f"{name}.jsonl", "\n".join(json.dumps({"text": f"{name} {i}"}) for i in range(n)))
        put(tmp_path / "books" / f"{name}.txt", f"{name}\n\n" * 100)
        for i in range(n):
            put(tmp_path / "folders" / name / f"{i}.txt", f"{name} {i}")
    for kind in ("lists", "rows", "folders"):
        p = ready(tmp_path / kind)
        assert [len(s) for s in (p.train, p.validation, p.test)] == [30, 5, 4], kind
    p = ready(tmp_path / "books", tokenizer="byte")
    assert p.modality.spec.stream and ["".join(x) for x in parts(p)] == [
        f"{n}\n\n" * 100 for n in ("train", "valid", "test")
    ]


def test_lists_in_several_files_have_the_files_as_labels(tmp_path: Path) -> None:
    for language, end in (("Italian", "o"), ("日本", "ko")):
        put(tmp_path / "n" / f"{language}.txt", "\n".join(f"{a}{b}{end}" for a in NAMES for b in ("r", "t", "l")))
    p = ready(tmp_path / "n", DataConfig(near_duplicates=False))
    assert p.modality.config.unit == "line" and p.condition.classes == ("Italian", "日本") and len(texts(p)) == 270


def test_a_few_long_files_are_streams_each_held_out_at_its_end(tmp_path: Path) -> None:
    books = {"a": "α" + PROSE * 15, "b": "β" + PROSE.upper() * 15}
    for name, text in books.items():
        put(tmp_path / f"{name}.txt", text)
    p = ready(tmp_path, DataConfig(validation=0.1, test=0.0))
    assert p.modality.spec.stream
    cuts = [int(0.9 * len(t) + 1e-6) for t in books.values()]
    both = list(books.values())
    assert "".join(parts(p)[0]) == both[0][: cuts[0]] + both[1][: cuts[1]]
    assert "".join(parts(p)[1]).replace("�", "") == both[0][cuts[0] :] + both[1][cuts[1] :]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\n".join(NAMES), True),
        ("\n".join(f"C{'C' * (i % 40)}(=O)N{i}" for i in range(99)), True),  # formulas
        ("\n".join("秦 川 雄 帝 宅 ， 函 谷 壮 皇 居 。 绮 殿 千 寻 起 ， 离 宫 百 雉 余 。" for _ in range(99)), True),
        (PROSE, False),
        ("\n".join("word " * 15 + "x" * (i % 5) for i in range(99)), False),  # broken at a width
        ("\n".join("\u3000\u3000" + "他說了很久" * (1 + i % 9) for i in range(99)), False),  # indented paragraphs
        ("\n".join("A paragraph. " * 40 for _ in range(99)), False),
        ("a\nb\nc", False),
        ("", False),
    ],
)
def test_lists_are_told_from_prose(text: str, expected: bool) -> None:
    assert is_list(text) is expected


def test_the_unit_can_be_asked_for(tmp_path: Path) -> None:
    path = put(tmp_path / "a.txt", PROSE)
    assert ready(path, unit="line").modality.config.unit == "line"
    with pytest.raises(InputError, match="one example: a generator needs at least 2"):
        ready(path, unit="document")
    with pytest.raises(InputError, match=r"modality\.unit must be"):
        ready(path, unit="lines")


def test_pieces_are_cut_at_newlines_and_are_the_whole_text(tmp_path: Path) -> None:
    line = "é" * 70 + "\n"
    spans = passages.pieces(file_blob(put(tmp_path / "a.txt", line * 3000)))
    assert len(spans) > 3 and "".join(spans.read(k) for k in range(len(spans))) == line * 3000
    assert all(spans.read(k).endswith("\n") for k in range(len(spans)))
    assert spans.characters.sum() == 71 * 3000 and spans.sizes.max() < 2 * passages.PIECE
    spans = passages.pieces(file_blob(put(tmp_path / "b.txt", "é你" * 100_000)))  # no newline at all
    assert "".join(spans.read(k) for k in range(len(spans))) == "é你" * 100_000
    assert spans.sizes.max() <= 2 * passages.PIECE


@pytest.mark.parametrize("name", ["utf-8", "utf-16-le", "gb18030", "big5", "cp932"])
def test_a_piece_is_cut_at_any_character(tmp_path: Path, name: str) -> None:
    text = "國中一二三\n" * 40
    blob = file_blob(put(tmp_path / "a.txt", text, name))
    spans = passages._indexed(blob, lambda b, e, s: passages._pieces(b, name, 0))
    for place in (0, 1, 7, 100, len(text)):
        cut, (k,) = spans.cut([place])
        assert "".join(cut.read(i) for i in range(k)) == text[:place]
        assert "".join(cut.read(i) for i in range(k, len(cut))) == text[place:]


# -- packed, in memory, named ----------------------------------------------------------------------------------


def test_packed_text_is_read_where_it_lies(tmp_path: Path) -> None:
    plain = ready(put(tmp_path / "names.txt", "\n".join(NAMES)))
    with gzip.open(tmp_path / "names.txt.gz", "wb") as f:
        f.write("\n".join(NAMES).encode())
    with gzip.open(tmp_path / "train.en.gz", "wb") as f:  # an ending that says nothing
        f.write("\n".join(NAMES).encode())
    with zipfile.ZipFile(tmp_path / "names.zip", "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("inside/names.txt", "\n".join(NAMES))
    with tarfile.open(tmp_path / "names.tar.xz", "w:xz") as t:
        t.add(tmp_path / "names.txt", "names.txt")
    for name in ("names.txt.gz", "train.en.gz", "names.zip", "names.tar.xz"):
        p = ready(tmp_path / name)
        assert p.digest == plain.digest and p.name in ("names", "train"), name


def test_a_list_in_memory() -> None:
    p = ready(["first text", "second\ntext", "第三"] * 5, tokenizer="byte")
    assert set(texts(p)) == {"first text", "second\ntext", "第三"} and p.modality.config.unit == "document"
    pairs = ready([(f"text {i}", "even" if i % 2 == 0 else "odd") for i in range(20)])
    split = ready(([f"text {i}" for i in range(20)], ["even", "odd"] * 10))
    array = ready((np.array([f"text {i}" for i in range(20)]), ["even", "odd"] * 10))
    assert pairs.condition.classes == ("even", "odd") and pairs.digest == split.digest == array.digest


def test_one_long_text_in_memory() -> None:
    assert flat(ready(PROSE)) == PROSE
    assert ready("\n".join(NAMES)).modality.config.unit == "line"
    with pytest.raises(InputError, match=r"character 1,2.* is no character"):
        ready("a\n" * 600 + "\ud800")


def test_a_list_that_is_not_all_text() -> None:
    with pytest.raises(InputError, match="item 1 of the list is int, not text"):
        ready(["a", 3, "b"])
    p = ready([f"text {i}" for i in range(12)] + ["", "half \ud83d"])
    assert [b.origin for b in p.quarantined] == ["texts[12]", "texts[13]"]


# -- what it is ------------------------------------------------------------------------------------------------


def test_the_kind_is_found_from_names(tmp_path: Path) -> None:
    write(tmp_path / "images", [f"{i}.png" for i in range(4)])
    put(tmp_path / "images/0.txt", "a caption")
    listed = rows(tmp_path / "images/list.csv", ["path", "text"], [[f"{i}.png", "x"] for i in range(4)])
    put(tmp_path / "texts/a.txt", "text")
    put(tmp_path / "plain", PROSE)
    put(tmp_path / "t.csv", "file,text\nx,abc\n")
    Image.fromarray(pixels(0)).save(tmp_path / "one.png")
    kinds = {
        "images": "image", "images/list.csv": "image", "texts": "text", "plain": "text", "t.csv": "text",
        "one.png": "image",
    }  # fmt: skip
    assert {name: find_kind(tmp_path / name) for name in kinds} == kinds
    assert find_kind("digits") == "image" and find_kind("tinyshakespeare") == "text"
    assert find_kind(["a", "b"]) == find_kind([("a", 1)]) == find_kind(PROSE) == "text"
    assert find_kind([pixels(0)]) == find_kind(np.zeros((3, 8, 8))) == find_kind([]) == "image"
    assert ready(listed).modality.spec.shape == (3, 16, 16)
    with pytest.raises(InputError, match="there is no file or folder"):
        find_kind(tmp_path / "nowhere")


def test_another_kind_than_that_of_a_named_set() -> None:
    with pytest.raises(InputError, match="digits is a set of the modality image"):
        prepare("digits", "text", {}, DataConfig())
    with pytest.raises(InputError, match="tinyshakespeare is a set of the modality text"):
        prepare("tinyshakespeare", "image", {}, DataConfig())


def test_a_set_of_text_that_every_machine_has() -> None:
    p = ready("python-topics")
    assert p.modality.spec.stream and p.train.total > 200_000 and p.name == "python-topics"


# -- encodings -------------------------------------------------------------------------------------------------

GERMAN = "Die süßen Äpfel fielen über Nacht; Größe und Maß sind schön – für jeden.\n"
JAPANESE = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。\n"
KOREAN = "안녕하세요. 오늘 날씨가 매우 좋습니다. 우리는 공원에 갔다.\n"
FRENCH = "Déjà vu: l'été dernier, à Besançon, nous étions très contents d'être là.\n"
CZECH = "Příliš žluťoučký kůň úpěl ďábelské ódy; řeřicha.\n"
RUSSIAN = "Мой дядя самых честных правил, когда не в шутку занемог.\n"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (POEMS, "utf-8"), (POEMS, "utf-8-sig"), (POEMS, "utf-16"), (GERMAN, "utf-16-le"), (GERMAN, "utf-16-be"),
        (POEMS, "utf-32"), (POEMS, "gb18030"), (POEMS.replace("寐", "眠"), "big5"), (JAPANESE, "shift_jis"),
        (JAPANESE, "euc_jp"), (GERMAN, "cp1252"), (GERMAN.replace("–", "-"), "latin-1"), (RUSSIAN, "cp1251"),
        (FRENCH, "cp1252"), (FRENCH, "latin-1"), (CZECH, "cp1250"), (RUSSIAN, "koi8_r"),
        (KOREAN, "euc_kr"), ("plain\n", "ascii"), ("plain\n", "utf-16-le"),
    ],
)  # fmt: skip
def test_encodings_are_found(text: str, name: str) -> None:
    assert encoding.decode((text * 3).encode(name)) == text * 3


def test_each_file_of_a_folder_has_its_own_encoding(tmp_path: Path) -> None:
    written = {"a": (POEMS, "gb18030"), "b": (GERMAN, "cp1252"), "c": (JAPANESE, "shift_jis"), "d": (POEMS, "utf-16")}
    for name, (text, code) in written.items():
        put(tmp_path / f"{name}.txt", text * 3 + name, code)
    assert texts(ready(tmp_path, tokenizer="byte")) == sorted(t * 3 + n for n, (t, _) in written.items())


def test_a_stream_in_another_encoding(tmp_path: Path) -> None:
    for name in ("gb18030", "utf-16"):
        text = (POEMS + "\n") * 200
        assert flat(ready(put(tmp_path / f"{name}.txt", text, name))) == text


def test_a_late_byte_that_is_not_utf8(tmp_path: Path) -> None:
    text = "plain words\n\n" * 100_000 + GERMAN * 20  # the first million bytes are ASCII
    assert flat(ready(put(tmp_path / "a.txt", text, "cp1252"), tokenizer="byte")) == text


def test_undecodable_files_among_good_ones_are_named(tmp_path: Path) -> None:
    for i in range(8):
        put(tmp_path / f"{i}.txt", f"Text {i}\n\n" + "good " * i)
    (tmp_path / "picture.txt").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9)
    (tmp_path / "random.txt").write_bytes(bytes(np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8)))
    (tmp_path / "marked.txt").write_bytes(b"\xef\xbb\xbf" + b"abc\xff\xfe")
    put(tmp_path / "empty.txt", "")
    put(tmp_path / "blank.txt", " \n\n\t ")
    (tmp_path / "gone.txt").symlink_to(tmp_path / "nowhere")
    p = ready(tmp_path)
    reasons = {Path(b.origin).name: b.reason for b in p.quarantined}
    assert set(reasons) == {"picture.txt", "random.txt", "marked.txt", "empty.txt", "blank.txt", "gone.txt"}
    assert reasons["picture.txt"] == "not text: it is a PNG picture" and "binary" in reasons["random.txt"]
    assert "marked as UTF-8" in reasons["marked.txt"] and reasons["empty.txt"] == reasons["blank.txt"] == "it is empty"
    assert "No such file" in reasons["gone.txt"] and len(texts(p)) == 8
    assert any(n.startswith("6 examples of 14 cannot be read and are left out") for n in p.notices)


# -- bad input -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a.txt: it is empty"),
        (b" \n\n", "a.txt: it is empty"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "a.txt: not text: it is a PNG picture"),
        (bytes(range(256)) * 40, "a.txt: not text: it holds binary data"),
        (b"one short line", "holds 1. tokens of text to train on: a generator needs at least 100"),
    ],
)
def test_one_bad_file(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    for data in (tmp_path / "a.txt", tmp_path):
        with pytest.raises(InputError, match=message) as e:
            prepare(data, "text", {}, DataConfig())
        assert "\n" not in str(e.value)


def test_a_folder_without_text(tmp_path: Path) -> None:
    put(tmp_path / "a.xyz", "x")
    with pytest.raises(InputError, match=r"there is no text in .*no file ends in .*\.txt.*1 file of other kinds"):
        prepare(tmp_path, "text", {}, DataConfig())


def test_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from genloom.data import blobs

    monkeypatch.setattr(blobs, "RATIO_FROM", 1000)
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"word " * 2_000_000))
    with pytest.raises(InputError, match="unpacks to more than"):
        ready(tmp_path / "a.txt.gz")


def test_a_cut_gzip_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(PROSE.encode() * 50)[:300])
    with pytest.raises(InputError, match="damaged: "):
        prepare(tmp_path / "a.txt.gz", "text", {}, DataConfig())


def test_a_file_that_changes_while_it_is_read(tmp_path: Path) -> None:
    path = put(tmp_path / "a.txt", "word word\n" * 100)
    spans = passages.lines(file_blob(path))
    path.write_bytes(b"short")
    with pytest.raises(Unreadable, match="shorter"):
        spans.read(len(spans) - 1)


@pytest.mark.parametrize(("unit", "length"), [("stream", 100), ("line", 6000)])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, unit: str, length: int) -> None:
    """A file of 24 MB is read with less than 12 MB in memory at once (Python's and NumPy's objects)."""
    path = tmp_path / "large.txt"
    words = "some words of a line that is no longer than others " * (length // 50)
    with open(path, "w", encoding="utf-8") as f:
        for k in range(24 * 2**20 // length):
            f.write(f"{k:07d} {words[: length - 9]}\n")
    tracemalloc.start()
    p = ready(path, unit=unit, tokenizer="char")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12 * 2**20, f"{peak / 2**20:.1f} MB"
    assert sum(s.total for s in (p.train, p.validation, p.test)) >= 0.99 * path.stat().st_size
