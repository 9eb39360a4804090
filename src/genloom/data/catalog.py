"""Named data sets, each file with its known digest: found in $GENLOOM_DATA, else in the cache, else downloaded.

Light at import: the command line lists and completes these names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from genloom.core.errors import GenloomError, InputError
from genloom.core.files import cache_root
from genloom.data import catalog_music, catalog_proteins, catalog_tables
from genloom.data.catalog_files import GITHUB, Entry, Remote, at, fetch, known_digest, local
from genloom.data.catalog_levels import SETS as LEVELS
from genloom.data.catalog_molecules import MOLECULES
from genloom.data.catalog_texts import SETS
from genloom.data.items import Items, Source

if TYPE_CHECKING:
    from pathlib import Path

    from genloom.data.texts import Wishes

__all__ = ["Entry", "Remote", "cache_root", "catalog_names", "describe", "modality_of", "open_named", "open_texts"]


def catalog_names() -> list[str]:
    return sorted(_ENTRIES)


def describe(name: str) -> dict[str, Any]:
    """What is known of a named set, as JSON. Raises InputError for an unknown name."""
    e = _entry(name)
    return {
        "name": e.name, "what": e.what, "modality": e.modality, "licence": e.licence, "home": e.home,
        "examples": e.examples,
        "classes": list(e.classes), "bytes": sum(f.size for f in e.files), "note": e.note,
        "files": [{"name": f.name, "digest": f.digest, "bytes": f.size, "url": f.url} for f in e.files],
    }  # fmt: skip


def open_named(name: str, extensions: frozenset[str]) -> Source:
    """The source of a named set. Raises InputError when a file found is not the known one, GenloomError when none can
    be had.
    """
    entry = _entry(name)
    if entry.open is None:
        raise InputError(_other(entry))
    source = entry.open(entry, extensions)
    return Source(name, source.digest, source.load, entry.modality, source.notices)


def open_texts(name: str, wishes: Wishes) -> Source:
    """The source of a named set of text. Raises as `open_named`."""
    entry = _entry(name)
    if entry.texts is None:
        raise InputError(_other(entry))
    return replace(entry.texts(entry, wishes), name=name, modality=entry.modality)


def open_table(name: str) -> Source:
    """The source of a named table. Raises as `open_named`."""
    entry = _entry(name)
    if entry.table is None:
        raise InputError(_other(entry))
    return replace(entry.table(entry), name=name, modality=entry.modality)


def _other(entry: Entry) -> str:
    return f"{entry.name} is a set of the modality {entry.modality}; ask for no other, or give other data"


def modality_of(name: str) -> str:
    """The modality of a named set. Raises InputError for an unknown name."""
    return _entry(name).modality


def _entry(name: str) -> Entry:
    if name not in _ENTRIES:
        from genloom.core.config import unknown

        raise InputError(unknown(name, catalog_names(), "data set"))
    return _ENTRIES[name]


# -- opening ---------------------------------------------------------------------------------------------------


def _idx(entry: Entry, extensions: frozenset[str]) -> Source:
    from genloom.data.arrays import idx_files

    paths = {f.name: fetch(entry, f) for f in entry.files}
    source = idx_files(entry.name, [
        (paths["train-images-idx3-ubyte.gz"], paths["train-labels-idx1-ubyte.gz"], "train"),
        (paths["t10k-images-idx3-ubyte.gz"], paths["t10k-labels-idx1-ubyte.gz"], "test"),
    ])  # fmt: skip
    return Source(entry.name, known_digest(entry), source.load)


def _named_labels(source: Source, names: tuple[str, ...]) -> Source:
    """`source` with the labels "0", "1", ... replaced by names."""

    def load() -> Items:
        from dataclasses import replace

        items = source.load()
        return replace(items, labels=[None if v is None else names[int(v)] for v in items.labels or ()])

    return Source(source.name, source.digest, load, source.modality, source.notices)


_SPRITE = at(
    f"{GITHUB}/zalandoresearch/fashion-mnist/b2617bb6d3ffa2e429640350f613e3291e10b141/doc/img/",
    "sha256:a7de0a151f8c68e6e96f157a018ac290d1f6b0e7845892c3d7d85cb64961c3cb 790450 fashion-mnist-sprite.png",
)[0]


def _fashion(entry: Entry, extensions: frozenset[str]) -> Source:
    """The whole set if its four files lie here; else the published picture of 900 of its images if that does; else a
    download.
    """
    sprite = local(entry, _SPRITE)
    if sprite is None or all(local(entry, f) for f in entry.files):
        return _named_labels(_idx(entry, extensions), entry.classes)
    notice = (
        f"only {_SPRITE.name} is here: {entry.name} is its 900 images, not the 70,000; "
        f"put the four files of `genloom describe {entry.name}` beside it for all"
    )
    return Source(entry.name, _SPRITE.digest, lambda: _sprite_items(sprite, entry.classes), None, (notice,))


def _sprite_items(path: Path, classes: tuple[str, ...]) -> Items:
    """900 images of 28x28 in 30 rows; three rows a class, in the order of the labels."""
    import numpy as np
    from PIL import Image

    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("L"))
    tiles = pixels.reshape(30, 28, 30, 28).swapaxes(1, 2).reshape(900, 28, 28)
    from genloom.data.arrays import array_items

    return array_items(tiles, [classes[i // 90] for i in range(900)], path.name)


def _digits(entry: Entry, extensions: frozenset[str]) -> Source:
    def load() -> Items:
        import numpy as np
        from sklearn.datasets import load_digits

        from genloom.data.arrays import array_items

        bunch = load_digits()
        x = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
        found = hashlib.sha256(x.tobytes() + bunch.target.astype(np.uint8).tobytes()).hexdigest()
        if found != _DIGITS:
            raise GenloomError(
                f"the digits inside this scikit-learn are not the known ones (sha256 {found}); install another "
                "version of it"
            )
        return array_items(x, bunch.target, "digits")

    return Source(entry.name, _DIGITS, load)


def _archive(pattern: str | None = None) -> Callable[[Entry, frozenset[str]], Source]:
    def opened(entry: Entry, extensions: frozenset[str]) -> Source:
        from genloom.data.archive import archive_source

        return archive_source(fetch(entry, entry.files[0]), extensions, pattern)

    return opened


def _plain_files(entry: Entry, extensions: frozenset[str]) -> Source:
    from genloom.data.tree import read_file

    paths = [fetch(entry, f) for f in entry.files]
    return Source(
        entry.name, known_digest(entry), lambda: Items([p.name for p in paths], lambda i: read_file(paths[i]))
    )


# -- the sets --------------------------------------------------------------------------------------------------

_DIGITS = "a19cb3d96bba7deace8ee5a513a6eb7bad0403d528f00bf4d351b6a7a55baa91"
_MNIST = at(
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    """
    sha256:440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609 9912422 train-images-idx3-ubyte.gz
    sha256:3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c 28881 train-labels-idx1-ubyte.gz
    sha256:8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6 1648877 t10k-images-idx3-ubyte.gz
    sha256:f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6 4542 t10k-labels-idx1-ubyte.gz
    """,
)
_FASHION = at(
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    """
    md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d 26421880 train-images-idx3-ubyte.gz
    sha256:a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845 29515 train-labels-idx1-ubyte.gz
    md5:bef4ecab320f06d8554ea6380940ec79 4422102 t10k-images-idx3-ubyte.gz
    sha256:67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5 5148 t10k-labels-idx1-ubyte.gz
    """,
)
_NEURAL = at(
    f"{GITHUB}/jcjohnson/neural-style/07c4b8299f8fbdafec0c514fc820ff1d7ff62e46/examples/inputs/",
    """
    sha256:4f7cf34e3cd4a5daaf3f421f059ca9a01aaa2a3afd7243d6670c9c8bc001a213 144730 shipwreck.jpg
    sha256:c31741a09141c2e2d07fc7aa6bdf135c369b804f9433e43fa3ceac19386d1ee6 613337 starry_night_google.jpg
    sha256:f3075cddeb974a9ee1d6418f7f33fd05185a7ac7dcb4288bd2805d499a9dcaee 216723 the_scream.jpg
    sha256:e67d1869f01fd805385c681a80d9ebcf0f70ea4a5fe6127f0606bb1c7f4bf506 406531 tubingen.jpg
    sha256:6a8b2383d9c110354a97a42c74bdcc5341be879cbb842ddb7ab5843dbdf56d53 101689 woman-with-hat-matisse.jpg
    """,
)
_FAST = at(
    f"{GITHUB}/lengstrom/fast-style-transfer/0d3d981f7ab948253d355585bdbdfa914247b4d0/examples/style/",
    """
    sha256:05e6d80cee6b2df5c3425f8f59105e62804d8a7ffe688aa69739c1f787a09dd9 826318 the_shipwreck_of_the_minotaur.jpg
    sha256:45e510d2a53b4167a22bae12a191eea3018f82d74a2fa17b1573adc1e9dfc7f6 87874 udnie.jpg
    sha256:54f19686bea5117c0bb68ce4425dbed4efafa3e8d7cafe35f0fae80b8223f4be 123262 wave.jpg
    """,
)
_NUMERALS = tuple("0123456789")

_SETS = (
    Entry(
        "digits",
        "1,797 handwritten digits, 8x8 grey; comes with scikit-learn, needs no download.",
        "CC BY 4.0 (UCI)",
        "https://archive.ics.uci.edu/dataset/80",
        1797,
        (),
        _digits,
        _NUMERALS,
    ),
    Entry(
        "mnist",
        "70,000 handwritten digits, 28x28 grey, 60,000 to train and 10,000 to test.",
        "CC BY-SA 3.0 (as commonly given)",
        "http://yann.lecun.com/exdb/mnist/",
        70000,
        _MNIST,
        _idx,
        _NUMERALS,
    ),
    Entry(
        "fashion-mnist",
        "70,000 pieces of clothing, 28x28 grey, 60,000 to train and 10,000 to test.",
        "MIT",
        "https://github.com/zalandoresearch/fashion-mnist",
        70000,
        _FASHION,
        _fashion,
        ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    Entry(
        "clothing-small",
        "3,781 photos of clothing in colour, 64x64, in 10 classes, with train, validation and test.",
        "CC0 1.0",
        "https://github.com/alexeygrigorev/clothing-dataset-small",
        3781,
        at(
            "", "sha256:6725b7bb5b261b8da5c090110239f037188c7ae474cc3b60c9eac8dd30cec044 14171611 clothing-small-64.zip"
        ),
        _archive(),
        ("dress", "hat", "longsleeve", "outwear", "pants", "shirt", "shoes", "shorts", "skirt", "t-shirt"),
        note="a zip of the photos reduced to 64x64, not published; the folder of originals at its home works too",
    ),
    Entry(
        "crawl-tiles",
        "5,820 tiles of a dungeon game, 32x32 in colour with transparency, labelled by category.",
        "CC0 1.0",
        "https://github.com/crawl/tiles",
        5820,
        at("", "sha256:2075c7317f84563300b3cb06bd9287f2b6d0b63aef6f159753306ddd3e5a52d9 5098729 crawl-tiles-32x32.zip"),
        _archive(r"^releases/(?:Nov-2015|Ancient/Oct-5-2010)/(?:dc-)?([^/]+)/"),
        ("dngn", "effect", "gui", "item", "misc", "mon", "player", "spells"),
        note="a zip of the 32x32 tiles that is not published; the folder of originals at its home works too",
    ),
    Entry(
        "art",
        "Seven paintings and a photo of a town, for style transfer; too few to train a generator well.",
        "paintings in the public domain; tubingen.jpg CC BY 3.0",
        "https://github.com/jcjohnson/neural-style",
        8,
        (*_NEURAL, *_FAST),
        _plain_files,
    ),
)
_ENTRIES = {
    entry.name: entry
    for entry in (*_SETS, *SETS, *LEVELS, *MOLECULES, *catalog_music.SETS, *catalog_proteins.SETS, *catalog_tables.SETS)
}
