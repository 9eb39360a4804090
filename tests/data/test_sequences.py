"""Sequences on disk against lists in memory, and the split of millions against that of a few."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genloom.core.config import DataConfig
from genloom.core.modality import Fingerprint
from genloom.core.spec import Tokens, check_batch
from genloom.data import cache, split, tokens
from genloom.data.prepare import Prepared, prepare
from genloom.data.sequences import Sequences, dtype_of, places

SPEC = Tokens(10, 300, 0, 2, 1)


def ready(data: object, config: DataConfig | None = None, **settings: object) -> Prepared:
    return prepare(data, None, settings, config or DataConfig())


def made(rows: list[list[int]], labels: list[int] | None = None) -> Sequences:
    flat = np.array([t for row in rows for t in row], dtype=np.uint16)
    starts = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    kept = None if labels is None else np.array(labels, dtype=np.int64)
    return Sequences(SPEC, flat, starts, kept, lambda: [f"o{i}" for i in range(len(rows))])


ROWS = st.lists(st.lists(st.integers(3, 299), max_size=7), min_size=1, max_size=8).filter(lambda r: any(r))


@settings(deadline=None)
@given(ROWS, st.data())
def test_a_batch_is_the_examples_padded(rows: list[list[int]], data: st.DataObject) -> None:
    s = made(rows, list(range(len(rows))))
    picked = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=9))
    batch = s.batch(np.array(picked, dtype=np.int64))
    check_batch(SPEC, batch.x)
    width = max([len(rows[i]) for i in picked], default=0)
    assert batch.x.tolist() == [rows[i] + [0] * (width - len(rows[i])) for i in picked]
    assert batch.index.tolist() == picked == batch.condition.label.tolist()
    assert s.total == sum(map(len, rows)) and s.lengths.tolist() == list(map(len, rows)) and len(s) == len(rows)


@settings(deadline=None)
@given(ROWS, st.integers(1, 12), st.data())
def test_a_window_runs_across_examples(rows: list[list[int]], length: int, data: st.DataObject) -> None:
    s = made(rows, [10 + i for i in range(len(rows))])
    flat = [(t, 10 + i) for i, row in enumerate(rows) for t in row]
    starts = data.draw(st.lists(st.integers(0, len(flat) - 1), min_size=1, max_size=5))
    batch = s.windows(np.array(starts), length)
    for k, start in enumerate(starts):
        cut = flat[start : start + length]
        assert batch.x[k].tolist() == [t for t, _ in cut] + [0] * (length - len(cut))
        assert batch.condition.label[k, : len(cut)].tolist() == [label for _, label in cut]
    assert batch.index.tolist() == starts and batch.condition.label.shape == batch.x.shape
    assert made(rows).windows(np.array(starts), length).condition.label is None


def test_batches_cover_a_split_in_order() -> None:
    s = made([[3] * n for n in (1, 4, 2, 5, 3)])
    assert [b.x.shape for b in s.batches(2)] == [(2, 4), (2, 5), (1, 3)]
    assert [len(b) for b in s.batches(2, limit=3)] == [2, 1]
    assert s.origins == ["o0", "o1", "o2", "o3", "o4"]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5)), max_size=6))
def test_places_are_runs(runs: list[tuple[int, int]]) -> None:
    starts, lengths = np.array([r[0] for r in runs], np.int64), np.array([r[1] for r in runs], np.int64)
    assert places(starts, lengths).tolist() == [s + k for s, n in runs for k in range(n)]


def test_tokens_take_as_little_room_as_they_can() -> None:
    assert [dtype_of(v) for v in (256, 257, 65536, 65537)] == [np.uint8, np.uint16, np.uint16, np.int32]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.sampled_from([None, "train", "validation", "test"]), st.integers(0, 3)),
        min_size=1,
        max_size=60,
    ),
    st.sampled_from([0.0, 0.05, 0.3]),
    st.booleans(),
    st.booleans(),
)
def test_the_split_is_that_of_the_general_case(
    rows: list[tuple[int, str | None, int]], share: float, divided: bool, labelled: bool
) -> None:
    """`assign_exact` against `assign`, which compares every member of every group."""
    given_splits = [r[1] if divided else None for r in rows]
    contents = [b"%d" % r[0] for r in rows]
    labels = [str(r[2]) if labelled else None for r in rows]
    shares = split.Shares(share, share)
    prints = [Fingerprint(c) for c in contents]
    groups = np.array([contents.index(c) for c in contents], dtype=np.int64)
    expected = split.assign(prints, groups, given_splits, labels, shares)
    digests = np.array([[int(c), 7] for c in contents], dtype="<u8")
    found = split.assign_exact(
        np.array([split.place(c) for c in contents]),
        split.same(digests),
        np.array([-1 if g is None else split.CODES[g] for g in given_splits], dtype=np.int8),
        np.array([int(v or 0) for v in labels], dtype=np.int64),
        shares,
    )
    assert found.tolist() == expected.tolist()
    again = {tuple(d): g for d, g in zip(digests.tolist(), split.same(digests).tolist(), strict=True)}
    assert len(set(again.values())) == len(set(contents))


# -- from data to disk -----------------------------------------------------------------------------------------


def folder(root: Path, n: int = 40) -> Path:
    for label in ("夜", "day"):
        (root / label).mkdir(parents=True)
        for i in range(n // 2):
            (root / label / f"{i}.txt").write_text(f"{label} number {i}\n" * (1 + i % 3), "utf-8")
    return root


def contents(p: Prepared) -> dict[str, tuple[str, str]]:
    """Text and label of every example by its origin."""
    out = {}
    for part in (p.train, p.validation, p.test):
        for origin, batch in zip(part.origins, part.batches(1), strict=True):
            label = p.condition.classes[int(batch.condition.label[0])] if batch.condition.label is not None else ""
            out[origin] = (p.modality.decode(batch.x[0]), label)
    return out


def test_every_document_comes_back_with_its_label(tmp_path: Path) -> None:
    root = folder(tmp_path / "notes")
    p = ready(root)
    assert p.name == "notes" and p.condition.classes == ("day", "夜") and isinstance(p.train, Sequences)
    found = contents(p)
    assert len(found) == 40 == sum(map(len, (p.train, p.validation, p.test)))
    for origin, (text, label) in found.items():
        assert text == Path(origin).read_text("utf-8") and label == Path(origin).parent.name
    assert sum(p.condition.counts) == len(p.train) and len(p.test) and len(p.validation)
    assert p.modality.spec.length >= int(p.train.lengths.max())
    assert contents(ready(root)) == found  # from the cache


def test_what_lies_on_disk_is_the_encoded_examples_one_after_the_other(tmp_path: Path) -> None:
    p = ready(folder(tmp_path / "notes"))
    expected = torch.cat([p.modality.encode(Path(o).read_text("utf-8")) for o in p.train.origins])
    assert p.train.tokens.tolist() == expected.tolist() and p.train.tokens.dtype == np.uint8
    assert len(list((cache.folder()).glob("*/tokens.tmp"))) == 0


def test_many_examples_are_put_in_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tokens, "GATHERED", 7)  # tokens at once: less than an example has
    p = ready(folder(tmp_path / "notes"))
    for origin, (text, _) in contents(p).items():
        assert text == Path(origin).read_text("utf-8")


def test_a_folder_and_archives_of_it_agree(tmp_path: Path) -> None:
    import tarfile

    root = folder(tmp_path / "notes")
    files = sorted(root.rglob("*.txt"), reverse=True)  # another order in the archive
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as z, tarfile.open(tmp_path / "a.tar.gz", "w:gz") as t:
        for path in files:
            z.write(path, str(path.relative_to(root)))
            t.add(path, str(path.relative_to(root)))
    sets = [ready(root), ready(tmp_path / "a.zip"), ready(tmp_path / "a.tar.gz")]
    assert len({p.digest for p in sets}) == 1
    assert len({p.train.tokens.tobytes() for p in sets}) == 1


def test_the_digest_covers_contents_labels_split_and_state() -> None:
    texts = [f"text number {i}" for i in range(40)]
    labels = ["a", "b"] * 20
    first = ready((texts, labels)).digest
    assert ready((list(texts), list(labels))).digest == first
    others = [
        ready(([*texts[:-1], "text number x"], labels)),
        ready((texts, ["b", "a"] * 20)),
        ready((texts, labels), DataConfig(test=0.3)),
        ready((texts, labels), tokenizer="byte"),
        ready(texts),
    ]
    assert len({first, *(p.digest for p in others)}) == 6


def test_damaged_tokens_are_made_again(tmp_path: Path) -> None:
    texts = [f"text number {i}" for i in range(40)]
    p = ready(texts)
    entry = next(e for e in cache.folder().iterdir() if (e / cache.STARTS).exists())
    before = p.train.tokens.tolist()
    for name in (cache.X, cache.STARTS, cache.PLACES):
        (entry / name).write_bytes(b"cut")
        notices: list[str] = []
        again = prepare(texts, None, {}, DataConfig(), notices.append)
        assert any("damaged" in n for n in notices) and again.train.tokens.tolist() == before
    meta = json.loads((entry / cache.META).read_text("utf-8"))
    assert {cache.X, cache.STARTS, cache.PLACES, cache.LABELS, cache.ORIGINS} == set(meta["files"])


def test_settings_chosen_from_the_data_find_the_same_entry(tmp_path: Path) -> None:
    p = ready(folder(tmp_path / "notes"))
    n = len(list(cache.folder().glob("*/x.npy")))
    again = prepare(tmp_path / "notes", "text", p.modality.config.model_dump(), DataConfig())
    assert again.digest == p.digest and len(list(cache.folder().glob("*/x.npy"))) == n


def test_duplicates_stay_together_and_are_counted() -> None:
    texts = [f"text number {i % 30}" for i in range(90)]
    p = ready(texts, DataConfig(validation=0.2, test=0.2), tokenizer="byte")
    assert any(n.startswith("60 exact duplicates found") for n in p.notices)
    sides: dict[str, set[int]] = {}
    for k, part in enumerate((p.train, p.validation, p.test)):
        for b in part.batches(1):
            sides.setdefault(p.modality.decode(b.x[0]), set()).add(k)
    assert len(sides) == 30 and all(len(s) == 1 for s in sides.values())
