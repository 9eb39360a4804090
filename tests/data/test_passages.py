"""Lines and pieces by their places, read in blocks of a few bytes, against splitting the whole text in memory."""

import io
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genloom.core.errors import Unreadable
from genloom.data import blobs, passages
from genloom.data.blobs import Blob

ENCODINGS = ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "gb18030"]
SOME = st.text(st.sampled_from("ab \n\r\té你👩\u3000\u2028\x0c"), min_size=1, max_size=60)


def blob(raw: bytes) -> Blob:
    return Blob("b.txt", ".txt", lambda: io.BytesIO(raw), 2**30)


def naive_lines(text: str) -> list[tuple[int, str]]:
    """Number and contents of the lines that are not blank."""
    return [(k, line.removesuffix("\r")) for k, line in enumerate(text.split("\n"), 1) if line.strip()]


@settings(deadline=None)
@given(SOME, st.sampled_from(ENCODINGS), st.integers(1, 9))
def test_lines_are_those_of_the_whole_text(text: str, encoding: str, block: int) -> None:
    with mock.patch.multiple(passages, BLOCK=4 * block), mock.patch.multiple(blobs, BLOCK=block):
        spans = passages._lines(blob(text.encode(encoding)), encoding, 0)
        found = [(int(n), spans.read(k)) for k, n in enumerate(spans.numbers())]
    assert found == naive_lines(text)


@settings(deadline=None)
@given(SOME, st.sampled_from(ENCODINGS), st.integers(1, 9), st.data())
def test_pieces_are_the_whole_text_and_can_be_cut_anywhere(
    text: str, encoding: str, piece: int, data: st.DataObject
) -> None:
    with mock.patch.multiple(passages, PIECE=4 * piece), mock.patch.multiple(blobs, BLOCK=piece):
        spans = passages._pieces(blob(text.encode(encoding)), encoding, 0)
        read = [spans.read(k) for k in range(len(spans))]
        assert "".join(read) == text and [len(r) for r in read] == spans.characters.tolist()
        assert all(r for r in read)
        places = sorted(data.draw(st.lists(st.integers(0, len(text)), min_size=2, max_size=2)))
        cut, (first, second) = spans.cut(places)
        read = [cut.read(k) for k in range(len(cut))]
    assert ["".join(read[:first]), "".join(read[first:second]), "".join(read[second:])] == [
        text[: places[0]],
        text[places[0] : places[1]],
        text[places[1] :],
    ]


def test_a_mark_is_no_part_of_the_text() -> None:
    for encoding in ("utf-8-sig", "utf-16", "utf-32"):
        raw = blob("a line\nanother\n".encode(encoding))
        spans = passages.lines(raw)
        assert [spans.read(k) for k in range(len(spans))] == ["a line", "another"]
        assert passages.pieces(raw).read(0) == passages.sample(raw) == "a line\nanother\n"


def test_a_line_longer_than_memory_should_hold_is_refused() -> None:
    with mock.patch.multiple(passages, MAX_LINE=100, BLOCK=64), pytest.raises(Unreadable, match="line 2 has more than"):
        passages.lines(blob(b"short\n" + b"x" * 500))
