"""Named sets: found, checked, or one clear sentence."""

import dataclasses
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genloom.core.config import DataConfig
from genloom.core.errors import GenloomError, InputError
from genloom.data import catalog
from genloom.data.prepare import prepare

PNG = frozenset({".png"})


def replace(monkeypatch: pytest.MonkeyPatch, name: str, **changes: object) -> None:
    monkeypatch.setitem(catalog._ENTRIES, name, dataclasses.replace(catalog._ENTRIES[name], **changes))


def test_every_set_is_described() -> None:
    assert {"digits", "mnist", "fashion-mnist", "clothing-small", "crawl-tiles", "art"} <= set(catalog.catalog_names())
    for name in catalog.catalog_names():
        facts = json.loads(json.dumps(catalog.describe(name)))
        assert facts["licence"] and facts["what"] and facts["home"].startswith("http") and facts["examples"] > 0
        for file in facts["files"]:
            kind, digest = file["digest"].split(":")
            assert len(digest) == {"sha256": 64, "md5": 32}[kind] and file["bytes"] > 0
            assert file["url"].endswith("/" + file["name"]) or (file["url"] == "" and facts["note"])


def test_an_unknown_name_gives_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'mnist'"):
        catalog.describe("minst")


def test_listing_needs_no_torch() -> None:
    code = (
        "import sys; from genloom.data.catalog import describe; describe('mnist'); "
        "print('torch' in sys.modules, 'numpy' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["False", "False"]


def test_digits_come_from_scikit_learn() -> None:
    from sklearn.datasets import load_digits

    p = prepare("digits", None, {}, DataConfig())
    assert p.modality.spec.shape == (1, 8, 8) and p.condition.classes == tuple("0123456789") and p.name == "digits"
    assert len(p.train) + len(p.validation) + len(p.test) == 1797
    bunch = load_digits()
    row = int(p.train.origins[5][7:-1])
    assert np.array_equal(
        p.train.batch([5]).x[0, 0].numpy(), (np.rint(bunch.images[row] * 255 / 16) / 127.5 - 1).astype("f4")
    )
    assert p.train.labels[5] == bunch.target[row]


def test_a_file_that_is_not_the_known_one_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENLOOM_DATA", str(tmp_path))
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist/train-images-idx3-ubyte.gz").write_bytes(b"something else")
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte\.gz is not the known file of mnist"):
        catalog.open_named("mnist", PNG)


def test_offline_says_where_to_put_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    files = tuple(dataclasses.replace(f, url=f"http://127.0.0.1:9/{f.name}") for f in catalog._ENTRIES["mnist"].files)
    replace(monkeypatch, "mnist", files=files)
    with pytest.raises(
        GenloomError, match=r"mnist is not on this machine .* cannot be downloaded .*\$GENLOOM_DATA"
    ) as e:
        catalog.open_named("mnist", PNG)
    assert "\n" not in str(e.value) and len(str(e.value)) < 400


def test_a_set_that_is_not_published_says_so() -> None:
    with pytest.raises(InputError, match=r"clothing-small cannot be downloaded .* put clothing-small-64\.zip"):
        catalog.open_named("clothing-small", PNG)


@pytest.mark.parametrize("good", [True, False])
def test_a_download_is_checked_and_kept(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch, good: bool
) -> None:
    import functools
    import http.server
    import threading

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    (tmp_path / "a.png").write_bytes(b"contents")
    digest = hashlib.sha256(b"contents" if good else b"others").hexdigest()
    handler = functools.partial(Quiet, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/a.png"
        replace(monkeypatch, "art", files=(catalog.Remote("a.png", f"sha256:{digest}", 8, url),))
        if good:
            assert catalog.open_named("art", PNG).load().read(0) == b"contents"
        else:
            with pytest.raises(GenloomError, match="is not the known file of art"):
                catalog.open_named("art", PNG)
        server.shutdown()
    if good:
        assert catalog.open_named("art", PNG).load().read(0) == b"contents"  # from the cache
        assert (own_cache / "catalog/art/a.png").exists()
    else:
        assert not (own_cache / "catalog/art/a.png").exists()


def test_the_fashion_picture_alone_is_900_images_with_a_notice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiles = np.random.default_rng(0).integers(0, 256, (900, 28, 28), dtype=np.uint8)
    sheet = tiles.reshape(30, 30, 28, 28).swapaxes(1, 2).reshape(840, 840)
    (tmp_path / "fashion-mnist").mkdir()
    path = tmp_path / "fashion-mnist" / catalog._SPRITE.name
    Image.fromarray(sheet).save(path)
    known = dataclasses.replace(catalog._SPRITE, digest="sha256:" + hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setattr(catalog, "_SPRITE", known)
    monkeypatch.setenv("GENLOOM_DATA", str(tmp_path))
    source = catalog.open_named("fashion-mnist", PNG)
    items = source.load()
    assert len(items) == 900 and np.array_equal(items.read(31), tiles[31])
    assert items.label(89) == "T-shirt/top" and items.label(90) == "Trouser"
    assert "its 900 images, not the 70,000" in source.notices[0]


def known(monkeypatch: pytest.MonkeyPatch, name: str, folder: Path) -> None:
    """Let the files in `folder` be the known ones of the set."""
    files = tuple(
        dataclasses.replace(f, digest="sha256:" + hashlib.sha256((folder / f.name).read_bytes()).hexdigest())
        for f in catalog._ENTRIES[name].files
    )
    replace(monkeypatch, name, files=files)
    monkeypatch.setenv("GENLOOM_DATA", str(folder.parent))


def test_shakespeare_is_divided_as_it_commonly_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "".join(f"Citizen {i}:\nSpeak, speak.\n\n" for i in range(41))
    (tmp_path / "tinyshakespeare").mkdir()
    (tmp_path / "tinyshakespeare/input.txt").write_text(text)
    known(monkeypatch, "tinyshakespeare", tmp_path / "tinyshakespeare")
    p = prepare("tinyshakespeare", None, {}, DataConfig(validation=0.3, test=0.3))
    assert p.modality.spec.stream and p.name == "tinyshakespeare"
    assert [s.total for s in (p.train, p.validation, p.test)] == [
        int(0.9 * len(text)),
        len(text) - int(0.9 * len(text)),
        0,
    ]
    lines = prepare("tinyshakespeare", "text", {"unit": "line"}, DataConfig(validation=0.3, test=0.3))
    assert not lines.modality.spec.stream and len(lines.test)


def test_captions_and_poems_lie_in_folders_of_other_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import zipfile

    (tmp_path / "texygen").mkdir()
    for name, n in (("image_coco.txt", 40), ("test_coco.txt", 20)):
        (tmp_path / "texygen" / name).write_text("\n".join(f"{name[:1]} photo of {i} cats." for i in range(n)))
    known(monkeypatch, "coco-captions", tmp_path / "texygen")
    p = prepare("coco-captions", None, {}, DataConfig(validation=0))
    assert [len(s) for s in (p.train, p.validation, p.test)] == [40, 0, 20] and p.modality.config.unit == "line"

    poems = [{"author": "李白", "title": "x", "paragraphs": [f"第{i}行，", "舉頭望明月。"]} for i in range(30)]
    (tmp_path / "chinese-poetry").mkdir()
    with zipfile.ZipFile(tmp_path / "chinese-poetry/tang-shi.zip", "w") as z:
        z.writestr("全唐诗/poet.tang.0.json", json.dumps(poems))
        z.writestr("全唐诗/唐诗三百首.json", json.dumps(poems[:3]))
        z.writestr("LICENSE", "MIT")
    known(monkeypatch, "tang-poems", tmp_path / "chinese-poetry")
    p = prepare("tang-poems", None, {}, DataConfig())
    assert sum(map(len, (p.train, p.validation, p.test))) == 30 and p.condition.classes == ()
    row = int(p.train.origins[0].rsplit(":", 1)[1]) - 1
    assert p.modality.decode(p.train.batch([0]).x[0]) == f"第{row}行，\n舉頭望明月。"
    assert p.modality.config.tokenizer == "char"


def test_text_that_is_not_here_says_where_to_put_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        InputError, match=r"tang-poems cannot be downloaded .* into the folder chinese-poetry of \$GENL"
    ):
        prepare("tang-poems", None, {}, DataConfig())
    files = tuple(
        dataclasses.replace(f, url=f"http://127.0.0.1:9/{f.name}") for f in catalog._ENTRIES["coco-captions"].files
    )
    replace(monkeypatch, "coco-captions", files=files)
    with pytest.raises(GenloomError, match="coco-captions is not on this machine"):
        prepare("coco-captions", None, {}, DataConfig())
