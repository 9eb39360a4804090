"""Named sets of text."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from genloom.core.errors import GenloomError
from genloom.data.catalog_files import GITHUB, Entry, at, fetch, known_digest
from genloom.data.items import Items, Source

if TYPE_CHECKING:
    from genloom.data.texts import Wishes


def _shakespeare(entry: Entry, wishes: Wishes) -> Source:
    """The division that is commonly published: the first 90% of the characters train, the rest validates."""
    from genloom.data.texts import files_source

    path = fetch(entry, entry.files[0])
    if wishes.unit in ("auto", "stream"):
        wishes = replace(wishes, unit="stream", validation=0.1, test=0.0)
    return files_source(entry.name, known_digest(entry), [(path, None)], wishes)


def _coco(entry: Entry, wishes: Wishes) -> Source:
    from genloom.data.texts import files_source

    train, test = (fetch(entry, f) for f in entry.files)
    wishes = replace(wishes, unit="line") if wishes.unit == "auto" else wishes
    return files_source(entry.name, known_digest(entry), [(train, "train"), (test, "test")], wishes)


def _tang(entry: Entry, wishes: Wishes) -> Source:
    """A poem is an example: its lines, in the traditional characters of the source."""
    from genloom.data.texts import archive_items

    path = fetch(entry, entry.files[0])
    asked = wishes.columns
    columns = replace(
        asked, text=asked.text or "paragraphs", label=asked.label or "none", source=asked.source or "none"
    )
    wishes = replace(wishes, columns=columns)

    def load() -> Items:
        return archive_items(path, wishes, r"(^|/)poet\.tang\.\d+\.json$")

    return Source(entry.name, known_digest(entry), load)


def _topics(entry: Entry, wishes: Wishes) -> Source:
    from genloom.data.texts import memory_source

    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise GenloomError(
            "this Python comes without pydoc_data, where the text of python-topics lies; install Python's whole "
            "standard library"
        ) from None
    text = "\n\n".join(topics[name].strip("\n") for name in sorted(topics)) + "\n"
    return memory_source(text, replace(wishes, unit="stream") if wishes.unit == "auto" else wishes)


SETS = (
    Entry(
        "tinyshakespeare",
        "1,115,394 characters of plays by Shakespeare, one long text; its first 90% train, the rest validates.",
        "MIT (the collection); the text is in the public domain",
        "https://github.com/karpathy/char-rnn",
        1,
        at(
            f"{GITHUB}/karpathy/char-rnn/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/data/tinyshakespeare/",
            "sha256:86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed 1115394 input.txt",
        ),
        modality="text",
        texts=_shakespeare,
    ),
    Entry(
        "tang-poems",
        "57,607 poems of the Tang dynasty in traditional Chinese characters; data.source=title takes their titles too.",
        "MIT (the collection); the poems are in the public domain",
        "https://github.com/chinese-poetry/chinese-poetry",
        57607,
        at("", "sha256:9c1b0203de342e36e207bd5a83deb54b8521b621383b7733fd26b99d8aa7c8a3 9279309 tang-shi.zip"),
        modality="text",
        note="a zip of the JSON files poet.tang.*.json of its home, not published",
        texts=_tang,
        folder="chinese-poetry",
    ),
    Entry(
        "coco-captions",
        "20,000 captions of photos from COCO, one a line; 10,000 to train and 10,000 to test, as in Texygen.",
        "CC BY 4.0 (COCO captions, as commonly given); MIT (the selection)",
        "https://github.com/geek-ai/Texygen",
        20000,
        (
            *at(
                f"{GITHUB}/geek-ai/Texygen/3104e22ac75f3cc2070da2bf5e2da6d2bef149ad/data/",
                "sha256:2c0fd1f0f43aac6a9dc3926a535516ccf395de535e15ac1fd17cd569420736f5 546442 image_coco.txt",
            ),
            *at(
                f"{GITHUB}/geek-ai/Texygen/3104e22ac75f3cc2070da2bf5e2da6d2bef149ad/data/testdata/",
                "sha256:72e25c9fb4d2cd43182ac602c92f6ffc377762147f9709572943b0b09174bcae 536184 test_coco.txt",
            ),
        ),
        modality="text",
        texts=_coco,
        folder="texygen",
    ),
    Entry(
        "python-topics",
        "The help texts of the Python in use, one long text of about 0.7 million characters; needs no download.",
        "PSF-2.0",
        "https://docs.python.org/3/reference/",
        1,
        (),
        modality="text",
        note="differs a little from one version of Python to the next",
        texts=_topics,
    ),
)
