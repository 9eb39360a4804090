"""Laws that every modality found must keep. A new modality adds its raw examples to RAW."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from torch.nn.utils.rnn import pad_sequence

from genloom.core.errors import Unreadable
from genloom.core.modality import Modality, Sequential
from genloom.core.rng import Rng
from genloom.core.spec import Grid, Row, Tokens, check_batch, spec_from_json, spec_to_json
from genloom.data.midi import midi_bytes
from genloom.data.voices import from_rows
from genloom.modalities import find_modality, modality_names
from scores import chorale


def pictures() -> list[bytes]:
    """PNG files of 12 x 10 colour noise."""
    rng, out = np.random.default_rng(0), []
    for _ in range(6):
        file = io.BytesIO()
        Pillow.fromarray(rng.integers(0, 256, (10, 12, 3), dtype=np.uint8)).save(file, "PNG")
        out.append(file.getvalue())
    return out


def texts() -> list[bytes]:
    """Six documents in different scripts, with every kind of newline."""
    lines = [
        "One line.",
        "Two\nlines\n",
        "Dos\r\nlíneas",
        "lone\rCR",
        "春眠不覺曉，處處聞啼鳥。\n",
        "नमस्ते 👩\u200d🚀 e\u0301",
    ]
    return [t.encode() for t in lines]


def structures() -> list[bytes]:
    """Six SMILES, with chirality, charges, a ring of two digits and a salt."""
    lines = [
        "CC(=O)Oc1ccccc1C(=O)O aspirin",
        "C[C@H](N)C(=O)O",
        "C1CC%10CCC1CC%10",
        "[Na+].[Cl-]",
        "F/C=C/Br",
        "C[N+](C)(C)CCO",
    ]
    return [line.encode() for line in lines]


def levels() -> list[bytes]:
    """Six levels of 5 rows, of several widths and one too low."""
    out = []
    for i in range(6):
        wide = 6 + i % 3
        rows = [
            "-" * wide,
            "-" * (wide - 1) + "?",
            "-E" + "-" * (wide - 2),
            "#" * (i + 1) + "-" * (wide - i - 1),
            "#" * wide,
        ]
        out.append("\n".join(rows[i == 5 :]).encode())
    return out


def sequences() -> list[bytes]:
    """Six proteins as records, with unknown residues, gaps and small letters."""
    rows = ["MKVLAGCDEFHINPQRSTWY", "mkvlagcdw", "MKV--LAG.CD*", "MXKVLAGCDEFHI", "GGGGGGG", "WYWYWYWYHKLE"]
    return [f">protein {i}\n{row}\n".encode() for i, row in enumerate(rows)]


def scores() -> list[bytes]:
    """Six MIDI files of four voices."""
    return [midi_bytes(from_rows(np.array(chorale(i, 1 + i % 2)))) for i in range(6)]


def rows() -> list[bytes]:
    """Six rows with a number, a word among numbers, a missing value, a date and a category."""
    lines = [
        "31,2.50,2024-01-31,rot",
        "18,,2024-02-01,blau",
        "65,1.25,2023-12-24,猫",
        "42,none yet,2024-02-29,rot",
        '18,2.50,2024-03-01,"a, b"',
        "77,9.75,2024-01-01,rot",
    ]
    return [f"age,price,day,colour\n{line}\n".encode() for line in lines]


RAW: dict[str, Callable[[], list[bytes]]] = {
    "image": pictures, "level": levels, "molecule": structures, "music": scores, "protein": sequences, "table": rows,
    "text": texts,
}  # fmt: skip
MODALITIES = modality_names()


def fitted(name: str) -> tuple[type[Modality[Any]], Modality[Any], list[Any]]:
    cls = find_modality(name)
    examples = [cls.read(raw, cls.Config()) for raw in RAW[name]()]
    return cls, cls.fit(cls.Config(), examples), examples


def stacked(modality: Modality[Any], examples: list[Any]) -> torch.Tensor:
    """A batch as the spec says; of sequences, padded to the longest."""
    encoded = [modality.encode(e) for e in examples]
    if not isinstance(modality.spec, Tokens):
        return torch.stack(encoded)
    return pad_sequence(encoded, batch_first=True, padding_value=modality.spec.pad)


@pytest.mark.parametrize("name", MODALITIES)
def test_decoding_an_encoded_example_gives_it_back(name: str) -> None:
    _, modality, examples = fitted(name)
    assert isinstance(modality.spec, modality.forms)
    x = stacked(modality, examples)
    check_batch(modality.spec, x)
    again = stacked(modality, [modality.decode(e) for e in x])
    levels = modality.spec.levels if isinstance(modality.spec, Grid) else None
    assert (again - x).abs().max() <= (1 / (levels - 1) if levels else 0)


@pytest.mark.parametrize("name", MODALITIES)
def test_state_is_json_from_which_an_equal_modality_comes(name: str) -> None:
    cls, modality, examples = fitted(name)
    state = json.loads(json.dumps(modality.state()))
    twin = cls.from_state(state)
    assert twin.state() == modality.state() and twin.spec == modality.spec
    assert torch.equal(twin.encode(examples[0]), modality.encode(examples[0]))
    assert spec_from_json(json.loads(json.dumps(spec_to_json(modality.spec)))) == modality.spec


@pytest.mark.parametrize("name", MODALITIES)
def test_written_examples_are_read_back(name: str, tmp_path: Path) -> None:
    cls, modality, examples = fitted(name)
    decoded = [modality.decode(modality.encode(e)) for e in examples[:2]]
    paths = modality.write(decoded, tmp_path, ["猫-1", "b"])
    if isinstance(modality.spec, Row):
        # A table is one file of all rows.
        cells = paths[0].read_text("utf-8").splitlines()
        assert [p.name for p in paths] == ["猫-1.csv"] and cells == ["age,price,day,colour", *(
            raw.decode().splitlines()[1] for raw in RAW[name]()[:2])]  # fmt: skip
        return
    own = paths[:2]  # a file each; after them there may be files that hold all of them
    assert [p.stem for p in own] == ["猫-1", "b"] and {p.suffix for p in own} <= cls.extensions
    for path, example in zip(own, decoded, strict=True):
        again = cls.read(path.read_bytes(), modality.config)
        torch.testing.assert_close(modality.encode(again), modality.encode(example), atol=0.01, rtol=0)


@pytest.mark.parametrize("name", MODALITIES)
def test_the_bytes_of_every_file_pass_through_finish(name: str, tmp_path: Path) -> None:
    _, modality, examples = fitted(name)
    passed: dict[Path, bytes] = {}

    def finish(path: Path, data: bytes) -> bytes:
        passed[path] = data + b"mark"
        return passed[path]

    paths = modality.write([modality.decode(modality.encode(e)) for e in examples[:2]], tmp_path, ["a", "b"], finish)
    assert {p: p.read_bytes() for p in paths} == passed


@pytest.mark.parametrize("name", MODALITIES)
def test_examples_are_known_by_what_they_show(name: str) -> None:
    cls, _, examples = fitted(name)
    prints = [cls.fingerprint(e).exact for e in examples]
    assert len(set(prints)) == len(prints)
    assert prints == [cls.fingerprint(e).exact for e in fitted(name)[2]]


@pytest.mark.parametrize("name", MODALITIES)
@pytest.mark.parametrize("hostile", ["empty", "cut", "text", "zeros"])
def test_hostile_input_is_unreadable_with_one_sentence(name: str, hostile: str) -> None:
    cls, raw = find_modality(name), RAW[name]()[0]
    data = {"empty": b"", "cut": raw[: len(raw) // 2], "text": "你好, not an example".encode(), "zeros": bytes(500)}
    try:
        example = cls.read(data[hostile], cls.Config())
    except Unreadable as e:
        assert str(e) and "\n" not in str(e)
        return
    assert hostile in ("cut", "text") and Tokens in cls.forms  # half of a sequence may be one, and any text may
    modality = cls.fit(cls.Config(), [example])
    assert torch.equal(modality.encode(modality.decode(modality.encode(example))), modality.encode(example))


@pytest.mark.parametrize("name", MODALITIES)
def test_augmentation_keeps_the_spec_and_is_off_by_default(name: str) -> None:
    _, modality, examples = fitted(name)
    x = stacked(modality, examples)
    assert torch.equal(modality.augment(x, Rng(0)), x)


@pytest.mark.parametrize("name", MODALITIES)
def test_show_is_of_all(name: str) -> None:
    _, modality, examples = fitted(name)
    one, six = modality.show(examples[:1]), modality.show(examples)
    if isinstance(one, str) and isinstance(six, str):
        assert len(six.splitlines()) > 3 * len(one.splitlines())
    else:
        assert six.size[0] * six.size[1] > 3 * one.size[0] * one.size[1]


@pytest.mark.parametrize("name", MODALITIES)
def test_a_sequence_is_counted_and_prompted(name: str) -> None:
    _, modality, examples = fitted(name)
    if not isinstance(modality.spec, Tokens):
        assert not isinstance(modality, Sequential)
        return
    assert isinstance(modality, Sequential)
    spec = modality.spec
    for example in examples:
        x = modality.encode(example)
        units, sizes = modality.units(example), modality.sizes(example)
        assert units and units == modality.units(example) and all(isinstance(u, str) and u for u in units)
        assert sizes and min(sizes.values()) > 0
        assert len(x) <= spec.length and (spec.stream or (x[0] == spec.bos and x[-1] == spec.eos))
        assert not set(x[1:-1].tolist()) & {spec.pad, spec.eos}
