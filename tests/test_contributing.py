"""The worked examples of CONTRIBUTING.md are whole: the text itself is put in place, found by its name, and used."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import genloom.families
import genloom.modalities
from genloom.cli import main
from genloom.core.errors import Unreadable
from genloom.core.spec import check_batch

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text("utf-8")
EXAMPLES = dict(re.findall(r"<!-- example: (\S+) -->\n```python\n(.*?)```", TEXT, re.DOTALL))


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The examples as files of genloom's own packages."""
    for package in (genloom.families, genloom.modalities):
        kind = package.__name__.rsplit(".", 1)[1]
        folder = tmp_path / "examples" / kind
        folder.mkdir(parents=True)
        for name, code in EXAMPLES.items():
            if name.startswith(f"{kind}/"):
                (folder / Path(name).name).write_text(code, "utf-8")
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
        monkeypatch.setattr(package.__spec__, "submodule_search_locations", [*package.__path__])
    yield
    for name in ("genloom.families.gaussian", "genloom.modalities.curve"):
        sys.modules.pop(name, None)
    importlib.invalidate_caches()


def run(*arguments: object) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([str(a) for a in arguments])
    assert stopped.value.code == 0


def test_both_examples_are_there() -> None:
    assert sorted(EXAMPLES) == ["families/gaussian.py", "modalities/curve.py"]


@pytest.mark.usefixtures("installed")
def test_the_family_learns_and_samples_what_it_was_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from sklearn.datasets import load_digits

    from genloom import load

    folder = tmp_path / "run"
    run(
        "train",
        "digits",
        "--model",
        "gaussian",
        "--steps",
        200,
        "--set",
        "train.grids=0",
        "--set",
        "train.log_every=0.001",
        "--out",
        folder,
    )
    losses = [json.loads(line)["losses"]["gaussian"] for line in (folder / "history.jsonl").read_text().splitlines()]
    assert losses[-1] < losses[0] - 0.3
    trained = load(folder)
    zeros = np.stack([np.asarray(i, float) for i in trained.sample(16, label="0", options={"temperature": 0.0})])
    data = load_digits()
    means = np.stack([data.images[data.target == k].mean(0) * 255 / 16 for k in range(10)])
    distances = np.abs(zeros[0] - means).mean((1, 2))
    assert distances.argmin() == 0
    assert distances[0] < 10  # of 255 grey levels
    capsys.readouterr()
    run("describe", "gaussian", "--json")
    described = json.loads(capsys.readouterr().out)
    assert [s["name"] for s in described["sampling"]] == ["temperature"]


@pytest.mark.usefixtures("installed")
def test_the_modality_reads_encodes_writes_and_comes_back(tmp_path: Path) -> None:
    from genloom.modalities import find_modality

    curve = find_modality("curve")
    rng = np.random.default_rng(0)
    series = [curve.read(" ".join(map(str, rng.normal(size=12))).encode(), curve.Config()) for _ in range(9)]
    fitted = curve.fit(curve.Config(), series)
    again = curve.from_state(json.loads(json.dumps(fitted.state())))
    x = torch.stack([again.encode(s) for s in series])
    check_batch(again.spec, x)
    np.testing.assert_allclose(again.decode(x[3]), series[3], atol=1e-6)
    paths = again.write(series, tmp_path, [f"曲线{i}" for i in range(9)])
    np.testing.assert_allclose(curve.read(paths[2].read_bytes(), curve.Config()), series[2], rtol=1e-8)
    assert len(again.show(series).getcolors(1 << 20)) > 1
    for hostile in (b"", b"one two", b"\xff\xfe", b"1 nan"):
        with pytest.raises(Unreadable):
            curve.read(hostile, curve.Config())
