"""Named sets of music."""

from __future__ import annotations

from genloom.data.catalog_files import GITHUB, Entry, at, fetch, known_digest
from genloom.data.items import Source


def _chorales(entry: Entry, extensions: frozenset[str]) -> Source:
    """The division into train, valid and test that the file has."""
    from genloom.data.scores import chorales

    return chorales(entry.name, fetch(entry, entry.files[0]), known_digest(entry))


def _nottingham(entry: Entry, extensions: frozenset[str]) -> Source:
    from genloom.data.archive import archive_source

    return archive_source(fetch(entry, entry.files[0]), extensions, r"(?:^|/)([a-z]+?)(?:[a-z]-[a-z])?\d+\.mid$")


SETS = (
    Entry(
        "jsb-chorales",
        "382 chorales by J. S. Bach in four voices on sixteenth notes: 229 to train, 76 to validate, 77 to test.",
        "no licence is stated; the music is in the public domain",
        "https://github.com/czhuang/JSB-Chorales-dataset",
        382,
        at(
            f"{GITHUB}/czhuang/JSB-Chorales-dataset/9a7f733ddb4ed91f48da64ac7f0f621c34aadd4d/",
            "sha256:79294cc374f9252e95ef4b703161524c1c53dc1f712c236f00f1c1f5d54af5a7 1666444 Jsb16thSeparated.json",
        ),
        _chorales,
        modality="music",
    ),
    Entry(
        "nottingham",
        "1,034 folk tunes of Britain and America as MIDI, melody and chords, labelled by the dance.",
        "GPL-3.0 (the collection)",
        "https://github.com/jukedeck/nottingham-dataset",
        1034,
        at("", "sha256:f69dde5442cae76bb78b60872639f792175d91dd303965357161d883caf6ef25 480169 nottingham-midi.zip"),
        _nottingham,
        (
            "ashover", "hpps", "jigs", "morris", "playford", "reels", "slip", "waltzes", "xmas",
        ),
        modality="music",
        note="a zip of the folder MIDI of its home, not published; its folder of ABC works too",
    ),
)  # fmt: skip
